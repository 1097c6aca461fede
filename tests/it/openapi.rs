//! The API document is true: it is committed, it is valid, and what it shows can be sent.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use marketplace_sync::http::auth::Access;
use marketplace_sync::marketplace::model::Marketplace;
use marketplace_sync::openapi;
use poem::http::Method;
use reqwest::{RequestBuilder, StatusCode};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::browser::Browser;
use crate::support::json_schema::{faults, resolve};
use crate::support::marketplace::{client, credentials, serve_mock_marketplace};
use crate::support::server::TestServer;

fn document() -> Value {
    openapi::document(&Access::by_key(Vec::new(), None), true)
}

/// One operation of the document.
struct Operation {
    path: String,
    method: Method,
    /// As it stands in the document.
    meta: Value,
}

impl Operation {
    fn all(document: &Value) -> Vec<Self> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(move |(method, meta)| Self {
                        path: path.clone(),
                        method: method.to_uppercase().parse().unwrap(),
                        meta: meta.clone(),
                    })
            })
            .collect()
    }

    fn id(&self) -> &str {
        self.meta["operationId"].as_str().unwrap_or_default()
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.meta["parameters"].as_array().into_iter().flatten()
    }

    /// The schema of the body, if it has one.
    fn body<'a>(&'a self, document: &'a Value) -> Option<&'a Value> {
        let content = self.meta["requestBody"]["content"].as_object()?;
        Some(resolve(
            document,
            &content.values().next().unwrap()["schema"],
        ))
    }

    /// The schema of the answer with this status; the status must be documented.
    fn answer(&self, status: &str) -> &Value {
        let answer = &self.meta["responses"][status];
        assert!(
            answer.is_object(),
            "{} does not document {status}",
            self.id()
        );
        &answer["content"]
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()["schema"]
    }

    /// What "Try it out" of Swagger UI sends.
    fn example_request(&self, app: &TestApp, document: &Value) -> RequestBuilder {
        let mut url = app.server.url("/");
        let mut path = self.path.clone();
        for parameter in self.parameters() {
            let name = parameter["name"].as_str().unwrap();
            let schema = resolve(document, &parameter["schema"]);
            let example = schema["example"].as_str().or(schema["enum"][0].as_str());
            match (parameter["in"].as_str().unwrap(), example) {
                ("path", Some(example)) => path = path.replace(&format!("{{{name}}}"), example),
                ("query", Some(example)) => {
                    url.query_pairs_mut().append_pair(name, example);
                }
                (_, None) if parameter["required"] == false => {}
                other => panic!("{}: {name} has no example {other:?}", self.id()),
            }
        }
        url.set_path(&path);
        let request = app.http.request(self.method.clone(), url);
        match self.body(document) {
            Some(schema) => request.json(&schema["example"]),
            None => request,
        }
    }
}

/// A service that imports from the mock marketplace, which lives as long as the server.
async fn app_with_mock_marketplace(on: Profile) -> (TestApp, TestServer) {
    let mock = serve_mock_marketplace(credentials()).await;
    let connector = client(mock.base_url());
    let app = TestApp::build(on, &[], |app| app.connector = Arc::new(connector)).await;
    (app, mock)
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let generated = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    assert!(
        committed == generated,
        "openapi/openapi.json is stale: run\ncargo run -- openapi > openapi/openapi.json"
    );
}

#[test]
fn every_operation_has_a_name_a_summary_and_one_chapter() {
    let document = document();
    let verbs = [
        "get",
        "list",
        "register",
        "import",
        "validate",
        "create",
        "update",
        "delete",
        "requeue",
        "rotate",
        "test",
        "recover",
        "trigger",
        "reconcile",
        "replace",
        "unblock",
        "enqueue",
        "resync",
        "add",
        "remove",
        "fulfil",
        "release",
    ];
    let chapters: Vec<&Value> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    let mut ids = BTreeSet::new();
    for operation in Operation::all(&document) {
        let id = operation.id();
        let (verb, noun) = id.split_once('_').unwrap_or_default();
        assert!(
            verbs.contains(&verb) && !noun.is_empty(),
            "`{id}` is no verb_noun"
        );
        assert!(ids.insert(id.to_owned()), "`{id}` names two operations");
        assert!(
            !operation.meta["summary"]
                .as_str()
                .unwrap_or_default()
                .is_empty(),
            "{id}"
        );
        let tags = operation.meta["tags"].as_array().unwrap();
        assert!(
            tags.len() == 1 && chapters.contains(&&tags[0]),
            "{id}: {tags:?}"
        );
    }
    assert!(ids.len() >= 7, "{ids:?}");
}

#[test]
fn every_problem_is_documented_with_an_example_that_fits_its_schema() {
    let document = document();
    for operation in Operation::all(&document) {
        let responses = operation.meta["responses"].as_object().unwrap();
        let problems = responses.keys().filter(|status| status.as_str() >= "400");
        for status in problems {
            let schema = operation.answer(status);
            let example = match &schema["example"] {
                Value::Null => &resolve(&document, schema)["example"],
                example => example,
            };
            let place = format!("{} {status}", operation.id());
            assert_eq!(
                faults(&document, schema, example),
                Vec::<String>::new(),
                "{place}"
            );
            if !operation.path.starts_with("/mock/") {
                assert_eq!(example["status"].to_string(), *status, "{place}");
                assert!(responses[status]["content"]["application/problem+json"].is_object());
            }
        }
        if operation.path.starts_with("/orders/") || operation.path.starts_with("/stores/") {
            for status in ["400", "404", "413", "415", "429", "500", "503"] {
                operation.answer(status);
            }
        }
    }
}

#[test]
fn every_example_request_fits_its_schema() {
    let document = document();
    let mut bodies = 0;
    for operation in Operation::all(&document) {
        let Some(schema) = operation.body(&document) else {
            continue;
        };
        assert_eq!(
            faults(&document, schema, &schema["example"]),
            Vec::<String>::new(),
            "{}",
            operation.id()
        );
        // The check itself sees what is wrong.
        if schema["required"].is_array() {
            assert!(!faults(&document, schema, &json!({})).is_empty());
        }
        bodies += 1;
    }
    assert!(bodies >= 4);
}

/// Whatever is created or triggered is so once, however often it is asked for.
#[test]
fn every_post_takes_an_idempotency_key() {
    let document = document();
    let posts = Operation::all(&document)
        .into_iter()
        .filter(|it| it.method == Method::POST && !it.path.starts_with("/mock/"));
    let mut seen = 0;
    for operation in posts {
        let key = operation
            .parameters()
            .find(|parameter| parameter["name"] == "Idempotency-Key");
        let key = key.unwrap_or_else(|| panic!("{} takes none", operation.id()));
        assert_eq!(
            (&key["in"], &key["required"]),
            (&json!("header"), &json!(false))
        );
        operation.answer("409");
        operation.answer("422");
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}

/// The structure that OpenAPI 3.0 demands.
#[test]
fn the_document_is_valid_openapi() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.0."));
    for member in ["title", "version"] {
        assert!(!document["info"][member].as_str().unwrap().is_empty());
    }
    check_references(&document, &document);
    let schemes = &document["components"]["securitySchemes"];
    for operation in Operation::all(&document) {
        let id = operation.id();
        let in_path: BTreeSet<&str> = operation
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let declared: BTreeSet<&str> = operation
            .parameters()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(in_path, declared, "{id}");
        assert!(operation.path.starts_with('/'), "{id}");
        for (status, answer) in operation.meta["responses"].as_object().unwrap() {
            let number: u16 = status.parse().unwrap();
            assert!(
                (100..600).contains(&number) && answer["description"].is_string(),
                "{id}"
            );
        }
        for scheme in operation.meta["security"].as_array().into_iter().flatten() {
            let known = scheme
                .as_object()
                .unwrap()
                .keys()
                .all(|name| schemes[name].is_object());
            assert!(known, "{id}: {scheme}");
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for member in schema["required"].as_array().into_iter().flatten() {
            let properties = &schema["properties"];
            assert!(
                properties[member.as_str().unwrap()].is_object(),
                "{name} has no {member}"
            );
        }
    }
}

/// Every `$ref` leads somewhere, every `type` is one of JSON Schema.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            if members.contains_key("$ref") {
                assert!(
                    resolve(document, value).is_object(),
                    "{value} leads nowhere"
                );
            }
            if let (Some(kind), false) = (members.get("type"), members.contains_key("scheme")) {
                let kinds = ["object", "array", "string", "number", "integer", "boolean"];
                let is_known = kind.as_str().is_none_or(|kind| {
                    kinds.contains(&kind) || kind == "apiKey" || kind.starts_with("/problems/")
                });
                assert!(is_known, "{value}");
            }
            // An example is no schema.
            members
                .iter()
                .filter(|(name, _)| *name != "example")
                .for_each(|(_, member)| check_references(document, member));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| check_references(document, item)),
        _ => {}
    }
}

#[tokio::test]
async fn the_running_service_serves_this_document_and_its_pages() {
    let app = TestApp::start(Embedded).await;
    let (status, served) = app.get("/openapi.json").await;
    let expected = openapi::document(&Access::anonymous(), true);
    assert_eq!((status, served), (StatusCode::OK, expected));
    let (status, page) = app.get("/docs").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.as_str().unwrap().contains("SwaggerUIBundle"));
}

/// "Try it out" works for all: a documented status, and a body as documented.
#[rstest]
#[tokio::test]
async fn every_example_can_be_sent(#[values(Embedded, Server)] on: Profile) {
    let document = document();
    let (app, _mock) = app_with_mock_marketplace(on).await;
    let mut statuses = Vec::new();
    for operation in Operation::all(&document) {
        let (status, body) = app.send(operation.example_request(&app, &document)).await;
        let schema = operation.answer(status.as_str());
        assert_eq!(
            faults(&document, schema, &body),
            Vec::<String>::new(),
            "{}: {body}",
            operation.id()
        );
        statuses.push(format!("{} {}", operation.id(), status.as_u16()));
    }
    // The example token is nobody's; the mock wants credentials.
    let expected = [
        "list_api_logs 200",
        "list_callbacks 200",
        "list_failed_callbacks 200",
        "get_callback 404",
        "requeue_callback 404",
        "get_liveness 200",
        "get_readiness 200",
        "validate_receipt 401",
        "import_order 404",
        "import_orders 404",
        "list_products 200",
        "create_product 201",
        "get_product 404",
        "update_product 404",
        "replace_product_barcodes 404",
        "get_set_items 404",
        "replace_set_items 404",
        "list_product_stock 404",
        "list_shelf_stock 404",
        "add_shelf_stock 404",
        "remove_shelf_stock 404",
        "list_stock_pushes 200",
        "get_stock_push 404",
        "list_stock_push_items 404",
        "list_stock_queue 200",
        "enqueue_products 404",
        "get_stock_queue_summary 200",
        "get_stock_rollout 200",
        "register_store 200",
        "get_sync_status 404",
        "update_listing 404",
        "create_adjustment 404",
        "get_availability 404",
        "unblock_product 404",
        "create_reservation 404",
        "get_reservation 404",
        "fulfil_reservation 404",
        "release_reservation 404",
        "list_store_stock 404",
        "get_stock_settings 404",
        "update_stock_settings 404",
        "reconcile_stock 404",
        "resync_store 404",
        "trigger_stock_sync 404",
        "list_warehouses 200",
        "create_warehouse 201",
        "list_shelves 404",
        "create_shelf 404",
        "update_warehouse_stores 404",
        "list_webhooks 200",
        "register_webhook 200",
        "delete_webhook 404",
        "get_webhook 404",
        "update_webhook 404",
        "recover_webhook 404",
        "rotate_webhook_secret 404",
        "test_webhook 404",
    ];
    assert_eq!(statuses, expected);
}

/// The same with what a person would put in: the token of the store that the first example makes.
#[rstest]
#[tokio::test]
async fn every_example_works_once_the_token_is_a_stores(#[values(Embedded, Server)] on: Profile) {
    let document = document();
    let (app, _mock) = app_with_mock_marketplace(on).await;
    let operations = Operation::all(&document);
    let operation = |id: &str| {
        operations
            .iter()
            .find(|operation| operation.id() == id)
            .unwrap()
    };
    let register = operation("register_store").example_request(&app, &document);
    let token = app.send(register).await.1["syncToken"].clone();
    let ok = async |id: &str, request: RequestBuilder| -> Value {
        let (status, body) = app.send(request).await;
        assert_eq!(status, StatusCode::OK, "{id}: {body}");
        assert_eq!(
            faults(&document, operation(id).answer("200"), &body),
            Vec::<String>::new(),
            "{id}"
        );
        body
    };
    let with_token = |id: &str| {
        let mut body = operation(id).body(&document).unwrap()["example"].clone();
        body["syncToken"] = token.clone();
        app.http
            .post(app.server.url(&operation(id).path))
            .json(&body)
    };
    let imported = ok("import_order", with_token("import_order")).await;
    assert_eq!(imported["success"], true, "{imported}");
    let batch = ok("import_orders", with_token("import_orders")).await;
    let outcomes: Vec<&Value> = batch["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| &result["success"])
        .collect();
    assert_eq!(outcomes, [true, false, false]);
    let token = token.as_str().unwrap();
    let path = format!("/stores/sync-status?syncToken={token}");
    let state = ok("get_sync_status", app.http.get(app.server.url(&path))).await;
    assert_eq!(
        (&state["importedOrders"], &state["rateLimitedCount"]),
        (&json!(1), &json!(1))
    );

    let pair = &app.app.settings.mock.credentials[&Marketplace::Etsy];
    let request = operation("validate_receipt").example_request(&app, &document);
    let request = request.basic_auth(&pair.username, Some(pair.password.expose_secret()));
    assert_eq!(ok("validate_receipt", request).await["status"], true);
}

/// In a browser, as a person does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_try_it_out_in_swagger_ui() {
    let (app, _mock) = app_with_mock_marketplace(Embedded).await;
    let address = app.server.url("/docs").to_string();
    block_in_place(|| {
        let mut browser = Browser::start();
        let picture = |browser: &mut Browser, name: &str| {
            browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        };
        browser.open(&address);
        let text = browser.wait_for("text.includes('/stores/sync-status')");
        for operation in Operation::all(&document()) {
            assert!(
                text.contains(operation.meta["summary"].as_str().unwrap()),
                "{text}"
            );
        }
        picture(&mut browser, "docs.png");
        let block = "#operations-stores-register_store";
        for (button, next) in [
            (".opblock-summary-control", ".try-out__btn"),
            (".try-out__btn", ".execute"),
            (".execute", ".live-responses-table"),
        ] {
            browser.click_until(
                &format!("{block} {button}"),
                &format!("document.querySelector('{block} {next}') !== null"),
            );
        }
        let text = browser.wait_for("/\"syncToken\": \"[0-9a-f]{8}-/.test(text)");
        assert!(text.contains("x-request-id"), "{text}");
        let answer = format!("document.querySelector('{block} .live-responses-table')");
        browser.wait_for(&format!("({answer}.scrollIntoView(), true)"));
        picture(&mut browser, "docs-tried-out.png");
    });
}
