//! Which pushes there were, what was sent, and what came back.

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::scene::{CONFIRMED, Call, Push};
use crate::operators::Operator;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};

#[rstest]
#[tokio::test]
async fn pushes_are_listed_newest_first_of_all_stores_or_of_one(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let stores = [app.register("one").await, app.register("two").await];
    let mut ids = Vec::new();
    for (store, minutes) in [(0, 3), (1, 4), (0, 1), (1, 2)] {
        let age = TimeDelta::minutes(minutes);
        let id = app.pushed(stores[store], Push { age, ..CONFIRMED }).await;
        ids.push(id.to_string());
    }
    let operator = Operator::of(&app).await;
    let all = operator.all("/stock/pushes?limit=1", "id").await;
    let newest_first = [2, 3, 0, 1].map(|index: usize| ids[index].clone());
    assert_eq!(all, newest_first);
    let of_one = format!("/stock/pushes?limit=1&storeId={}", stores[0].id);
    assert_eq!(
        operator.all(&of_one, "id").await,
        [ids[2].clone(), ids[0].clone()]
    );
}

const SENT: &str = r#"{"items":[{"barcode":"868-one","quantity":5}]}"#;

#[rstest]
#[tokio::test]
async fn a_push_is_shown_with_what_was_sent_and_what_came_back(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let product = app.pair(store, "one").await;
    let partial = Push {
        state: "PARTIAL",
        failed: 1,
        ..CONFIRMED
    };
    let push = app.pushed(store, partial).await;
    app.reject(push, 2, product, json!(["Barcode not found"]))
        .await;
    let send = Call {
        kind: "UPDATE_STOCK",
        request: Some(SENT),
        response: r#"{"batchRequestId":"b-1"}"#,
        status: 200,
    };
    app.called(push, store, send).await;
    let poll = Call {
        kind: "GET_STOCK_RESULT",
        request: None,
        response: r#"{"items":[]}"#,
        status: 500,
    };
    app.called(push, store, poll).await;
    let operator = Operator::of(&app).await;
    let shown = operator.see(&format!("/stock/pushes/{push}")).await;
    assert_eq!(
        (&shown["state"], &shown["failedItems"]),
        (&json!("PARTIAL"), &json!(1))
    );
    assert_eq!(shown["body"], Value::Null, "the log has it");
    assert_eq!(
        shown["rejected"],
        json!([{ "productId": product, "productName": "one", "sku": "SKU-one",
            "barcode": "868-one", "quantity": 5, "errors": ["Barcode not found"] }])
    );
    let call = |index: usize| &shown["calls"][index];
    assert_eq!(
        *call(0),
        json!({ "kind": "UPDATE_STOCK", "method": "POST", "url": "https://example.com/stock",
            "at": call(0)["at"], "durationMs": 25, "request": SENT,
            "response": r#"{"batchRequestId":"b-1"}"#, "isTruncated": false, "httpStatus": 200,
            "isSuccess": true, "error": null })
    );
    assert_eq!(
        (&call(1)["kind"], &call(1)["isSuccess"]),
        (&json!("GET_STOCK_RESULT"), &json!(false))
    );
    assert_eq!(shown["calls"].as_array().unwrap().len(), 2, "each once");
    assert_eq!(
        (&shown["hasMoreCalls"], &shown["hasMoreRejected"]),
        (&json!(false), &json!(false))
    );
}

/// A marketplace may be asked for results for hours.
#[rstest]
#[case(10, false)]
#[case(11, true)]
#[case(30, true)]
#[tokio::test]
async fn of_many_requests_the_first_and_the_last_are_shown(
    #[values(Embedded, Server)] on: Profile,
    #[case] count: usize,
    #[case] has_more: bool,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let push = app.pushed(store, CONFIRMED).await;
    let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    for number in &numbers {
        let poll = Call {
            kind: "GET_STOCK_RESULT",
            request: None,
            response: number,
            status: 200,
        };
        app.called(push, store, poll).await;
    }
    let operator = Operator::of(&app).await;
    let shown = operator.see(&format!("/stock/pushes/{push}")).await;
    let calls = shown["calls"].as_array().unwrap();
    let seen: Vec<&str> = calls
        .iter()
        .map(|it| it["response"].as_str().unwrap())
        .collect();
    let expected: Vec<&String> = numbers[..5].iter().chain(&numbers[count - 5..]).collect();
    assert_eq!(seen, expected);
    assert_eq!(shown["hasMoreCalls"], has_more);
}

/// Scenario 11, as an operator sees it.
#[rstest]
#[tokio::test]
async fn a_dry_run_shows_what_would_have_been_sent(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let dry = Push {
        state: "DRY_RUN",
        body: Some(SENT),
        ..CONFIRMED
    };
    let push = app.pushed(store, dry).await;
    let operator = Operator::of(&app).await;
    let shown = operator.see(&format!("/stock/pushes/{push}")).await;
    assert_eq!(shown["body"], SENT);
    assert_eq!(shown["calls"], json!([]));
    let listed = operator.see("/stock/pushes").await;
    assert_eq!(listed["items"][0].get("body"), None, "a list has no bodies");
}

#[rstest]
#[tokio::test]
async fn a_push_that_is_not_there_is_not_found(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let operator = Operator::of(&app).await;
    let path = format!("/stock/pushes/{}", Uuid::nil());
    let (status, body) = app.send(operator.request(Method::GET, &path)).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
}
