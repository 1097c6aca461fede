//! DM-4: what moves `updated_at`, and what does not.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use marketplace_sync::db::Statement;
use marketplace_sync::marketplace::model::SyncLogStatus;
use marketplace_sync::marketplace::queries::{orders, schedule, stores};
use rstest::rstest;

use super::{Repository, outcome};
use crate::support::app::Profile;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::marketplace::noon;

/// A-09, DM-4: whatever changes what a row says moves `updated_at`, and never `created_at`.
#[rstest]
#[tokio::test]
async fn every_change_moves_updated_at(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (store, _) = repository.create_store("shop", noon()).await;
    let [row] = repository
        .create_rows(store, &[("r1", SyncLogStatus::Pending)])
        .await[..]
    else {
        panic!("one row")
    };
    let later = |steps: i32| noon() + TimeDelta::milliseconds(10) * steps;

    repository.create_store("shop", later(1)).await;
    assert_eq!(
        repository.times("stores", store.0).await,
        (noon(), later(1))
    );
    repository.record_attempt(store, 0, later(2)).await;
    assert_eq!(
        repository.times("stores", store.0).await,
        (noon(), later(2))
    );
    let mut tx = repository.db.write().await.unwrap();
    stores::repair_count(&mut tx, store, later(3))
        .await
        .unwrap();
    tx.save().await.unwrap();
    assert_eq!(
        repository.times("stores", store.0).await,
        (noon(), later(3))
    );

    let mut tx = repository.db.write().await.unwrap();
    assert!(
        orders::take_over_claim(&mut tx, row, later(9), later(4))
            .await
            .unwrap()
    );
    tx.save().await.unwrap();
    assert_eq!(
        repository.times("sync_logs", row.0).await,
        (noon(), later(4))
    );
    let failed = outcome(row, SyncLogStatus::Failed);
    let mut tx = repository.db.write().await.unwrap();
    orders::record_outcomes(&mut tx, &[failed], later(5))
        .await
        .unwrap();
    tx.save().await.unwrap();
    assert_eq!(
        repository.times("sync_logs", row.0).await,
        (noon(), later(5))
    );
}

/// DM-4: who runs a store, or waits to, is not a change of the store.
#[rstest]
#[tokio::test]
async fn coordination_does_not_move_updated_at(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (store, _) = repository.create_store("shop", noon()).await;
    let later = noon() + TimeDelta::minutes(1);
    let mut tx = repository.db.write().await.unwrap();
    stores::pause_store(&mut tx, store, later).await.unwrap();
    assert_eq!(
        schedule::claim_slots(&mut tx, &[store], later, noon())
            .await
            .unwrap(),
        [store].into()
    );
    assert!(
        schedule::claim_slots(&mut tx, &[store], later, noon())
            .await
            .unwrap()
            .is_empty()
    );
    let end = later + TimeDelta::minutes(1);
    schedule::move_slots(&mut tx, &[store], later, end)
        .await
        .unwrap();
    assert!(
        schedule::claim_slots(&mut tx, &[store], end, later)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(schedule::free_all_slots(&mut tx, later).await.unwrap(), 1);
    tx.save().await.unwrap();
    assert_eq!(repository.times("stores", store.0).await, (noon(), noon()));
}

/// DM-4, for statements yet to come: an UPDATE sets `updated_at`, or nothing but coordination.
#[test]
fn no_update_forgets_updated_at() {
    let coordination = [
        "lease_token",
        "lease_expires_at",
        "enqueued_until",
        "push_enqueued_until",
        "resync_enqueued_until",
        "reconcile_enqueued_until",
        "lease_until",
        "backoff_until",
        "backoff_reason",
        "pending_count",
        "paused_until",
        // An operator's, not a change of the store.
        "paused_at",
        "consecutive_failures",
        // What is left to be worked out anew.
        "stock_recount_at",
        "open_until",
        // The same token, encrypted with another key.
        "access_token",
        "api_key",
        "api_secret",
    ];
    let updates = Statement::all().filter(|it| {
        let text = it.text.trim_start();
        // Secrets are replaced, not changed, answers are given once, keys are revoked: no such column.
        let has_none = [
            "UPDATE webhook_secrets",
            "UPDATE idempotency_keys",
            "UPDATE api_keys",
            // Buckets have a date of their own, and items that of their push.
            "UPDATE rate_buckets",
            "UPDATE stock_push_items",
            "UPDATE sqlite_schema",
        ];
        text.starts_with("UPDATE ") && !has_none.iter().any(|start| text.starts_with(start))
    });
    let mut seen = 0;
    for statement in updates {
        let (_, set) = statement.text.split_once("SET ").unwrap();
        // A sub-query has conditions, but behind a word: `WHERE id = …`.
        let columns = set
            .split(['\n', ','])
            .filter_map(|part| Some(part.split_once(" = ")?.0.trim()))
            .filter(|column| !column.contains([' ', '.']));
        let columns: BTreeSet<&str> = columns.collect();
        let is_coordination = columns.iter().all(|column| coordination.contains(column));
        assert!(
            is_coordination != columns.contains("updated_at"),
            "{}:{} sets {columns:?}",
            statement.file,
            statement.line
        );
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} UPDATE statements were found");
}
