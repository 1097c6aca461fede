//! Compares the success count of every store with its rows, and repairs it if asked.

use jobs::StoreId;
use serde::Serialize;

use super::error::Error;
use super::queries::stores;
use crate::clock::Clock;
use crate::db::Db;

/// A store whose count is off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The store.
    pub store_id: StoreId,
    /// What its count says.
    pub imported_success_count: i64,
    /// How many successful rows it has.
    pub success_rows: i64,
    /// Whether the count was set to the rows.
    pub is_fixed: bool,
}

/// Finds counts that are off; with `fix` sets each to the truth, one store a transaction.
pub(crate) async fn reconcile(db: &Db, clock: &Clock, fix: bool) -> Result<Vec<Drift>, Error> {
    let mut tx = db.read_at_length().await?;
    let drifted = stores::drifted_counts(&mut tx).await?;
    tx.save().await?;
    let mut report = Vec::with_capacity(drifted.len());
    for (store_id, imported_success_count, success_rows) in drifted {
        if fix {
            let mut tx = db.write_at_length().await?;
            if stores::lock_store(&mut tx, store_id).await? {
                stores::repair_count(&mut tx, store_id, clock.now()).await?;
            }
            tx.save().await?;
        }
        report.push(Drift {
            store_id,
            imported_success_count,
            success_rows,
            is_fixed: fix,
        });
    }
    Ok(report)
}
