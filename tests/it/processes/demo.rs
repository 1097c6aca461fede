//! `demo`: the shortest way to see everything.

use crate::support::process::{environment, run};

/// It asks for nothing but free ports, and shows what became of its receipts.
#[tokio::test]
async fn the_demo_shows_itself_and_leaves() {
    let settings = environment(&[("PORT", "0"), ("ADMIN_PORT", "0")]);
    let exit = run(&["demo", "--exit"], &settings).await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let row = |receipt: &str| {
        let found = exit.stdout.iter().find(|line| line.starts_with(receipt));
        found
            .unwrap_or_else(|| panic!("no row of {receipt}: {exit:#?}"))
            .as_str()
    };
    assert!(row("order-101").contains("order, 741"));
    assert!(row("order-102").contains("invalid_receipt"));
    assert!(row("order-115").contains("rate_limited"));
    let status = exit.stdout.last().unwrap();
    assert!(
        status.starts_with("GET /stores/sync-status") && status.contains("partial"),
        "{status}"
    );
}
