//! The shortest way through everything.

use rstest::rstest;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::scripted_connector::{invalid, valid};

#[rstest]
#[tokio::test]
async fn a_failed_receipt_is_imported_by_the_next_job(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.reply("r1", [invalid(), valid("r1")]);
    app.import(store, "r1").await;
    app.make_due(store, "r1").await;
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}
