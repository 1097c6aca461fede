//! The lines of a run, which operators search for.

use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;
use crate::support::scripted_connector::{invalid, rate_limited};

#[rstest]
#[tokio::test]
async fn a_run_logs_each_batch_and_its_end(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_CHUNK_SIZE", "2")]).await;
    let store = app.register("shop").await;
    let id = store.id.to_string();
    app.insert_due_rows(store, 3).await;
    app.marketplace.reply("r0001", [invalid()]);
    app.marketplace.reply("r0003", [rate_limited(None)]);
    app.enqueue(store).await;
    let logs = Log::capture();
    assert_eq!(app.run_jobs().await, 1);
    let batch = |processed, success, failed, limited| {
        json!({
            "event": "sync_store_batch", "level": "info", "service": "marketplace-sync",
            "storeId": id, "processedCount": processed, "successCount": success,
            "failedCount": failed, "rateLimitedCount": limited,
        })
    };
    assert_eq!(
        logs.of("sync_store_batch"),
        [batch(2, 1, 1, 0), batch(1, 0, 0, 1)]
    );
    assert_eq!(
        logs.of("job_completed"),
        [json!({
            "event": "job_completed", "level": "info", "service": "marketplace-sync",
            "queue": "sync-store-queue", "jobId": format!("store:{id}"), "storeId": id,
            "processedCount": 3, "successCount": 1, "failedCount": 1, "rateLimitedCount": 1,
            "syncStatus": "partial",
        })]
    );
}

/// the store's secrets are in no line, whatever goes wrong.
#[rstest]
#[tokio::test]
async fn no_line_of_a_run_holds_a_secret(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 2).await;
    app.marketplace
        .reply_with(|call| match call.receipt.as_str() {
            "r0001" => panic!("no shelf"),
            _ => rate_limited(None),
        });
    let logs = Log::capture();
    app.run(store).await.unwrap();
    app.delete_store(store).await;
    app.run(store).await.unwrap();
    let text = logs.text();
    assert!(text.contains("panicked") && text.contains("store_not_found"));
    for secret in ["secret-access-token", &store.token.to_string()] {
        assert!(!text.contains(secret), "{text}");
    }
}
