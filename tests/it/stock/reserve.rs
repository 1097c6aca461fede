//! What orders take and give back, in a store whose quantities are its own.

use chrono::TimeDelta;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::goods::{ORG, Queued, items, line};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::log::Log;

/// Scenario 1: a coat, two pairs of gloves and a scarf make a set.
struct Wardrobe {
    app: TestApp,
    store: TestStore,
    coat: Uuid,
    gloves: Uuid,
    scarf: Uuid,
    set: Uuid,
}

impl Wardrobe {
    async fn new(on: Profile) -> Self {
        let app = TestApp::start(on).await;
        let store = app.register("shop").await;
        let coat = app.stocked(store, "coat", 50).await;
        let gloves = app.stocked(store, "gloves", 30).await;
        let scarf = app.stocked(store, "scarf", 40).await;
        let set = app
            .set("SET-001", &[(coat, 1), (gloves, 2), (scarf, 1)])
            .await;
        app.list_in(store, set).await;
        app.empty_queue().await;
        Self {
            app,
            store,
            coat,
            gloves,
            scarf,
            set,
        }
    }

    async fn levels(&self) -> [(i64, i64); 3] {
        let (app, store) = (&self.app, self.store);
        [
            app.level(store, self.coat).await,
            app.level(store, self.gloves).await,
            app.level(store, self.scarf).await,
        ]
    }
}

const FULL: [(i64, i64); 3] = [(50, 0), (30, 0), (40, 0)];

/// Scenario 4, the half about stock.
#[rstest]
#[tokio::test]
async fn an_order_for_sets_takes_their_components_and_everything_is_told(
    #[values(Embedded, Server)] on: Profile,
) {
    let shop = Wardrobe::new(on).await;
    let body = shop
        .app
        .reserved(shop.store, "TY-1", &[line("SET-001", 2)])
        .await;
    assert_eq!(shop.levels().await, [(48, 2), (26, 4), (38, 2)]);
    let expected = [(shop.coat, 2), (shop.gloves, 4), (shop.scarf, 2)];
    assert_eq!(
        items(&body),
        expected.map(|(id, units)| (id, units, units, 0))
    );
    assert_eq!(
        (&body["status"], &body["unmatchedLines"]),
        (&json!("ACTIVE"), &json!([]))
    );
    let sources = json!([{ "line": 0, "quantity": 4, "setProductId": shop.set }]);
    assert_eq!(body["items"][1]["sourceLines"], sources);

    let queued = shop.app.queue(shop.store).await;
    let products: Vec<Uuid> = queued.iter().map(|row| row.product_id).collect();
    assert_eq!(products, [shop.coat, shop.gloves, shop.scarf, shop.set]);
    // The marketplace has counted down its own number: it is told ours whatever it shows.
    let is_urgent =
        |row: &Queued| row.reason == "ORDER_CREATED" && row.priority == 100 && row.force;
    assert!(queued.iter().all(is_urgent), "{queued:?}");
    assert_eq!(shop.app.told(shop.store).await, []);
    shop.app.check_books().await;
}

/// Scenario 17, cancelled: what is given back is what was taken.
#[rstest]
#[tokio::test]
async fn a_cancelled_order_gives_back_no_more_than_it_took(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 1).await;
    let (status, body) = app
        .reserve(store, "o-1", "ALLOW_SHORTFALL", &[line("coat", 3)])
        .await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(items(&body), [(coat, 3, 1, 2)]);
    assert_eq!(app.level(store, coat).await, (0, 1));
    let [(event, data)] = &app.told(store).await[..] else {
        panic!("one event")
    };
    assert_eq!(event, "stock.oversold");
    assert_eq!(
        (&data["orderRef"], &data["items"][0]["shortfall"]),
        (&json!("o-1"), &json!(2))
    );

    app.empty_queue().await;
    let body = app.ended(store, "o-1", "release").await;
    assert_eq!(body["status"], "RELEASED");
    assert_eq!(app.level(store, coat).await, (1, 0));
    let [row] = &app.queue(store).await[..] else {
        panic!("one row")
    };
    assert_eq!(
        (&*row.reason, row.priority, row.force),
        ("ORDER_CANCELLED", 90, true)
    );
    app.check_books().await;
    // Nobody waits any more.
    app.count_to(store, coat, 6).await;
    assert_eq!(app.level(store, coat).await, (6, 0));
}

/// Scenario 17, delivered: what comes goes to the order that waits, and only the rest is sold.
#[rstest]
#[tokio::test]
async fn what_comes_goes_to_orders_that_wait_the_oldest_first(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 1).await;
    for order in ["o-1", "o-2"] {
        let (status, _) = app
            .reserve(store, order, "ALLOW_SHORTFALL", &[line("coat", 3)])
            .await;
        assert_eq!(status, StatusCode::CREATED);
        app.clock.advance(TimeDelta::seconds(1).to_std().unwrap());
    }
    assert_eq!(app.level(store, coat).await, (0, 1));
    app.empty_queue().await;
    let (_, body) = app
        .adjust(store, coat, &json!({ "type": "DELTA", "quantity": 2 }))
        .await;
    assert_eq!(
        (&body["sellable"], &body["committed"]),
        (&json!(0), &json!(3))
    );
    let reserved = async |order: &str| items(&app.reservation(store, order).await)[0].2;
    assert_eq!((reserved("o-1").await, reserved("o-2").await), (3, 0));
    // The number that can be sold has not moved.
    assert_eq!(app.queue(store).await, []);

    let (_, body) = app
        .adjust(store, coat, &json!({ "type": "DELTA", "quantity": 5 }))
        .await;
    assert_eq!(
        (&body["sellable"], &body["committed"]),
        (&json!(2), &json!(6))
    );
    assert_eq!(reserved("o-2").await, 3);
    assert_eq!(app.queue(store).await[0].reason, "ORDER_CREATED");
    let kinds = app.movements_of(coat).await;
    let backfills: Vec<_> = kinds
        .iter()
        .filter(|(kind, ..)| kind == "BACKFILL")
        .collect();
    assert_eq!(
        backfills,
        [
            &("BACKFILL".to_owned(), -2, 2, Some("o-1".to_owned())),
            &("BACKFILL".to_owned(), -3, 3, Some("o-2".to_owned())),
        ]
    );
    app.check_books().await;
}

/// What an order gives back goes to one that waits, before anybody else can have it.
#[rstest]
#[tokio::test]
async fn a_cancellation_serves_who_waits(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 4).await;
    app.reserved(store, "first", &[line("coat", 4)]).await;
    app.reserve(store, "second", "ALLOW_SHORTFALL", &[line("coat", 3)])
        .await;
    app.empty_queue().await;
    app.ended(store, "first", "release").await;
    assert_eq!(app.level(store, coat).await, (1, 3));
    assert_eq!(
        items(&app.reservation(store, "second").await),
        [(coat, 3, 3, 0)]
    );
    assert_eq!(app.queue(store).await[0].reason, "ORDER_CANCELLED");
    app.check_books().await;
}

/// Scenario 19.
#[rstest]
#[tokio::test]
async fn the_same_order_counts_once(#[values(Embedded, Server)] on: Profile) {
    let shop = Wardrobe::new(on).await;
    let (app, store) = (&shop.app, shop.store);
    let lines = [line("coat", 2), line("SET-001", 1)];
    let first = app.reserved(store, "o-1", &lines).await;
    let taken = shop.levels().await;
    // In whatever order its lines come.
    for lines in [lines.clone(), [lines[1].clone(), lines[0].clone()]] {
        let (status, body) = app.reserve(store, "o-1", "STRICT", &lines).await;
        assert_eq!((status, &body), (StatusCode::OK, &first));
    }
    let other = [line("coat", 3), line("SET-001", 1)];
    for (mode, lines) in [("STRICT", &other[..]), ("ALLOW_SHORTFALL", &lines[..])] {
        let (status, body) = app.reserve(store, "o-1", mode, lines).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::CONFLICT, &json!("reservation_conflict"))
        );
        assert_eq!(body["reservationId"], first["reservationId"]);
    }
    assert_eq!(shop.levels().await, taken);

    // Cancelled twice; the order that comes again stays cancelled.
    let released = app.ended(store, "o-1", "release").await;
    assert_eq!(app.ended(store, "o-1", "release").await, released);
    let (status, body) = app.reserve(store, "o-1", "STRICT", &lines).await;
    assert_eq!((status, &body), (StatusCode::OK, &released));
    assert_eq!(shop.levels().await, FULL);

    // Cancelled before it came, in an order ref that is no word.
    let name = "TY/2 ü#?";
    let cancelled = app.ended(store, name, "release").await;
    assert_eq!(
        (&cancelled["status"], &cancelled["items"]),
        (&json!("RELEASED"), &json!([]))
    );
    assert_eq!(app.ended(store, name, "release").await, cancelled);
    for lines in [&lines[..], &other[..]] {
        let (status, body) = app.reserve(store, name, "STRICT", lines).await;
        assert_eq!((status, &body), (StatusCode::OK, &cancelled));
    }
    assert_eq!(shop.levels().await, FULL);
    app.check_books().await;
}

/// Scenario 20.
#[rstest]
#[tokio::test]
async fn an_order_gives_back_what_the_set_was_made_of(#[values(Embedded, Server)] on: Profile) {
    let shop = Wardrobe::new(on).await;
    let (app, store) = (&shop.app, shop.store);
    app.reserved(store, "o-1", &[line("SET-001", 3)]).await;
    app.make_set_of(shop.set, &[(shop.coat, 5)]).await;
    app.empty_queue().await;
    app.ended(store, "o-1", "release").await;
    assert_eq!(shop.levels().await, FULL);
    // The marketplace has counted up its number of the set.
    let queued = app.queue(store).await;
    assert!(
        queued
            .iter()
            .any(|row| row.product_id == shop.set && row.force)
    );
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn fulfilled_goods_are_gone_and_nobody_is_told(#[values(Embedded, Server)] on: Profile) {
    let shop = Wardrobe::new(on).await;
    let (app, store) = (&shop.app, shop.store);
    app.reserved(store, "o-1", &[line("SET-001", 2)]).await;
    app.empty_queue().await;
    let fulfilled = app.ended(store, "o-1", "fulfil").await;
    assert_eq!(fulfilled["status"], "FULFILLED");
    assert_eq!(fulfilled["items"][0]["fulfilled"], 2);
    assert_eq!(app.ended(store, "o-1", "fulfil").await, fulfilled);
    assert_eq!(shop.levels().await, [(48, 0), (26, 0), (38, 0)]);
    assert_eq!(app.queue(store).await, []);
    let closed = (StatusCode::CONFLICT, json!("reservation_closed"));
    let (status, body) = app.end(store, "o-1", "release").await;
    assert_eq!((status, body["code"].clone()), closed);
    app.ended(store, "o-2", "release").await;
    let (status, body) = app.end(store, "o-2", "fulfil").await;
    assert_eq!((status, body["code"].clone()), closed);
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn a_strict_order_that_is_short_of_anything_takes_nothing(
    #[values(Embedded, Server)] on: Profile,
) {
    let shop = Wardrobe::new(on).await;
    let (app, store) = (&shop.app, shop.store);
    app.product("hat").await;
    for lines in [
        vec![line("coat", 1), line("gloves", 31)],
        // Two lines that are too much only together.
        vec![line("gloves", 20), line("SET-001", 6)],
        // A product that the store does not have.
        vec![line("coat", 1), line("hat", 1)],
    ] {
        let (status, body) = app.reserve(store, "o-1", "STRICT", &lines).await;
        assert_eq!(status, StatusCode::CONFLICT, "{body}");
        assert_eq!(body["code"], "insufficient_stock");
        assert!(body["productId"].is_string());
    }
    assert_eq!(shop.levels().await, FULL);
    assert_eq!(app.queue(store).await, []);
    assert_eq!(
        app.count("SELECT COUNT(*) FROM stock_reservations").await,
        0
    );
    // It may come again, once there is enough.
    app.reserved(store, "o-1", &[line("gloves", 30)]).await;
    app.check_books().await;
}

/// A product that the store does not have gets a row there, so that the order can be served when
/// some comes.
#[rstest]
#[tokio::test]
async fn an_order_can_wait_for_what_the_store_does_not_have(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let hat = app.product("hat").await;
    let (status, body) = app
        .reserve(store, "o-1", "ALLOW_SHORTFALL", &[line("hat", 2)])
        .await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(items(&body), [(hat, 2, 0, 2)]);
    let listed = "SELECT COUNT(*) FROM product_stores WHERE is_listed";
    assert_eq!(app.count(listed).await, 0);
    app.adjust(store, hat, &json!({ "type": "DELTA", "quantity": 3 }))
        .await;
    assert_eq!(app.level(store, hat).await, (1, 2));
    assert_eq!(app.queue(store).await, []);
    app.check_books().await;
}

/// A line names a product by what the store calls it, by its barcode, by a further one, by its SKU,
/// in this order, and never by what another organization or another store calls theirs.
#[rstest]
#[tokio::test]
async fn a_line_finds_its_product_in_the_stated_order(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let other_store = app.register("other").await;
    let [by_store, by_barcode, by_further, theirs] = [
        app.product("a").await,
        app.product("b").await,
        app.product("c").await,
        app.product_of("org-2", "d", "SIMPLE").await,
    ];
    app.name_in(store, by_store, Some("b"), Some("sku-c")).await;
    app.name_in(other_store, by_further, Some("b"), Some("sku-a"))
        .await;
    let named = async |line: Value| {
        let order = app.app.ids.new_id(app.clock.now()).to_string();
        let (status, body) = app.reserve(store, &order, "ALLOW_SHORTFALL", &[line]).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        items(&body).first().map(|item| item.0)
    };
    // The further code of a product is another one's barcode as well.
    app.further_code("org-1", "a", by_further).await;
    app.further_code("org-1", "further", by_further).await;
    app.further_code("org-2", "theirs", theirs).await;
    for (line, expected) in [
        (line("b", 1), Some(by_store)),
        (line("a", 1), Some(by_store)),
        (line("further", 1), Some(by_further)),
        (line("d", 1), None),
        (line("theirs", 1), None),
        (line("sku-a", 1), None),
        (json!({ "sku": "sku-c", "quantity": 1 }), Some(by_store)),
        (json!({ "sku": "sku-b", "quantity": 1 }), Some(by_barcode)),
        (json!({ "sku": "sku-d", "quantity": 1 }), None),
        (json!({ "sku": "b", "quantity": 1 }), None),
        (
            json!({ "productId": by_barcode, "quantity": 1 }),
            Some(by_barcode),
        ),
        (json!({ "productId": theirs, "quantity": 1 }), None),
    ] {
        assert_eq!(named(line.clone()).await, expected, "{line}");
    }
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn lines_that_name_nothing_are_kept_or_refused(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 5).await;
    let empty = app.set("empty", &[]).await;
    let lines = [line("nobody", 2), line("coat", 1), line("empty", 1)];
    let (status, body) = app.reserve(store, "o-1", "STRICT", &lines[..2]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        (&body["code"], &body["unmatchedLines"]),
        (&json!("unmatched_lines"), &json!([0]))
    );
    // There are none of a set that is made of nothing.
    let (status, body) = app.reserve(store, "o-1", "STRICT", &lines[1..]).await;
    assert_eq!(
        (status, &body["productId"]),
        (StatusCode::CONFLICT, &json!(empty))
    );
    assert_eq!(app.level(store, coat).await, (5, 0));

    let (status, body) = app.reserve(store, "o-1", "ALLOW_SHORTFALL", &lines).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let unmatched = json!([
        { "line": 0, "barcode": "nobody", "quantity": 2 },
        { "line": 2, "barcode": "empty", "quantity": 1 },
    ]);
    assert_eq!(body["unmatchedLines"], unmatched);
    assert_eq!(app.level(store, coat).await, (4, 1));
    let [(event, data)] = &app.told(store).await[..] else {
        panic!("one event")
    };
    assert_eq!(
        (&**event, &data["unmatchedLines"]),
        ("stock.order.unmatched", &unmatched)
    );
    let (status, again) = app.reserve(store, "o-1", "ALLOW_SHORTFALL", &lines).await;
    assert_eq!((status, &again), (StatusCode::OK, &body));
    assert_eq!(app.told(store).await.len(), 1, "told once");
    assert_eq!(app.reservation(store, "o-1").await, body);
}

/// An order of nothing that is known is an order all the same.
#[rstest]
#[tokio::test]
async fn an_order_of_strangers_can_be_cancelled(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for how in ["release", "fulfil"] {
        app.reserve(store, how, "ALLOW_SHORTFALL", &[line("nobody", 1)])
            .await;
        let body = app.ended(store, how, how).await;
        assert_ne!(body["status"], "ACTIVE");
    }
    app.check_books().await;
}

/// As many lines as there may be, with the same products again and again.
#[rstest]
#[tokio::test]
async fn five_hundred_lines_are_one_order(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for name in 0..20 {
        app.stocked(store, &format!("p{name}"), 100).await;
    }
    let lines: Vec<Value> = (0..500).map(|n| line(&format!("p{}", n % 20), 1)).collect();
    let body = app.reserved(store, "o-1", &lines).await;
    assert!(items(&body).iter().all(|item| (item.1, item.2) == (25, 25)));
    app.ended(store, "o-1", "release").await;
    app.check_books().await;
}

/// However many lines an order has, it takes as many statements.
#[tokio::test]
async fn a_long_order_takes_no_more_statements_than_a_short_one() {
    // SQLite runs statements on a thread of its own, where nobody listens.
    let app = TestApp::start(Server).await;
    let store = app.register("shop").await;
    let drawing = [app.drawing_store("a").await, app.drawing_store("b").await];
    let (_, shelf) = app.warehouse("IST", &drawing).await;
    for name in 0..100 {
        let product = app.stocked(store, &format!("p{name}"), 1000).await;
        app.add(shelf, product, 1000).await;
    }
    let mut counts = Vec::new();
    for size in [1, 2, 100, 400] {
        let lines: Vec<Value> = (0..size)
            .map(|n| line(&format!("p{}", n % 100), 1))
            .collect();
        let order = format!("o-{size}");
        let log = Log::start("sqlx::query=debug");
        let seen = async |store: TestStore| {
            let before = log.lines().len();
            app.reserved(store, &order, &lines).await;
            let reserved = log.lines().len();
            app.ended(store, &order, "fulfil").await;
            [reserved - before, log.lines().len() - reserved]
        };
        counts.push((seen(store).await, seen(drawing[0]).await));
    }
    let ([reserve, _], _) = counts[0];
    assert!((5..20).contains(&reserve), "{counts:?}");
    assert!(counts.iter().all(|it| *it == counts[0]), "{counts:?}");
}

impl TestApp {
    async fn reservation(&self, store: TestStore, order: &str) -> Value {
        let path = format!("/stores/{}/reservations/{order}?{ORG}", store.id);
        let (status, body) = self.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// The ledger of a product: kind, sellable, committed, what for.
    async fn movements_of(&self, product: Uuid) -> Vec<(String, i64, i64, Option<String>)> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT kind, delta_sellable, delta_committed, ref
             FROM stock_movements WHERE product_id = $1 ORDER BY created_at, id")
            .bind(product).fetch_all(pool).await.unwrap())
    }

    async fn name_in(
        &self,
        store: TestStore,
        product: Uuid,
        barcode: Option<&str>,
        sku: Option<&str>,
    ) {
        self.list_in(store, product).await;
        on!(&self.app.db, pool => sqlx::query(
            "UPDATE product_stores SET external_barcode = $3, external_sku = $4
             WHERE store_id = $1 AND product_id = $2")
            .bind(store.id).bind(product).bind(barcode).bind(sku)
            .execute(pool).await.map(|_| ()).unwrap());
    }
}
