//! The document of the API, with what its macros cannot say: which form a parameter has, that a
//! string must be storable, what may be null, and which answer leads to which request.
//!
//! A client that is made from the document, or a test that is, sends what the service takes and
//! nothing else. What a schema cannot say at all (a URL that must lead to the public internet, a
//! cursor that must be one of ours) is answered with 400 and said in the descriptions.

use std::collections::HashMap;
use std::marker::PhantomData;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, Registry};
use serde_json::{Map, Value, json};

use crate::http::auth::Access;
use crate::http::health::HealthApi;
use crate::marketplace::api::MarketplaceApi;
use crate::marketplace::mock_api::MockMarketplaceApi;
use crate::stock::catalog_api::CatalogApi;
use crate::stock::model::{
    ApiLogType, ItemState, PairState, ProductType, Provider, PushState, Reason,
};
use crate::stock::pushes_api::PushesApi;
use crate::stock::queue_api::StockQueueApi;
use crate::stock::reservations_api::ReservationsApi;
use crate::stock::warehouses_api::WarehousesApi;
use crate::webhooks::api::WebhooksApi;
use crate::webhooks::callbacks_api::CallbacksApi;

/// Any text without U+0000, which no database column takes.
const STORABLE: &str = "^[^\\u0000]*$";

/// An answer (200) that holds what a later request needs: the operation it leads to, where the request
/// wants the value, and where the answer has it.
struct Lead {
    from: &'static str,
    to: &'static str,
    /// `path.id`, `query.organizationId`, or `body.syncToken`.
    values: &'static [(&'static str, &'static str)],
}

const TOKEN: &str = "$response.body#/syncToken";
const WEBHOOK: &[(&str, &str)] = &[
    ("path.id", "$response.body#/id"),
    ("query.organizationId", "$response.body#/organizationId"),
];
const FIRST_EVENT: &[(&str, &str)] = &[("path.id", "$response.body#/items/0/id")];

const LEADS: &[Lead] = &[
    lead(
        "register_store",
        "import_order",
        &[("body.syncToken", TOKEN)],
    ),
    lead(
        "register_store",
        "import_orders",
        &[("body.syncToken", TOKEN)],
    ),
    lead(
        "register_store",
        "get_sync_status",
        &[("header.X-Sync-Token", TOKEN)],
    ),
    lead("register_webhook", "get_webhook", WEBHOOK),
    lead("register_webhook", "update_webhook", WEBHOOK),
    lead("register_webhook", "delete_webhook", WEBHOOK),
    lead("register_webhook", "rotate_webhook_secret", WEBHOOK),
    lead("register_webhook", "test_webhook", WEBHOOK),
    lead(
        "register_webhook",
        "recover_webhook",
        &[("path.id", "$response.body#/id")],
    ),
    lead("list_callbacks", "get_callback", FIRST_EVENT),
    lead("list_failed_callbacks", "requeue_callback", FIRST_EVENT),
];

const fn lead(
    from: &'static str,
    to: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Lead {
    Lead { from, to, values }
}

/// The document of every route; `access` is who may call, and with anonymous access a key may
/// be left out.
///
/// # Panics
///
/// If what poem-openapi prints is no JSON, which would be its bug.
pub fn document(access: &Access, with_mock_marketplace: bool) -> Value {
    type Stock = (
        CatalogApi,
        WarehousesApi,
        ReservationsApi,
        StockQueueApi,
        PushesApi,
    );
    type Own = (MarketplaceApi, WebhooksApi, CallbacksApi, HealthApi, Stock);
    let generated = if with_mock_marketplace {
        generated::<(Own, MockMarketplaceApi)>()
    } else {
        generated::<Own>()
    };
    let mut document: Value = serde_json::from_str(&generated).expect("poem-openapi prints JSON");
    let mut requests = request_schemas(&document);
    let parts: Vec<String> = requests
        .iter()
        .flat_map(|name| part_schemas(&document["components"]["schemas"][name]))
        .collect();
    requests.extend(parts);
    for name in requests {
        complete_request(&mut document["components"]["schemas"][&name]);
    }
    let is_open = access.may_be_anonymous();
    for operation in operations(&mut document) {
        complete_parameters(operation);
        let security = operation.get_mut("security").and_then(Value::as_array_mut);
        let needs_key =
            |schemes: &Vec<Value>| schemes.iter().any(|one| one.get("ApiKey").is_some());
        if let Some(schemes) = security.filter(|schemes| is_open && needs_key(schemes)) {
            schemes.push(json!({}));
        }
    }
    for lead in LEADS {
        add_link(&mut document, lead);
    }
    document
}

fn generated<T: OpenApi>() -> String {
    crate::http::document(Described::<T>(PhantomData)).spec()
}

/// Routes without what is behind them: enough for their document.
struct Described<T>(PhantomData<T>);

impl<T: OpenApi> OpenApi for Described<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, _table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths
        .filter_map(|(_, methods)| methods.as_object_mut())
        .flat_map(|methods| methods.iter_mut())
        .filter_map(|(_, operation)| operation.as_object_mut())
}

/// The names of the schemas that bodies of our requests have; the mock marketplace plays somebody
/// else's API.
fn request_schemas(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .filter(|(path, _)| !path.starts_with("/mock/"))
        .filter_map(|(_, methods)| methods.as_object())
        .flat_map(Map::values)
        .filter_map(|operation| {
            let content = operation["requestBody"]["content"].as_object()?;
            let reference = content.values().next()?["schema"]["$ref"].as_str()?;
            Some(reference.rsplit('/').next()?.to_owned())
        })
        .collect()
}

/// The names of the schemas that the lists of a body consist of.
fn part_schemas(schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let references = properties.filter_map(|(_, property)| property["items"]["$ref"].as_str());
    let name = |reference: &str| Some(reference.rsplit('/').next()?.to_owned());
    references.filter_map(name).collect()
}

/// Texts must be storable, and what may be absent may also be null.
fn complete_request(schema: &mut Value) {
    let required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema["properties"].as_object_mut() else {
        return;
    };
    for (name, property) in properties {
        complete_text(name, property);
        if let Some(items) = property.get_mut("items") {
            complete_text(name, items);
        }
        if !required.iter().any(|it| it == name.as_str()) {
            property["nullable"] = true.into();
        }
    }
}

fn complete_text(name: &str, property: &mut Value) {
    let is_free = property["type"] == "string"
        && property.get("format").is_none()
        && property.get("enum").is_none();
    if !is_free {
        return;
    }
    property["pattern"] = STORABLE.into();
    match name {
        "targetUrl" => property["pattern"] = "^[hH][tT][tT][pP][sS]?://[^\\u0000]+$".into(),
        "receipts" => {
            property["minLength"] = 1.into();
            property["maxLength"] = 255.into();
        }
        _ => {}
    }
}

/// Parameters are read as text, to find all that is wrong with a request at once; the document
/// says what they must be.
fn complete_parameters(operation: &mut Map<String, Value>) {
    let is_of_stock = operation["tags"][0] == "stock";
    let most = if is_of_stock { 500 } else { 100 };
    let is_of_items = operation["operationId"] == "list_stock_push_items";
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let form = match parameter["name"].as_str() {
            Some(
                "id" | "storeId" | "productId" | "shelfId" | "pushId" | "syncToken"
                | "X-Sync-Token",
            ) => {
                json!({"format": "uuid"})
            }
            Some("barcode" | "sku" | "q") => {
                json!({"minLength": 1, "maxLength": 255, "pattern": STORABLE})
            }
            Some("productType") => json!({"enum": ProductType::NAMES}),
            Some("pushState") => json!({"enum": PairState::NAMES}),
            Some("reason") => json!({"enum": Reason::NAMES}),
            Some("status") => json!({"enum": ["PENDING", "PROCESSED"]}),
            Some("state") if is_of_items => json!({"enum": ItemState::NAMES}),
            Some("state") => json!({"enum": PushState::NAMES}),
            Some("provider") => json!({"enum": Provider::NAMES}),
            Some("type") => json!({"enum": ApiLogType::NAMES}),
            Some("from" | "to") => json!({"format": "date-time"}),
            Some("differing" | "overdue" | "onlyDiffering" | "isSuccess") => {
                json!({"type": "boolean"})
            }
            Some("orderRef") => json!({"minLength": 1, "maxLength": 255, "pattern": STORABLE}),
            Some("organizationId") => {
                parameter["required"] = true.into();
                json!({"minLength": 1, "maxLength": 255, "pattern": STORABLE})
            }
            Some("limit") => {
                json!({"type": "integer", "minimum": 1, "maximum": most, "default": 50})
            }
            // What HTTP itself leaves of a header's value.
            Some("Idempotency-Key") => {
                json!({"minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"})
            }
            Some("cursor") => json!({"pattern": "^[A-Za-z0-9_-]{32}$"}),
            _ => continue,
        };
        let Value::Object(form) = form else { continue };
        if let Some(schema) = parameter["schema"].as_object_mut() {
            schema.extend(form);
        }
    }
}

fn add_link(document: &mut Value, lead: &Lead) {
    let mut link = json!({"operationId": lead.to});
    for (place, value) in lead.values {
        match place.strip_prefix("body.") {
            Some(member) => link["requestBody"][member] = json!(value),
            None => link["parameters"][place] = json!(value),
        }
    }
    let from = operations(document)
        .find(|operation| operation["operationId"] == lead.from)
        .expect("a link leads from an operation");
    from["responses"]["200"]["links"][lead.to] = link;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_leads_from_and_to_an_operation_that_has_the_parameter() {
        let mut document = document(&Access::anonymous(), true);
        let ids: Vec<Value> = operations(&mut document)
            .map(|operation| operation["operationId"].clone())
            .collect();
        for lead in LEADS {
            assert!(ids.contains(&lead.to.into()), "{}", lead.to);
            let target = operations(&mut document)
                .find(|operation| operation["operationId"] == lead.to)
                .unwrap();
            for (place, _) in lead.values {
                let (location, name) = place.split_once('.').unwrap();
                let parameters = target.get("parameters").and_then(Value::as_array);
                let is_there = parameters
                    .into_iter()
                    .flatten()
                    .any(|parameter| parameter["in"] == location && parameter["name"] == name);
                assert!(is_there || location == "body", "{} has no {place}", lead.to);
            }
        }
    }

    #[test]
    fn a_key_may_be_left_out_only_where_anybody_may_call() {
        let has_way_without_key = |access: &Access| {
            let mut document = document(access, true);
            operations(&mut document).any(|operation| {
                let schemes = operation.get("security").and_then(Value::as_array);
                schemes.is_some_and(|schemes| schemes.contains(&json!({})))
            })
        };
        assert!(has_way_without_key(&Access::anonymous()));
        assert!(!has_way_without_key(&Access::by_key(Vec::new(), None)));
    }
}
