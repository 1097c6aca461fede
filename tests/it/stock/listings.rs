//! Where products are sold, and by which names.

use chrono::TimeDelta;
use marketplace_sync::stock::model::ProductId;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue::{Catalogue, pair};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestStore, on};

/// What waits of the only product: reason, force, how many changes are in it.
async fn waiting(it: &Catalogue, store: TestStore) -> Vec<(String, bool, i64)> {
    let rows = it.pending(store).await.into_iter();
    rows.map(|row| (row.reason, row.force, row.version))
        .collect()
}

fn resync(version: i64) -> Vec<(String, bool, i64)> {
    vec![("RESYNC".to_owned(), true, version)]
}

async fn is_in_flight(it: &Catalogue, store: TestStore, product: ProductId) {
    on!(&it.app.app.db, pool => sqlx::query(
        "UPDATE product_stores SET in_flight_push_id = $3 WHERE store_id = $1 AND product_id = $2")
        .bind(store.id).bind(product).bind(Uuid::from_u128(7))
        .execute(pool).await.map(|_| ()).unwrap());
}

#[rstest]
#[tokio::test]
async fn a_product_is_told_when_it_is_listed_and_not_when_it_is_unlisted(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let coat = it.simple("coat").await;
    let path = pair(store.id, coat);
    let level = it.put(&path, json!({})).await;
    assert_eq!(
        (&level["isListed"], &level["pending"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(waiting(&it, store).await, resync(1));

    it.empty_queue().await;
    it.set_confirmed(store.id, coat, Some(0)).await;
    it.put(&path, json!({})).await;
    assert_eq!(waiting(&it, store).await, [], "nothing changed");
    let unlisted = it.put(&path, json!({ "isListed": false })).await;
    assert_eq!(
        (&unlisted["isListed"], &unlisted["pending"]),
        (&json!(false), &json!(false))
    );
    let named = json!({ "isListed": false, "externalSku": "OTHER" });
    it.put(&path, named).await;
    assert_eq!(waiting(&it, store).await, []);
    assert_eq!(it.level(store, coat).await["lastConfirmed"], 0);

    // The marketplace may have sold some meanwhile: it is told, whatever it is believed to show.
    let listed = it.put(&path, json!({})).await;
    assert_eq!(
        (&listed["isListed"], &listed["externalSku"]),
        (&json!(true), &json!("OTHER"))
    );
    assert_eq!(listed["lastConfirmed"], Value::Null);
    assert_eq!(waiting(&it, store).await, resync(1));
}

/// Goods that lie on the shelves of a store before it lists them are there when it does.
#[rstest]
#[tokio::test]
async fn what_is_listed_first_has_what_lies_in_the_warehouses(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let [early, late] = [
        it.app.drawing_store("early").await,
        it.app.drawing_store("late").await,
    ];
    let coat = it.simple("coat").await;
    let set = it.set("set", &[(coat, 2)]).await;
    let (warehouse, shelf) = it.app.warehouse("W", &[early]).await;
    it.app.add(shelf, coat.0, 7).await;
    it.app.link(warehouse, &[early, late]).await;
    for store in [early, late] {
        for product in [coat, set] {
            let level = it.put(&pair(store.id, product), json!({})).await;
            assert_eq!(level["isListed"], true);
        }
        assert_eq!(it.effective(store, coat).await, 7);
        assert_eq!(it.effective(store, set).await, 3);
    }
}

/// What the marketplace shows under another name is not what it was told under the old one, and
/// the results of what is on the way to it say nothing of the new one.
#[rstest]
#[tokio::test]
async fn another_name_begins_anew(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let coat = it.simple("coat").await;
    it.stock(store, coat, 7).await;
    let path = pair(store.id, coat);
    let names = [
        "externalSku",
        "externalBarcode",
        "externalListingId",
        "externalLocationId",
    ];
    for name in names {
        it.empty_queue().await;
        it.set_confirmed(store.id, coat, Some(7)).await;
        is_in_flight(&it, store, coat).await;
        it.block(store.id, coat, "ListingFrozen", Some(it.app.clock.now()))
            .await;
        let level = it.put(&path, json!({ name: "X-1" })).await;
        assert_eq!(level[name], "X-1");
        assert_eq!(level["lastConfirmed"], Value::Null, "{name}");
        assert_eq!(level["lastPushed"], 7);
        assert_eq!(
            (
                &level["inFlight"],
                &level["pushState"],
                &level["rejectCount"]
            ),
            (&json!(false), &json!("OK"), &json!(0))
        );
        assert_eq!(waiting(&it, store).await, resync(1), "{name}");
        // The same again is no change, and what is absent stays.
        it.put(&path, json!({ name: "X-1", "isListed": true }))
            .await;
        assert_eq!(waiting(&it, store).await, resync(1), "{name}");
    }
    let level = it.put(&path, json!({ "externalSku": null })).await;
    assert_eq!(
        (&level["externalSku"], &level["externalBarcode"]),
        (&json!(null), &json!("X-1"))
    );
    let body = Some(json!({ "externalSku": "", "isListed": "yes" }));
    let answer = it
        .refused(Method::PUT, &path, body, 400, "Validation error")
        .await;
    assert_eq!(answer["details"].as_array().unwrap().len(), 2);
}

/// Scenario 21, its identifier: a product without a barcode is blocked; once it has one, it is
/// free and told, in every store that lists it.
#[rstest]
#[tokio::test]
async fn a_barcode_frees_what_lacked_one(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let [first, second, unlisted] = [
        it.app.register("first").await,
        it.app.register("second").await,
        it.app.register("unlisted").await,
    ];
    let coat = it.simple("coat").await;
    let set = it.set("set", &[(coat, 1)]).await;
    for store in [first, second, unlisted] {
        it.stock(store, coat, 7).await;
        it.stock(store, set, 0).await;
        it.block(store.id, coat, "MISSING_IDENTIFIER", None).await;
    }
    it.put(&pair(unlisted.id, coat), json!({ "isListed": false }))
        .await;
    it.empty_queue().await;
    assert_eq!(it.level(first, coat).await["pushState"], "BLOCKED");

    let path = format!("/products/{coat}");
    it.patch(&path, json!({ "name": "warm coat" })).await;
    assert_eq!(it.pending(first).await, [], "a name is no code");
    it.patch(&path, json!({ "barcode": "8680000000" })).await;
    for store in [first, second] {
        let level = it.level(store, coat).await;
        assert_eq!(
            (&level["pushState"], &level["pushErrorCode"]),
            (&json!("OK"), &json!(null))
        );
        let rows = it.pending(store).await;
        assert_eq!(rows.len(), 1, "the set has the code it had: {rows:?}");
        assert_eq!(
            (rows[0].product_id, rows[0].reason.as_str()),
            (coat.0, "RESYNC")
        );
        assert_eq!(rows[0].next_attempt_at, it.app.clock.now());
    }
    assert_eq!(it.pending(unlisted).await, []);
    it.empty_queue().await;
    it.patch(&path, json!({ "sku": "COAT" })).await;
    assert_eq!(waiting(&it, first).await, resync(1));

    // The same by what one store calls it.
    it.block(first.id, coat, "MISSING_IDENTIFIER", None).await;
    it.empty_queue().await;
    let level = it
        .put(&pair(first.id, coat), json!({ "externalBarcode": "869" }))
        .await;
    assert_eq!(level["pushState"], "OK");
    assert_eq!(waiting(&it, first).await, resync(1));
    assert_eq!(it.pending(second).await, []);
}

#[rstest]
#[tokio::test]
async fn what_is_unblocked_is_told_now(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let coat = it.simple("coat").await;
    it.stock(store, coat, 7).await;
    it.empty_queue().await;
    it.set_confirmed(store.id, coat, None).await;
    let until = it.app.clock.now() + TimeDelta::hours(6);
    it.block(store.id, coat, "ListingFrozen", Some(until)).await;
    let blocked = it.level(store, coat).await;
    assert_eq!(
        (&blocked["pushErrorCode"], &blocked["pushErrorMessage"]),
        (&json!("ListingFrozen"), &json!("no"))
    );
    assert_eq!(blocked["blockedUntil"], "2024-01-01T18:00:00.123Z");
    let found = it
        .get(&format!("/stores/{}/stock?pushState=BLOCKED", store.id))
        .await;
    assert_eq!(found["items"], json!([blocked]));

    let path = format!("{}/unblock", pair(store.id, coat));
    let (status, answer) = it.ask(Method::POST, &path, None).await;
    assert_eq!(
        (status, answer),
        (StatusCode::ACCEPTED, json!({ "enqueued": 1 }))
    );
    let level = it.level(store, coat).await;
    assert_eq!(
        (&level["pushState"], &level["blockedUntil"]),
        (&json!("OK"), &json!(null))
    );
    let row = it.pending_of(store, coat).await.unwrap();
    assert_eq!((row.reason.as_str(), row.force), ("MANUAL", true));
    assert_eq!(row.next_attempt_at, it.app.clock.now());
}

#[rstest]
#[tokio::test]
async fn a_pair_that_is_not_there_is_not_found(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let coat = it.simple("coat").await;
    let nobody = ProductId(Uuid::nil());
    let path = format!("{}/unblock", pair(store.id, coat));
    it.refused(Method::POST, &path, None, 404, "Product not in this store")
        .await;
    let path = pair(store.id, nobody);
    it.refused(
        Method::PUT,
        &path,
        Some(json!({})),
        404,
        "Product not found",
    )
    .await;
    let path = pair(nobody.0.into(), coat);
    it.refused(Method::PUT, &path, Some(json!({})), 404, "Store not found")
        .await;
    let path = format!("/stores/{}/products/not-an-id", store.id);
    it.refused(Method::PUT, &path, Some(json!({})), 400, "Validation error")
        .await;
    assert_eq!(it.app.count("SELECT COUNT(*) FROM product_stores").await, 0);
}
