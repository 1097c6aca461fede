//! The page, as a person meets it in a browser.

use chrono::TimeDelta;
use marketplace_sync::stock::model::Reason;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use uuid::Uuid;

use super::super::visit::{self, Visit};
use super::scene::{CONFIRMED, Call, Push};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, store_body};

async fn register(app: &TestApp, marketplace: &str, name: &str) -> TestStore {
    let mut body = store_body(name);
    body["marketplace"] = json!(marketplace);
    body["storeName"] = json!(name);
    let (_, answer) = app.post("/stores/register", &body).await;
    let member = |name: &str| answer[name].as_str().unwrap().parse().unwrap();
    TestStore {
        id: jobs::StoreId(member("storeId")),
        token: member("syncToken"),
    }
}

/// A store whose credentials are refused, one in a dry run, one that is off; products that are
/// refused, and a push of which a part was.
async fn trouble(app: &TestApp) {
    let minutes = TimeDelta::minutes;
    let stuck = register(app, "trendyol", "Schuhe & Mehr").await;
    app.push_to(stuck, "LIVE").await;
    let dry = register(app, "hepsiburada", "Dry shop").await;
    app.push_to(dry, "DRY_RUN").await;
    register(app, "etsy", "Off shop").await;
    for number in 0..7 {
        let product = app.pair(stuck, &format!("Winter boots {number}")).await;
        app.wait_in_queue(stuck, product, Reason::OrderCreated, minutes(number))
            .await;
    }
    let frozen = app
        .pair(
            stuck,
            "A rather long name of a thing in many colours and sizes",
        )
        .await;
    app.block(stuck, frozen, "ListingFrozen", 6).await;
    let nameless = app.pair(dry, "Gloves").await;
    app.block(dry, nameless, "MISSING_IDENTIFIER", 0).await;
    partly_refused(app, stuck, frozen).await;
    let refused = Push {
        state: "FAILED",
        items: 7,
        error: Some("HTTP 401: ClientApiAuthenticationException"),
        ..CONFIRMED
    };
    app.pushed(stuck, refused).await;
    let would = Push {
        state: "DRY_RUN",
        body: Some(r#"[{"merchantSku":"SKU-1","availableStock":50}]"#),
        age: minutes(3),
        ..CONFIRMED
    };
    app.pushed(dry, would).await;
    app.close_gate(stuck, "AUTH", minutes(14)).await;
}

/// A push of which the last item was refused, with the requests that are in the log.
async fn partly_refused(app: &TestApp, store: TestStore, product: Uuid) {
    let partial = Push {
        state: "PARTIAL",
        items: 1000,
        failed: 1,
        age: TimeDelta::minutes(16),
        ..CONFIRMED
    };
    let push = app.pushed(store, partial).await;
    app.reject(
        push,
        7,
        product,
        json!([{ "code": "ListingFrozen", "message": "no, thanks" }]),
    )
    .await;
    let items: Vec<Value> = (0..1000)
        .map(|number| json!({ "barcode": format!("86800000{number:05}"), "quantity": 5 }))
        .collect();
    let body = json!({ "items": items }).to_string();
    let tell = Call {
        kind: "UPDATE_STOCK",
        request: Some(&body),
        response: r#"{"batchRequestId":"fa75dfd5-8307-46ed-a123-1529854840"}"#,
        status: 200,
    };
    app.called(push, store, tell).await;
    let result = Call {
        kind: "GET_STOCK_RESULT",
        request: None,
        response: r#"{"items":[{"status":"FAILED","failureReasons":["no, thanks"]}]}"#,
        status: 200,
    };
    app.called(push, store, result).await;
}

/// Pictures of the page are in the target folder.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_what_marketplaces_are_not_told_and_why(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    trouble(&app).await;
    let server = visit::serve(&app).await;
    let address = server.base_url().authority().to_owned();
    block_in_place(|| look(&address, on));
    let modes = app
        .count("SELECT COUNT(*) FROM stores WHERE stock_push_mode = 'LIVE' AND NOT send_stock")
        .await;
    assert_eq!(modes, 1, "the one that was off, and no other");
    let off = app
        .count("SELECT COUNT(*) FROM stores WHERE stock_push_mode = 'OFF' AND send_stock")
        .await;
    assert_eq!(off, 1);
}

const IS_COMPLETE: &str = "/Quantities pending\\s+7/.test(text) && /Schuhe & Mehr/.test(text) \
    && document.querySelectorAll('.items > li').length >= 6";

fn look(address: &str, on: Profile) {
    let mut visit = Visit::begin(address, "stock", on);
    let shown = [
        "Quantities overdue",
        "1 AUTH",
        "The marketplace does not take the credentials",
        "ListingFrozen",
        "6 times in a row",
        "MISSING_IDENTIFIER",
        "not by itself",
        "1000 items, 1 refused",
        "HTTP 401",
    ];
    let page = format!("http://{address}/admin/stock");
    visit.look(&page, IS_COMPLETE, &shown, 3600);
    visit.browser.show_on((390, 844), false);
    read_a_push(&mut visit);
    narrow(&mut visit);
    act(&mut visit);
}

fn read_a_push(visit: &mut Visit) {
    let text = visit.browser.click_until(
        "#pushes .items > li:nth-child(3) button",
        "/UPDATE_STOCK: HTTP 200/.test(text)",
    );
    for shown in [
        "8680000000999",
        "fa75dfd5",
        "GET_STOCK_RESULT",
        "ListingFrozen: no, thanks",
    ] {
        assert!(text.contains(shown), "{shown:?} in {text}");
    }
    visit.browser.wait_for("document.querySelector('dialog').scrollWidth <= 390 && /\"868[0-9]+\",\"quantity\":5}/.test(text)");
    visit.picture("push");
    visit
        .browser
        .click_until("dialog button", "!document.querySelector('dialog').open");
}

/// To what is of one store, and back.
fn narrow(visit: &mut Visit) {
    visit.browser.click_until(
        "#stores .filters button:nth-child(5)",
        "document.querySelectorAll('#stores .items > li').length === 3",
    );
    visit
        .browser
        .wait_for("/sends no stock/.test(text) && /dry run/.test(text)");
    visit.browser.click_until(
        "#stores .items > li:nth-child(2) .actions button:nth-last-child(2)",
        "/Of Dry shop/.test(text) && document.querySelectorAll('#pushes .items > li').length === 1",
    );
    visit.browser.click_until(
        "#pushes .items button",
        "/Would have been sent/.test(text) && /merchantSku/.test(text)",
    );
    visit.browser.click("dialog button");
    visit.browser.click_until(
        "#pushes .filters button",
        "document.querySelectorAll('#pushes .items > li').length === 3",
    );
    visit.picture("narrowed");
}

/// On the phone: nobody is at a desk when something is stuck.
fn act(visit: &mut Visit) {
    visit.browser.click_until(
        "#blocked .items button.first",
        "/Gloves is unblocked|colours and sizes is unblocked/.test(text)",
    );
    visit
        .browser
        .wait_for("/Products blocked\\s+1/.test(text) && /Quantities pending\\s+8/.test(text)");
    visit.browser.click_until(
        "#stores .items > li:first-child .actions button:nth-child(3)",
        "/Schuhe & Mehr is off/.test(text)",
    );
    // What is not meant is not done.
    visit.browser.click_until(
        "#stores .items > li:nth-child(3) .actions button:first-child",
        "/Send real quantities of Off shop\\?/.test(text)",
    );
    visit.picture("asked");
    visit.browser.click_until(
        "#stores .items > li:nth-child(3) .actions button:first-child",
        "/Off shop is live, but nothing is sent/.test(text)",
    );
}
