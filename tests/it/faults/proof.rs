//! What must be so after any fault, by the rows, at the marketplace and at the receivers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use marketplace_sync::db::Db;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::site::WEBHOOKS;
use crate::processes::Installation;
use crate::support::app::on;
use crate::support::small_disk::SmallDisk;
use crate::support::subscriber::{Received, Subscriber};

/// Leases of the dead last for 20 s, their jobs for 30, a breaker is open for 60.
const PATIENCE: Duration = Duration::from_mins(2);

/// What there was, and what was done more than once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) orders: usize,
    /// Calls for which an order was given out, and that were not written down.
    pub(super) asked_again: usize,
    /// Receipts that two processes asked about at the same time.
    pub(super) asked_by_two: usize,
    pub(super) events: usize,
    pub(super) deliveries: usize,
    /// Requests that were answered, and not written down.
    pub(super) sent_again: usize,
}

/// Waits until nothing is left to do; tells how long that took, or what is left.
pub(super) async fn wait_until_done(
    installation: &mut Installation,
    disk: Option<&SmallDisk>,
) -> Result<Duration, String> {
    let started = Instant::now();
    loop {
        if let Some(disk) = disk
            && let Some(db) = disk.look().await
        {
            installation.db = db;
        }
        let left = left(&installation.db).await;
        if left == Some(0) {
            return Ok(started.elapsed());
        }
        if started.elapsed() > PATIENCE {
            let state = state(&installation.db).await;
            return Err(format!("{left:?} are left after {PATIENCE:?}: {state}"));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// How much is left to do, if that can be seen.
async fn left(db: &Db) -> Option<i64> {
    let left = "SELECT (SELECT COUNT(*) FROM sync_logs WHERE status <> 'success')
         + (SELECT COUNT(*) FROM callback_outbox WHERE status = 'pending')
         + (SELECT COUNT(*) FROM stores WHERE lease_token IS NOT NULL)";
    on!(db, pool => sqlx::query_scalar(left).fetch_one(pool).await.ok())
}

/// How what is left stands, for whoever has to find out why.
async fn state(db: &Db) -> String {
    let rows: Vec<(String, i64)> = on!(db, pool => sqlx::query_as(
        "SELECT 'order ' || status || ' ' || COALESCE(error_details, ''), COUNT(*) FROM sync_logs
         WHERE status <> 'success' GROUP BY 1
         UNION ALL SELECT 'event ' || status || ' ' || COALESCE(last_error, ''), COUNT(*)
         FROM callback_outbox WHERE status <> 'success' GROUP BY 1
         UNION ALL SELECT 'leased store', COUNT(*) FROM stores WHERE lease_token IS NOT NULL
         UNION ALL SELECT 'store in the queue', COUNT(*) FROM stores WHERE enqueued_until IS NOT NULL")
        .fetch_all(pool).await.unwrap());
    format!("{rows:?}")
}

/// Checks all of it.
pub(super) async fn check(
    installation: &Installation,
    subscriber: &Subscriber,
    receipts: &HashSet<String>,
) -> Tally {
    let asked_again = orders(installation, receipts).await;
    assert_written(installation).await;
    let (events, deliveries, sent_again) = deliveries(installation, subscriber).await;
    Tally {
        orders: receipts.len(),
        asked_again,
        asked_by_two: installation.marketplace.receipts_of_two().len(),
        events,
        deliveries,
        sent_again,
    }
}

/// Every receipt that was acknowledged is imported, once, as the order that it is.
async fn orders(installation: &Installation, receipts: &HashSet<String>) -> usize {
    let rows: Vec<(String, String, Option<String>)> = on!(&installation.db, pool => {
        sqlx::query_as("SELECT receipt, status, order_id FROM sync_logs")
            .fetch_all(pool).await.unwrap()
    });
    let imported: HashSet<String> = rows.iter().map(|row| row.0.clone()).collect();
    assert_eq!(
        imported, *receipts,
        "what is there, and what was acknowledged"
    );
    assert_eq!(rows.len(), receipts.len(), "an order is there twice");
    for (receipt, status, order) in rows {
        assert_eq!(status, "success", "{receipt}");
        assert_eq!(order, Some(format!("order-of-{receipt}")));
    }
    let counts = "SELECT COUNT(*) FROM stores WHERE imported_success_count <> (
        SELECT COUNT(*) FROM sync_logs WHERE store_id = stores.id AND status = 'success')";
    assert_eq!(
        installation.count(counts).await,
        0,
        "stores whose count is off"
    );
    let sold = installation.marketplace.sold();
    assert!(
        sold >= receipts.len(),
        "an order that the marketplace never gave out"
    );
    sold - receipts.len()
}

/// Every delivery is a success by one attempt, and nothing is left over.
async fn assert_written(installation: &Installation) {
    for none in [
        "SELECT COUNT(*) FROM stores WHERE lease_token IS NOT NULL OR sync_status <> 'success'",
        "SELECT COUNT(*) FROM callback_outbox WHERE status <> 'success'",
        "SELECT COUNT(*) FROM callback_deliveries
         WHERE status <> 'success' OR lease_token IS NOT NULL OR delivered_at IS NULL",
        "SELECT COUNT(*) FROM callback_deliveries AS d WHERE 1 <> (
             SELECT COUNT(*) FROM callback_attempts AS a
             WHERE a.delivery_id = d.id AND a.http_status = 200)",
    ] {
        assert_eq!(installation.count(none).await, 0, "{none}");
    }
}

/// Every event came to everybody it is for, the same to the byte each time, and no other came.
async fn deliveries(installation: &Installation, subscriber: &Subscriber) -> (usize, usize, usize) {
    let events: Vec<(Uuid, String)> = on!(&installation.db, pool => {
        sqlx::query_as("SELECT id, event FROM callback_outbox").fetch_all(pool).await.unwrap()
    });
    let (mut deliveries, mut repeats) = (0, 0);
    for (path, name) in WEBHOOKS {
        let mut received: HashMap<Uuid, Received> = HashMap::new();
        let requests = subscriber.received(path);
        let times = requests.len();
        for request in requests {
            let id: Uuid = request.event_id().parse().unwrap();
            assert_eq!(request.json()["eventId"], id.to_string());
            let first = received.entry(id).or_insert_with(|| request.clone());
            assert_eq!(first.body, request.body, "{id} is not the same each time");
        }
        let of_name = events.iter().filter(|(_, event)| event == name);
        let expected: HashSet<Uuid> = of_name.map(|(id, _)| *id).collect();
        let came: HashSet<Uuid> = received.keys().copied().collect();
        assert_eq!(came, expected, "what came to {path}, and what should have");
        deliveries += expected.len();
        repeats += times - expected.len();
    }
    (events.len(), deliveries, repeats)
}
