//! How long keys are kept: until their time is over, and then until the next round.

use super::queries;
use crate::App;

/// Keys deleted in one transaction.
const BATCH: i64 = 500;
/// Transactions a round: the rest comes with the next one.
const STEPS: usize = 200;

/// Deletes keys whose time is over; tells how many. Others write between the steps.
pub(crate) async fn purge_expired_keys(app: &App) -> sqlx::Result<u64> {
    let mut purged = 0;
    for _ in 0..STEPS {
        let mut tx = app.db.read().await?;
        let expired = queries::expired(&mut tx, app.clock.now(), BATCH).await?;
        tx.save().await?;
        let Some(last) = expired.last().filter(|_| !app.stop.is_cancelled()) else {
            break;
        };
        let mut tx = app.db.write().await?;
        purged += queries::purge(&mut tx, *last).await?;
        tx.save().await?;
    }
    Ok(purged)
}
