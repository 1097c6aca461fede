//! The mock marketplace over HTTP (A-12 to A-17, MK-1 to MK-8).

use std::collections::HashMap;

use marketplace_sync::marketplace::connector::{Credentials, http_client};
use marketplace_sync::marketplace::model::Marketplace;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::marketplace::{PATIENCE, credentials, serve_mock_marketplace};
use crate::support::server::TestServer;

struct Mock {
    server: TestServer,
    http: reqwest::Client,
}

impl Mock {
    async fn start() -> Self {
        Self::with(credentials()).await
    }

    async fn with(credentials: HashMap<Marketplace, Credentials>) -> Self {
        Self {
            server: serve_mock_marketplace(credentials).await,
            http: http_client(PATIENCE).unwrap(),
        }
    }

    fn post(&self, marketplace: &str) -> RequestBuilder {
        self.http
            .post(self.server.url(&format!("/mock/{marketplace}/validate")))
    }

    /// As Etsy's own client would.
    fn etsy(&self) -> RequestBuilder {
        self.post("etsy").basic_auth("etsy_user", Some("etsy:pass"))
    }

    async fn validate(&self, receipt: &str) -> (u16, Value) {
        answer(self.etsy().json(&json!({ "receipt": receipt }))).await
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    body(request.send().await.unwrap()).await
}

async fn body(response: Response) -> (u16, Value) {
    let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap();
    assert!(
        content_type.starts_with("application/json"),
        "{content_type}"
    );
    (response.status().as_u16(), response.json().await.unwrap())
}

fn error(status: u16, text: &str) -> (u16, Value) {
    (status, json!({ "error": text }))
}

/// A-12
#[tokio::test]
async fn only_the_marketplaces_own_pair_is_let_in() {
    let mock = Mock::start().await;
    let question = json!({"receipt": "test1"});
    let with = |authorization: &str| {
        mock.post("etsy")
            .header(AUTHORIZATION, authorization)
            .json(&question)
    };
    let pair = |user, password| {
        mock.post("etsy")
            .basic_auth(user, Some(password))
            .json(&question)
    };
    for refused in [
        mock.post("etsy").json(&question),
        pair("etsy_user", "wrong"),
        pair("wrong", "etsy:pass"),
        pair("shopify_user", "shopify:pass"),
        with("Bearer ZXRzeV91c2VyOmV0c3k6cGFzcw=="),
        with("Basic"),
        with("Basic not-base64"),
    ] {
        assert_eq!(answer(refused).await, error(401, "Unauthorized"));
    }
    for let_in in [
        pair("etsy_user", "etsy:pass"),
        with("bAsIc ZXRzeV91c2VyOmV0c3k6cGFzcw=="),
    ] {
        assert_eq!(answer(let_in).await.0, 200);
    }
}

/// A-13
#[tokio::test]
async fn sixteen_of_a_hundred_endings_are_rate_limited() {
    let mock = Mock::start().await;
    let mut limited = Vec::new();
    for ending in (0..100).map(|ending| format!("{ending:02}")) {
        match mock.validate(&format!("test{ending}")).await {
            (429, body) => {
                assert_eq!(body, json!({"error": "rate_limited"}));
                limited.push(ending);
            }
            (status, _) => assert_eq!(status, 200),
        }
    }
    let expected = "00 06 15 24 33 39 42 48 51 57 60 66 75 84 93 99";
    assert_eq!(limited.join(" "), expected);
}

/// A-14
#[tokio::test]
async fn an_odd_last_digit_is_an_order() {
    let mock = Mock::start().await;
    for receipt in ["testa1", "test1", "1"] {
        let (status, body) = mock.validate(receipt).await;
        assert_eq!((status, &body["status"]), (200, &json!(true)), "{receipt}");
    }
    for receipt in ["test12", "test2", "testa", "2"] {
        let rejected = (200, json!({"status": false}));
        assert_eq!(mock.validate(receipt).await, rejected, "{receipt}");
    }
}

/// A-15, and A-16: the same question has the same answer.
#[tokio::test]
async fn an_order_has_all_its_members() {
    let mock = Mock::start().await;
    let ask = || {
        answer(
            mock.etsy()
                .json(&json!({"receipt": "test1", "currency": "EUR"})),
        )
    };
    let first = ask().await;
    insta::assert_json_snapshot!(first.1, @r#"
    {
      "amount": 507,
      "currency": "EUR",
      "importedAtUTC": "2024-01-01T12:00:00.123Z",
      "orderId": "06924ddf-d249bbe-13b6e99d-1a49377c-000020db855b",
      "status": true
    }
    "#);
    assert_eq!(ask().await, first);
    for currency in [
        json!({"receipt": "test3"}),
        json!({"receipt": "test3", "currency": ""}),
    ] {
        let (_, body) = answer(mock.etsy().json(&currency)).await;
        assert_eq!(
            (&body["currency"], &body["amount"]),
            (&json!("USD"), &json!(509))
        );
    }
}

/// A-16
#[tokio::test]
async fn the_vectors_of_mk_7_hold_over_http() {
    let mock = Mock::start().await;
    for (receipt, amount, order_id) in [
        ("1", 59, "00000031-0062-0093-00c4-0000000000f5"),
        (
            "test123",
            608,
            "ab365860-1566cb0c0-201a30920-2acd96180-0003580fb9e0",
        ),
        (
            "order-101",
            741,
            "e89662f3-1d12cc5e6-2b9c328d9-3a2598bcc-00048aefeebf",
        ),
        ("ü1", 311, "00001eb5-3d6a-5c1f-7ad4-000000009989"),
        ("😀1", 248, "03469f2e-68d3e5c-9d3dd8a-d1a7cb8-000010611be6"),
    ] {
        let (_, body) = mock.validate(receipt).await;
        assert_eq!(
            (&body["amount"], &body["orderId"]),
            (&json!(amount), &json!(order_id))
        );
    }
}

/// A-17
#[tokio::test]
async fn the_marketplace_is_looked_at_before_all_else() {
    let mock = Mock::with(HashMap::new()).await;
    for name in ["invalid", "Etsy", "etsy%20"] {
        assert_eq!(
            answer(mock.post(name)).await,
            error(400, "Invalid marketplace")
        );
    }
}

/// A-17
#[tokio::test]
async fn a_receipt_is_required_whatever_else_is_sent() {
    let mock = Mock::with(HashMap::new()).await;
    let json = |text: &str| {
        let body = text.to_owned();
        mock.post("etsy")
            .header(CONTENT_TYPE, "application/json")
            .body(body)
    };
    let too_long = json!({"receipt": "1".repeat(70_000)}).to_string();
    for request in [
        mock.post("etsy"),
        json("{}"),
        json(""),
        json("{"),
        json("null"),
        json(r#"{"receipt": 1}"#),
        json(r#"{"receipt": ""}"#),
        json(&too_long),
        mock.post("etsy")
            .header(CONTENT_TYPE, "text/plain")
            .body("receipt=test1"),
        mock.post("etsy")
            .header(CONTENT_TYPE, "no content type")
            .body(vec![0xff, 0x00]),
    ] {
        assert_eq!(answer(request).await, error(400, "receipt is required"));
    }
}

/// The body decides, not what the header calls it.
#[tokio::test]
async fn the_content_type_does_not_matter() {
    let mock = Mock::start().await;
    let request = mock
        .etsy()
        .header(CONTENT_TYPE, "text/plain")
        .body(r#"{"receipt":"1"}"#);
    assert_eq!(answer(request).await.0, 200);
}

/// A-17
#[tokio::test]
async fn a_marketplace_without_a_complete_pair_answers_500() {
    let half = [(Marketplace::Etsy, Credentials::new("etsy_user", ""))];
    let mock = Mock::with(half.into()).await;
    for marketplace in ["etsy", "shopify"] {
        let request = mock.post(marketplace).json(&json!({"receipt": "1"}));
        let expected = error(500, "Marketplace credentials not configured");
        assert_eq!(answer(request).await, expected);
    }
}

#[tokio::test]
async fn the_document_tells_how_to_ask() {
    use marketplace_sync::clock::Clock;
    use marketplace_sync::marketplace::mock_api::MockMarketplaceApi;

    let api = MockMarketplaceApi::new(HashMap::new(), Clock::system());
    let service = poem_openapi::OpenApiService::new(api, "mock", "1");
    let document: Value = serde_json::from_str(&service.spec()).unwrap();
    let operation = &document["paths"]["/mock/{marketplace}/validate"]["post"];
    assert_eq!(operation["operationId"], "validate_receipt");
    assert_eq!(operation["tags"], json!(["mock marketplace"]));
    assert_eq!(operation["security"], json!([{"MockMarketplaceBasic": []}]));
    let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().collect();
    assert_eq!(statuses, ["200", "400", "401", "429", "500"]);
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["Marketplace"]["enum"],
        json!(["etsy", "shopify", "amazon", "trendyol", "hepsiburada"])
    );
    assert_eq!(schemas["MockReceipt"]["example"]["receipt"], "test1");
    assert_eq!(
        schemas["MockVerdict"]["example"]["importedAtUTC"],
        "2024-01-01T12:00:00.000Z"
    );
    assert_eq!(schemas["MockError"]["example"]["error"], "rate_limited");
}
