//! How stores are pushed to, and whether.

use std::collections::HashMap;

use chrono::TimeDelta;
use marketplace_sync::App;
use marketplace_sync::encryption::{Keyring, rotate_secrets};
use marketplace_sync::stock::connector::Adapters;
use marketplace_sync::stock::model::ProductId;
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::catalogue::Catalogue;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};

const KEY_1: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const KEY_2: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn path(store: TestStore) -> String {
    format!("/stores/{}/stock-settings", store.id)
}

fn live() -> Value {
    json!({ "isActive": true, "sendStock": true, "stockPushMode": "LIVE" })
}

#[rstest]
#[tokio::test]
async fn a_new_store_is_not_pushed_to(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let expected = json!({
        "storeId": store.id,
        "organizationId": "org-1",
        "marketplace": "etsy",
        "externalStoreId": "shop",
        "isActive": true,
        "sendStock": false,
        "stockPushMode": "OFF",
        "live": false,
        "stockSource": "DIRECT",
        "rateMode": null,
        "listingTier": "50K",
        "listingCount": null,
        "integratorName": "SelfIntegration",
        "marketplaceEnv": "PROD",
        "storefrontCode": null,
        "hasApiKey": false,
        "hasApiSecret": false,
        "gate": {
            "open": true,
            "reason": null,
            "opensAt": null,
            "lastSentAt": null,
            "pendingCount": 0,
            "windowOpensAt": null,
            "backoffUntil": null,
            "backoffReason": null,
            "consecutiveFailures": 0,
            "batchLimit": null,
            "dailyDate": null,
            "dailyUsed": 0,
        },
    });
    assert_eq!(it.get(&path(store)).await, expected);
}

#[rstest]
#[tokio::test]
async fn what_is_changed_is_changed_and_what_is_absent_stays(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let change = json!({
        "isActive": false,
        "sendStock": true,
        "stockPushMode": "DRY_RUN",
        "rateMode": "STORE_WINDOW",
        "listingTier": "UNLIMITED",
        "listingCount": 1200,
        "integratorName": "self_dev",
        "marketplaceEnv": "STAGE",
        "storefrontCode": "TR",
    });
    let changed = it.patch(&path(store), change.clone()).await;
    for (name, value) in change.as_object().unwrap() {
        assert_eq!(&changed[name], value, "{name}");
    }
    assert_eq!(changed["live"], false);
    let after = it.patch(&path(store), json!({ "isActive": true })).await;
    let mut expected = changed;
    expected["isActive"] = json!(true);
    assert_eq!(after, expected);
    let removed = json!({ "rateMode": null, "listingCount": null, "storefrontCode": null });
    let after = it.patch(&path(store), removed.clone()).await;
    for (name, value) in removed.as_object().unwrap() {
        assert_eq!(&after[name], value, "{name}");
    }
    assert_eq!(after["integratorName"], "self_dev");
    assert_eq!(it.get(&path(store)).await, after);
}

#[rstest]
#[tokio::test]
async fn what_is_wrong_with_settings_is_said_field_by_field(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let store = it.register_on("trendyol").await;
    for (field, value) in [
        ("isActive", json!("yes")),
        ("sendStock", json!(1)),
        ("stockPushMode", json!("live")),
        ("stockSource", json!("SHELF")),
        ("rateMode", json!("")),
        ("listingTier", json!("60K")),
        ("listingCount", json!(-1)),
        ("integratorName", json!("")),
        ("integratorName", json!("Self\r\nX-Other: 1")),
        ("integratorName", json!("Self Integration")),
        ("integratorName", json!("x".repeat(31))),
        ("marketplaceEnv", json!("TEST")),
        ("storefrontCode", json!("x".repeat(65))),
        ("storefrontCode", json!("T\nR")),
        ("apiKey", json!("")),
        ("apiSecret", json!(7)),
    ] {
        let body = Some(json!({ field: value.clone() }));
        let answer = it
            .refused(Method::PATCH, &path(store), body, 400, "Validation error")
            .await;
        assert_eq!(answer["details"][0]["path"], json!([field]), "{value}");
    }
    it.patch(&path(store), json!({ "integratorName": "x".repeat(30) }))
        .await;
    let nobody = "/stores/00000000-0000-0000-0000-000000000000/stock-settings";
    it.refused(Method::GET, nobody, None, 404, "Store not found")
        .await;
    it.refused(Method::PATCH, nobody, Some(live()), 404, "Store not found")
        .await;
}

/// What a rest of a store's marketplace is believed to show: three coats that differ, one that
/// does not, one that is not listed.
async fn wardrobe(it: &Catalogue, store: TestStore) -> Vec<ProductId> {
    let mut products = Vec::new();
    for (name, confirmed) in [
        ("never", None),
        ("other", Some(6)),
        ("same", Some(7)),
        ("unlisted", None),
    ] {
        let product = it.simple(name).await;
        it.stock(store, product, 7).await;
        it.set_confirmed(store.id, product, confirmed).await;
        products.push(product);
    }
    let unlisted = super::catalogue::pair(store.id, products[3]);
    it.put(&unlisted, json!({ "isListed": false })).await;
    it.empty_queue().await;
    products
}

async fn enqueued(it: &Catalogue, store: TestStore) -> Vec<(ProductId, String, bool)> {
    let rows = it.pending(store).await.into_iter();
    rows.map(|row| (ProductId(row.product_id), row.reason, row.force))
        .collect()
}

/// Scenario 10, its second half, and the same of scenario 11: a store that becomes live is told
/// what differs, whatever kept it from being live; one that is live already is not told again.
#[rstest]
#[case(json!({ "isActive": false }), json!({ "isActive": true }))]
#[case(json!({ "sendStock": false }), json!({ "sendStock": true }))]
#[case(json!({ "stockPushMode": "OFF" }), json!({ "stockPushMode": "LIVE" }))]
#[case(json!({ "stockPushMode": "DRY_RUN" }), json!({ "stockPushMode": "LIVE" }))]
#[tokio::test]
async fn a_store_that_becomes_live_is_told_what_differs(
    #[values(Embedded, Server)] on: Profile,
    #[case] off: Value,
    #[case] change: Value,
) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    it.patch(&path(store), live()).await;
    it.patch(&path(store), off).await;
    it.app.run_jobs().await;
    let products = wardrobe(&it, store).await;
    let settings = it.patch(&path(store), change.clone()).await;
    assert_eq!(settings["live"], true);
    assert_eq!(it.app.run_jobs().await, 1, "the resync");
    let resync = || "RESYNC".to_owned();
    let expected = vec![
        (products[0], resync(), false),
        (products[1], resync(), false),
    ];
    assert_eq!(enqueued(&it, store).await, expected);

    it.empty_queue().await;
    it.patch(&path(store), change).await;
    it.patch(&path(store), json!({ "listingTier": "500K" }))
        .await;
    assert_eq!(it.app.run_jobs().await, 0);
    assert_eq!(enqueued(&it, store).await, []);
}

#[rstest]
#[tokio::test]
async fn a_store_that_tries_things_is_told_nothing(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    wardrobe(&it, store).await;
    for change in [
        json!({ "sendStock": true, "stockPushMode": "DRY_RUN" }),
        json!({ "isActive": false, "stockPushMode": "LIVE" }),
    ] {
        it.patch(&path(store), change).await;
        assert_eq!(it.app.run_jobs().await, 0);
        assert_eq!(enqueued(&it, store).await, []);
    }
}

/// What was shown in one environment says nothing of another.
#[rstest]
#[case(json!({ "marketplaceEnv": "STAGE" }))]
#[case(json!({ "storefrontCode": "DE" }))]
#[tokio::test]
async fn elsewhere_everything_is_told(
    #[values(Embedded, Server)] on: Profile,
    #[case] elsewhere: Value,
    #[values(true, false)] is_live: bool,
) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let products = wardrobe(&it, store).await;
    if is_live {
        it.patch(&path(store), live()).await;
        it.app.run_jobs().await;
        it.empty_queue().await;
    }
    it.patch(&path(store), elsewhere).await;
    if !is_live {
        assert_eq!(it.app.run_jobs().await, 0);
        it.patch(&path(store), live()).await;
    }
    assert_eq!(it.app.run_jobs().await, 1);
    let told: Vec<ProductId> = enqueued(&it, store)
        .await
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(told, products[..3]);
}

async fn stored(it: &Catalogue, store: TestStore) -> (Option<String>, Option<String>) {
    on!(&it.app.app.db, pool => sqlx::query_as(
        "SELECT api_key, api_secret FROM stores WHERE id = $1")
        .bind(store.id).fetch_one(pool).await.unwrap())
}

#[rstest]
#[tokio::test]
async fn credentials_are_stored_encrypted_and_shown_to_nobody(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("TOKEN_ENCRYPTION_KEY", KEY_1)]).await;
    let it = Catalogue { app };
    let store = it.app.register("shop").await;
    let change = json!({ "apiKey": "key-of-mine", "apiSecret": "secret-of-mine" });
    let answer = it.patch(&path(store), change).await;
    assert_eq!(
        (&answer["hasApiKey"], &answer["hasApiSecret"]),
        (&json!(true), &json!(true))
    );
    for shown in [answer, it.get(&path(store)).await] {
        assert!(!shown.to_string().contains("of-mine"), "{shown}");
    }
    let (key, secret) = stored(&it, store).await;
    for text in [key.as_ref().unwrap(), secret.as_ref().unwrap()] {
        assert!(text.starts_with("enc:v1:72cd6e84:"), "{text}");
    }
    // Other changes leave them as they are.
    it.patch(&path(store), json!({ "listingTier": "75K" }))
        .await;
    assert_eq!(stored(&it, store).await, (key, secret.clone()));
    let answer = it.patch(&path(store), json!({ "apiKey": null })).await;
    assert_eq!(
        (&answer["hasApiKey"], &answer["hasApiSecret"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(stored(&it, store).await, (None, secret));
}

#[rstest]
#[tokio::test]
async fn credentials_are_encrypted_anew_with_another_key(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("TOKEN_ENCRYPTION_KEY", KEY_1)]).await;
    let it = Catalogue { app };
    let store = it.app.register("shop").await;
    it.app.register("without").await;
    it.patch(
        &path(store),
        json!({ "apiKey": "key", "apiSecret": "secret" }),
    )
    .await;
    let keyring = Keyring::parse(&format!("{KEY_2},{KEY_1}")).unwrap();
    let rotation = rotate_secrets(&it.app.app.db, &keyring, &it.app.clock).await;
    let rotation = serde_json::to_value(rotation.unwrap().unwrap()).unwrap();
    for column in ["stores.api_key", "stores.api_secret"] {
        assert_eq!(rotation["rotated"][column], 1, "{rotation}");
    }
    assert_eq!(rotation["freedKeys"], json!(["72cd6e84"]));
    let (key, secret) = stored(&it, store).await;
    for text in [key.unwrap(), secret.unwrap()] {
        assert!(text.starts_with("enc:v1:75877bb4:"), "{text}");
    }
}

/// What the last run has left behind, as an operator sees it, here and in the summary.
#[rstest]
#[case("backoff_until", Some("RATE_LIMITED"), json!("RATE_LIMITED"))]
#[case("backoff_until", Some("whatever"), json!("BACKOFF"))]
#[case("backoff_until", None, json!("BACKOFF"))]
#[case("window_opens_at", None, json!("WINDOW"))]
#[tokio::test]
async fn a_closed_gate_is_shown_until_it_opens(
    #[values(Embedded, Server)] on: Profile,
    #[case] column: &str,
    #[case] reason: Option<&str>,
    #[case] expected: Value,
) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let (now, until) = (
        it.app.clock.now(),
        it.app.clock.now() + TimeDelta::minutes(5),
    );
    let sql = format!(
        "INSERT INTO marketplace_rate_limits (store_id, {column}, backoff_reason,
             consecutive_failures, created_at, updated_at)
         VALUES ($1, $2, $3, 2, $4, $4)"
    );
    on!(&it.app.app.db, pool => sqlx::query(sqlx::AssertSqlSafe(sql.as_str()))
        .bind(store.id).bind(until).bind(reason).bind(now)
        .execute(pool).await.map(|_| ()).unwrap());
    let gate = it.get(&path(store)).await["gate"].clone();
    let closed = json!({
        "open": false,
        "reason": expected,
        "opensAt": "2024-01-01T12:05:00.123Z",
    });
    for (name, value) in closed.as_object().unwrap() {
        assert_eq!(&gate[name], value);
    }
    assert_eq!(gate["consecutiveFailures"], 2);
    let summary = it.get("/stock-queue/summary").await;
    assert_eq!(summary["stores"][0]["gate"], closed);

    it.app.clock.advance(std::time::Duration::from_mins(5));
    let open = json!({ "open": true, "reason": null, "opensAt": null });
    assert_eq!(
        it.get("/stock-queue/summary").await["stores"][0]["gate"],
        open
    );
    assert_eq!(it.get(&path(store)).await["gate"]["open"], true);
}

#[rstest]
#[tokio::test]
async fn a_marketplace_that_nobody_speaks_to_is_said_to_be_one(
    #[values(Embedded, Server)] on: Profile,
) {
    let nobody = |app: &mut App| app.adapters = Adapters::with(HashMap::new());
    let app = TestApp::build(on, &[], nobody).await;
    let it = Catalogue { app };
    let store = it.app.register("shop").await;
    let closed = json!({ "open": false, "reason": "ADAPTER_MISSING", "opensAt": null });
    let summary = it.get("/stock-queue/summary").await;
    assert_eq!(summary["stores"][0]["gate"], closed);
    let gate = it.get(&path(store)).await["gate"].clone();
    assert_eq!(
        (&gate["open"], &gate["reason"]),
        (&closed["open"], &closed["reason"])
    );
}

#[rstest]
#[tokio::test]
async fn a_service_that_pushes_nothing_says_so(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("STOCK_PUSH_ENABLED", "false")]).await;
    let it = Catalogue { app };
    let store = it.app.register("shop").await;
    let gate = it.get(&path(store)).await["gate"].clone();
    assert_eq!(
        (&gate["open"], &gate["reason"]),
        (&json!(false), &json!("DISABLED"))
    );
}
