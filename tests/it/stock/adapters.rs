//! What the adapters of all marketplaces have in common: what a call that came to nothing means,
//! what is sent with it, and what is left of it in the log.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marketplace_sync::marketplace::model::Marketplace;
use marketplace_sync::marketplace::model::Marketplace::{
    Amazon, Etsy, Hepsiburada, Shopify, Trendyol,
};
use marketplace_sync::stock::connector::{
    Adapters, Called, FailureKind, MAX_REPLY, Operation as Use, ReadOutcome, SendOutcome,
};
use marketplace_sync::stock::mock::{FaultKind, Operation};
use marketplace_sync::stock::model::{ApiLogType, Provider};
use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use rstest::rstest;
use secrecy::SecretString;
use serde_json::json;

use super::marketplaces::{
    KEY, PUSH, Place, SECRET, TOKEN, adapters, item, rate_limited, settings, shop,
};

/// Whether the first item has reached the marketplace.
fn is_applied(place: &Place) -> bool {
    // What takes quantities at once has them; the others have a batch that waits.
    place.shows(1) == Some(5) || place.mock.look(|world| world.batches.len() == 1)
}

#[rstest]
#[tokio::test]
async fn a_refusal_means_the_same_at_every_marketplace(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let items = place.items(&[(1, 5)]);
    let refused = FailureKind::Protocol {
        may_be_applied: false,
    };
    for (status, expected) in [
        (401, FailureKind::Unauthorized),
        (403, FailureKind::Unauthorized),
        (405, refused),
        (415, refused),
        (302, refused),
        (500, FailureKind::Ambiguous),
        (502, FailureKind::Ambiguous),
        (503, FailureKind::Ambiguous),
        (504, FailureKind::TooSlow),
    ] {
        place.answers(status, json!({ "message": "the reason" }));
        let called = place.send(&items).await;
        let SendOutcome::Failed(failure) = called.outcome else {
            panic!("{status}: {:?}", called.outcome);
        };
        assert_eq!(failure.kind, expected, "{status}");
        assert!(failure.message.contains("the reason"), "{failure:?}");
        let exchange = called.exchanges.last().unwrap();
        assert_eq!(exchange.status, Some(status));
        assert_eq!(exchange.error.as_ref(), Some(&failure.message));
        assert_eq!(
            exchange.response.as_deref(),
            Some(r#"{"message":"the reason"}"#)
        );
    }
    assert!(!is_applied(&place));
}

/// Hepsiburada's limit is of the address, and has a test of its own.
#[rstest]
#[tokio::test]
async fn a_marketplace_that_is_asked_too_often_says_how_long_it_takes_or_does_not(
    #[values(Trendyol, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let items = place.items(&[(1, 5)]);
    for seconds in [None, Some(30), Some(90)] {
        let retry_after_seconds = seconds.map(|seconds: u64| u32::try_from(seconds).unwrap());
        place.fault(
            Operation::Send,
            FaultKind::RateLimit {
                retry_after_seconds,
            },
        );
        assert_eq!(place.refused(&items).await.kind, rate_limited(seconds));
    }
    assert!(!is_applied(&place));
}

#[rstest]
#[tokio::test]
async fn a_connection_that_is_lost_before_or_after_may_have_applied_it(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let items = place.items(&[(1, 5)]);
    for (fault, applied) in [(FaultKind::DropBefore, false), (FaultKind::DropAfter, true)] {
        place.fault(Operation::Send, fault);
        let called = place.send(&items).await;
        let SendOutcome::Failed(failure) = &called.outcome else {
            panic!("{called:?}");
        };
        assert_eq!(failure.kind, FailureKind::Ambiguous);
        let exchange = called.exchanges.last().unwrap();
        assert_eq!(
            (exchange.status, &exchange.response),
            (None, &None),
            "nothing came"
        );
        assert_eq!(is_applied(&place), applied);
    }
}

#[rstest]
#[tokio::test]
async fn a_marketplace_that_does_not_answer_in_time_may_have_applied_it(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let place = Place::with(marketplace, &[("STOCK_HTTP_TIMEOUT_SECONDS", "0.5")]).await;
    let items = place.items(&[(1, 5)]);
    place.fault(Operation::Send, FaultKind::Slow { delay_ms: 60_000 });
    let failure = place.refused(&items).await;
    assert_eq!(failure.kind, FailureKind::Ambiguous);
    assert_eq!(failure.message, "the marketplace did not answer in time");
}

#[rstest]
#[tokio::test]
async fn a_marketplace_that_is_not_there_is_like_one_that_is_lost(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let adapters = adapters(marketplace, &url.parse().unwrap(), &[]);
    let adapter = adapters.get(marketplace).unwrap();
    let (shop, items) = (shop(marketplace), [item(marketplace, 1, 5)]);
    let body = adapter.build(&shop, PUSH, &items);
    let called = adapter.send(&shop, PUSH, &items, &body).await;
    let SendOutcome::Failed(failure) = called.outcome else {
        panic!("{called:?}");
    };
    assert_eq!(failure.kind, FailureKind::Ambiguous);
    assert_eq!(failure.message, "the marketplace cannot be reached");
}

#[rstest]
#[tokio::test]
async fn an_answer_that_nobody_can_read_may_have_applied_it(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let items = place.items(&[(1, 5)]);
    let unread = FailureKind::Protocol {
        may_be_applied: true,
    };
    place.fault(Operation::Send, FaultKind::MalformedJson);
    assert_eq!(place.refused(&items).await.kind, unread);
    assert!(is_applied(&place));
    for body in [
        json!("<html>sorry</html>"),
        json!({}),
        json!([]),
        json!(""),
        json!("null"),
    ] {
        place.answers(200, body.clone());
        assert_eq!(place.refused(&items).await.kind, unread, "{body}");
    }
}

#[rstest]
#[tokio::test]
async fn an_answer_is_read_up_to_a_limit(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    place.fault(
        Operation::Send,
        FaultKind::Oversized {
            bytes: MAX_REPLY + 1,
        },
    );
    let called = place.send(&place.items(&[(1, 5)])).await;
    let SendOutcome::Failed(failure) = &called.outcome else {
        panic!("{:?}", called.outcome);
    };
    assert_eq!(
        failure.kind,
        FailureKind::Protocol {
            may_be_applied: true
        }
    );
    let response = called.exchanges.last().unwrap().response.as_ref().unwrap();
    assert_eq!(response.len(), MAX_REPLY);
}

/// The marketplace repeats all that it was told, as some error pages do.
#[rstest]
#[tokio::test]
async fn no_credential_is_left_in_the_log(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let pair = STANDARD.encode(format!("{KEY}:{SECRET}"));
    let said = format!("Authorization: Basic {pair} {KEY}:{SECRET} Bearer {TOKEN} and a \0 in it");
    place.answers(401, said);
    let called = place.send(&place.items(&[(1, 5)])).await;
    let printed = format!("{called:?}{:?}", place.shop);
    let mut secrets = match marketplace {
        Shopify | Amazon => vec![TOKEN],
        Trendyol | Hepsiburada => vec![KEY, SECRET, pair.as_str()],
        Etsy => vec![KEY, SECRET, TOKEN],
    };
    secrets.retain(|secret| printed.contains(secret));
    assert!(secrets.is_empty(), "{secrets:?} in {printed}");
    let response = called.exchanges.last().unwrap().response.as_ref().unwrap();
    // PostgreSQL stores no text with that character.
    assert!(
        response.contains("***") && !response.contains('\0'),
        "{response:?}"
    );
    let recorded = place.mock.requests();
    assert!(
        recorded
            .iter()
            .all(|request| !format!("{request:?}").contains(SECRET))
    );
}

/// What is logged of a call is what was sent and what came.
#[rstest]
#[tokio::test]
async fn a_call_says_what_it_was_and_who_sent_it(
    #[values(
        (Trendyol, "4321 - SelfIntegration"), (Hepsiburada, "SelfIntegration"),
        (Shopify, "marketplace-sync/"), (Amazon, "marketplace-sync/"), (Etsy, "marketplace-sync/"),
    )]
    (marketplace, agent): (Marketplace, &str),
) {
    let place = Place::new(marketplace).await;
    let items = place.items(&[(1, 5)]);
    let called = place.send(&items).await;
    let exchange = called.exchanges.last().unwrap();
    let request = place.mock.requests().pop().unwrap();
    assert_eq!(exchange.kind, ApiLogType::UpdateStock);
    assert_eq!(
        (exchange.method, exchange.status, &exchange.error),
        (request.method.as_str(), Some(200), &None)
    );
    assert_eq!(
        exchange.url,
        place
            .running
            .base_url()
            .join(&request.path)
            .unwrap()
            .as_str()
    );
    assert_eq!(exchange.request.as_ref(), Some(&request.body));
    assert!(
        exchange
            .response
            .as_ref()
            .is_some_and(|response| response.starts_with('{'))
    );
    assert!(exchange.duration > Duration::ZERO);
    let header = |name: &str| {
        request
            .headers
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    };
    assert_eq!(header("x-correlationid"), PUSH.to_string());
    assert_eq!(
        (header("content-type"), header("accept")),
        ("application/json", "application/json")
    );
    assert!(
        header("user-agent").starts_with(agent),
        "{}",
        header("user-agent")
    );
    assert_eq!(header("traceparent"), "");
}

#[rstest]
#[tokio::test]
async fn a_call_is_part_of_the_trace_that_made_it(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let span = SpanContext::new(
        TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        SpanId::from_hex("00f067aa0ba902b7").unwrap(),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    let context = opentelemetry::Context::new().with_remote_span_context(span);
    let items = place.items(&[(1, 5)]);
    let _: Called<SendOutcome> = place.send(&items).with_context(context).await;
    let request = place.mock.requests().pop().unwrap();
    assert_eq!(
        request.headers["traceparent"],
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    );
}

/// Etsy's inventory is written whole, and has its price in it.
#[rstest]
#[tokio::test]
async fn a_price_is_never_sent(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let items = place.items(&[(1, 5), (2, 0)]);
    let called = place.send(&items).await;
    assert!(
        !matches!(called.outcome, SendOutcome::Failed(_)),
        "{called:?}"
    );
    for request in place.mock.requests() {
        assert!(
            !request.body.to_lowercase().contains("price"),
            "{}",
            request.body
        );
    }
}

/// P8
#[rstest]
fn the_same_quantities_have_the_same_hash_in_any_order(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let adapters = adapters(marketplace, &"http://localhost".parse().unwrap(), &[]);
    let adapter = adapters.get(marketplace).unwrap();
    let shop = shop(marketplace);
    let hash = |quantities: &[(usize, i64)]| {
        let item = |(number, quantity): &(usize, i64)| item(marketplace, *number, *quantity);
        let items: Vec<_> = quantities.iter().map(item).collect();
        adapter.build(&shop, PUSH, &items).sha256
    };
    let first = hash(&[(1, 5), (2, 6), (3, 0)]);
    assert_eq!(first.len(), 64);
    assert_eq!(hash(&[(3, 0), (1, 5), (2, 6)]), first);
    for other in [
        &[(1, 5), (2, 6)][..],
        &[(1, 5), (2, 6), (3, 1)],
        &[(1, 5), (2, 6), (4, 0)],
    ] {
        assert_ne!(hash(other), first, "{other:?}");
    }
}

#[rstest]
#[tokio::test]
async fn without_credentials_nothing_is_asked(
    #[values(Trendyol, Hepsiburada, Etsy)] marketplace: Marketplace,
) {
    let mut place = Place::new(marketplace).await;
    assert!(place.adapter().has_credentials(&place.shop));
    for secret in [None, Some(SecretString::from(""))] {
        place.shop.api_secret = secret;
        assert!(!place.adapter().has_credentials(&place.shop));
        let items = place.items(&[(1, 5)]);
        let called = place.send(&items).await;
        let SendOutcome::Failed(failure) = called.outcome else {
            panic!("{called:?}");
        };
        assert_eq!(failure.kind, FailureKind::Unauthorized);
        assert!(matches!(
            place.read_back(&items).await.outcome,
            ReadOutcome::Failed(_)
        ));
    }
    assert!(place.mock.requests().is_empty());
}

#[rstest]
#[tokio::test]
async fn a_credential_that_no_header_can_have_is_said_so_and_not_shown(
    #[values(Shopify, Amazon, Etsy)] marketplace: Marketplace,
) {
    let mut place = Place::new(marketplace).await;
    place.shop.access_token = SecretString::from("token\nof-two-lines");
    let called = place.send(&place.items(&[(1, 5)])).await;
    let SendOutcome::Failed(failure) = &called.outcome else {
        panic!("{called:?}");
    };
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(
        !format!("{called:?}").contains("of-two-lines"),
        "{called:?}"
    );
    assert!(place.mock.requests().is_empty());
}

#[rstest]
fn an_adapter_knows_its_limits_and_its_rates_are_its_own(
    #[values(
        (Trendyol, Provider::Trendyol, 1000, 20_000), (Hepsiburada, Provider::Hepsiburada, 1000, 20_000),
        (Shopify, Provider::Shopify, 250, 1_000_000_000), (Amazon, Provider::Amazon, 5, 1_000_000_000),
        (Etsy, Provider::Etsy, 5, 999),
    )]
    (marketplace, provider, max_items, cap): (Marketplace, Provider, usize, i64),
) {
    let adapters = adapters(marketplace, &"http://localhost".parse().unwrap(), &[]);
    let adapter = adapters.get(marketplace).unwrap();
    let manners = adapter.manners();
    assert_eq!(adapter.provider(), provider);
    assert_eq!((manners.max_items, manners.quantity_cap), (max_items, cap));
    assert_eq!(manners.refuses_identical, marketplace == Trendyol);
    for operation in [Use::Send, Use::Poll, Use::ReadBack] {
        for bucket in adapter.buckets(&shop(marketplace), operation) {
            assert!(bucket.key.starts_with(marketplace.as_str()), "{bucket:?}");
            assert!(bucket.capacity > 0 && !bucket.per.is_zero(), "{bucket:?}");
        }
    }
}

/// Every one of them says what was read in the order that was asked for.
#[rstest]
#[tokio::test]
async fn quantities_are_read_back_in_the_order_they_were_asked_for(
    #[values(Trendyol, Hepsiburada, Shopify, Amazon)] marketplace: Marketplace,
) {
    let place = Place::new(marketplace).await;
    let items = place.items(&[(1, 5), (2, 6)]);
    place.send(&items).await;
    place.advance(2);
    let asked = place.items(&[(2, 0), (77, 0), (1, 0)]);
    assert_eq!(place.read(&asked).await, [Some(6), None, Some(5)]);
    let called = place.read_back(&asked).await;
    assert!(
        called
            .exchanges
            .iter()
            .all(|exchange| exchange.kind == ApiLogType::GetStock)
    );
}

#[test]
fn a_service_has_the_adapters_that_it_was_given() {
    let none = Adapters::with([].into());
    assert!(
        Marketplace::ALL
            .iter()
            .all(|marketplace| none.get(*marketplace).is_none())
    );
    let all = Adapters::new(&settings(&[])).unwrap();
    assert!(
        Marketplace::ALL
            .iter()
            .all(|marketplace| all.get(*marketplace).is_some())
    );
}
