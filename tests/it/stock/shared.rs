//! Stores that sell the same goods.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::goods::{items, line};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore};

/// Two stores that sell what lies in one warehouse.
struct Twins {
    app: TestApp,
    stores: [TestStore; 2],
    warehouse: Uuid,
    shelf: Uuid,
    coat: Uuid,
}

impl Twins {
    async fn new(on: Profile, on_hand: i64) -> Self {
        let app = TestApp::start(on).await;
        let stores = [
            app.drawing_store("left").await,
            app.drawing_store("right").await,
        ];
        let (warehouse, shelf) = app.warehouse("IST", &stores).await;
        let coat = app.product("coat").await;
        for store in stores {
            app.list_in(store, coat).await;
        }
        app.add(shelf, coat, on_hand).await;
        app.empty_queue().await;
        Self {
            app,
            stores,
            warehouse,
            shelf,
            coat,
        }
    }

    async fn levels(&self) -> [(i64, i64); 2] {
        let [left, right] = self.stores;
        [
            self.app.level(left, self.coat).await,
            self.app.level(right, self.coat).await,
        ]
    }
}

/// Scenario 18.
#[rstest]
#[tokio::test]
async fn the_last_one_is_sold_once_and_both_stores_show_none(
    #[values(Embedded, Server)] on: Profile,
) {
    let twins = Twins::new(on, 1).await;
    let Twins { app, stores, .. } = &twins;
    assert_eq!(twins.levels().await, [(1, 0), (1, 0)]);
    let lines = [line("coat", 1)];
    let [left, right] = stores.map(|store| app.reserve(store, "o-1", "STRICT", &lines));
    let (left, right) = tokio::join!(left, right);
    let mut statuses = [left.0, right.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT]);
    let sellable = twins.levels().await.map(|level| level.0);
    assert_eq!(sellable, [0, 0]);
    for (store, (status, _)) in stores.iter().zip([left, right]) {
        let [row] = &app.queue(*store).await[..] else {
            panic!("each is told")
        };
        assert_eq!(row.reason, "ORDER_CREATED");
        // Only the marketplace that sold it has counted by itself.
        assert_eq!(row.force, status == StatusCode::CREATED);
    }
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn a_sale_in_one_store_is_one_less_in_all_that_share_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let twins = Twins::new(on, 10).await;
    let Twins { app, stores, .. } = &twins;
    app.reserved(stores[0], "o-1", &[line("coat", 4)]).await;
    assert_eq!(twins.levels().await, [(6, 4), (6, 0)]);
    app.ended(stores[0], "o-1", "release").await;
    assert_eq!(twins.levels().await, [(10, 0), (10, 0)]);
    let (status, body) = app
        .reserve(stores[1], "o-2", "STRICT", &[line("coat", 11)])
        .await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("insufficient_stock"))
    );
    app.check_books().await;
}

/// What comes to a shelf goes to the oldest order that waits, whichever store it is of.
#[rstest]
#[tokio::test]
async fn what_comes_to_a_shelf_serves_the_oldest_order_of_all_stores(
    #[values(Embedded, Server)] on: Profile,
) {
    let twins = Twins::new(on, 1).await;
    let Twins { app, stores, .. } = &twins;
    for (order, store) in [("o-1", stores[1]), ("o-2", stores[0])] {
        let (status, _) = app
            .reserve(store, order, "ALLOW_SHORTFALL", &[line("coat", 3)])
            .await;
        assert_eq!(status, StatusCode::CREATED);
        app.clock.advance(std::time::Duration::from_secs(1));
    }
    assert_eq!(twins.levels().await, [(0, 0), (0, 1)]);
    app.add(twins.shelf, twins.coat, 3).await;
    assert_eq!(twins.levels().await, [(0, 1), (0, 3)]);
    app.add(twins.shelf, twins.coat, 5).await;
    assert_eq!(twins.levels().await, [(3, 3), (3, 3)]);
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn fulfilled_goods_leave_the_shelves(#[values(Embedded, Server)] on: Profile) {
    let twins = Twins::new(on, 5).await;
    let Twins { app, stores, .. } = &twins;
    // Of two shelves, the older one first.
    let second = app.shelf(twins.warehouse, "A-02").await;
    app.add(second, twins.coat, 5).await;
    app.reserved(stores[0], "o-1", &[line("coat", 7)]).await;
    app.empty_queue().await;
    let body = app.ended(stores[0], "o-1", "fulfil").await;
    assert_eq!(body["status"], "FULFILLED");
    assert_eq!(twins.levels().await, [(3, 0), (3, 0)]);
    assert_eq!(app.on_shelf(twins.shelf).await, []);
    assert_eq!(app.on_shelf(second).await, [(twins.coat, 3)]);
    assert_eq!(app.queue(stores[0]).await, []);
    assert_eq!(app.queue(stores[1]).await, []);
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn goods_that_are_taken_for_an_order_are_no_longer_reserved(
    #[values(Embedded, Server)] on: Profile,
) {
    let twins = Twins::new(on, 10).await;
    let Twins {
        app,
        stores,
        shelf,
        coat,
        ..
    } = &twins;
    app.reserved(stores[0], "o-1", &[line("coat", 5)]).await;
    let (status, body) = app.remove(*shelf, *coat, 2, Some("o-1")).await;
    assert_eq!((status, &body["quantity"]), (StatusCode::OK, &json!(8)));
    assert_eq!(twins.levels().await, [(5, 3), (5, 0)]);
    // More than it holds, or what it never ordered.
    let (status, body) = app.remove(*shelf, *coat, 4, Some("o-1")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("reservation_conflict"))
    );
    let hat = app.product("hat").await;
    app.add(*shelf, hat, 1).await;
    let (status, _) = app.remove(*shelf, hat, 1, Some("o-1")).await;
    assert_eq!(status, StatusCode::CONFLICT);

    // What has not left is given back; what has left is gone.
    app.ended(stores[0], "o-1", "release").await;
    assert_eq!(twins.levels().await, [(8, 0), (8, 0)]);
    let (status, body) = app.remove(*shelf, *coat, 1, Some("o-1")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("reservation_closed"))
    );

    // The last ones close it.
    app.reserved(stores[1], "o-2", &[line("coat", 2)]).await;
    for _ in 0..2 {
        let (status, body) = app.remove(*shelf, *coat, 1, Some("o-2")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let body = app.ended(stores[1], "o-2", "fulfil").await;
    assert_eq!(
        (&body["status"], items(&body)),
        (&json!("FULFILLED"), vec![(*coat, 2, 2, 0)])
    );
    assert_eq!(twins.levels().await, [(6, 0), (6, 0)]);
    assert_eq!(app.told(stores[0]).await, []);
    app.check_books().await;
}

/// Both stores have an order of this name.
#[rstest]
#[tokio::test]
async fn an_order_is_named_with_its_store_where_several_have_one(
    #[values(Embedded, Server)] on: Profile,
) {
    let twins = Twins::new(on, 10).await;
    let Twins {
        app,
        stores,
        shelf,
        coat,
        ..
    } = &twins;
    for store in stores {
        app.reserved(*store, "o-1", &[line("coat", 2)]).await;
    }
    let (status, body) = app.remove(*shelf, *coat, 1, Some("o-1")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["details"][0]["path"], json!(["storeId"]));
    let path = format!("/shelves/{shelf}/stock/remove?organizationId=org-1");
    let body = json!({
        "productId": coat, "quantity": 1, "reservationRef": "o-1", "storeId": stores[1].id,
    });
    assert_eq!(app.post(&path, &body).await.0, StatusCode::OK);
    assert_eq!(twins.levels().await, [(6, 2), (6, 1)]);
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn stores_hear_when_what_they_have_reserved_is_gone(#[values(Embedded, Server)] on: Profile) {
    let twins = Twins::new(on, 5).await;
    let Twins {
        app,
        stores,
        shelf,
        coat,
        warehouse,
    } = &twins;
    app.reserved(stores[0], "o-1", &[line("coat", 4)]).await;
    let (status, _) = app.remove(*shelf, *coat, 1, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(app.told(stores[0]).await, [], "there is enough");
    let (status, body) = app.remove(*shelf, *coat, 5, None).await;
    let expected = (StatusCode::CONFLICT, &json!("insufficient_shelf_stock"));
    assert_eq!((status, &body["code"]), expected);

    let (status, _) = app.remove(*shelf, *coat, 3, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(twins.levels().await, [(0, 4), (0, 0)]);
    let data = json!({
        "productId": coat, "warehouseId": warehouse, "shelfId": shelf, "committed": 4, "missing": 3,
    });
    assert_eq!(
        app.told(stores[0]).await,
        [("stock.deficit".to_owned(), data)]
    );
    assert_eq!(app.told(stores[1]).await, [], "it has reserved nothing");

    // Nothing is sold until all that is reserved is there again, and one more.
    app.add(*shelf, *coat, 3).await;
    assert_eq!(twins.levels().await, [(0, 4), (0, 0)]);
    app.add(*shelf, *coat, 1).await;
    assert_eq!(twins.levels().await, [(1, 4), (1, 0)]);
    // What is not there cannot leave.
    app.remove(*shelf, *coat, 3, None).await;
    let (status, body) = app.end(stores[0], "o-1", "fulfil").await;
    assert_eq!((status, &body["code"]), (expected.0, expected.1));
    app.check_books().await;
}

/// Where there is a choice, goods are left for who has none.
#[rstest]
#[tokio::test]
async fn goods_are_taken_from_where_they_can_be_spared(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let [both, one] = [
        app.drawing_store("both").await,
        app.drawing_store("one").await,
    ];
    let (_, near) = app.warehouse("near", &[both, one]).await;
    let (_, far) = app.warehouse("far", &[both]).await;
    let coat = app.product("coat").await;
    app.add(near, coat, 3).await;
    app.add(far, coat, 2).await;
    app.reserved(one, "o-1", &[line("coat", 2)]).await;
    app.reserved(both, "o-2", &[line("coat", 3)]).await;
    app.ended(both, "o-2", "fulfil").await;
    let books = app.check_books().await;
    assert_eq!(books.undeliverable(coat), 0);
    app.ended(one, "o-1", "fulfil").await;
    assert_eq!(
        (app.on_shelf(near).await, app.on_shelf(far).await),
        (vec![], vec![])
    );
    app.check_books().await;
}

impl TestApp {
    /// What lies on a shelf.
    pub(super) async fn on_shelf(&self, place: Uuid) -> Vec<(Uuid, i64)> {
        let path = format!("/shelves/{place}/stock?organizationId=org-1");
        let (status, body) = self.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let items = body["items"].as_array().unwrap().iter();
        items
            .map(|item| {
                let product = item["productId"].as_str().unwrap().parse().unwrap();
                (product, item["quantity"].as_i64().unwrap())
            })
            .collect()
    }
}
