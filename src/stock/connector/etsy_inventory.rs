//! The inventory of a listing on Etsy: read whole, changed where it is ours, and written back
//! whole.
//!
//! What comes back is not what goes in: names that Etsy gave are left out, prices turn from parts
//! into a number, and everything else stays, so that what somebody set by hand is not lost.

use serde_json::{Map, Number, Value};

/// A longer one is none: it would not be one of four hundred products.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// What is written beside the products, as it was read.
const ON_PROPERTY: [&str; 4] = [
    "price_on_property",
    "quantity_on_property",
    "sku_on_property",
    "readiness_state_on_property",
];

/// An inventory, as Etsy sent it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inventory {
    products: Vec<Map<String, Value>>,
    on_property: Map<String, Value>,
}

impl Inventory {
    /// Reads an answer; none if it is no inventory. Deleted products are not in it.
    pub(super) fn read(reply: &[u8]) -> Option<Self> {
        if reply.len() > MAX_BYTES {
            return None;
        }
        let Value::Object(mut whole) = serde_json::from_slice(reply).ok()? else {
            return None;
        };
        let Some(Value::Array(products)) = whole.remove("products") else {
            return None;
        };
        let products: Option<Vec<Map<String, Value>>> = products
            .into_iter()
            .map(|product| match product {
                Value::Object(product) => product.get("offerings")?.is_array().then_some(product),
                _ => None,
            })
            .collect();
        let kept =
            |product: &Map<String, Value>| product.get("is_deleted") != Some(&Value::Bool(true));
        let on_property = whole
            .into_iter()
            .filter(|(name, value)| ON_PROPERTY.contains(&name.as_str()) && !value.is_null());
        Some(Self {
            products: products?.into_iter().filter(kept).collect(),
            on_property: on_property.collect(),
        })
    }

    /// Sets the quantity of a product; tells whether there is one. Without variations a product
    /// often has no SKU, and is the only one.
    pub(super) fn set(&mut self, sku: Option<&str>, quantity: i64) -> bool {
        let places = self.places(sku);
        for place in &places {
            for offering in offerings_mut(&mut self.products[*place]) {
                offering.insert("quantity".into(), quantity.into());
            }
        }
        !places.is_empty()
    }

    /// How many there are of a product; none if there is none.
    pub(super) fn quantity(&self, sku: Option<&str>) -> Option<i64> {
        let place = *self.places(sku).first()?;
        let offerings = self.products[place].get("offerings")?.as_array()?;
        let is_kept = |offering: &&Value| offering["is_deleted"] != true;
        offerings.iter().find(is_kept)?["quantity"].as_i64()
    }

    fn places(&self, sku: Option<&str>) -> Vec<usize> {
        let is = |product: &Map<String, Value>, wanted: &str| match product.get("sku") {
            Some(Value::String(sku)) => sku.trim() == wanted,
            Some(Value::Null) | None => wanted.is_empty(),
            Some(_) => false,
        };
        let of = |wanted: &str| -> Vec<usize> {
            let products = self.products.iter().enumerate();
            products
                .filter(|(_, product)| is(product, wanted))
                .map(|(place, _)| place)
                .collect()
        };
        let found = sku.map(of).unwrap_or_default();
        match (&found[..], sku, &self.products[..]) {
            // The store names the listing alone, and the listing is the product.
            ([], None, [_]) => vec![0],
            // The listing is the product, and nobody gave it the merchant's name.
            ([], Some(_), [only]) if is(only, "") => vec![0],
            _ => found,
        }
    }

    /// What is written back; none if something in it cannot be written as it was.
    pub(super) fn to_update(&self) -> Option<String> {
        let products: Option<Vec<Value>> = self.products.iter().map(updated).collect();
        let mut whole = self.on_property.clone();
        whole.insert("products".into(), products?.into());
        serde_json::to_string(&whole).ok()
    }
}

fn offerings_mut(
    product: &mut Map<String, Value>,
) -> impl Iterator<Item = &mut Map<String, Value>> {
    let offerings = product.get_mut("offerings").and_then(Value::as_array_mut);
    offerings
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn updated(product: &Map<String, Value>) -> Option<Value> {
    let mut product = product.clone();
    product.remove("product_id");
    product.remove("is_deleted");
    if let Some(Value::Array(values)) = product.get_mut("property_values") {
        for value in values.iter_mut().filter_map(Value::as_object_mut) {
            // It follows from the id of the scale, and is not taken.
            value.remove("scale_name");
        }
    }
    let Some(Value::Array(offerings)) = product.get_mut("offerings") else {
        return None;
    };
    offerings.retain(|offering| offering["is_deleted"] != true);
    for offering in offerings {
        let offering = offering.as_object_mut()?;
        offering.remove("offering_id");
        offering.remove("is_deleted");
        if offering
            .get("readiness_state_id")
            .is_some_and(Value::is_null)
        {
            offering.remove("readiness_state_id");
        }
        let price = price(offering.get("price")?)?;
        offering.insert("price".into(), price);
    }
    Some(product.into())
}

/// A price as a number. Its parts fit a float exactly, and the nearest float of their quotient is
/// written with the digits of the quotient, as long as there are no more than 15, so nothing is
/// rounded.
fn price(price: &Value) -> Option<Value> {
    if price.is_number() {
        return Some(price.clone());
    }
    let amount = price["amount"]
        .as_i64()
        .filter(|amount| (0..=999_999_999_999_999).contains(amount))?;
    let divisor = price["divisor"].as_i64()?;
    if !matches!(divisor, 1 | 10 | 100 | 1000 | 10_000) {
        return None;
    }
    if amount % divisor == 0 {
        return Some((amount / divisor).into());
    }
    #[expect(clippy::cast_precision_loss, reason = "it has at most 15 digits")]
    let quotient = amount as f64 / divisor as f64;
    Number::from_f64(quotient).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "products": [
                {
                    "product_id": 1, "sku": "A", "is_deleted": false,
                    "offerings": [{ "offering_id": 11, "quantity": 3, "is_enabled": true, "is_deleted": false,
                        "price": { "amount": 1999, "divisor": 100, "currency_code": "USD" },
                        "readiness_state_id": 77 }],
                    "property_values": [{ "property_id": 200, "property_name": "Color", "scale_id": null,
                        "scale_name": null, "value_ids": [1], "values": ["Red"] }],
                },
                {
                    "product_id": 2, "sku": "B", "is_deleted": false,
                    "offerings": [{ "offering_id": 12, "quantity": 4, "is_enabled": false, "is_deleted": false,
                        "price": { "amount": 5, "divisor": 1000, "currency_code": "KWD" },
                        "readiness_state_id": null }],
                    "property_values": [],
                },
                { "product_id": 3, "sku": "A", "is_deleted": true, "offerings": [] },
            ],
            "price_on_property": [200], "quantity_on_property": [200], "sku_on_property": [],
            "readiness_state_on_property": [200], "listing": { "state": "active" },
        })
    }

    fn read(document: &Value) -> Option<Inventory> {
        Inventory::read(document.to_string().as_bytes())
    }

    #[test]
    fn everything_but_the_quantity_goes_back_as_it_was() {
        let mut inventory = read(&document()).unwrap();
        assert_eq!(inventory.quantity(Some("A")), Some(3));
        assert!(inventory.set(Some("A"), 9));
        let written: Value = serde_json::from_str(&inventory.to_update().unwrap()).unwrap();
        let expected = json!({
            "products": [
                {
                    "sku": "A",
                    "offerings": [{ "quantity": 9, "is_enabled": true, "price": 19.99, "readiness_state_id": 77 }],
                    "property_values": [{ "property_id": 200, "property_name": "Color", "scale_id": null,
                        "value_ids": [1], "values": ["Red"] }],
                },
                {
                    "sku": "B",
                    "offerings": [{ "quantity": 4, "is_enabled": false, "price": 0.005 }],
                    "property_values": [],
                },
            ],
            "price_on_property": [200], "quantity_on_property": [200], "sku_on_property": [],
            "readiness_state_on_property": [200],
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn a_product_is_found_by_its_sku_or_is_the_only_one() {
        let one = |sku: Value| {
            let product = json!({ "sku": sku, "offerings": [{ "quantity": 1, "price": 5 }] });
            read(&json!({ "products": [product] })).unwrap()
        };
        assert!(one(json!("A")).set(Some("A"), 1));
        assert!(!one(json!("A")).set(Some("B"), 1));
        assert!(one(json!("")).set(Some("B"), 1));
        assert!(one(json!(null)).set(Some("B"), 1));
        assert!(one(json!("A")).set(None, 1));
        let mut two = read(&document()).unwrap();
        assert!(!two.set(None, 1));
        assert!(!two.set(Some("C"), 1));
        assert_eq!(two.quantity(Some("C")), None);
    }

    #[test]
    fn a_price_that_cannot_be_written_stops_everything() {
        for (given, written) in [
            (json!(19.99), Some(json!(19.99))),
            (
                json!({ "amount": 1999, "divisor": 100 }),
                Some(json!(19.99)),
            ),
            (json!({ "amount": 2000, "divisor": 100 }), Some(json!(20))),
            (
                json!({ "amount": 999_999_999_999_999_i64, "divisor": 100 }),
                Some(json!(9_999_999_999_999.99)),
            ),
            (
                json!({ "amount": 1_000_000_000_000_000_i64, "divisor": 100 }),
                None,
            ),
            (json!({ "amount": -1, "divisor": 100 }), None),
            (json!({ "amount": 1, "divisor": 3 }), None),
            (json!({ "amount": 1 }), None),
            (json!("19.99"), None),
            (json!(null), None),
        ] {
            assert_eq!(price(&given), written, "{given}");
            let mut document = document();
            document["products"][1]["offerings"][0]["price"] = given.clone();
            assert_eq!(
                read(&document).unwrap().to_update().is_some(),
                written.is_some(),
                "{given}"
            );
        }
    }

    #[test]
    fn what_is_no_inventory_is_none() {
        for broken in [
            json!([]),
            json!({}),
            json!({ "products": 5 }),
            json!({ "products": [5] }),
            json!({ "products": [{ "sku": "A" }] }),
            json!({ "products": [{ "offerings": 5 }] }),
        ] {
            assert_eq!(read(&broken), None, "{broken}");
        }
        let long = format!("{{\"products\":[],\"more\":\"{}\"}}", "x".repeat(MAX_BYTES));
        assert_eq!(Inventory::read(long.as_bytes()), None);
    }
}

#[cfg(test)]
mod fuzz {
    use serde_json::json;

    use super::*;
    use crate::fuzz::fuzz;

    const WORDS: [&str; 5] = ["A", "B", "quantity", "sku", "1"];

    /// Of a document that can be written, nothing is lost and nothing but our quantity changes.
    #[test]
    fn only_the_quantity_of_our_sku_changes() {
        fuzz!(|source| {
            let products: Vec<Value> = (0..source.below(4))
                .map(|place| {
                    let mut product = json!({ "product_id": place, "sku": source.pick(&["A", "B", ""]),
                        "is_deleted": source.below(5) == 0, "property_values": [source.json(&WORDS)],
                        "offerings": [{ "offering_id": place, "quantity": source.below(50),
                            "price": { "amount": source.below(9999), "divisor": 100 } }] });
                    if source.below(8) == 0 {
                        let member = source.pick(&["sku", "offerings", "property_values", "is_deleted"]);
                        product[member] = source.json(&WORDS);
                    }
                    product
                })
                .collect();
            let document = json!({ "products": products, "sku_on_property": [source.below(9)] });
            let Some(before) = Inventory::read(document.to_string().as_bytes()) else {
                return;
            };
            let mut after = before.clone();
            let is_found = after.set(Some("A"), 777);
            let (Some(written), Some(first)) = (after.to_update(), before.to_update()) else {
                return;
            };
            let written: Value = serde_json::from_str(&written).unwrap();
            let mut first: Value = serde_json::from_str(&first).unwrap();
            let kept = products
                .iter()
                .filter(|product| product["is_deleted"] != true)
                .count();
            assert_eq!(
                written["products"].as_array().unwrap().len(),
                kept,
                "{document}"
            );
            assert_eq!(written["sku_on_property"], document["sku_on_property"]);
            let is_only = kept == 1;
            let mut changed = 0;
            for product in first["products"].as_array_mut().unwrap() {
                let sku = product["sku"]
                    .as_str()
                    .unwrap_or_default()
                    .trim()
                    .to_owned();
                if sku == "A"
                    || (is_only
                        && sku.is_empty()
                        && (product["sku"].is_string() || product["sku"].is_null()))
                {
                    changed += 1;
                    for offering in product["offerings"].as_array_mut().unwrap() {
                        offering["quantity"] = json!(777);
                    }
                }
            }
            assert_eq!(written, first, "{document}");
            assert_eq!(is_found, changed > 0, "{document}");
        });
    }
}
