//! The log of requests to marketplaces: what was sent and what came back, without credentials.
//!
//! Of a body the first 64 KiB are kept. A body is whatever the other side sent, so it is made
//! storable first: PostgreSQL has no place for U+0000.

use chrono::{DateTime, Utc};
use jobs::PushId;

use super::connector::Exchange;
use super::model::{ApiLogId, Provider};
use super::queries::api_logs::{NewLog, insert_logs};
use super::settings::StockStore;
use crate::App;
use crate::db::Tx;

/// Bytes of a body that are kept.
const KEPT: usize = 64 * 1024;
/// Bytes of a message that are kept.
const MESSAGE: usize = 2 * 1024;

/// Logs requests about a store, and the push they were for.
pub(super) async fn log(
    app: &App,
    tx: &mut Tx,
    store: &StockStore,
    provider: Provider,
    push_id: Option<PushId>,
    exchanges: &[Exchange],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if exchanges.is_empty() {
        return Ok(());
    }
    let row = |exchange| row(ApiLogId(app.ids.new_id(now)), provider, exchange);
    let logs: Vec<NewLog> = exchanges.iter().map(row).collect();
    insert_logs(tx, &store.organization_id, store.id, push_id, &logs, now).await
}

fn row(id: ApiLogId, provider: Provider, exchange: &Exchange) -> NewLog {
    let (request_body, is_request_cut) = beginning(exchange.request.as_deref());
    let (response_body, is_response_cut) = beginning(exchange.response.as_deref());
    let has_succeeded = exchange.status.is_some_and(|it| (200..300).contains(&it));
    NewLog {
        id,
        provider,
        kind: exchange.kind,
        method: exchange.method,
        url: message(&exchange.url),
        request_body,
        response_body,
        truncated: is_request_cut || is_response_cut,
        http_status: exchange.status,
        is_success: has_succeeded && exchange.error.is_none(),
        error: exchange.error.as_deref().map(message),
        duration_ms: i64::try_from(exchange.duration.as_millis()).unwrap_or(i64::MAX),
        correlation_id: exchange.correlation_id.as_deref().map(message),
    }
}

/// The beginning of a body, and whether it is not all of it.
fn beginning(body: Option<&str>) -> (Option<String>, bool) {
    let Some(body) = body else {
        return (None, false);
    };
    let kept = &body[..body.floor_char_boundary(KEPT)];
    (Some(storable(kept)), kept.len() < body.len())
}

/// A text of somebody else, short and storable.
pub(super) fn message(text: &str) -> String {
    storable(&text[..text.floor_char_boundary(MESSAGE)])
}

fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::stock::model::ApiLogType;

    fn exchange(response: &str) -> Exchange {
        Exchange {
            kind: ApiLogType::UpdateStock,
            method: "POST",
            url: "https://marketplace.test/stock".to_owned(),
            request: Some("[]".to_owned()),
            response: Some(response.to_owned()),
            status: Some(200),
            error: None,
            duration: Duration::from_millis(7),
            correlation_id: None,
        }
    }

    fn logged(response: &str) -> NewLog {
        row(
            ApiLogId(Uuid::nil()),
            Provider::Trendyol,
            &exchange(response),
        )
    }

    #[test]
    fn of_a_long_body_the_beginning_is_kept_up_to_a_whole_character() {
        let whole = logged(&"a".repeat(KEPT));
        assert_eq!(
            (whole.response_body.unwrap().len(), whole.truncated),
            (KEPT, false)
        );
        let cut = logged(&format!("a{}", "ü".repeat(KEPT)));
        assert!(cut.truncated);
        assert_eq!(cut.response_body.unwrap().len(), KEPT - 1);
    }

    #[test]
    fn what_no_database_can_store_is_replaced() {
        assert_eq!(logged("a\0b").response_body.unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn only_an_answer_that_was_understood_is_a_success() {
        assert!(logged("{}").is_success);
        let odd = Exchange {
            error: Some("no batch id".to_owned()),
            ..exchange("{}")
        };
        assert!(!row(ApiLogId(Uuid::nil()), Provider::Trendyol, &odd).is_success);
        let refused = Exchange {
            status: Some(429),
            ..exchange("{}")
        };
        assert!(!row(ApiLogId(Uuid::nil()), Provider::Trendyol, &refused).is_success);
    }
}
