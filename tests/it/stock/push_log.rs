//! The routes of what marketplaces were told.

use marketplace_sync::stock::model::Reason;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::shop::Shops;
use crate::support::app::Profile::{self, Embedded, Server};

async fn three_pushes(shops: &Shops) -> Vec<jobs::StoreId> {
    let mut stores = Vec::new();
    for name in ["a", "b"] {
        stores.push(shops.live_store(name).await);
    }
    let [coat, hat] = [
        shops.list(stores[0], "coat", 5).await,
        shops.list(stores[1], "hat", 7).await,
    ];
    shops.enqueue(stores[0], &[coat], Reason::StockAdded).await;
    shops.push(stores[0]).await;
    shops.wait(60);
    shops.enqueue(stores[1], &[hat], Reason::StockAdded).await;
    shops.push(stores[1]).await;
    shops.wait(60);
    shops.change(stores[0], coat, 4, Reason::OrderCreated).await;
    shops.push(stores[0]).await;
    stores
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[rstest]
#[tokio::test]
async fn pushes_and_requests_are_listed_newest_first_and_filtered(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let stores = three_pushes(&shops).await;
    for route in ["/stock-pushes", "/api-logs"] {
        let list = async |query: &str| {
            let path = format!("{route}?organizationId=org-1{query}");
            let (status, page) = shops.app.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {page}");
            page
        };
        let all = ids(&list("").await);
        assert_eq!(all.len(), 3, "{route}");
        let of_store = ids(&list(&format!("&storeId={}", stores[0])).await);
        assert_eq!(of_store, [all[0].clone(), all[2].clone()]);
        let first = list("&limit=2").await;
        assert_eq!(ids(&first), all[..2]);
        let cursor = first["nextCursor"].as_str().unwrap();
        let second = list(&format!("&limit=2&cursor={cursor}")).await;
        assert_eq!(
            (ids(&second), &second["nextCursor"]),
            (all[2..].to_vec(), &Value::Null)
        );
        let since = "&from=2024-01-01T12:01:00Z";
        assert_eq!(ids(&list(since).await), all[..2]);
        assert_eq!(ids(&list("&to=2024-01-01T12:01:00Z").await), all[2..]);
    }
    let (_, page) = shops
        .app
        .get("/stock-pushes?organizationId=org-1&state=FAILED")
        .await;
    assert_eq!(ids(&page).len(), 0);
    for (query, count) in [
        ("provider=TRENDYOL", 3),
        ("provider=HEPSIBURADA", 0),
        ("type=UPDATE_STOCK", 3),
        ("type=GET_STOCK", 0),
        ("isSuccess=true", 3),
        ("isSuccess=false", 0),
    ] {
        let path = format!("/api-logs?organizationId=org-1&{query}");
        assert_eq!(ids(&shops.app.get(&path).await.1).len(), count, "{query}");
    }
    for bad in [
        "state=NONE",
        "limit=501",
        "from=yesterday",
        "storeId=7",
        "cursor=x",
    ] {
        let path = format!("/stock-pushes?organizationId=org-1&{bad}");
        assert_eq!(
            shops.app.get(&path).await.0,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn the_items_of_a_push_are_paged_in_the_order_they_were_sent(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 7).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    let push = shops.pushes(store).await.remove(0).id;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/stock-pushes/{push}/items?organizationId=org-1&limit=3{cursor}");
        let page = shops.app.get(&path).await.1;
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["elementNo"].clone()),
        );
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7].map(Value::from));
}

/// What another organization has is not there.
#[rstest]
#[tokio::test]
async fn nobody_sees_what_another_organization_told(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let stores = three_pushes(&shops).await;
    let push = shops.pushes(stores[0]).await.remove(0).id;
    for path in [
        format!("/stock-pushes/{push}?organizationId=org-2"),
        format!("/stock-pushes/{push}/items?organizationId=org-2"),
        format!("/stock-pushes/{}?organizationId=org-1", Uuid::nil()),
        format!("/stock-pushes?organizationId=org-2&storeId={}", stores[0]),
        format!("/api-logs?organizationId=org-2&storeId={}", stores[0]),
    ] {
        assert_eq!(
            shops.app.get(&path).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in [
        "/stock-pushes?organizationId=org-2",
        "/api-logs?organizationId=org-2",
    ] {
        assert_eq!(ids(&shops.app.get(path).await.1).len(), 0, "{path}");
    }
    for action in ["trigger", "reconcile"] {
        let path = format!(
            "/stores/{}/stock-sync/{action}?organizationId=org-2",
            stores[0]
        );
        let (status, _) = shops.app.post(&path, &json!({})).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{action}");
    }
}

#[rstest]
#[tokio::test]
async fn a_triggered_store_is_pushed_at_once_unless_it_cannot_be(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    let path = format!("/stores/{store}/stock-sync/trigger?organizationId=org-1");
    let (status, body) = shops.app.post(&path, &json!({})).await;
    assert_eq!(
        (status, &body["jobId"]),
        (StatusCode::ACCEPTED, &json!(format!("store:{store}")))
    );
    shops.app.run_jobs().await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(5));

    shops
        .set_store(store, "is_active = FALSE, stock_push_mode = 'OFF'")
        .await;
    let (status, body) = shops.app.post(&path, &json!({})).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::CONFLICT, &json!("store_not_eligible"))
    );
    assert_eq!(
        body["reasons"],
        json!(["STORE_INACTIVE", "PUSH_MODE_OFF"]),
        "{body}"
    );
}

/// With a key the same request has one effect and one answer.
#[rstest]
#[tokio::test]
async fn a_comparison_is_asked_for_once_with_a_key(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    shops.list(store, "coat", 5).await;
    let path = format!("/stores/{store}/stock-sync/reconcile?organizationId=org-1");
    for _ in 0..2 {
        let request = shops.app.http.post(shops.app.server.url(&path));
        let (status, _) = shops.app.send(request.header("Idempotency-Key", "k")).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        shops.app.run_jobs().await;
    }
    assert_eq!(shops.adapter.reads(), [["coat"]]);
}

#[rstest]
#[tokio::test]
async fn the_rollout_tells_the_phase_and_what_is_still_to_be_met(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let rollout = async || {
        let (status, body) = shops.app.get("/stock-rollout?organizationId=org-1").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    };
    let store = shops.store_on("trendyol", "a", "OFF").await;
    assert_eq!(rollout().await["phase"], 1);
    shops.set_store(store, "stock_push_mode = 'DRY_RUN'").await;
    assert_eq!(rollout().await["phase"], 2);
    shops.store_on("trendyol", "b", "DRY_RUN").await;
    shops.set_store(store, "stock_push_mode = 'LIVE'").await;
    let body = rollout().await;
    assert_eq!(
        (&body["phase"], &body["isReady"]),
        (&json!(3), &json!(false))
    );

    let set = shops.product(Some("set"), "SET").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.list_product(store, set, 0).await;
    shops.make_of(set, &[(coat, 2)]).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    marketplace_sync::stock::enqueue_comparisons(&shops.app.app)
        .await
        .unwrap();
    shops.app.run_jobs().await;
    let body = rollout().await;
    assert_eq!(body["isReady"], true, "{body}");
    shops.store_on("trendyol", "c", "LIVE").await;
    let body = rollout().await;
    assert_eq!(
        (&body["phase"], &body["isReady"]),
        (&json!(4), &json!(false)),
        "{body}"
    );
}
