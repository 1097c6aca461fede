//! What the routes of movements answer when something is wrong.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::goods::{ORG, line};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};

/// An id of nobody.
const NOBODY: &str = "018cc251-f400-7000-8000-000000000009";

#[rstest]
#[tokio::test]
async fn a_bad_order_is_told_everything_that_is_wrong(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let path = format!("/stores/{}/reservations?{ORG}", store.id);
    let body = json!({
        "orderRef": "",
        "mode": "MAYBE",
        "lines": [
            { "barcode": "a", "quantity": 1 },
            { "barcode": "a", "sku": "b", "quantity": 1 },
            { "quantity": 0 },
            { "productId": "a", "quantity": 1_000_001 },
            7,
        ],
    });
    let (status, body) = app.post(&path, &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let details = body["details"].as_array().unwrap().iter();
    let found: Vec<(Value, &str)> = details
        .map(|detail| (detail["path"].clone(), detail["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (json!(["orderRef"]), "too_short"),
        (json!(["mode"]), "invalid_enum_value"),
        (json!(["lines", 1, "productId"]), "invalid_request"),
        (json!(["lines", 2, "quantity"]), "out_of_range"),
        (json!(["lines", 2, "productId"]), "invalid_request"),
        (json!(["lines", 3, "productId"]), "invalid_uuid"),
        (json!(["lines", 3, "quantity"]), "out_of_range"),
        (json!(["lines", 4]), "invalid_type"),
    ];
    assert_eq!(found, expected);
    for (lines, code) in [
        (json!([]), "too_short"),
        (json!({}), "invalid_type"),
        (json!(vec![line("a", 1); 501]), "too_long"),
    ] {
        let (status, body) = app
            .post(&path, &json!({ "orderRef": "o", "lines": lines }))
            .await;
        assert_eq!(
            (status, &body["details"][0]["code"]),
            (StatusCode::BAD_REQUEST, &json!(code))
        );
    }
    assert_eq!(
        app.count("SELECT COUNT(*) FROM stock_reservations").await,
        0
    );
}

#[rstest]
#[tokio::test]
async fn what_is_not_there_is_not_found(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await.id;
    let (warehouse, shelf) = app.warehouse("IST", &[]).await;
    let coat = app.product("coat").await;
    let order = json!({ "orderRef": "o-1", "lines": [line("coat", 1)] });
    let moved = json!({ "productId": coat, "quantity": 1 });
    let strange = json!({ "productId": NOBODY, "quantity": 1 });
    let counted = json!({ "type": "DELTA", "quantity": 1 });
    let linked = json!({ "storeIds": [NOBODY] });
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    for (method, path, body, error) in [
        (
            &post,
            format!("/stores/{NOBODY}/reservations"),
            &order,
            "Store not found",
        ),
        (
            &get,
            format!("/stores/{NOBODY}/reservations/o-1"),
            &Value::Null,
            "Store not found",
        ),
        (
            &post,
            format!("/stores/{NOBODY}/reservations/o-1/release"),
            &Value::Null,
            "Store not found",
        ),
        (
            &post,
            format!("/stores/{NOBODY}/reservations/o-1/fulfil"),
            &Value::Null,
            "Store not found",
        ),
        (
            &get,
            format!("/stores/{store}/reservations/o-1"),
            &Value::Null,
            "Reservation not found",
        ),
        (
            &post,
            format!("/stores/{store}/reservations/o-1/fulfil"),
            &Value::Null,
            "Reservation not found",
        ),
        (
            &post,
            format!("/stores/{NOBODY}/products/{coat}/adjustments"),
            &counted,
            "Store not found",
        ),
        (
            &post,
            format!("/stores/{store}/products/{NOBODY}/adjustments"),
            &counted,
            "Product not found",
        ),
        (
            &put,
            format!("/warehouses/{NOBODY}/stores"),
            &linked,
            "Warehouse not found",
        ),
        (
            &put,
            format!("/warehouses/{warehouse}/stores"),
            &linked,
            "Store not found",
        ),
        (
            &post,
            format!("/warehouses/{NOBODY}/shelves"),
            &json!({ "code": "A" }),
            "Warehouse not found",
        ),
        (
            &get,
            format!("/warehouses/{NOBODY}/shelves"),
            &Value::Null,
            "Warehouse not found",
        ),
        (
            &post,
            format!("/shelves/{NOBODY}/stock/add"),
            &moved,
            "Shelf not found",
        ),
        (
            &post,
            format!("/shelves/{NOBODY}/stock/remove"),
            &moved,
            "Shelf not found",
        ),
        (
            &post,
            format!("/shelves/{shelf}/stock/add"),
            &strange,
            "Product not found",
        ),
        (
            &post,
            format!("/shelves/{shelf}/stock/remove"),
            &strange,
            "Product not found",
        ),
        (
            &get,
            format!("/shelves/{NOBODY}/stock"),
            &Value::Null,
            "Shelf not found",
        ),
    ] {
        let url = app.server.url(&format!("{path}?{ORG}"));
        let request = app.http.request(method.clone(), url);
        let request = if body.is_null() {
            request
        } else {
            request.json(body)
        };
        let (status, body) = app.send(request).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::NOT_FOUND, &json!(error)),
            "{path}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn what_a_shelf_cannot_hold_is_refused(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (warehouse, shelf) = app.warehouse("IST", &[]).await;
    let coat = app.product("coat").await;
    let set = app.set("set", &[(coat, 1)]).await;
    let path = format!("/shelves/{shelf}/stock/add?{ORG}");
    let (status, body) = app
        .post(&path, &json!({ "productId": set, "quantity": 1 }))
        .await;
    let expected = (
        StatusCode::UNPROCESSABLE_ENTITY,
        &json!("set_stock_is_derived"),
    );
    assert_eq!((status, &body["code"]), expected);
    for (path, body, place) in [
        (
            path.clone(),
            json!({ "productId": coat, "quantity": 0 }),
            json!(["quantity"]),
        ),
        (path, json!({ "quantity": 1 }), json!(["productId"])),
        (
            "/warehouses".to_owned(),
            json!({ "organizationId": "org-1", "name": "x" }),
            json!(["code"]),
        ),
        (
            format!("/warehouses/{warehouse}/shelves?{ORG}"),
            json!({ "code": "c".repeat(65) }),
            json!(["code"]),
        ),
        (
            format!("/warehouses/x/shelves?{ORG}"),
            json!({ "code": "c" }),
            json!(["id"]),
        ),
        (
            format!("/warehouses/{warehouse}/shelves"),
            json!({ "code": "c" }),
            json!(["organizationId"]),
        ),
    ] {
        let (status, body) = app.post(&path, &body).await;
        assert_eq!(
            (status, &body["details"][0]["path"]),
            (StatusCode::BAD_REQUEST, &place)
        );
    }
    let (status, body) = app
        .try_link(warehouse, &json!({ "storeIds": ["a", 7] }))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let places: Vec<_> = body["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["path"])
        .collect();
    assert_eq!(places, [&json!(["storeIds", 0]), &json!(["storeIds", 1])]);
}

/// Each of them with a key: one effect, one answer.
#[rstest]
#[tokio::test]
async fn a_request_with_a_key_has_one_effect(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let drawing = app.drawing_store("drawing").await;
    let (warehouse, shelf) = app.warehouse("IST", &[drawing]).await;
    let coat = app.stocked(store, "coat", 10).await;
    let moved = json!({ "productId": coat, "quantity": 2 });
    let made = json!({ "organizationId": "org-1", "name": "Ankara", "code": "ANK" });
    let order = json!({ "orderRef": "o-1", "lines": [line("coat", 1)] });
    let id = store.id;
    for (n, (path, body, status)) in [
        ("/warehouses".to_owned(), made, 201),
        (
            format!("/warehouses/{warehouse}/shelves?{ORG}"),
            json!({ "code": "B" }),
            201,
        ),
        (
            format!("/shelves/{shelf}/stock/add?{ORG}"),
            moved.clone(),
            200,
        ),
        (format!("/shelves/{shelf}/stock/remove?{ORG}"), moved, 200),
        (format!("/stores/{id}/reservations?{ORG}"), order, 201),
        (
            format!("/stores/{id}/reservations/o-1/fulfil?{ORG}"),
            Value::Null,
            200,
        ),
        (
            format!("/stores/{id}/reservations/o-2/release?{ORG}"),
            Value::Null,
            200,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let send = async || {
            let request = app.http.post(app.server.url(&path));
            let request = if body.is_null() {
                request
            } else {
                request.json(&body)
            };
            let request = request.header("idempotency-key", format!("key-{n}"));
            let answer = request.send().await.unwrap();
            let is_replayed = answer.headers().contains_key("idempotency-replayed");
            (
                answer.status().as_u16(),
                is_replayed,
                answer.text().await.unwrap(),
            )
        };
        let (first, _, text) = send().await;
        assert_eq!(first, status, "{path}: {text}");
        assert_eq!(send().await, (first, true, text), "{path}");
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM warehouses").await, 2);
    assert_eq!(app.on_shelf(shelf).await, []);
    assert_eq!(app.level(store, coat).await, (9, 0));
    let keys = "SELECT COUNT(*) FROM stock_movements WHERE idempotency_key IS NOT NULL";
    assert_eq!(app.count(keys).await, 2);
    app.check_books().await;
}

/// P9: what another organization calls by the same names is theirs.
#[rstest]
#[tokio::test]
async fn organizations_with_the_same_names_do_not_meet(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 5).await;
    let theirs = app.product_of("org-2", "coat", "SIMPLE").await;
    let as_others = |path: String| path.replace("org-1", "org-2");
    let order = json!({ "orderRef": "o-1", "lines": [{ "productId": theirs, "quantity": 1 }] });
    let path = format!("/stores/{}/reservations?{ORG}", store.id);
    let (status, _) = app.post(&as_others(path.clone()), &order).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "the store is not theirs");
    let (status, body) = app.post(&path, &order).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("unmatched_lines"))
    );
    // Nor can they put what is not theirs into what is.
    let house = json!({ "organizationId": "org-2", "name": "theirs", "code": "W" });
    let (_, house) = app.post("/warehouses", &house).await;
    let house = format!("/warehouses/{}", house["id"].as_str().unwrap());
    let (_, shelf) = app
        .post(
            &as_others(format!("{house}/shelves?{ORG}")),
            &json!({ "code": "S" }),
        )
        .await;
    let shelf = shelf["id"].as_str().unwrap();
    let path = as_others(format!("/shelves/{shelf}/stock/add?{ORG}"));
    let (status, body) = app
        .post(&path, &json!({ "productId": coat, "quantity": 1 }))
        .await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::NOT_FOUND, &json!("Product not found"))
    );
    let url = app.server.url(&as_others(format!("{house}/stores?{ORG}")));
    let request = app.http.put(url).json(&json!({ "storeIds": [store.id] }));
    let (status, body) = app.send(request).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::NOT_FOUND, &json!("Store not found"))
    );
    let body = app.reserved(store, "o-1", &[line("coat", 1)]).await;
    let id: Uuid = body["items"][0]["productId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(id, coat);
}
