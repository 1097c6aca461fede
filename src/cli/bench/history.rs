//! A past: receipts that were imported and events that were delivered long ago.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::query;
use sqlx::types::Json;

use super::stage::{Shop, progress};
use crate::App;
use crate::db::{Tx, on, sql};

/// Rows of a transaction.
const STEP: u64 = 50_000;

/// What a row of the past is told of its store.
#[derive(Serialize)]
struct Owner {
    place: usize,
    id: String,
}

/// Gives stores `rows` receipts, named `past-1` and so on in each, and a tenth as many events.
pub(super) async fn write(app: &App, shops: &[Shop], rows: u64) -> Result<()> {
    if rows == 0 || shops.is_empty() {
        return Ok(());
    }
    let owners: Vec<Owner> = shops
        .iter()
        .enumerate()
        .map(|(place, shop)| Owner {
            place,
            id: shop.id.0.simple().to_string(),
        })
        .collect();
    let bar = progress("receipts", rows);
    let start = app.clock.now() - TimeDelta::days(7);
    // Ids that begin with the time they are of, as those of real rows do.
    let mut from = 0;
    while from < rows {
        let to = (from + STEP).min(rows);
        receipts(app, &owners, from, to, start).await?;
        events(app, &owners, from / 10, to / 10, start).await?;
        from = to;
        bar.set_position(from);
    }
    bar.finish_and_clear();
    if app.settings.is_server_profile() {
        // As its own housekeeping would have by then.
        let mut tx = app.db.write().await?;
        on!(&mut tx, conn => query(sql!("ANALYZE")).execute(conn).await.map(|_| ()))?;
        tx.save().await?;
    }
    Ok(())
}

/// Row n belongs to store n modulo their number, and is its receipt n divided by it.
async fn receipts(
    app: &App,
    owners: &[Owner],
    from: u64,
    to: u64,
    start: DateTime<Utc>,
) -> Result<()> {
    let tx = app.db.write().await?;
    let sql = tx.pick(
        sql!(postgres:
            "INSERT INTO sync_logs (id, store_id, receipt, status, order_id, amount_minor, currency,
                 imported_at, attempt, failed_attempt, created_at, updated_at)
             SELECT CAST(lpad(to_hex($5 + n), 12, '0') || '7000800000' || lpad(to_hex(n), 10, '0') AS UUID),
                 o.id, 'past-' || n / $2, 'success', 'order-' || n, 4200, 'USD', CAST($6 AS TIMESTAMPTZ), 0, 0,
                 CAST($6 AS TIMESTAMPTZ) + n * INTERVAL '1 millisecond', CAST($6 AS TIMESTAMPTZ) + n * INTERVAL '1 millisecond'
             FROM generate_series($3, $4 - 1) AS n
             JOIN jsonb_to_recordset($1) AS o (place BIGINT, id UUID) ON o.place = n % $2"),
        sql!(sqlite:
            "WITH RECURSIVE series (n) AS (SELECT $3 UNION ALL SELECT n + 1 FROM series WHERE n + 1 < $4)
             INSERT INTO sync_logs (id, store_id, receipt, status, order_id, amount_minor, currency,
                 imported_at, attempt, failed_attempt, created_at, updated_at)
             SELECT unhex(printf('%012x7000800000%010x', $5 + n, n)),
                 unhex($1 ->> ('$[' || (n % $2) || '].id')), 'past-' || (n / $2), 'success',
                 'order-' || n, 4200, 'USD', $6, 0, 0,
                 strftime('%Y-%m-%dT%H:%M:%f+00:00', ($5 + n) / 1000.0, 'unixepoch'),
                 strftime('%Y-%m-%dT%H:%M:%f+00:00', ($5 + n) / 1000.0, 'unixepoch')
             FROM series"),
    );
    fill(tx, sql, owners, (from, to), start).await
}

async fn events(
    app: &App,
    owners: &[Owner],
    from: u64,
    to: u64,
    start: DateTime<Utc>,
) -> Result<()> {
    if from == to {
        return Ok(());
    }
    let tx = app.db.write().await?;
    let sql = tx.pick(
        sql!(postgres:
            "INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
                 attempt, created_at, updated_at)
             SELECT CAST(lpad(to_hex($5 + n), 12, '0') || '7000800000' || lpad(to_hex(n), 10, '0') AS UUID),
                 'past', o.id, 'sync.completed', '{}', 'success', 1,
                 CAST($6 AS TIMESTAMPTZ) + n * INTERVAL '1 millisecond', CAST($6 AS TIMESTAMPTZ) + n * INTERVAL '1 millisecond'
             FROM generate_series($3, $4 - 1) AS n
             JOIN jsonb_to_recordset($1) AS o (place BIGINT, id UUID) ON o.place = n % $2"),
        sql!(sqlite:
            "WITH RECURSIVE series (n) AS (SELECT $3 UNION ALL SELECT n + 1 FROM series WHERE n + 1 < $4)
             INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
                 attempt, created_at, updated_at)
             SELECT unhex(printf('%012x7000800000%010x', $5 + n, n)), 'past',
                 unhex($1 ->> ('$[' || (n % $2) || '].id')), 'sync.completed', '{}', 'success', 1,
                 strftime('%Y-%m-%dT%H:%M:%f+00:00', ($5 + n) / 1000.0, 'unixepoch'), $6
             FROM series"),
    );
    fill(tx, sql, owners, (from, to), start).await
}

/// Runs a statement over the rows of a range, and commits.
async fn fill(
    mut tx: Tx,
    sql: &'static str,
    owners: &[Owner],
    (from, to): (u64, u64),
    start: DateTime<Utc>,
) -> Result<()> {
    on!(&mut tx, conn => query(sql)
        .bind(Json(owners)).bind(signed(owners.len() as u64)).bind(signed(from)).bind(signed(to))
        .bind(start.timestamp_millis()).bind(start)
        .execute(conn).await.map(|_| ()))?;
    tx.save().await?;
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
