//! `demo`: the shortest way to see everything.

use crate::support::process::{environment, run};

/// It asks for nothing but free ports, and shows what became of its receipts and which events of
/// it came, signed.
#[tokio::test]
async fn the_demo_shows_itself_and_leaves() {
    let settings = environment(&[("PORT", "0"), ("ADMIN_PORT", "0")]);
    let exit = run(&["demo", "--exit"], &settings).await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let row = |start: &str| {
        let found = exit.stdout.iter().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no row of {start}: {exit:#?}"))
            .as_str()
    };
    assert!(row("order-101").contains("order, 741"));
    assert!(row("order-102").contains("invalid_receipt"));
    assert!(row("order-115").contains("rate_limited"));
    assert!(row("GET /stores/sync-status").contains("partial"));
    for event in ["sync.started", "sync.completed"] {
        assert!(row(event).contains(" verified "), "{exit:#?}");
    }
    let is_refused = |line: &String| line.contains(" refused ") || line.contains(" unchecked ");
    assert!(!exit.stdout.iter().any(is_refused), "{exit:#?}");
}

/// Scenario 4: an order of two sets on one store, as both marketplaces show it.
#[tokio::test]
async fn the_stock_demo_shows_itself_and_leaves() {
    let settings = environment(&[("PORT", "0"), ("ADMIN_PORT", "0")]);
    let exit = run(&["demo", "--stock", "--exit"], &settings).await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let quantities = |sku: &str| -> Vec<Vec<&str>> {
        let rows = exit
            .stdout
            .iter()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row.len() == 4 && row[0] == sku).collect()
    };
    for (sku, before, after) in [
        ("MONT-001", "50", "48"),
        ("ELDIVEN-001", "30", "26"),
        ("ATKI-001", "40", "38"),
        ("SET-001", "15", "13"),
    ] {
        let shown = [before, after].map(|quantity| vec![sku, quantity, quantity, quantity]);
        assert_eq!(quantities(sku), shown, "{exit:#?}");
    }
    for marketplace in ["trendyol", "hepsiburada"] {
        let told = exit
            .stdout
            .iter()
            .filter(|line| line.contains(marketplace) && line.contains("MONT-001 48"));
        assert!(told.count() >= 1, "{exit:#?}");
    }
}
