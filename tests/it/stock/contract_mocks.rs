//! Shopify, Amazon and Etsy, as far as telling quantities goes: what they insist on, and what they
//! keep.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::TimeDelta;
use marketplace_sync::stock::mock::{Answer, Incoming, Operation, Protocol, Route, World};
use poem::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::marketplaces::{KEY, SECRET, TOKEN};

fn route(operation: Operation, seller: &str, batch: Option<&str>) -> Route {
    Route {
        operation,
        seller: seller.to_owned(),
        batch: batch.map(str::to_owned),
    }
}

fn body(incoming: &Incoming<'_>) -> Value {
    serde_json::from_slice(incoming.body).unwrap_or_default()
}

/// A shop on Shopify; it has one location.
#[derive(Debug, Default)]
pub(crate) struct ShopifyShop {
    /// What was sent under each idempotency key.
    keys: Mutex<HashMap<String, Value>>,
}

impl ShopifyShop {
    fn set(&self, request: &Value, world: &mut World) -> Value {
        let query = request["query"].as_str().unwrap();
        let variables = &request["variables"];
        if !query.contains("@idempotent(key: $key)") || !variables["key"].is_string() {
            return error("BAD_REQUEST", "an idempotency key is required");
        }
        let input = &variables["input"];
        assert_eq!(input["name"], "available");
        assert_eq!(input["reason"], "correction");
        assert_eq!(
            input["referenceDocumentUri"],
            format!(
                "gid://stock-sync/push/{}",
                variables["key"].as_str().unwrap()
            )
        );
        let quantities = input["quantities"].as_array().unwrap();
        if quantities.len() > 250 {
            return error("MAX_INPUT_SIZE_EXCEEDED", "at most 250 quantities");
        }
        let key = variables["key"].as_str().unwrap().to_owned();
        let mut keys = self.keys.lock().unwrap();
        if let Some(known) = keys.get(&key) {
            let is_same = known == input;
            let errors = if is_same {
                Vec::new()
            } else {
                vec![user_error("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", 0)]
            };
            return payload(&errors);
        }
        let errors: Vec<Value> = quantities
            .iter()
            .enumerate()
            .filter_map(|(place, quantity)| Some(user_error(refusal(quantity, world)?, place)))
            .collect();
        if errors.is_empty() {
            keys.insert(key, input.clone());
            for quantity in quantities {
                let item = quantity["inventoryItemId"].as_str().unwrap();
                world.store("", item, quantity["quantity"].as_i64().unwrap());
            }
        }
        payload(&errors)
    }
}

fn refusal(quantity: &Value, world: &mut World) -> Option<&'static str> {
    let fields = quantity.as_object().unwrap();
    let item = fields["inventoryItemId"].as_str().unwrap();
    if !fields.contains_key("changeFromQuantity") {
        Some("CHANGE_FROM_QUANTITY_REQUIRED")
    } else if world.refusal(item).is_some() {
        Some("ITEM_NOT_STOCKED_AT_LOCATION")
    } else if !world.knows("", item) {
        Some("INVALID_INVENTORY_ITEM")
    } else if fields["locationId"] != "gid://shopify/Location/1" {
        Some("INVALID_LOCATION")
    } else {
        None
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({ "errors": [{ "message": message, "extensions": { "code": code } }] })
}

fn user_error(code: &str, place: usize) -> Value {
    let field = ["input", "quantities", &place.to_string(), "inventoryItemId"];
    json!({ "code": code, "field": field, "message": code.to_lowercase() })
}

fn payload(errors: &[Value]) -> Value {
    json!({ "data": { "inventorySetQuantities": { "inventoryAdjustmentGroup": null, "userErrors": errors } } })
}

/// Answers each alias of the query with what its variables ask for.
fn levels(request: &Value, world: &World) -> Value {
    let variables = request["variables"].as_object().unwrap();
    let items = variables.iter().filter(|(name, _)| name.starts_with('i'));
    let levels: Map<String, Value> = items
        .map(|(name, item)| {
            let quantity = world.quantity("", item.as_str().unwrap());
            let level = quantity.map(|quantity| {
                json!({ "inventoryLevel": { "quantities": [{ "name": "available", "quantity": quantity }] } })
            });
            (name.clone(), json!(level))
        })
        .collect();
    json!({ "data": levels })
}

impl Protocol for ShopifyShop {
    fn route(&self, method: &Method, path: &[&str]) -> Option<Route> {
        match (method.as_str(), path) {
            ("POST", ["admin", "api", "2026-04", "graphql.json"]) => {
                Some(route(Operation::Send, "", None))
            }
            _ => None,
        }
    }

    fn answer(&self, incoming: &Incoming<'_>, world: &mut World) -> Answer {
        if incoming.header("x-shopify-access-token") != Some(TOKEN) {
            let why = json!({ "errors": "[API] Invalid API key or access token" });
            return Answer::new(StatusCode::UNAUTHORIZED, why);
        }
        let request = body(incoming);
        let is_mutation = request["query"]
            .as_str()
            .is_some_and(|query| query.starts_with("mutation"));
        Answer::ok(if is_mutation {
            self.set(&request, world)
        } else {
            levels(&request, world)
        })
    }

    fn too_many(&self) -> Answer {
        Answer::new(
            StatusCode::TOO_MANY_REQUESTS,
            json!({ "errors": "Exceeded 2 calls per second" }),
        )
    }
}

/// The listings of a seller on Amazon.
#[derive(Debug)]
pub(crate) struct AmazonSeller;

fn sp_error(status: StatusCode, code: &str) -> Answer {
    Answer::new(
        status,
        json!({ "errors": [{ "code": code, "message": code.to_lowercase(), "details": "" }] }),
    )
}

impl Protocol for AmazonSeller {
    fn route(&self, method: &Method, path: &[&str]) -> Option<Route> {
        match (method.as_str(), path) {
            ("PATCH", ["listings", "2021-08-01", "items", seller, sku]) => {
                Some(route(Operation::Send, seller, Some(sku)))
            }
            ("GET", ["listings", "2021-08-01", "items", seller, sku]) => {
                Some(route(Operation::Read, seller, Some(sku)))
            }
            _ => None,
        }
    }

    fn answer(&self, incoming: &Incoming<'_>, world: &mut World) -> Answer {
        if incoming.header("x-amz-access-token") != Some(TOKEN) {
            return sp_error(StatusCode::FORBIDDEN, "Unauthorized");
        }
        if incoming.parameter("marketplaceIds") != Some("A33AVAJ2PDY3EV") {
            return sp_error(StatusCode::BAD_REQUEST, "InvalidInput");
        }
        let second = TimeDelta::seconds(1);
        if !world.spend(
            &format!("{:?}", incoming.route.operation),
            5,
            second,
            incoming.now,
        ) {
            return self.too_many();
        }
        let (seller, sku) = (
            &incoming.route.seller,
            incoming.route.batch.as_deref().unwrap(),
        );
        if !world.knows(seller, sku) {
            return sp_error(StatusCode::NOT_FOUND, "NOT_FOUND");
        }
        if incoming.route.operation == Operation::Read {
            assert_eq!(
                incoming.parameter("includedData"),
                Some("fulfillmentAvailability")
            );
            let quantity = world.quantity(seller, sku);
            let own = json!({ "fulfillmentChannelCode": "DEFAULT", "quantity": quantity });
            return Answer::ok(json!({ "sku": sku, "fulfillmentAvailability": [own] }));
        }
        let request = body(incoming);
        let quantity = request["patches"][0]["value"][0]["quantity"]
            .as_i64()
            .unwrap();
        let expected = json!({ "productType": "PRODUCT", "patches": [{
            "op": "merge", "path": "/attributes/fulfillment_availability",
            "value": [{ "fulfillment_channel_code": "DEFAULT", "quantity": quantity }],
        }] });
        assert_eq!(request, expected);
        let refusal = world.refusal(sku);
        let status = if refusal.is_some() {
            "INVALID"
        } else {
            "ACCEPTED"
        };
        let issues: Vec<Value> = refusal
            .iter()
            .map(|why| json!({ "code": "90220", "message": why, "severity": "ERROR" }))
            .collect();
        if refusal.is_none() {
            world.store(seller, sku, quantity);
        }
        Answer::ok(json!({ "sku": sku, "status": status, "submissionId": "s", "issues": issues }))
    }

    fn too_many(&self) -> Answer {
        sp_error(StatusCode::TOO_MANY_REQUESTS, "QuotaExceeded")
    }
}

/// Listings on Etsy, each with two products: `SKU-n` and `OTHER-n`.
#[derive(Debug)]
pub(crate) struct EtsyListings {
    inventories: Mutex<HashMap<String, Value>>,
}

impl EtsyListings {
    pub(crate) fn new(count: usize) -> Self {
        let inventory = |number: usize| (number.to_string(), inventory(number));
        Self {
            inventories: Mutex::new((1..=count).map(inventory).collect()),
        }
    }

    /// An inventory, as it is read.
    pub(crate) fn inventory(number: usize) -> Value {
        inventory(number)
    }
}

fn inventory(number: usize) -> Value {
    let product = |sku: String, colour: &str, quantity: usize| {
        json!({
            "product_id": number * 10 + quantity, "sku": sku, "is_deleted": false,
            "offerings": [{ "offering_id": number * 10, "quantity": quantity, "is_enabled": true,
                "is_deleted": false, "price": { "amount": 1999, "divisor": 100, "currency_code": "USD" },
                "readiness_state_id": 77 }],
            "property_values": [{ "property_id": 200, "property_name": "Colour", "scale_id": null,
                "scale_name": null, "value_ids": [number], "values": [colour] }],
        })
    };
    json!({
        "products": [product(format!("SKU-{number}"), "Red", 3), product(format!("OTHER-{number}"), "Blue", 4)],
        "price_on_property": [200], "quantity_on_property": [200], "sku_on_property": [200],
        "readiness_state_on_property": [200],
    })
}

/// What is written must be all that was read, in the form that is taken.
fn taken(old: &Value, new: &Value) -> Result<Value, String> {
    let mut kept = old.clone();
    for name in [
        "price_on_property",
        "quantity_on_property",
        "sku_on_property",
        "readiness_state_on_property",
    ] {
        if new[name] != old[name] {
            return Err(format!("{name} is not what it was"));
        }
    }
    let products = new["products"].as_array().ok_or("there are no products")?;
    let old_products = kept["products"].as_array_mut().unwrap();
    if products.len() != old_products.len() {
        return Err("products are missing".into());
    }
    for (old, new) in old_products.iter_mut().zip(products) {
        let mut expected = old.clone();
        let fields = expected.as_object_mut().unwrap();
        fields.remove("product_id");
        fields.remove("is_deleted");
        expected["property_values"][0]
            .as_object_mut()
            .unwrap()
            .remove("scale_name");
        let offering = expected["offerings"][0].as_object_mut().unwrap();
        offering.remove("offering_id");
        offering.remove("is_deleted");
        offering.insert("price".into(), json!(19.99));
        let quantity = new["offerings"][0]["quantity"].clone();
        offering.insert("quantity".into(), quantity.clone());
        if *new != expected {
            return Err(format!("{new} is not {expected}"));
        }
        old["offerings"][0]["quantity"] = quantity;
    }
    Ok(kept)
}

impl Protocol for EtsyListings {
    fn route(&self, method: &Method, path: &[&str]) -> Option<Route> {
        match (method.as_str(), path) {
            ("GET", ["v3", "application", "listings", listing, "inventory"]) => {
                Some(route(Operation::Read, "", Some(listing)))
            }
            ("PUT", ["v3", "application", "listings", listing, "inventory"]) => {
                Some(route(Operation::Send, "", Some(listing)))
            }
            _ => None,
        }
    }

    fn answer(&self, incoming: &Incoming<'_>, world: &mut World) -> Answer {
        let key = format!("{KEY}:{SECRET}");
        if incoming.header("x-api-key") != Some(&key)
            || incoming.header("authorization") != Some(&format!("Bearer {TOKEN}"))
        {
            return Answer::new(
                StatusCode::UNAUTHORIZED,
                json!({ "error": "invalid_token" }),
            );
        }
        let listing = incoming.route.batch.as_deref().unwrap();
        let mut inventories = self.inventories.lock().unwrap();
        let Some(inventory) = inventories.get_mut(listing) else {
            return Answer::new(
                StatusCode::NOT_FOUND,
                json!({ "error": "Resource not found" }),
            );
        };
        if incoming.route.operation == Operation::Send {
            let refusal = world.refusal(&format!("SKU-{listing}"));
            match refusal.map_or_else(|| taken(inventory, &body(incoming)), Err) {
                Ok(new) => *inventory = new,
                Err(error) => {
                    return Answer::new(StatusCode::BAD_REQUEST, json!({ "error": error }));
                }
            }
            for product in inventory["products"].as_array().unwrap() {
                let quantity = product["offerings"][0]["quantity"].as_i64().unwrap();
                world.store("", product["sku"].as_str().unwrap(), quantity);
            }
        }
        Answer::ok(inventory.clone())
    }

    fn too_many(&self) -> Answer {
        let answer = Answer::new(
            StatusCode::TOO_MANY_REQUESTS,
            json!({ "error": "rate limit" }),
        );
        Answer {
            headers: vec![
                ("x-remaining-today", "0".into()),
                ("x-limit-per-day", "10000".into()),
            ],
            ..answer
        }
    }
}
