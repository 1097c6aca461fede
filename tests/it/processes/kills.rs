//! `kill -9` at each step of a delivery, again and again: every event arrives, and what arrives
//! twice was on its way when the process died.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{SubsecRound, TimeDelta};
use jobs::{Queue, StoreId, SyncStore};
use marketplace_sync::clock::Clock;
use marketplace_sync::ids::Ids;
use reqwest::StatusCode;
use serde_json::json;
use sqlx::FromRow;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::on;
use crate::support::dice::Dice;
use crate::support::lock::Lock;
use crate::support::process::Process;
use crate::support::runs::until;
use crate::support::subscriber::{Received, Subscriber};

/// Of each profile, unless `KILLS` says otherwise.
const KILLS: u64 = 50;
/// Due rows of a store.
const ROWS: u32 = 2;
/// Who is subscribed, to what.
const WEBHOOKS: [(&str, &str); 3] = [
    ("/a", "sync.started"),
    ("/b", "sync.completed"),
    ("/c", "sync.completed"),
];
/// Leases of the dead last for 13 s, their jobs for 30.
const PATIENCE: Duration = Duration::from_secs(75);
/// Deliveries of fresh events that nobody has begun.
const UNCLAIMED: &str = "SELECT COUNT(*) FROM callback_outbox AS o
     JOIN callback_deliveries AS d ON d.outbox_id = o.id
     WHERE d.status = 'pending' AND d.lease_token IS NULL AND o.created_at >= (
         SELECT MAX(created_at) FROM stores WHERE external_store_id LIKE 'shop%')";

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The event is committed; no delivery is claimed.
    Committed,
    /// A delivery is claimed; nobody got the request.
    Claimed,
    /// The request came and is not answered.
    Sent,
    /// The answer was given just now.
    Answered,
    /// The answer was given; it cannot be written down yet.
    Unwritten,
    /// It was told to stop, with a request in flight.
    Stopping,
}

impl Step {
    const ALL: [Self; 6] = [
        Self::Committed,
        Self::Claimed,
        Self::Sent,
        Self::Answered,
        Self::Unwritten,
        Self::Stopping,
    ];
}

/// A-69, D-35, with the real binary. `KILLS=500 SEED=7` kills it more often, in the same places
/// as the last time.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_survives_kills_at_every_step() {
    let kills = setting("KILLS").unwrap_or(KILLS);
    let seed = setting("SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 32);
    println!("KILLS={kills} SEED={seed}");
    // The end of each is waiting for leases, so both profiles wait at the same time.
    tokio::join!(kill(Embedded, kills, seed), kill(Server, kills, seed));
}

fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the test's own setting")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

async fn kill(on: Profile, kills: u64, seed: u64) {
    let started = Instant::now();
    let mut scene = Scene::new(on).await;
    let mut dice = Dice(seed);
    let mut deck = Vec::new();
    for number in 1..=kills {
        if deck.is_empty() {
            deck = Step::ALL.to_vec();
            dice.shuffle(&mut deck);
        }
        let step = deck.pop().unwrap();
        let path = WEBHOOKS[dice.below(WEBHOOKS.len())].0;
        let in_flight = scene.die_at(step, path).await;
        println!("{on:?} {number}: {step:?} at {path}, {in_flight} in flight");
    }
    let killing = started.elapsed();
    let (events, repeats) = scene.finish().await;
    println!(
        "{on:?}: {kills} kills in {killing:?}, all done after {:?}; {events} events, {repeats} \
         requests repeated of {} that might have been",
        started.elapsed(),
        scene.in_flight.values().sum::<usize>()
    );
}

/// A request: where, and the event.
type Delivery = (&'static str, Uuid);

/// A process that dies and lives again, and those who are to hear from it.
struct Scene {
    installation: Installation,
    subscriber: Subscriber,
    queue: Queue,
    ids: Ids,
    clock: Clock,
    stores: u32,
    process: Option<Process>,
    /// Requests that came before the process was started.
    before: HashMap<&'static str, usize>,
    /// At how many kills a request was on its way.
    in_flight: HashMap<Delivery, usize>,
}

impl Scene {
    async fn new(on: Profile) -> Self {
        let settings = [
            ("CALLBACK_CRON", "* * * * * *"),
            ("CALLBACK_TIMEOUT_MS", "3000"),
            ("CALLBACK_BACKOFF_SECONDS", "1"),
        ];
        let installation = Installation::new(on, &settings).await;
        let subscriber = Subscriber::start().await;
        let queue = installation.queue().await;
        let process = installation.start_all().await;
        let base = format!("http://{}", process.address("public").await);
        for (path, event) in WEBHOOKS {
            let url = subscriber.url(path);
            let body = json!({ "organizationId": "org-1", "event": event, "targetUrl": url });
            let request = installation
                .http()
                .post(format!("{base}/webhooks/register"));
            let answer = request.json(&body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
        Self {
            installation,
            subscriber,
            queue,
            ids: Ids::system(),
            clock: Clock::system(),
            stores: 0,
            process: Some(process),
            before: HashMap::new(),
            in_flight: HashMap::new(),
        }
    }

    /// A new store with rows that are due: its run makes two events.
    async fn make_due(&mut self) {
        self.stores += 1;
        let now = self.clock.now().trunc_subsecs(3);
        let store_id = StoreId(self.ids.new_id(now));
        let name = format!("shop{}", self.stores);
        on!(&self.installation.db, pool => {
            sqlx::query(
                "INSERT INTO stores (id, organization_id, marketplace, external_store_id,
                     store_name, access_token, currency, sync_token, created_at, updated_at)
                 VALUES ($1, 'org-1', 'etsy', $2, 'Shop', 'secret', 'USD', $3, $4, $4)")
                .bind(store_id).bind(&name).bind(self.ids.new_id(now)).bind(now)
                .execute(pool).await.map(|_| ()).unwrap();
            for row in 1..=ROWS {
                sqlx::query(
                    "INSERT INTO sync_logs (id, store_id, receipt, status, created_at, updated_at)
                     VALUES ($1, $2, $3, 'pending', $4, $4)")
                    .bind(self.ids.new_id(now)).bind(store_id).bind(format!("{name}-{row}"))
                    .bind(now - TimeDelta::minutes(1))
                    .execute(pool).await.map(|_| ()).unwrap();
            }
        });
        self.queue.push(&[SyncStore { store_id }]).await.unwrap();
    }

    /// Kills the process at a step of a delivery and starts the next one; tells how many requests
    /// were on their way.
    async fn die_at(&mut self, step: Step, path: &'static str) -> usize {
        let lock = match step {
            Step::Committed => Some(self.stop_before_claim().await),
            Step::Claimed => {
                self.subscriber.deafen(true);
                self.make_due().await;
                self.subscriber.has_missed_one().await;
                None
            }
            Step::Sent => {
                self.stop_in_flight(path).await;
                None
            }
            Step::Answered => {
                self.stop_in_flight(path).await;
                self.answer(path).await;
                None
            }
            Step::Unwritten => Some(self.stop_before_writing(path).await),
            Step::Stopping => {
                self.stop_in_flight(path).await;
                let process = self.process.as_ref().unwrap();
                process.signal("TERM");
                process.wait_for_event("stopping").await;
                None
            }
        };
        let exit = self.process.take().unwrap().kill().await;
        assert_eq!(exit.code, None, "a signal ended it");
        let in_flight = self.note_in_flight(step, path).await;
        if let Some(lock) = lock {
            lock.release().await;
        }
        self.subscriber.deafen(false);
        self.subscriber.release(path);
        for (path, _) in WEBHOOKS {
            self.before.insert(path, self.subscriber.count(path));
        }
        self.process = Some(self.installation.start_all().await);
        in_flight
    }

    /// A request to a path came, and waits for its answer.
    async fn stop_in_flight(&mut self, path: &str) {
        self.subscriber.hold(path);
        self.make_due().await;
        self.subscriber.is_busy(path, true).await;
    }

    async fn answer(&self, path: &str) {
        self.subscriber.release(path);
        self.subscriber.is_busy(path, false).await;
    }

    /// An event is committed, and nobody can claim a delivery of it.
    async fn stop_before_claim(&mut self) -> Lock {
        if self.installation.on == Server {
            // A claim reads the secrets before it commits.
            let lock = self.lock("webhook_secrets").await;
            self.make_due().await;
            until(async || self.installation.count(UNCLAIMED).await > 0).await;
            return lock;
        }
        // SQLite has one lock for everything. It is free between any two transactions of the
        // process: the right gap is hit sooner or later.
        loop {
            self.make_due().await;
            let patience = Instant::now() + Duration::from_secs(1);
            while Instant::now() < patience {
                if self.installation.count(UNCLAIMED).await > 0 {
                    let mut lock = self.lock("").await;
                    if lock.count(UNCLAIMED).await > 0 {
                        return lock;
                    }
                    lock.release().await;
                }
            }
        }
    }

    /// The answer was given, and nobody can write an attempt.
    async fn stop_before_writing(&mut self, path: &str) -> Lock {
        self.stop_in_flight(path).await;
        let lock = self.lock("callback_attempts").await;
        self.answer(path).await;
        if self.installation.on == Server {
            let waiting = "SELECT COUNT(*) FROM pg_locks
                 WHERE NOT granted AND relation = 'callback_attempts'::regclass AND database = (
                     SELECT oid FROM pg_database WHERE datname = current_database())";
            until(async || self.installation.count(waiting).await > 0).await;
        }
        lock
    }

    async fn lock(&self, table: &str) -> Lock {
        Lock::take(&self.installation.database, &self.installation.db, table).await
    }

    /// What the dead process had sent and not written down, and whether it died where it should.
    async fn note_in_flight(&mut self, step: Step, path: &'static str) -> usize {
        let owed = self.owed().await;
        let mut in_flight: HashSet<Delivery> = HashSet::new();
        for (path, _) in WEBHOOKS {
            let before = self.before.get(path).copied().unwrap_or_default();
            let received = self.subscriber.received(path).into_iter().skip(before);
            let sent = received.map(|it| (path, it.event_id().parse().unwrap()));
            in_flight.extend(sent.filter(|it| owed.contains_key(it)));
        }
        let is_untouched =
            |(it, lease): (&Delivery, &Option<Uuid>)| lease.is_none() && !in_flight.contains(it);
        match step {
            Step::Committed => assert!(owed.iter().any(is_untouched), "an event is committed"),
            Step::Claimed => assert!(owed.values().any(Option::is_some), "one is claimed"),
            // Its outcome may or may not be written.
            Step::Answered => {}
            Step::Sent | Step::Unwritten | Step::Stopping => {
                assert!(in_flight.iter().any(|it| it.0 == path), "one is on its way");
            }
        }
        for delivery in &in_flight {
            *self.in_flight.entry(*delivery).or_default() += 1;
        }
        in_flight.len()
    }

    /// Deliveries that are not done, and the tokens of their leases.
    async fn owed(&self) -> HashMap<Delivery, Option<Uuid>> {
        let rows: Vec<(Uuid, String, Option<Uuid>)> = on!(&self.installation.db, pool => {
            sqlx::query_as(
                "SELECT d.outbox_id, e.target_url, d.lease_token
                 FROM callback_deliveries AS d JOIN webhook_endpoints AS e ON e.id = d.endpoint_id
                 WHERE d.status <> 'success'").fetch_all(pool).await.unwrap()
        });
        rows.into_iter()
            .map(|(id, url, lease)| {
                let is_there = |it: &&(&'static str, &str)| url.ends_with(it.0);
                ((WEBHOOKS.iter().find(is_there).unwrap().0, id), lease)
            })
            .collect()
    }

    /// Waits until nothing is left to do, and holds what came against what happened; tells how
    /// many events there were and how many requests were repeated.
    async fn finish(&mut self) -> (usize, usize) {
        self.wait_until_done().await;
        let process = self.process.take().unwrap();
        process.signal("TERM");
        assert_eq!(process.exit().await.code, Some(0));
        self.installation.assert_all_synced(self.stores, ROWS).await;

        let events = self.events().await;
        let mut repeats = 0;
        let mut deliveries = 0;
        for (path, name) in WEBHOOKS {
            let mut received: HashMap<Uuid, Vec<Received>> = HashMap::new();
            for request in self.subscriber.received(path) {
                let id = request.event_id().parse().unwrap();
                received.entry(id).or_default().push(request);
            }
            let of_name = events.iter().filter(|event| event.event == name);
            let expected: HashSet<Uuid> = of_name.map(|event| event.id).collect();
            let came: HashSet<Uuid> = received.keys().copied().collect();
            assert_eq!(came, expected, "what came to {path}, and what should have");
            deliveries += expected.len();
            for (id, requests) in received {
                let allowed = self.in_flight.get(&(path, id)).copied().unwrap_or_default();
                let times = requests.len() - 1;
                assert!(
                    times <= allowed,
                    "{id} came to {path} {times} times too often, {allowed} times it was on its way at a kill"
                );
                repeats += times;
                assert_same(id, &requests);
            }
        }
        self.assert_written(i64::try_from(deliveries).unwrap())
            .await;
        (events.len(), repeats)
    }

    async fn wait_until_done(&self) {
        let left = "SELECT (SELECT COUNT(*) FROM sync_logs WHERE status <> 'success')
             + (SELECT COUNT(*) FROM callback_outbox WHERE status = 'pending')";
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.installation.count(left).await;
            if left == 0 {
                return;
            }
            let owed = self.owed().await;
            assert!(Instant::now() < deadline, "{left} are left, owed: {owed:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn events(&self) -> Vec<Event> {
        on!(&self.installation.db, pool => {
            sqlx::query_as("SELECT id, event FROM callback_outbox")
                .fetch_all(pool).await.unwrap()
        })
    }

    /// Every delivery is a success by one attempt, and nothing is left over.
    async fn assert_written(&self, deliveries: i64) {
        let count = async |sql| self.installation.count(sql).await;
        assert_eq!(
            count("SELECT COUNT(*) FROM callback_outbox WHERE status <> 'success'").await,
            0
        );
        for sql in [
            "SELECT COUNT(*) FROM callback_deliveries",
            "SELECT COUNT(*) FROM callback_deliveries
             WHERE status = 'success' AND lease_token IS NULL AND delivered_at IS NOT NULL",
            "SELECT COUNT(*) FROM callback_attempts WHERE http_status = 200",
            "SELECT COUNT(DISTINCT delivery_id) FROM callback_attempts WHERE http_status = 200",
        ] {
            assert_eq!(count(sql).await, deliveries, "{sql}");
        }
    }
}

#[derive(FromRow)]
struct Event {
    id: Uuid,
    event: String,
}

/// Each time it came it was the same, to the byte.
fn assert_same(id: Uuid, requests: &[Received]) {
    for request in requests {
        assert_eq!(request.body, requests[0].body);
        assert_eq!(request.json()["eventId"], id.to_string());
        assert_eq!(request.header("x-event-id"), id.to_string());
    }
}
