//! Stores that are not pushed to, and those that only try it out.

use marketplace_sync::stock::model::Reason;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;

use super::crashes::poll_times;
use super::shop::{Shops, push_in};
use crate::support::app::Profile::{self, Embedded, Server};

/// Scenario 10.
#[rstest]
#[tokio::test]
async fn rows_of_a_store_that_is_off_are_closed_and_told_when_it_is_on(
    #[values(Embedded, Server)] on: Profile,
    #[values("is_active = FALSE", "send_stock = FALSE", "stock_push_mode = 'OFF'")] off: &str,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[coat, hat], Reason::StockAdded).await;
    shops.minute().await;
    shops.set_store(store, off).await;
    shops.change(store, coat, 4, Reason::OrderCreated).await;
    shops.minute().await;
    assert_eq!(shops.adapter.requests().len(), 1);
    assert_eq!(shops.outcomes(store).await["SKIPPED_STORE_DISABLED"], 1);

    let path = format!("/stores/{store}/stock-settings?organizationId=org-1");
    let patch = shops.app.http.patch(shops.app.server.url(&path));
    let change = json!({ "isActive": true, "sendStock": true, "stockPushMode": "LIVE" });
    let (status, body) = shops.app.send(patch.json(&change)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    shops.app.run_jobs().await;
    shops.minute().await;
    assert_eq!(
        shops.adapter.requests()[1..],
        [[("coat".to_owned(), 4)]],
        "what differs"
    );
    assert_eq!(shops.pending(store).await, []);
}

/// Scenario 11.
#[rstest]
#[tokio::test]
async fn a_dry_run_writes_down_what_it_would_send(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.store_on("trendyol", "shop", "DRY_RUN").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.enqueue(store, &[hat], Reason::OrderCreated).await;
    shops.minute().await;
    assert_eq!(shops.adapter.arrivals(), []);
    assert_eq!(shops.outcomes(store).await["DRY_RUN"], 2);
    let pair = shops.pair(store, coat).await;
    assert_eq!(
        (
            pair.last_pushed_quantity,
            pair.last_confirmed_quantity,
            pair.in_flight_push_id
        ),
        (None, None, None)
    );
    let pushes = shops.app.get("/stock-pushes?organizationId=org-1").await.1;
    let push = &pushes["items"][0];
    assert_eq!(
        (&push["state"], &push["sentAt"]),
        (&json!("DRY_RUN"), &json!(null))
    );
    let path = format!(
        "/stock-pushes/{}?organizationId=org-1",
        push["id"].as_str().unwrap()
    );
    let push = shops.app.get(&path).await.1;
    assert_eq!(push["body"], "hat=7,coat=5");
    let items = shops.app.get(&path.replace('?', "/items?")).await.1;
    assert_eq!(items["items"][0]["state"], "DRY_RUN");
    assert_eq!(items["items"][0]["externalBarcode"], "hat");

    let path = format!("/stores/{store}/stock-settings?organizationId=org-1");
    let patch = shops.app.http.patch(shops.app.server.url(&path));
    shops
        .app
        .send(patch.json(&json!({ "stockPushMode": "LIVE" })))
        .await;
    shops.app.run_jobs().await;
    shops.minute().await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(5));
    assert_eq!(shops.adapter.shown(store, "hat"), Some(7));
}

/// A run that takes a store for switched off closes nothing that a store which is live by now
/// has to be told.
#[rstest]
#[tokio::test]
async fn nothing_is_closed_of_a_store_that_has_become_live(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    for mode in ["OFF", "DRY_RUN"] {
        let change = format!("stock_push_mode = '{mode}'");
        shops.set_store(store, &change).await;
        // However far the run is when the store becomes live.
        for polls in 1.. {
            shops.set_store(store, &change).await;
            // For each row to be the last one when it is written.
            shops.wait(1);
            shops.force(store, coat, Reason::Manual).await;
            let mut run = Box::pin(push_in(&shops.app.app, store));
            if poll_times(&mut run, polls).await.is_some() {
                break;
            }
            let switch = async {
                shops.set_store(store, "stock_push_mode = 'LIVE'").await;
                shops.wait(1);
                shops.force(store, coat, Reason::Resync).await;
            };
            let (ended, ()) = tokio::join!(run, switch);
            ended.unwrap();
            shops.push(store).await;
            let last = shops.rows(store).await.pop().unwrap();
            assert_eq!(
                last.outcome.as_deref(),
                Some("SENT"),
                "{mode}, after {polls} polls"
            );
        }
    }
}
