//! Products, their codes, and what sets are made of.

use jobs::StoreId;
use marketplace_sync::stock::model::ProductId;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue::{Catalogue, id, items_of};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, store_body};

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}

#[rstest]
#[tokio::test]
async fn a_product_is_shown_as_it_was_created(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let body = json!({
        "organizationId": "org-1",
        "name": "Şal",
        "sku": "SAL-1",
        "barcode": "868 000",
        "productType": "SIMPLE",
    });
    let (status, created) = it.app.post("/products", &body).await;
    assert_eq!(status, StatusCode::CREATED);
    let expected = json!({
        "id": created["id"],
        "organizationId": "org-1",
        "name": "Şal",
        "sku": "SAL-1",
        "barcode": "868 000",
        "productType": "SIMPLE",
        "barcodes": [],
        "createdAt": "2024-01-01T12:00:00.123Z",
        "updatedAt": "2024-01-01T12:00:00.123Z",
    });
    assert_eq!(created, expected);
    let path = format!("/products/{}", created["id"].as_str().unwrap());
    assert_eq!(it.get(&path).await, expected);
}

#[rstest]
#[tokio::test]
async fn a_creation_with_a_key_is_one_product(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let body = json!({ "organizationId": "org-1", "name": "Scarf", "productType": "SIMPLE" });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = it.app.http.post(it.app.server.url("/products"));
        let request = request.header("idempotency-key", "once").json(&body);
        answers.push(it.app.send(request).await);
    }
    assert_eq!(answers[0].0, StatusCode::CREATED);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(it.app.count("SELECT COUNT(*) FROM products").await, 1);
}

#[rstest]
#[tokio::test]
async fn what_is_wrong_with_a_product_is_said_field_by_field(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let good = json!({ "organizationId": "org-1", "name": "Scarf", "productType": "SIMPLE" });
    for (field, value) in [
        ("organizationId", json!("")),
        ("name", json!("")),
        ("name", json!("x".repeat(501))),
        ("name", json!("a\0b")),
        ("sku", json!("")),
        ("barcode", json!("x".repeat(256))),
        ("productType", json!("BUNDLE")),
        ("productType", json!(null)),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let (status, answer) = it.app.post("/products", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field}: {value}");
        assert_eq!(answer["details"][0]["path"], json!([field]), "{answer}");
    }
    let product = it.simple("Scarf").await;
    let path = format!("/products/{product}");
    for (field, value) in [("name", json!("")), ("productType", json!("SET"))] {
        let body = Some(json!({ field: value }));
        let answer = it
            .refused(Method::PATCH, &path, body, 400, "Validation error")
            .await;
        assert_eq!(answer["details"][0]["path"], json!([field]));
    }
    assert_eq!(it.get(&path).await["productType"], "SIMPLE");
}

#[rstest]
#[tokio::test]
async fn products_are_found_by_their_codes_their_type_and_a_part_of_them(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let coat = it.simple("Winter coat").await;
    let glove = it.simple("Glove_50%").await;
    it.create("Winter SET", "SET").await;
    it.patch(&format!("/products/{coat}"), json!({ "barcode": "111" }))
        .await;
    let further = json!({ "barcodes": ["222", "333", "222"] });
    let described = it
        .put(&format!("/products/{glove}/barcodes"), further)
        .await;
    assert_eq!(described["barcodes"], json!(["222", "333"]));
    for (query, found) in [
        ("", vec!["Winter coat", "Glove_50%", "Winter SET"]),
        ("?barcode=111", vec!["Winter coat"]),
        ("?barcode=333", vec!["Glove_50%"]),
        ("?barcode=333&sku=Glove_50%25", vec!["Glove_50%"]),
        ("?barcode=333&sku=other", vec![]),
        ("?barcode=444", vec![]),
        ("?sku=Winter%20coat", vec!["Winter coat"]),
        ("?sku=winter%20coat", vec![]),
        ("?productType=SET", vec!["Winter SET"]),
        ("?sku=Winter%20coat&productType=SET", vec![]),
        ("?q=winter", vec!["Winter coat", "Winter SET"]),
        ("?q=winter&productType=SIMPLE", vec!["Winter coat"]),
        ("?q=11", vec!["Winter coat"]),
        ("?q=%25", vec!["Glove_50%"]),
        ("?q=_", vec!["Glove_50%"]),
        ("?q=%5C", vec![]),
        ("?barcode=111&q=COAT", vec!["Winter coat"]),
        ("?barcode=111&q=glove", vec![]),
    ] {
        let page = it.get(&format!("/products{query}")).await;
        assert_eq!(names(&page), found, "{query}");
    }
    for query in ["?productType=ALL", "?q=", "?limit=501", "?cursor=x"] {
        let path = format!("/products{query}");
        it.refused(Method::GET, &path, None, 400, "Validation error")
            .await;
    }
}

#[rstest]
#[tokio::test]
async fn products_come_by_pages_in_the_order_they_were_created(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    for name in ["a", "b", "c", "d", "e"] {
        it.simple(name).await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = String::new();
    for size in [2, 2, 1] {
        let page = it.get(&format!("/products?limit=2{cursor}")).await;
        assert_eq!(names(&page).len(), size);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        assert_eq!(page["nextCursor"].is_null(), size == 1);
        cursor = format!(
            "&cursor={}",
            page["nextCursor"].as_str().unwrap_or_default()
        );
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

/// Each code is one product's, whether it is its own barcode or a further one; null removes it.
#[rstest]
#[tokio::test]
async fn a_code_names_one_product(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let coat = it.simple("coat").await;
    let glove = it.simple("glove").await;
    let coat_path = format!("/products/{coat}");
    let glove_path = format!("/products/{glove}");
    it.patch(&coat_path, json!({ "barcode": "111" })).await;
    let further = format!("{coat_path}/barcodes");
    it.put(&further, json!({ "barcodes": ["112"] })).await;
    for (body, error) in [
        (json!({ "barcode": "111" }), "barcode_taken"),
        (json!({ "barcode": "112" }), "barcode_taken"),
        (json!({ "sku": "coat" }), "sku_taken"),
    ] {
        it.refused(Method::PATCH, &glove_path, Some(body.clone()), 409, error)
            .await;
        let mut new =
            json!({ "organizationId": "org-1", "name": "other", "productType": "SIMPLE" });
        new.as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        let (status, answer) = it.app.post("/products", &new).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::CONFLICT, &json!(error))
        );
    }
    for taken in ["111", "112"] {
        let path = format!("{glove_path}/barcodes");
        let body = Some(json!({ "barcodes": ["113", taken] }));
        it.refused(Method::PUT, &path, body, 409, "barcode_taken")
            .await;
    }
    assert_eq!(it.get(&glove_path).await["barcodes"], json!([]));

    // Once they are given up, another one may have them.
    let given_up = it
        .patch(&coat_path, json!({ "barcode": null, "sku": null }))
        .await;
    assert_eq!(
        (&given_up["barcode"], &given_up["sku"]),
        (&json!(null), &json!(null))
    );
    it.put(&further, json!({ "barcodes": [] })).await;
    let taken = it
        .patch(&glove_path, json!({ "barcode": "111", "sku": "coat" }))
        .await;
    assert_eq!(
        (&taken["barcode"], &taken["sku"]),
        (&json!("111"), &json!("coat"))
    );
    it.put(
        &format!("{glove_path}/barcodes"),
        json!({ "barcodes": ["112"] }),
    )
    .await;
    // What is absent stays.
    let renamed = it.patch(&glove_path, json!({ "name": "mitten" })).await;
    assert_eq!(
        (&renamed["name"], &renamed["barcode"]),
        (&json!("mitten"), &json!("111"))
    );
}

#[rstest]
#[tokio::test]
async fn a_set_is_made_of_simple_products_of_its_organization(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let [coat, glove] = [it.simple("coat").await, it.simple("glove").await];
    let set = it.create("set", "SET").await;
    let path = format!("/products/{set}/set-items");
    assert_eq!(it.get(&path).await, json!({ "items": [] }));
    let items = items_of(&[(glove, 2), (coat, 1_000_000)]);
    it.put(&path, items).await;
    let kept = items_of(&[(coat, 1_000_000), (glove, 2)]);
    assert_eq!(it.get(&path).await, kept);

    let other = it.set("other set", &[(coat, 1)]).await;
    let nobody = ProductId(Uuid::nil());
    for (items, status, error) in [
        (vec![(other, 1)], 422, "nested_set_not_allowed"),
        (vec![(set, 1)], 422, "nested_set_not_allowed"),
        (vec![(coat, 0)], 422, "invalid_quantity"),
        (vec![(coat, -1)], 422, "invalid_quantity"),
        (vec![(coat, 1_000_001)], 422, "invalid_quantity"),
        (vec![(nobody, 1)], 404, "Product not found"),
        (vec![(coat, 1), (coat, 2)], 400, "Validation error"),
    ] {
        let body = Some(items_of(&items));
        it.refused(Method::PUT, &path, body, status, error).await;
    }
    let half = json!({ "items": [{ "componentProductId": coat, "quantity": 0.5 }] });
    let answer = it
        .refused(Method::PUT, &path, Some(half), 400, "Validation error")
        .await;
    assert_eq!(
        answer["details"][0]["path"],
        json!(["items", 0, "quantity"])
    );
    assert_eq!(it.get(&path).await, kept, "a refusal changes nothing");

    let simple = format!("/products/{coat}/set-items");
    let body = Some(items_of(&[(glove, 1)]));
    it.refused(Method::PUT, &simple, body, 422, "not_a_set")
        .await;
    it.refused(Method::GET, &simple, None, 422, "not_a_set")
        .await;
}

/// Scenario 20, its editing: every store that lists the set is told how many it is now, and no
/// other; one that is made of the same as before is not told.
#[rstest]
#[tokio::test]
async fn an_edited_set_is_told_to_every_store_that_lists_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let it = Catalogue::start(on).await;
    let [coat, glove] = [it.simple("coat").await, it.simple("glove").await];
    let set = it.set("set", &[(coat, 1)]).await;
    let [first, second, unlisted] = [
        it.app.register("first").await,
        it.app.register("second").await,
        it.app.register("unlisted").await,
    ];
    for store in [first, second, unlisted] {
        it.stock(store, coat, 9).await;
        it.stock(store, glove, 5).await;
        it.stock(store, set, 0).await;
    }
    let path = format!("/stores/{}/products/{set}", unlisted.id);
    it.put(&path, json!({ "isListed": false })).await;
    it.empty_queue().await;

    it.compose(set, &[(coat, 1), (glove, 2)]).await;
    for store in [first, second] {
        let rows = it.pending(store).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        let row = &rows[0];
        assert_eq!((row.product_id, row.store_id), (set.0, store.id.0));
        assert_eq!(
            (row.reason.as_str(), row.priority, row.force),
            ("SET_CHANGED", 50, false)
        );
        assert_eq!(it.effective(store, set).await, 2);
    }
    assert_eq!(it.pending(unlisted).await, []);

    it.empty_queue().await;
    it.compose(set, &[(glove, 2), (coat, 1)]).await;
    assert_eq!(it.pending(first).await, []);
}

/// P9: the same codes in two organizations are two products, and nobody sees or changes the
/// other's.
#[rstest]
#[tokio::test]
async fn organizations_share_no_codes_and_no_products(#[values(Embedded, Server)] on: Profile) {
    let it = Catalogue::start(on).await;
    let body = |organization: &str| {
        json!({
            "organizationId": organization,
            "name": format!("coat of {organization}"),
            "sku": "coat",
            "barcode": "111",
            "productType": "SIMPLE",
        })
    };
    let mut products = Vec::new();
    for organization in ["org-1", "org-2"] {
        let (status, answer) = it.app.post("/products", &body(organization)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        products.push(ProductId(id(&answer["id"])));
    }
    let [own, foreign] = products[..] else {
        unreachable!()
    };
    let further = json!({ "barcodes": ["222"] });
    it.put(&format!("/products/{own}/barcodes"), further.clone())
        .await;
    let path = format!("/products/{foreign}/barcodes?organizationId=org-2");
    let request = it.app.http.put(it.app.server.url(&path)).json(&further);
    assert_eq!(it.app.send(request).await.0, StatusCode::OK);
    for query in ["barcode=111", "barcode=222", "sku=coat", "q=coat"] {
        let page = it.get(&format!("/products?{query}")).await;
        assert_eq!(names(&page), ["coat of org-1"], "{query}");
    }

    let mut store = store_body("shop");
    store["organizationId"] = json!("org-2");
    let (_, store) = it.app.post("/stores/register", &store).await;
    let foreign_store = StoreId(id(&store["storeId"]));
    let own_store = it.app.register("shop").await.id;
    let not_found = "Product not found";
    for (method, path, body, error) in [
        (Method::GET, format!("/products/{foreign}"), None, not_found),
        (
            Method::GET,
            format!("/products/{foreign}/stock"),
            None,
            not_found,
        ),
        (
            Method::PATCH,
            format!("/products/{foreign}"),
            Some(json!({ "name": "x" })),
            not_found,
        ),
        (
            Method::PUT,
            format!("/stores/{own_store}/products/{foreign}"),
            Some(json!({})),
            not_found,
        ),
        (
            Method::PUT,
            format!("/stores/{foreign_store}/products/{own}"),
            Some(json!({})),
            "Store not found",
        ),
        (
            Method::GET,
            format!("/stores/{foreign_store}/stock"),
            None,
            "Store not found",
        ),
        (
            Method::GET,
            format!("/stock-queue?storeId={foreign_store}"),
            None,
            "Store not found",
        ),
    ] {
        it.refused(method, &path, body, 404, error).await;
    }
    let set = it.create("set", "SET").await;
    let path = format!("/products/{set}/set-items");
    let items = Some(items_of(&[(foreign, 1)]));
    it.refused(Method::PUT, &path, items, 404, not_found).await;
    assert_eq!(it.app.count("SELECT COUNT(*) FROM product_stores").await, 0);
}
