//! Requests to marketplaces, and what they answered.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as};
use uuid::Uuid;

use crate::db::{Tx, both, json_uuid, on, rows, sql};
use crate::http::page::Cursor;
use crate::stock::model::{ApiLogId, ApiLogType, Provider};

/// A request to a marketplace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NewLog {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) id: ApiLogId,
    pub(crate) provider: Provider,
    pub(crate) kind: ApiLogType,
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) request_body: Option<String>,
    pub(crate) response_body: Option<String>,
    /// Whether a body is only the beginning.
    pub(crate) truncated: bool,
    pub(crate) http_status: Option<u16>,
    pub(crate) is_success: bool,
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: i64,
    pub(crate) correlation_id: Option<String>,
}

/// Logs requests about a store, and the push they were for.
pub(crate) async fn insert_logs(
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
    push_id: Option<PushId>,
    logs: &[NewLog],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO api_logs (id, organization_id, provider, type, store_id, push_id, method,
             url, request_body, response_body, truncated, http_status, is_success, error,
             duration_ms, correlation_id, created_at, updated_at)
         SELECT l.id, $2, l.provider, l.kind, $3, $4, l.method, l.url, l.request_body,
             l.response_body, l.truncated, l.http_status, l.is_success, l.error,
             l.duration_ms, l.correlation_id, $5, $5
         FROM ",
        rows!("$1", id UUID, provider TEXT, kind TEXT, method TEXT, url TEXT, request_body TEXT,
            response_body TEXT, truncated BOOLEAN, http_status INTEGER, is_success BOOLEAN,
            error TEXT, duration_ms BIGINT, correlation_id TEXT),
        " AS l"
    );
    on!(tx, conn => query(sql)
        .bind(Json(logs)).bind(organization_id).bind(store_id).bind(push_id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// A logged request.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct ApiLog {
    pub(crate) id: ApiLogId,
    pub(crate) provider: Provider,
    #[sqlx(rename = "type")]
    pub(crate) kind: ApiLogType,
    pub(crate) store_id: Option<StoreId>,
    pub(crate) order_ref: Option<String>,
    pub(crate) push_id: Option<PushId>,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) request_body: Option<String>,
    pub(crate) response_body: Option<String>,
    pub(crate) truncated: bool,
    pub(crate) http_status: Option<i32>,
    pub(crate) is_success: bool,
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: i64,
    pub(crate) correlation_id: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

/// Which requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogFilter {
    pub(crate) provider: Option<Provider>,
    pub(crate) kind: Option<ApiLogType>,
    pub(crate) is_success: Option<bool>,
    /// Not before.
    pub(crate) from: DateTime<Utc>,
    /// Before.
    pub(crate) to: DateTime<Utc>,
}

/// The statement of both lists: only whose requests they are is written differently. It is put so
/// that PostgreSQL makes no guess of how few there are, as the lists of pushes are.
macro_rules! logs_of {
    ($whose:literal) => {
        concat!(
            "SELECT id, provider, type, store_id, order_ref, push_id, method, url, request_body,
                 response_body, truncated, http_status, is_success, error, duration_ms,
                 correlation_id, created_at
             FROM api_logs
             WHERE ",
            $whose,
            " AND (created_at, id) < ($2, $3) AND (created_at, id) >= ($4, $5)
               AND created_at < $6 AND COALESCE(provider = $7, TRUE)
               AND COALESCE(type = $8, TRUE) AND COALESCE(is_success = $9, TRUE)
             ORDER BY created_at DESC, id DESC
             LIMIT $10"
        )
    };
}

/// Requests about an organization's stores before the cursor, the newest first.
pub(crate) async fn logs(
    tx: &mut Tx,
    organization_id: &str,
    before: Cursor,
    filter: LogFilter,
    limit: i64,
) -> sqlx::Result<Vec<ApiLog>> {
    on!(tx, conn => query_as(sql!(logs_of!("organization_id = $1")))
        .bind(organization_id).bind(before.at).bind(before.id).bind(filter.from)
        .bind(Uuid::nil()).bind(filter.to).bind(filter.provider).bind(filter.kind).bind(filter.is_success).bind(limit)
        .fetch_all(conn).await)
}

/// Requests about a store before the cursor, the newest first.
pub(crate) async fn logs_of_store(
    tx: &mut Tx,
    store_id: StoreId,
    before: Cursor,
    filter: LogFilter,
    limit: i64,
) -> sqlx::Result<Vec<ApiLog>> {
    on!(tx, conn => query_as(sql!(logs_of!("store_id = $1")))
        .bind(store_id).bind(before.at).bind(before.id).bind(filter.from)
        .bind(Uuid::nil()).bind(filter.to).bind(filter.provider).bind(filter.kind).bind(filter.is_success).bind(limit)
        .fetch_all(conn).await)
}
