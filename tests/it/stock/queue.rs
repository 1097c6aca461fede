//! The stock queue, as operators see it and add to it.

use std::time::Duration;

use marketplace_sync::stock::enqueue;
use marketplace_sync::stock::model::{ProductId, Reason};
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue::Catalogue;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestStore};

async fn put(it: &Catalogue, store: TestStore, product: ProductId, reason: Reason) {
    let mut tx = it.app.app.db.write().await.unwrap();
    let now = it.app.clock.now();
    enqueue(&mut tx, store.id, &[product], reason, false, now)
        .await
        .unwrap();
    tx.save().await.unwrap();
}

/// Two stores with two products each. What was there is done; then a minute apart: a coat in the
/// first store, a glove in the second, a glove in the first.
struct Stores {
    it: Catalogue,
    first: TestStore,
    second: TestStore,
    coat: ProductId,
    glove: ProductId,
}

impl Stores {
    async fn new(on: Profile) -> Self {
        let it = Catalogue::start(on).await;
        let [first, second] = [
            it.app.register("first").await,
            it.app.register("second").await,
        ];
        let [coat, glove] = [it.simple("coat").await, it.simple("glove").await];
        for store in [first, second] {
            for product in [coat, glove] {
                it.stock(store, product, 7).await;
            }
        }
        it.empty_queue().await;
        for (store, product, reason) in [
            (first, coat, Reason::StockAdded),
            (second, glove, Reason::OrderCreated),
            (first, glove, Reason::Reconcile),
        ] {
            it.app.clock.advance(Duration::from_mins(1));
            put(&it, store, product, reason).await;
        }
        Self {
            it,
            first,
            second,
            coat,
            glove,
        }
    }

    async fn found(&self, query: &str) -> Vec<(String, String, String)> {
        let page = self.it.get(&format!("/stock-queue?{query}")).await;
        let named = |row: &Value| {
            let store = if row["storeId"] == json!(self.first.id) {
                "first"
            } else {
                "second"
            };
            let product = if row["productId"] == json!(self.coat) {
                "coat"
            } else {
                "glove"
            };
            let reason = row["reason"].as_str().unwrap();
            (store.to_owned(), product.to_owned(), reason.to_owned())
        };
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(named)
            .collect()
    }
}

fn rows(named: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let owned = |(a, b, c): &(&str, &str, &str)| ((*a).into(), (*b).into(), (*c).into());
    named.iter().map(owned).collect()
}

#[rstest]
#[tokio::test]
async fn the_queue_is_shown_the_newest_first(#[values(Embedded, Server)] on: Profile) {
    let all = Stores::new(on).await;
    let it = &all.it;
    let (first, second, glove) = (all.first.id, all.second.id, all.glove);
    let a = ("first", "coat", "STOCK_ADDED");
    let b = ("second", "glove", "ORDER_CREATED");
    let c = ("first", "glove", "RECONCILE");
    for (query, expected) in [
        ("status=PENDING".to_owned(), vec![c, b, a]),
        (format!("status=PENDING&storeId={first}"), vec![c, a]),
        (format!("status=PENDING&productId={glove}"), vec![c, b]),
        ("status=PENDING&reason=ORDER_CREATED".to_owned(), vec![b]),
        (format!("reason=STOCK_ADDED&storeId={second}"), vec![]),
        ("overdue=true".to_owned(), vec![]),
        ("status=PENDING&overdue=false".to_owned(), vec![c, b, a]),
    ] {
        assert_eq!(all.found(&query).await, rows(&expected), "{query}");
    }
    assert_eq!(all.found("").await.len(), 7);
    assert_eq!(all.found("status=PROCESSED").await.len(), 4);

    let page = it.get("/stock-queue?status=PENDING&limit=1").await;
    let mut row = page["items"][0].clone();
    row["id"].take();
    let expected = json!({
        "id": null,
        "productId": glove,
        "storeId": first,
        "status": "PENDING",
        "reason": "RECONCILE",
        "priority": 50,
        "force": false,
        "version": 1,
        "attempts": 0,
        "createdAt": "2024-01-01T12:03:00.123Z",
        "lastEnqueuedAt": "2024-01-01T12:03:00.123Z",
        "nextAttemptAt": "2024-01-01T12:03:00.123Z",
        "overdue": false,
        "processedAt": null,
        "outcome": null,
        "pushId": null,
        "lastError": null,
    });
    assert_eq!(row, expected);

    // What has waited for more than five minutes has waited for too long.
    it.app.clock.advance(Duration::from_secs(4 * 60 + 1));
    for (query, expected) in [
        ("overdue=true", vec![b, a]),
        ("status=PENDING&overdue=true", vec![b, a]),
        ("status=PENDING&overdue=false", vec![c]),
        ("status=PROCESSED&overdue=true", vec![]),
    ] {
        assert_eq!(all.found(query).await, rows(&expected), "{query}");
    }
    it.empty_queue().await;
    let page = it.get("/stock-queue?limit=1").await;
    let row = &page["items"][0];
    assert_eq!(
        (&row["status"], &row["outcome"], &row["overdue"]),
        (&json!("PROCESSED"), &json!("SENT"), &json!(false))
    );
    for query in [
        "status=DONE",
        "reason=X",
        "storeId=7",
        "productId=",
        "overdue=1",
        "limit=501",
    ] {
        let path = format!("/stock-queue?{query}");
        it.refused(Method::GET, &path, None, 400, "Validation error")
            .await;
    }
}

/// Over several stores, whatever their share, and rows of the same instant.
#[rstest]
#[tokio::test]
async fn the_queue_comes_by_pages(#[values(Embedded, Server)] on: Profile) {
    let all = Stores::new(on).await;
    for query in ["", "&status=PENDING", "&status=PROCESSED"] {
        let whole = all.it.get(&format!("/stock-queue?limit=500{query}")).await;
        let whole = whole["items"].as_array().unwrap().clone();
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = all
                .it
                .get(&format!("/stock-queue?limit=2{query}{cursor}"))
                .await;
            seen.extend(page["items"].as_array().unwrap().clone());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, whole, "{query}");
    }
}

#[rstest]
#[tokio::test]
async fn the_queue_is_summed_up(#[values(Embedded, Server)] on: Profile) {
    let all = Stores::new(on).await;
    all.it.app.clock.advance(Duration::from_secs(4 * 60 + 1));
    let store = |store: TestStore, pending: i64, overdue: i64, age: i64| {
        json!({
            "storeId": store.id,
            "marketplace": "etsy",
            "pending": pending,
            "overdue": overdue,
            "oldestAgeSeconds": age,
            "gate": { "open": true, "reason": null, "opensAt": null },
        })
    };
    let expected = json!({
        "pending": 3,
        "overdue": 2,
        "oldestAgeSeconds": 361,
        "byPriority": [
            { "priority": 100, "pending": 1 },
            { "priority": 70, "pending": 1 },
            { "priority": 50, "pending": 1 },
        ],
        "stores": [store(all.first, 2, 1, 361), store(all.second, 1, 1, 301)],
    });
    assert_eq!(all.it.get("/stock-queue/summary").await, expected);
    all.it.empty_queue().await;
    let summary = all.it.get("/stock-queue/summary").await;
    assert_eq!(summary["pending"], 0);
    assert_eq!(summary["oldestAgeSeconds"], Value::Null);
    assert_eq!(summary["byPriority"], json!([]));
    let (_, nobodys) = all
        .it
        .app
        .get("/stock-queue/summary?organizationId=org-2")
        .await;
    let nothing = json!({
        "pending": 0,
        "overdue": 0,
        "oldestAgeSeconds": null,
        "byPriority": [],
        "stores": [],
    });
    assert_eq!(nobodys, nothing);
}

#[rstest]
#[tokio::test]
async fn whoever_says_so_puts_products_and_their_sets_into_the_queue(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let [coat, glove] = [it.simple("coat").await, it.simple("glove").await];
    let set = it.set("set", &[(coat, 1)]).await;
    for product in [coat, glove, set] {
        it.stock(store, product, 7).await;
    }
    it.empty_queue().await;
    let body = |products: &[ProductId]| json!({ "organizationId": "org-1", "storeId": store.id, "productIds": products });
    let nobody = ProductId(Uuid::nil());
    let (status, answer) = it.app.post("/stock-queue", &body(&[coat, nobody])).await;
    assert_eq!(
        (status, answer),
        (StatusCode::ACCEPTED, json!({ "enqueued": 2 }))
    );
    for product in [coat, set] {
        let row = it.pending_of(store, product).await.unwrap();
        assert_eq!(
            (row.reason.as_str(), row.priority, row.force),
            ("MANUAL", 50, true)
        );
    }
    // Unless somebody says that it is not worth a request if the marketplace shows it.
    let mut unforced = body(&[glove]);
    unforced["force"] = json!(false);
    let (_, answer) = it.app.post("/stock-queue", &unforced).await;
    assert_eq!(answer, json!({ "enqueued": 1 }));
    assert!(!it.pending_of(store, glove).await.unwrap().force);

    let too_many = vec![coat; 1001];
    for (field, value) in [
        ("organizationId", json!("")),
        ("storeId", json!("shop")),
        ("productIds", json!([])),
        ("productIds", json!(too_many)),
        ("productIds", json!(coat)),
        ("force", json!("yes")),
    ] {
        let mut bad = body(&[coat]);
        bad[field] = value;
        let (status, answer) = it.app.post("/stock-queue", &bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(answer["details"][0]["path"], json!([field]));
    }
    let mut bad = body(&[coat]);
    bad["productIds"] = json!([coat, "x"]);
    let (_, answer) = it.app.post("/stock-queue", &bad).await;
    assert_eq!(answer["details"][0]["path"], json!(["productIds", 1]));
    let mut foreign = body(&[coat]);
    foreign["organizationId"] = json!("org-2");
    let (status, answer) = it.app.post("/stock-queue", &foreign).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::NOT_FOUND, &json!("Store not found"))
    );
}
