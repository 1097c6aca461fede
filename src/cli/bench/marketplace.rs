//! A marketplace that answers at once: every receipt is an order, one that is late ([`LATE`]) when
//! it is asked about for the second time.

use std::collections::HashSet;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use hyper::StatusCode;
use hyper::body::Bytes;

use super::loopback::{Answer, Loopback};

/// Its credentials.
pub(super) const USER: &str = "bench";
/// Its credentials.
pub(super) const PASSWORD: &str = "bench";

/// Every order is this one but for its id.
const ANSWER: &str = r#"{"status":true,"amount":42,"currency":"USD","importedAtUTC":"2026-01-01T00:00:00.000Z","orderId":""#;

/// How receipts begin whose orders the marketplace does not know yet when it is asked about them
/// for the first time.
pub(super) const LATE: &str = "late-";

/// Listens on the loopback interface until it is dropped.
pub(super) struct Marketplace {
    loopback: Loopback,
    sales: Arc<Sales>,
}

#[derive(Default)]
struct Sales {
    answered: AtomicU64,
    /// Questions about late receipts that were asked once.
    asked: Mutex<HashSet<Bytes>>,
}

impl Marketplace {
    pub(super) async fn start() -> Result<Self> {
        let sales = Arc::<Sales>::default();
        let kept = sales.clone();
        let loopback = Loopback::serve(move |_, question| ready(kept.answer(&question))).await?;
        Ok(Self { loopback, sales })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.loopback.address
    }

    /// How many receipts it was asked about.
    pub(super) fn answered(&self) -> u64 {
        self.sales.answered.load(Ordering::Relaxed)
    }
}

impl Sales {
    /// Whether a question is about a receipt that is late, and the first one.
    fn is_early(&self, question: &Bytes) -> bool {
        let is_late = question
            .windows(LATE.len())
            .any(|letters| letters == LATE.as_bytes());
        if !is_late {
            return false;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked about twice, it needs no room any more.
        !asked.remove(question) && asked.insert(question.clone())
    }

    fn answer(&self, question: &Bytes) -> Answer {
        if self.is_early(question) {
            return (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new());
        }
        let order = self.answered.fetch_add(1, Ordering::Relaxed);
        let body = format!("{ANSWER}order-{order}\"}}");
        (StatusCode::OK, Bytes::from(body))
    }
}
