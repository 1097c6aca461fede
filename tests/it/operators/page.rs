//! The page, as a person meets it in a browser.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::marketplace::pause_store;
use marketplace_sync::worker;
use reqwest::{StatusCode, header};
use rstest::rstest;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::visit::{self, Visit};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::scripted_connector::{broken, valid};

/// A store that does not get on, one that is paused, one whose orders were given up; a webhook
/// that is left in peace, and an event that was given up.
async fn trouble(app: &TestApp) {
    let dead = app.register("given-up").await;
    app.insert_row(dead, "order-9", "failed", 60).await;
    app.give_up_orders().await;
    // Stores are listed as they were registered.
    app.clock.advance(Duration::from_secs(1));
    let paused = app.register("paused").await;
    app.insert_row(paused, "order-7", "failed", 60).await;
    pause_store(&app.app, paused.id).await.unwrap();
    let stuck = app.register("stuck").await;
    app.insert_due_rows(stuck, 2).await;
    for receipt in ["r0001", "r0002"] {
        app.marketplace
            .reply(receipt, [broken("the shop is closed"), valid(receipt)]);
    }
    app.run(stuck).await.unwrap();
    app.insert_event(dead, "failed", TimeDelta::hours(1)).await;
    app.subscribe(
        "sync.failed",
        "https://example.com/a/rather/long/path?with=a-query-that-does-not-end-soon",
    )
    .await;
    app.clock.advance(Duration::from_mins(20));
    let later = app.clock.now() + TimeDelta::minutes(4);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE webhook_endpoints SET open_until = $1, consecutive_failures = 12")
        .bind(later).execute(pool).await.map(|_| ()).unwrap());
}

/// Pictures of the page are in the target folder.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_what_is_stuck_and_why_and_gets_it_going(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    trouble(&app).await;
    let server = visit::serve(&app).await;
    let stop = CancellationToken::new();
    let jobs = tokio::spawn(worker::run_jobs(app.app.clone(), stop.clone()));
    let address = server.base_url().authority().to_owned();
    block_in_place(|| act_as_a_person(&address, on));
    stop.cancel();
    jobs.await.unwrap();
    let imported = app
        .count("SELECT COUNT(*) FROM sync_logs WHERE status = 'success'")
        .await;
    assert_eq!(imported, 2, "what was stuck, and nothing else");
    let paused = app
        .count("SELECT COUNT(*) FROM stores WHERE paused_at IS NOT NULL")
        .await;
    assert_eq!(paused, 2);
}

fn act_as_a_person(address: &str, on: Profile) {
    let mut visit = Visit::begin(address, "operators", on);
    let page = format!("http://{address}/admin/");
    let is_complete = "/Stores failing\\s+1/.test(text) && /stuck/.test(text) \
        && document.querySelectorAll('.items > li').length >= 4";
    let shown = [
        "the shop is closed",
        "Due since",
        "order-9",
        "left in peace",
        "example.com",
    ];
    visit.look(&page, is_complete, &shown, 2600);
    let browser = &mut visit.browser;
    // On the phone: nobody is at a desk when something is stuck.
    browser.click_until(
        "#stores .items button.first",
        "/is being synced: 0 orders tried sooner/.test(text)",
    );
    browser.wait_for("/Stores failing\\s+0/.test(text) && /Overdue\\s+0/.test(text)");
    browser.click_until(
        "#stores .filters button:nth-child(2)",
        "document.querySelector('#stores .items').childElementCount === 0 && /Nothing/.test(text)",
    );
    browser.click_until(
        "#stores .filters button:nth-child(5)",
        "document.querySelectorAll('#stores .items > li').length === 3",
    );
    browser.click_until(
        "#stores .items > li:first-child .actions button:nth-child(2)",
        "/is paused/.test(text) && /Stores paused\\s+2/.test(text)",
    );
    visit.picture("done");
}

#[rstest]
#[tokio::test]
async fn the_page_may_run_its_own_files_only(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let operator = super::Operator::of(&app).await;
    let get = async |path: &str| {
        let answer = app
            .http
            .get(operator.server.url(path))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer
    };
    for (path, script) in [
        ("/admin/", "/admin/operators.js"),
        ("/admin/stock", "/admin/stock.js"),
    ] {
        let page = get(path).await;
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains("sha256"),
            "{policy}"
        );
        let text = page.text().await.unwrap();
        for inline in ["<style", "style=", "onclick", "javascript:"] {
            assert!(!text.contains(inline), "{inline}");
        }
        for own in [script, "/admin/operators.css"] {
            assert!(text.contains(own), "{own}");
        }
    }
    for (path, kind) in [
        ("/admin/operators.js", "text/javascript"),
        ("/admin/stock.js", "text/javascript"),
        ("/admin/common.js", "text/javascript"),
        ("/admin/operators.css", "text/css"),
    ] {
        let file = get(path).await;
        assert!(
            file.headers()[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with(kind)
        );
        assert_eq!(file.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let text = file.text().await.unwrap();
        assert!(!text.contains("innerHTML"), "what is shown is text");
    }
    let board = get("/").await;
    let policy = board.headers()[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(
        policy.contains("'wasm-unsafe-eval'"),
        "the board keeps its own: {policy}"
    );
}
