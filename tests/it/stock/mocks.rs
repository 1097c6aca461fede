//! The mock marketplaces, as people and other processes use them.

use std::io::{Read, Write};

use chrono::TimeDelta;
use marketplace_sync::clock::Clock;
use marketplace_sync::marketplace::connector::http_client;
use marketplace_sync::marketplace::model::Marketplace::Trendyol;
use marketplace_sync::stock::connector::{ItemOutcome, PollOutcome};
use marketplace_sync::stock::mock::hepsiburada::HepsiburadaRules;
use marketplace_sync::stock::mock::trendyol::TrendyolRules;
use marketplace_sync::stock::mock::{
    Catalogue, Fault, FaultKind, MockMarketplace, Operation, Options,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::marketplaces::{KEY, Place, SECRET, SELLER};
use crate::support::marketplace::{PATIENCE, noon};

/// Asks the mock something of its own.
pub(super) async fn control(
    url: &str,
    method: Method,
    path: &str,
    body: &Value,
) -> (StatusCode, Value) {
    let client = http_client(PATIENCE).unwrap();
    let url = format!("{}/__mock/{path}", url.trim_end_matches('/'));
    let mut request = client.request(method, url);
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Tells a mock Trendyol quantities; gives the status.
async fn tell(url: &str, seller: &str, quantities: &[(&str, i64)]) -> StatusCode {
    let items: Vec<Value> = quantities
        .iter()
        .map(|(barcode, quantity)| json!({ "barcode": barcode, "quantity": quantity }))
        .collect();
    let url = format!(
        "{}/integration/inventory/sellers/{seller}/products/price-and-inventory",
        url.trim_end_matches('/')
    );
    let request = http_client(PATIENCE)
        .unwrap()
        .post(url)
        .basic_auth(KEY, Some(SECRET));
    request
        .json(&json!({ "items": items }))
        .send()
        .await
        .unwrap()
        .status()
}

#[tokio::test]
async fn its_state_has_every_quantity_and_every_request_in_the_order_it_came() {
    let place = Place::new(Trendyol).await;
    let url = place.running.base_url().to_string();
    let items = place.items(&[(1, 5), (2, 6)]);
    let id = place.accepted(&items).await;
    place.poll(&id, &items).await;
    assert_eq!(
        tell(&url, "another", &[("8680001", 9)]).await,
        StatusCode::OK
    );
    place.advance(1);
    let (status, state) = control(&url, Method::GET, "state", &Value::Null).await;
    assert_eq!(
        (status, &state["now"]),
        (StatusCode::OK, &json!("2024-01-01T12:00:01.123Z"))
    );
    let quantity = |seller: &str, barcode: &str| {
        let items = state["items"].as_array().unwrap();
        let found = items
            .iter()
            .find(|item| item["seller"] == seller && item["identifier"] == barcode);
        found.unwrap()["quantity"].clone()
    };
    assert_eq!(
        (quantity(SELLER, "8680001"), quantity(SELLER, "8680009")),
        (json!(5), json!(0))
    );
    assert_eq!(quantity("another", "8680001"), json!(9));
    let requests = state["requests"].as_array().unwrap();
    let numbers: Vec<&Value> = requests.iter().map(|request| &request["number"]).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let operations: Vec<&Value> = requests
        .iter()
        .map(|request| &request["operation"])
        .collect();
    assert_eq!(operations, ["send", "poll", "send"]);
    assert_eq!(
        requests[0]["body"]["items"][1],
        json!({ "barcode": "8680002", "quantity": 6 })
    );
    assert_eq!(
        (&requests[0]["status"], &requests[0]["method"]),
        (&json!(200), &json!("POST"))
    );
    assert_eq!(requests[0]["headers"]["authorization"], Value::Null);
    assert_eq!(
        (
            &state["batches"][0]["id"],
            &state["batches"][0]["isApplied"]
        ),
        (&json!(id), &json!(true))
    );
    let (_, one) = control(&url, Method::GET, "state?seller=another", &Value::Null).await;
    assert_eq!(one["requests"].as_array().unwrap().len(), 1);
    assert!(
        one["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["seller"] == "another")
    );
}

#[tokio::test]
async fn time_goes_ahead_by_a_request() {
    let place = Place::new(Trendyol).await;
    let url = place.running.base_url().to_string();
    let items = place.items(&[(1, 5)]);
    let id = place.accepted(&items).await;
    let (status, answer) = control(
        &url,
        Method::POST,
        "clock",
        &json!({ "advanceSeconds": 900 }),
    )
    .await;
    assert_eq!(
        (status, &answer["now"]),
        (StatusCode::OK, &json!("2024-01-01T12:15:00.123Z"))
    );
    assert_eq!(place.results(&id, &items).await, [ItemOutcome::Confirmed]);
    place.accepted(&items).await;
    for bad in [
        json!({ "advanceSeconds": -1 }),
        json!({}),
        json!({ "advanceSeconds": 1, "more": 1 }),
    ] {
        let (status, answer) = control(&url, Method::POST, "clock", &bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(answer["error"].is_string());
    }
    // Any number of times, and never beyond all dates.
    for _ in 0..3 {
        let (status, _) = control(
            &url,
            Method::POST,
            "clock",
            &json!({ "advanceSeconds": u32::MAX }),
        )
        .await;
        assert_eq!(status, StatusCode::OK);
    }
}

#[tokio::test]
async fn faults_are_set_listed_used_up_and_taken_away() {
    let place = Place::new(Trendyol).await;
    let url = place.running.base_url().to_string();
    let post = |body: Value| {
        let url = url.clone();
        async move { control(&url, Method::POST, "faults", &body).await }
    };
    let wanted = json!({ "fault": "status", "status": 502, "applied": true, "operation": "send", "times": 2 });
    assert_eq!(post(wanted).await.0, StatusCode::OK);
    let (_, list) = post(json!({ "fault": "rateLimit", "retryAfterSeconds": 7 })).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let mut answers = Vec::new();
    for quantity in 1..=4 {
        answers.push(tell(&url, SELLER, &[("8680001", quantity)]).await.as_u16());
    }
    assert_eq!(answers, [429, 502, 502, 200]);
    let batches = place.mock.look(|world| world.batches.len());
    assert_eq!(batches, 3, "what was answered 502 was done all the same");
    let (_, list) = control(&url, Method::GET, "faults", &Value::Null).await;
    assert_eq!(list, json!({ "items": [] }));
    post(json!({ "fault": "dropBefore", "rate": 1.0 })).await;
    let (_, list) = control(&url, Method::GET, "faults", &Value::Null).await;
    assert_eq!(
        list["items"],
        json!([{ "fault": "dropBefore", "rate": 1.0 }])
    );
    control(&url, Method::DELETE, "faults", &Value::Null).await;
    assert_eq!(tell(&url, SELLER, &[("8680001", 9)]).await, StatusCode::OK);
    for bad in [
        json!({ "fault": "somethingElse" }),
        json!({ "fault": "status" }),
        json!({ "fault": "status", "status": 99 }),
        json!({ "fault": "dropBefore", "rate": 1.5 }),
        json!({ "fault": "dropBefore", "operation": "fly" }),
        json!({ "fault": "oversized", "bytes": 1_u64 << 40 }),
    ] {
        assert_eq!(post(bad.clone()).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn faults_by_chance_are_the_same_with_the_same_seed() {
    let statuses = async |seed| {
        let options = Options {
            seed,
            ..Options::default()
        };
        let rules = TrendyolRules {
            has_limits: false,
            ..TrendyolRules::default()
        };
        let mock = MockMarketplace::new(rules, options, Clock::manual(noon()));
        mock.fault(Fault::by_rate(
            0.3,
            FaultKind::Status {
                status: 500,
                body: None,
                applied: false,
            },
        ));
        let running = mock.serve(0).await.unwrap();
        let mut statuses = Vec::new();
        for quantity in 0..60 {
            statuses.push(
                tell(running.base_url().as_str(), SELLER, &[("1", quantity)])
                    .await
                    .as_u16(),
            );
        }
        statuses
    };
    let first = statuses(7).await;
    assert_eq!(first, statuses(7).await);
    assert_ne!(first, statuses(8).await);
    let failed = first.iter().filter(|status| **status == 500).count();
    assert!((6..=30).contains(&failed), "{failed} of 60");
}

#[tokio::test]
async fn a_batch_can_be_applied_after_those_that_came_later() {
    let place = Place::new(Trendyol).await;
    place.fault(Operation::Send, FaultKind::ApplyLate { delay_seconds: 30 });
    let old = place.items(&[(1, 5)]);
    let late = place.accepted(&old).await;
    place.accepted(&place.items(&[(1, 4)])).await;
    place.advance(1);
    assert_eq!(place.shows(1), Some(4));
    assert_eq!(place.poll(&late, &old).await.outcome, PollOutcome::Pending);
    place.advance(30);
    assert_eq!(place.shows(1), Some(5), "the stale quantity came last");
}

#[tokio::test]
async fn an_order_at_the_marketplace_lowers_what_it_shows() {
    let place = Place::new(Trendyol).await;
    let url = place.running.base_url().to_string();
    place.accepted(&place.items(&[(1, 10)])).await;
    place.advance(1);
    let sale =
        |quantity: i64| json!({ "seller": SELLER, "identifier": "8680001", "quantity": quantity });
    let (_, left) = control(&url, Method::POST, "sell", &sale(1)).await;
    assert_eq!((left, place.shows(1)), (json!({ "quantity": 9 }), Some(9)));
    let (_, left) = control(&url, Method::POST, "sell", &sale(100)).await;
    assert_eq!(left, json!({ "quantity": 0 }));
    let unknown = json!({ "seller": SELLER, "identifier": "?", "quantity": 1 });
    assert_eq!(
        control(&url, Method::POST, "sell", &unknown).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_reset_forgets_everything_but_what_it_was_started_with() {
    let place = Place::new(Trendyol).await;
    let url = place.running.base_url().to_string();
    let items = place.items(&[(1, 5)]);
    place.accepted(&items).await;
    place.advance(900);
    place.mock.fault(Fault::by_rate(1.0, FaultKind::DropBefore));
    assert_eq!(
        control(&url, Method::POST, "reset", &Value::Null).await.0,
        StatusCode::OK
    );
    let (_, state) = control(&url, Method::GET, "state", &Value::Null).await;
    assert_eq!(
        state,
        json!({ "now": "2024-01-01T12:00:00.123Z", "items": [], "batches": [], "requests": [] })
    );
    place.accepted(&items).await;
    assert_eq!(place.shows(9), Some(0));
}

#[tokio::test]
async fn whoever_waits_is_told_when_quantities_are_applied() {
    let rules = TrendyolRules {
        applies_after: TimeDelta::milliseconds(50),
        ..TrendyolRules::default()
    };
    let mock = MockMarketplace::new(rules, Options::default(), Clock::system());
    let running = mock.serve(0).await.unwrap();
    let shows = mock.wait_until(|world| world.quantity(SELLER, "1") == Some(5));
    let told = async {
        assert_eq!(
            tell(running.base_url().as_str(), SELLER, &[("1", 5)]).await,
            StatusCode::OK
        );
    };
    let both = async { tokio::join!(shows, told) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
}

/// No byte of an answer comes, not even a status.
#[tokio::test]
async fn a_dropped_connection_ends_without_a_word() {
    let place = Place::new(Trendyol).await;
    place.mock.fault(Fault {
        operation: None,
        ..Fault::once(Operation::Read, FaultKind::DropBefore)
    });
    let address = place.running.address;
    let heard = tokio::task::spawn_blocking(move || {
        let mut line = std::net::TcpStream::connect(address).unwrap();
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        let path = "/integration/product/sellers/1/products/batch-requests/x";
        write!(line, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut heard = Vec::new();
        // The end of the connection, in order or not.
        line.read_to_end(&mut heard).ok();
        heard
    });
    assert_eq!(heard.await.unwrap(), b"");
    let request = place.mock.requests().pop().unwrap();
    assert_eq!((request.number, request.status), (1, None));
}

/// What nobody listed is learnt.
#[tokio::test]
async fn without_a_list_of_items_it_knows_what_it_hears_of() {
    let mock = MockMarketplace::new(
        HepsiburadaRules::default(),
        Options::default(),
        Clock::manual(noon()),
    );
    assert_eq!(mock.quantity("m", "SKU"), None);
    let catalogue = Catalogue::default();
    assert!(catalogue.len().is_none() && !catalogue.is_empty());
    assert!(Catalogue::of([]).is_empty());
    assert!(mock.look(|world| world.knows("m", "SKU")));
}
