//! Warehouses, their shelves, and stores that come and go.

use marketplace_sync::schedule::tidy_up;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::goods::{ORG, line};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};

#[rstest]
#[tokio::test]
async fn warehouses_and_shelves_are_listed_page_by_page(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let stores = [app.drawing_store("a").await, app.drawing_store("b").await];
    let mut made = Vec::new();
    for code in ["one", "two", "three"] {
        made.push(app.warehouse(code, &stores[..1]).await.0);
    }
    app.link(made[1], &stores).await;
    let pages = async |path: &str, name: &str| {
        let mut seen: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, body) = app.get(&format!("{path}?{ORG}&limit=2{cursor}")).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let items = body["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(|item| item[name].clone()));
            let Some(next) = body["nextCursor"].as_str() else {
                return seen;
            };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(pages("/warehouses", "code").await, ["one", "two", "three"]);
    let ids = |stores: &[_]| -> Value {
        let mut ids: Vec<_> = stores
            .iter()
            .map(|it: &crate::support::app::TestStore| it.id)
            .collect();
        ids.sort_unstable();
        json!(ids)
    };
    let linked = pages("/warehouses", "storeIds").await;
    assert_eq!(linked, [ids(&stores[..1]), ids(&stores), ids(&stores[..1])]);
    for code in ["A-02", "A-03"] {
        app.shelf(made[0], code).await;
    }
    let path = format!("/warehouses/{}/shelves", made[0]);
    assert_eq!(pages(&path, "code").await, ["A-01", "A-02", "A-03"]);
    let shelf = app.shelf(made[0], "A-04").await;
    let mut products = Vec::new();
    for name in ["p1", "p2", "p3"] {
        let product = app.product(name).await;
        app.add(shelf, product, 1).await;
        products.push(json!(product));
    }
    assert_eq!(
        pages(&format!("/shelves/{shelf}/stock"), "productId").await,
        products
    );
}

#[rstest]
#[tokio::test]
async fn a_code_names_one_warehouse_and_one_shelf(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (warehouse, _) = app.warehouse("IST", &[]).await;
    let body = json!({ "organizationId": "org-1", "name": "again", "code": "IST" });
    let taken = (StatusCode::CONFLICT, json!("code_taken"));
    let (status, body) = app.post("/warehouses", &body).await;
    assert_eq!((status, body["code"].clone()), taken);
    let path = format!("/warehouses/{warehouse}/shelves?{ORG}");
    let (status, body) = app.post(&path, &json!({ "code": "A-01" })).await;
    assert_eq!((status, body["code"].clone()), taken);
    // Another organization, another warehouse.
    let body = json!({ "organizationId": "org-2", "name": "theirs", "code": "IST" });
    assert_eq!(app.post("/warehouses", &body).await.0, StatusCode::CREATED);
}

/// What a store can sell follows its warehouses at once, and its marketplace is told.
#[rstest]
#[tokio::test]
async fn stores_that_come_and_go_are_recounted(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let [a, b, c] = [
        app.drawing_store("a").await,
        app.drawing_store("b").await,
        app.drawing_store("c").await,
    ];
    let (ist, shelf) = app.warehouse("IST", &[a]).await;
    let (ank, other_shelf) = app.warehouse("ANK", &[b, c]).await;
    let coat = app.product("coat").await;
    let hat = app.product("hat").await;
    for store in [a, b, c] {
        app.list_in(store, coat).await;
        app.list_in(store, hat).await;
    }
    app.add(shelf, coat, 10).await;
    app.add(other_shelf, coat, 4).await;
    app.reserved(a, "o-1", &[line("coat", 3)]).await;
    app.reserved(b, "o-2", &[line("coat", 1)]).await;
    app.empty_queue().await;

    // b draws on both: what it sells is less for a, and what a has reserved is less for b.
    app.link(ist, &[a, b]).await;
    let sellable = async || {
        let mut sellable = [0; 3];
        for (level, store) in sellable.iter_mut().zip([a, b, c]) {
            *level = app.level(store, coat).await.0;
        }
        sellable
    };
    assert_eq!(sellable().await, [6, 10, 3]);
    for store in [a, b] {
        let [row] = &app.queue(store).await[..] else {
            panic!("the coat, and not the hat")
        };
        assert_eq!(
            (row.product_id, &*row.reason, row.force),
            (coat, "RESYNC", false)
        );
    }
    assert_eq!(app.queue(c).await, []);
    app.check_books().await;

    app.empty_queue().await;
    app.link(ist, &[]).await;
    assert_eq!(sellable().await, [0, 3, 3]);
    assert_eq!(app.queue(a).await.len(), 1);
    // The same again changes nothing.
    let body = json!({ "storeIds": [] });
    let before = app.try_link(ist, &body).await;
    assert_eq!(app.try_link(ist, &body).await, before);
    app.link(ank, &[b]).await;
    assert_eq!(sellable().await, [0, 3, 0]);
    app.check_books().await;
    let marked = "SELECT COUNT(*) FROM stores WHERE stock_recount_at IS NOT NULL";
    assert_eq!(app.count(marked).await, 0);
}

/// An order that waits is served by a warehouse that its store comes to draw on.
#[rstest]
#[tokio::test]
async fn a_new_warehouse_serves_orders_that_wait(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let [a, b] = [app.drawing_store("a").await, app.drawing_store("b").await];
    let (ist, shelf) = app.warehouse("IST", &[b]).await;
    let coat = app.product("coat").await;
    app.add(shelf, coat, 5).await;
    app.reserve(a, "o-1", "ALLOW_SHORTFALL", &[line("coat", 2)])
        .await;
    assert_eq!(app.level(a, coat).await, (0, 0));
    app.link(ist, &[a, b]).await;
    assert_eq!(
        (app.level(a, coat).await, app.level(b, coat).await),
        ((3, 2), (3, 0))
    );
    app.check_books().await;
}

/// A process that dies after it has linked stores leaves the counting to the next tick; until
/// then nobody gets what is not there.
#[rstest]
#[tokio::test]
async fn a_recount_that_was_cut_short_is_finished_by_the_tick(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let [a, b] = [app.drawing_store("a").await, app.drawing_store("b").await];
    let (ist, shelf) = app.warehouse("IST", &[a, b]).await;
    let coat = app.product("coat").await;
    app.add(shelf, coat, 5).await;
    let now = app.clock.now();
    on!(&app.app.db, pool => sqlx::query("DELETE FROM warehouse_stores WHERE store_id = $1")
        .bind(b.id).execute(pool).await.map(|_| ()).unwrap());
    on!(&app.app.db, pool => sqlx::query("UPDATE stores SET stock_recount_at = $1")
        .bind(now).execute(pool).await.map(|_| ()).unwrap());
    assert_eq!(
        app.level(b, coat).await,
        (5, 0),
        "what its marketplace still shows"
    );
    let (status, _) = app.reserve(b, "o-1", "STRICT", &[line("coat", 1)]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    tidy_up(&app.app).await;
    assert_eq!(
        (app.level(a, coat).await, app.level(b, coat).await),
        ((5, 0), (0, 0))
    );
    let marked = "SELECT COUNT(*) FROM stores WHERE stock_recount_at IS NOT NULL";
    assert_eq!(app.count(marked).await, 0);
    app.check_books().await;
    app.link(ist, &[a, b]).await;
    assert_eq!(app.level(b, coat).await, (5, 0));
}

/// Only stores whose quantities come from warehouses share what lies there.
#[rstest]
#[tokio::test]
async fn a_store_with_quantities_of_its_own_shares_nothing(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let own = app.register("own").await;
    let drawing = app.drawing_store("drawing").await;
    let coat = app.stocked(own, "coat", 2).await;
    let (_, shelf) = app.warehouse("IST", &[own, drawing]).await;
    app.add(shelf, coat, 5).await;
    app.reserved(own, "o-1", &[line("coat", 2)]).await;
    assert_eq!(
        (app.level(own, coat).await, app.level(drawing, coat).await),
        ((0, 2), (5, 0))
    );
    let (status, body) = app.remove(shelf, coat, 1, Some("o-1")).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::NOT_FOUND, &json!("Reservation not found"))
    );
    app.ended(own, "o-1", "fulfil").await;
    assert_eq!(app.on_shelf(shelf).await, [(coat, 5)]);
    app.check_books().await;
}

/// Without shelves that anybody draws on, goods are only counted.
#[rstest]
#[tokio::test]
async fn shelves_of_a_warehouse_without_stores_are_counted(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let (_, shelf) = app.warehouse("IST", &[]).await;
    let coat = app.product("coat").await;
    app.add(shelf, coat, 5).await;
    let (status, _) = app.remove(shelf, coat, 2, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(app.on_shelf(shelf).await, [(coat, 3)]);
    let (status, body) = app.remove(shelf, coat, 4, None).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("insufficient_shelf_stock"))
    );
    app.check_books().await;
}

/// A store that begins to draw on warehouses sells what lies there; one that no longer does begins
/// with nothing, for what lies there is sold by others.
#[rstest]
#[tokio::test]
async fn where_quantities_come_from_can_be_changed(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let [turning, staying] = [
        app.register("turning").await,
        app.drawing_store("staying").await,
    ];
    let coat = app.stocked(turning, "coat", 7).await;
    let (_, shelf) = app.warehouse("IST", &[turning, staying]).await;
    app.add(shelf, coat, 10).await;
    app.reserved(turning, "o-1", &[line("coat", 2)]).await;
    app.reserve(staying, "o-2", "ALLOW_SHORTFALL", &[line("coat", 11)])
        .await;
    assert_eq!(app.level(turning, coat).await, (5, 2));
    assert_eq!(app.level(staying, coat).await, (0, 10));
    let turn = async |to: &str| {
        let path = format!("/stores/{}/stock-settings?{ORG}", turning.id);
        let request = app.http.patch(app.server.url(&path));
        let (status, body) = app.send(request.json(&json!({ "stockSource": to }))).await;
        assert_eq!(
            (status, &body["stockSource"]),
            (StatusCode::OK, &json!(to)),
            "{body}"
        );
        app.check_books().await;
    };
    turn("WAREHOUSE").await;
    assert_eq!(
        app.level(turning, coat).await,
        (0, 2),
        "all of it is reserved"
    );
    app.add(shelf, coat, 5).await;
    assert_eq!(app.level(turning, coat).await, (2, 2));
    assert_eq!(app.level(staying, coat).await, (2, 11));

    app.empty_queue().await;
    turn("DIRECT").await;
    assert_eq!(app.level(turning, coat).await, (0, 2));
    // What the store had reserved there is no longer taken from the others.
    assert_eq!(app.level(staying, coat).await, (4, 11));
    let told = app.queue(turning).await;
    assert_eq!((told.len(), &*told[0].reason), (1, "RESYNC"));
    app.ended(turning, "o-1", "release").await;
    assert_eq!(app.level(turning, coat).await, (2, 0));
    app.check_books().await;
}

/// A product that is listed in a store that draws on warehouses has what lies there.
#[rstest]
#[tokio::test]
async fn a_product_is_listed_with_what_lies_in_the_warehouses(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let [early, late] = [
        app.drawing_store("early").await,
        app.drawing_store("late").await,
    ];
    let (ist, shelf) = app.warehouse("IST", &[early]).await;
    let coat = app.product("coat").await;
    app.add(shelf, coat, 5).await;
    app.reserved(early, "o-1", &[line("coat", 2)]).await;
    app.link(ist, &[early, late]).await;
    let path = format!("/stores/{}/products/{coat}?{ORG}", late.id);
    let request = app
        .http
        .put(app.server.url(&path))
        .json(&json!({ "isListed": true }));
    let (status, body) = app.send(request).await;
    assert_eq!(
        (status, &body["sellable"]),
        (StatusCode::OK, &json!(3)),
        "{body}"
    );
    app.check_books().await;
}
