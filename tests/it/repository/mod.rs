//! What the statements promise, whatever calls them (A-02 … A-11, DM-1 … DM-4).

mod updated_at;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use marketplace_sync::db::{Db, Tx};
use marketplace_sync::ids::Ids;
use marketplace_sync::marketplace::model::{
    Marketplace, NewStore, RowOutcome, SyncLogId, SyncLogStatus, SyncStatus, SyncToken,
};
use marketplace_sync::marketplace::money::Currency;
use marketplace_sync::marketplace::queries::orders::{self, Claim, Receipt, RowCursor};
use marketplace_sync::marketplace::queries::stores::{self, StoreOutcome};
use rstest::rstest;
use secrecy::SecretString;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, on};
use crate::support::database::TestDatabase;
use crate::support::marketplace::noon;

/// A migrated database and the ids of one process.
struct Repository {
    db: Db,
    ids: Ids,
    _database: TestDatabase,
}

impl Repository {
    async fn open(on: Profile) -> Self {
        let database = TestDatabase::create(on).await;
        let db = Db::connect(database.url(), 12).await.unwrap();
        db.migrate().await.unwrap();
        Self {
            db,
            ids: Ids::system(),
            _database: database,
        }
    }

    async fn create_store(&self, name: &str, now: DateTime<Utc>) -> (StoreId, SyncToken) {
        let id = StoreId(self.ids.new_id(now));
        let token = SyncToken(self.ids.sync_token(now));
        let mut tx = self.db.write().await.unwrap();
        let created = stores::upsert_store(
            &mut tx,
            id,
            token,
            &new_store(name),
            &"secret".to_owned().into(),
            now,
        )
        .await
        .unwrap();
        tx.save().await.unwrap();
        created
    }

    /// Claims receipts, which makes their rows, and gives each its outcome.
    async fn create_rows(&self, store: StoreId, rows: &[(&str, SyncLogStatus)]) -> Vec<SyncLogId> {
        let now = noon();
        let claims: Vec<Claim> = rows
            .iter()
            .map(|(receipt, _)| Claim {
                id: SyncLogId(self.ids.new_id(now)),
                receipt: receipt_of(store, receipt),
                until: Some(now),
            })
            .collect();
        let outcomes: Vec<RowOutcome> = claims
            .iter()
            .zip(rows)
            .map(|(claim, (_, status))| outcome(claim.id, *status))
            .collect();
        let mut tx = self.db.write().await.unwrap();
        let won = orders::claim_receipts(&mut tx, &claims, now).await.unwrap();
        assert_eq!(won.len(), rows.len());
        let written = orders::record_outcomes(&mut tx, &outcomes, now)
            .await
            .unwrap();
        tx.save().await.unwrap();
        assert_eq!(written.len(), rows.len());
        claims.into_iter().map(|claim| claim.id).collect()
    }

    async fn record_attempt(&self, store: StoreId, successes: i64, now: DateTime<Utc>) -> i64 {
        let mut tx = self.db.write().await.unwrap();
        let count = record(&mut tx, store, successes, SyncStatus::Success, now).await;
        tx.save().await.unwrap();
        count
    }

    async fn store(&self, id: StoreId) -> marketplace_sync::marketplace::model::Store {
        let mut tx = self.db.read().await.unwrap();
        stores::store_by_id(&mut tx, id).await.unwrap().unwrap()
    }

    /// When the row of a table was changed.
    async fn times(&self, table: &str, id: Uuid) -> (DateTime<Utc>, DateTime<Utc>) {
        let sql = match table {
            "stores" => "SELECT created_at, updated_at FROM stores WHERE id = $1",
            _ => "SELECT created_at, updated_at FROM sync_logs WHERE id = $1",
        };
        on!(&self.db, pool => sqlx::query_as(sql).bind(id).fetch_one(pool).await.unwrap())
    }

    async fn count(&self, sql: &'static str) -> i64 {
        on!(&self.db, pool => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap())
    }

    /// What the database says to a statement that it should refuse.
    async fn refusal(&self, sql: &'static str, id: Uuid, other: Uuid) -> sqlx::Error {
        on!(&self.db, pool => sqlx::query(sql).bind(id).bind(other).bind(noon())
            .execute(pool).await.map(|_| ()).unwrap_err())
    }
}

/// Writes an attempt in a transaction; tells how many orders the store has then.
async fn record(
    tx: &mut Tx,
    id: StoreId,
    successes: i64,
    status: SyncStatus,
    now: DateTime<Utc>,
) -> i64 {
    let outcome = StoreOutcome {
        id,
        successes,
        status,
    };
    let counts = stores::record_attempts(tx, &[outcome], now).await.unwrap();
    counts[&id]
}

fn receipt_of(store_id: StoreId, receipt: &str) -> Receipt {
    Receipt {
        store_id,
        receipt: receipt.to_owned(),
    }
}

fn new_store(name: &str) -> NewStore {
    NewStore {
        organization_id: "org-1".to_owned(),
        marketplace: Marketplace::Etsy,
        external_store_id: name.to_owned(),
        store_name: "Shop".to_owned(),
        access_token: SecretString::from("token"),
        currency: "USD".to_owned(),
    }
}

fn outcome(id: SyncLogId, status: SyncLogStatus) -> RowOutcome {
    let is_success = status == SyncLogStatus::Success;
    RowOutcome {
        id,
        status,
        order_id: is_success.then(|| "order-1".to_owned()),
        amount_minor: is_success.then_some(1000),
        currency: is_success.then(|| Currency::parse("USD").unwrap()),
        imported_at: is_success.then(noon),
        error_details: None,
        attempt: 0,
        failed_attempt: 0,
        next_retry_at: None,
        dead_at: None,
        claimed_until: None,
    }
}

/// A-02, DM-1 (D-51: the version nibble), DM-4.
#[rstest]
#[tokio::test]
async fn a_new_store_is_found_by_all_its_names(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (id, token) = repository.create_store("shop", noon()).await;
    for uuid in [id.0, token.0] {
        assert_eq!(
            (uuid.get_version_num(), uuid.get_variant()),
            (7, uuid::Variant::RFC4122)
        );
    }
    let mut tx = repository.db.read().await.unwrap();
    let found = [
        stores::store_by_id(&mut tx, id).await.unwrap().unwrap(),
        stores::stores_by_tokens(&mut tx, &[token])
            .await
            .unwrap()
            .remove(0)
            .store,
        stores::store_by_name(&mut tx, "org-1", Marketplace::Etsy, "shop")
            .await
            .unwrap()
            .unwrap(),
    ];
    let unknown = StoreId(Uuid::nil());
    assert!(
        stores::store_by_id(&mut tx, unknown)
            .await
            .unwrap()
            .is_none()
    );
    drop(tx);
    for store in found {
        assert_eq!(
            (store.id, store.sync_status, store.imported_success_count),
            (id, SyncStatus::Pending, 0)
        );
        assert_eq!(store.last_sync_at, None);
    }
    assert_eq!(repository.times("stores", id.0).await, (noon(), noon()));
}

/// no id comes from the database, and no two from the application are the same.
#[rstest]
#[tokio::test]
async fn ids_are_the_applications_and_distinct(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (first, first_token) = repository.create_store("first", noon()).await;
    let (second, second_token) = repository.create_store("second", noon()).await;
    assert!(first != second && first_token != second_token);
    let rows = [("r1", SyncLogStatus::Failed), ("r2", SyncLogStatus::Failed)];
    assert_eq!(
        repository
            .create_rows(first, &rows)
            .await
            .iter()
            .collect::<BTreeSet<_>>()
            .len(),
        2
    );
    let without_id = [
        "INSERT INTO stores (sync_token, organization_id, marketplace, external_store_id, store_name,
             access_token, currency, created_at, updated_at)
         SELECT $1, 'org-1', 'etsy', 'third', 'Shop', 'token', 'USD', $3, $3 WHERE $2 <> $1",
        "INSERT INTO sync_logs (store_id, receipt, created_at, updated_at)
         SELECT $2, 'r3', $3, $3 WHERE $2 <> $1",
    ];
    for sql in without_id {
        let error = repository
            .refusal(sql, repository.ids.new_id(noon()), first.0)
            .await;
        let error = error.into_database_error().unwrap();
        assert_eq!(
            error.kind(),
            sqlx::error::ErrorKind::NotNullViolation,
            "{error}"
        );
    }
}

/// the database itself refuses a second row; the repository leaves the first as it is.
#[rstest]
#[tokio::test]
async fn a_receipt_has_one_row_in_a_store(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (store, _) = repository.create_store("shop", noon()).await;
    let (other, _) = repository.create_store("other", noon()).await;
    repository
        .create_rows(store, &[("r1", SyncLogStatus::Success)])
        .await;
    let sql = "INSERT INTO sync_logs (id, store_id, receipt, created_at, updated_at)
         VALUES ($1, $2, 'r1', $3, $3)";
    let error = repository
        .refusal(sql, repository.ids.new_id(noon()), store.0)
        .await;
    assert!(
        error.as_database_error().unwrap().is_unique_violation(),
        "{error}"
    );

    let claim = |store| Claim {
        id: SyncLogId(repository.ids.new_id(noon())),
        receipt: receipt_of(store, "r1"),
        until: Some(noon()),
    };
    let (again, new) = (claim(store), claim(other));
    let won = [new.id].into_iter().collect();
    let mut tx = repository.db.write().await.unwrap();
    let claimed = orders::claim_receipts(&mut tx, &[again, new], noon()).await;
    assert_eq!(claimed.unwrap(), won);
}

/// A-05, DM-10: an increment happens in the database, so none is lost.
#[rstest]
#[tokio::test]
async fn increments_add_up(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (store, _) = repository.create_store("shop", noon()).await;
    repository.record_attempt(store, 1, noon()).await;
    assert_eq!(repository.record_attempt(store, 3, noon()).await, 4);
    let fifty = (0..50).map(|_| repository.record_attempt(store, 1, noon()));
    let counts: BTreeSet<i64> = futures::future::join_all(fifty).await.into_iter().collect();
    assert_eq!(counts, (5..=54).collect());
    assert_eq!(repository.store(store).await.imported_success_count, 54);
}

/// A-06, DM-11.
#[rstest]
#[tokio::test]
async fn an_attempt_is_written_as_a_whole_or_not_at_all(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (store, _) = repository.create_store("shop", noon()).await;
    let of = |store: marketplace_sync::marketplace::model::Store| {
        (
            store.sync_status,
            store.last_sync_at,
            store.imported_success_count,
        )
    };
    let mut tx = repository.db.write().await.unwrap();
    record(&mut tx, store, 5, SyncStatus::Success, noon()).await;
    drop(tx);
    assert_eq!(
        of(repository.store(store).await),
        (SyncStatus::Pending, None, 0)
    );
    repository.record_attempt(store, 5, noon()).await;
    assert_eq!(
        of(repository.store(store).await),
        (SyncStatus::Success, Some(noon()), 5)
    );
}

/// rows alone do not move the count; `reconcile` is what finds the difference.
#[rstest]
#[tokio::test]
async fn rows_do_not_move_the_count_of_their_store(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (store, _) = repository.create_store("shop", noon()).await;
    let rows = ["r1", "r2", "r3", "r4", "r5"].map(|receipt| (receipt, SyncLogStatus::Success));
    repository.create_rows(store, &rows).await;
    let successes = "SELECT COUNT(*) FROM sync_logs WHERE status = 'success'";
    assert_eq!(repository.count(successes).await, 5);
    assert_eq!(repository.store(store).await.imported_success_count, 0);
    let mut tx = repository.db.read().await.unwrap();
    assert_eq!(
        stores::drifted_counts(&mut tx).await.unwrap(),
        [(store, 0, 5)]
    );
}

/// A-08, and the other half of A-11: `rate_limited` is stored and read back.
#[rstest]
#[tokio::test]
async fn everything_but_a_success_may_be_due(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (store, token) = repository.create_store("shop", noon()).await;
    let (other, _) = repository.create_store("other", noon()).await;
    let rows = [
        ("pending", SyncLogStatus::Pending),
        ("failed", SyncLogStatus::Failed),
        ("limited", SyncLogStatus::RateLimited),
        ("success", SyncLogStatus::Success),
    ];
    repository.create_rows(store, &rows).await;
    repository.create_rows(other, &rows[3..]).await;
    let mut tx = repository.db.read().await.unwrap();
    let start = RowCursor {
        created_at: DateTime::UNIX_EPOCH,
        id: SyncLogId(Uuid::nil()),
    };
    let due = orders::due_rows(&mut tx, store, start, noon(), 10)
        .await
        .unwrap();
    let due: Vec<&str> = due.iter().map(|row| row.receipt.as_str()).collect();
    assert_eq!(due, ["pending", "failed", "limited"]);
    let asked = [receipt_of(store, "limited"), receipt_of(other, "limited")];
    let read = orders::known_receipts(&mut tx, &asked).await.unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|known| (known.store_id, known.row.receipt.as_str(), known.row.status))
        .collect();
    assert_eq!(read, [(store, "limited", SyncLogStatus::RateLimited)]);
    let look = stores::look_at_stores(&mut tx, &[token]).await.unwrap();
    assert_eq!(look[0].rate_limited_count, 1);
    let tried = [
        SyncLogStatus::Success,
        SyncLogStatus::RateLimited,
        SyncLogStatus::Failed,
    ];
    assert_eq!(look[0].newest.0, tried, "newest first");
    let newest = orders::newest_outcomes(&mut tx, &[other, store])
        .await
        .unwrap();
    let newest: Vec<_> = newest
        .into_iter()
        .map(|it| (it.store_id, it.statuses.0))
        .collect();
    assert_eq!(
        newest,
        [
            (other, vec![SyncLogStatus::Success]),
            (store, tried.to_vec())
        ]
    );
}

///
#[rstest]
#[tokio::test]
async fn a_deleted_store_takes_its_rows_and_events_along(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let (gone, _) = repository.create_store("gone", noon()).await;
    let (kept, _) = repository.create_store("kept", noon()).await;
    for store in [gone, kept] {
        repository
            .create_rows(store, &[("r1", SyncLogStatus::Failed)])
            .await;
        let event = repository.ids.new_id(noon());
        on!(&repository.db, pool => sqlx::query(
            "INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, created_at,
                 updated_at)
             VALUES ($1, 'org-1', $2, 'sync.started', '{}', $3, $3)")
            .bind(event).bind(store).bind(noon()).execute(pool).await.map(|_| ()).unwrap());
    }
    on!(&repository.db, pool => sqlx::query("DELETE FROM stores WHERE id = $1")
        .bind(gone).execute(pool).await.map(|_| ()).unwrap());
    for sql in [
        "SELECT COUNT(*) FROM sync_logs",
        "SELECT COUNT(*) FROM callback_outbox",
    ] {
        assert_eq!(repository.count(sql).await, 1, "{sql}");
    }
    assert_eq!(repository.store(kept).await.id, kept);
}

/// A-11, by the index that is there for it.
#[rstest]
#[tokio::test]
async fn failed_and_pending_stores_can_be_listed(#[values(Embedded, Server)] on: Profile) {
    let repository = Repository::open(on).await;
    let statuses = [SyncStatus::Failed, SyncStatus::Success, SyncStatus::Partial];
    for (name, status) in ["failed", "success", "partial"].into_iter().zip(statuses) {
        let (store, _) = repository.create_store(name, noon()).await;
        let mut tx = repository.db.write().await.unwrap();
        record(&mut tx, store, 0, status, noon()).await;
        tx.save().await.unwrap();
    }
    repository.create_store("pending", noon()).await;
    let listed: Vec<String> = on!(&repository.db, pool => sqlx::query_scalar(
        "SELECT external_store_id FROM stores WHERE sync_status IN ('failed', 'pending')
         ORDER BY sync_status, created_at, id").fetch_all(pool).await.unwrap());
    assert_eq!(listed, ["failed", "pending"]);
}
