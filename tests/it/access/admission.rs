//! How many requests are at work at the same time, and whose.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use jobs::StoreId;
use reqwest::Response;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, store_body};

/// The longest a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store of an organization, whose token was used before.
async fn store_of(app: &TestApp, organization_id: &str, name: &str) -> TestStore {
    let mut body = store_body(name);
    body["organizationId"] = organization_id.into();
    let (_, answer) = app.post("/stores/register", &body).await;
    TestStore {
        id: StoreId(answer["storeId"].as_str().unwrap().parse().unwrap()),
        token: answer["syncToken"].as_str().unwrap().parse().unwrap(),
    }
}

async fn import(app: &TestApp, store: TestStore, receipt: &str) -> Response {
    let body = json!({ "syncToken": store.token, "receipt": receipt });
    let request = app.http.post(app.server.url("/orders/import")).json(&body);
    timeout(PATIENCE, request.send()).await.unwrap().unwrap()
}

/// What a 503 has to say.
async fn overloaded(answer: Response) {
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "overloaded");
    assert_eq!(problem["type"], "/problems/overloaded");
}

/// Taken places, and requests that were sent away.
fn figures(app: &TestApp) -> (i64, u64) {
    let figures = &app.app.metrics.admission;
    (figures.places.taken.get(), figures.refused.get())
}

/// The marketplace of one organization does not answer, and it sends more and more, with the
/// tokens of two stores: it gets half of the places, and what is too much is refused soon.
#[rstest]
#[tokio::test]
async fn the_flood_of_one_organization_keeps_no_other_out(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("MAX_REQUESTS", "8")]).await;
    let flooding = [
        store_of(&app, "org-1", "shop-1").await,
        store_of(&app, "org-1", "shop-2").await,
    ];
    let other = store_of(&app, "org-2", "shop-3").await;
    app.marketplace.hold_only("slow");
    let flood = (0..20).map(|number| import(&app, flooding[number % 2], "slow"));
    let mut flood: FuturesUnordered<_> = flood.collect();
    let mut refused = 0;
    while refused < 16 {
        let answer = timeout(PATIENCE, flood.next()).await.unwrap().unwrap();
        overloaded(answer).await;
        refused += 1;
        let new = import(&app, other, &format!("order-{refused}")).await;
        assert_eq!(new.status(), 200, "nobody else hears of it");
        app.sync_status(other).await;
    }
    assert_eq!(figures(&app), (4, 16));
    app.marketplace.release();
    while let Some(answer) = flood.next().await {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(figures(&app), (0, 16));
    assert_eq!(import(&app, flooding[0], "later").await.status(), 200);
}

/// Requests that come together do not fail because of that.
#[rstest]
#[tokio::test]
async fn whoever_has_to_wait_a_moment_is_answered(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("MAX_REQUESTS", "2")]).await;
    let store = store_of(&app, "org-1", "shop").await;
    app.marketplace.hold_only("first");
    let first = import(&app, store, "first");
    let others = async {
        app.marketplace.asked("first").await;
        let second = import(&app, store, "second");
        let release = async {
            let waiting = &app.app.metrics.admission.places.waiting;
            crate::support::runs::until(async || waiting.get() == 1).await;
            app.marketplace.release();
        };
        futures::join!(second, release).0
    };
    let (first, second) = futures::join!(first, others);
    assert!(first.status() == 200 && second.status() == 200);
}

/// Whoever sends requests and leaves has no more at work than others.
#[rstest]
#[tokio::test]
async fn work_that_goes_on_without_its_client_keeps_its_place(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("MAX_REQUESTS", "2")]).await;
    let store = store_of(&app, "org-1", "shop").await;
    app.marketplace.hold();
    let leaves = import(&app, store, "order-1");
    let asked = app.marketplace.asked("order-1");
    tokio::select! {
        _ = leaves => panic!("the marketplace does not answer"),
        () = asked => {}
    }
    overloaded(import(&app, store, "order-2").await).await;
    assert_eq!(app.marketplace.calls_of("order-2"), 0);
    app.marketplace.release();
    app.app.tasks.close();
    timeout(PATIENCE, app.app.tasks.wait()).await.unwrap();
    assert_eq!(figures(&app).0, 0);
}

/// Where every place is taken, those who look after the process still find it.
#[rstest]
#[tokio::test]
async fn probes_and_pages_need_no_place(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("MAX_REQUESTS", "2")]).await;
    let stores = [
        store_of(&app, "org-1", "shop-1").await,
        store_of(&app, "org-2", "shop-2").await,
        store_of(&app, "org-3", "shop-3").await,
    ];
    app.marketplace.hold();
    let held = join_all([
        import(&app, stores[0], "order-1"),
        import(&app, stores[1], "order-2"),
    ]);
    let looks = async {
        app.marketplace.in_flight(2).await;
        overloaded(import(&app, stores[2], "order-3").await).await;
        for path in ["/health/live", "/health/ready", "/openapi.json", "/docs"] {
            assert_eq!(app.get(path).await.0, 200, "{path}");
        }
        app.marketplace.release();
    };
    let (held, ()) = futures::join!(held, looks);
    assert!(held.iter().all(|answer| answer.status() == 200));
}

/// A batch is as much work as many receipts.
#[rstest]
#[tokio::test]
async fn a_large_batch_takes_several_places(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("MAX_REQUESTS", "40")]).await;
    let store = store_of(&app, "org-1", "shop").await;
    app.marketplace.hold();
    let receipts: Vec<String> = (0..100).map(|number| format!("order-{number}")).collect();
    let body = json!({ "syncToken": store.token, "receipts": receipts });
    let batch = app.post("/orders/import/batch", &body);
    let look = async {
        app.marketplace.asked("order-0").await;
        assert_eq!(figures(&app), (4, 0));
        app.marketplace.release();
    };
    let ((status, _), ()) = futures::join!(batch, look);
    assert_eq!(status, 200);
    assert_eq!(figures(&app).0, 0);
}
