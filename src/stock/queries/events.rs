//! When events were told.

use chrono::{DateTime, SecondsFormat, Utc};
use jobs::StoreId;
use sqlx::query;

use crate::db::{Tx, on, sql};

/// Notes that an event of a store is told, unless it was since `since`; tells whether it is.
pub(crate) async fn note_told(
    tx: &mut Tx,
    store_id: StoreId,
    event: &str,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    // JSON has no instants: they are written by us, and read with their time zone.
    let text = now.to_rfc3339_opts(SecondsFormat::AutoSi, false);
    let sql = tx.pick(
        sql!(postgres:
            "INSERT INTO marketplace_rate_limits AS m (store_id, told_events, created_at,
                 updated_at)
             VALUES ($1, jsonb_build_object(CAST($2 AS TEXT), CAST($3 AS TEXT)), $5, $5)
             ON CONFLICT (store_id) DO UPDATE
             SET told_events = m.told_events || excluded.told_events
             WHERE m.told_events ->> CAST($2 AS TEXT) IS NULL
                OR CAST(m.told_events ->> CAST($2 AS TEXT) AS TIMESTAMPTZ) <= $4"),
        sql!(sqlite:
            "INSERT INTO marketplace_rate_limits AS m (store_id, told_events, created_at,
                 updated_at)
             VALUES ($1, json_object($2, $3), $5, $5)
             ON CONFLICT (store_id) DO UPDATE
             SET told_events = json_patch(m.told_events, excluded.told_events)
             WHERE json_extract(m.told_events, '$.\"' || $2 || '\"') IS NULL
                OR json_extract(m.told_events, '$.\"' || $2 || '\"') <= $4"),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(event).bind(text).bind(since).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}
