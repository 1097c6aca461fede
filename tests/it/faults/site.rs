//! Processes at work, and hands to break what they stand on.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use marketplace_sync::db::Db;
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::form::Form;
use super::proof::{self, Tally};
use super::pulse::Pulse;
use super::shoppers::{SHOPS, Shoppers};
use crate::processes::Installation;
use crate::support::app::Profile;
use crate::support::faulty_line::FaultyLine;
use crate::support::postgres::PostgresServer;
use crate::support::process::{Environment, Process, environment};
use crate::support::queues::RedisServer;
use crate::support::small_disk::SmallDisk;
use crate::support::subscriber::Subscriber;

/// Who is subscribed, to what. The line to `/far` can be broken, the others are direct.
pub(super) const WEBHOOKS: [(&str, &str); 3] = [
    ("/started", "sync.started"),
    ("/near", "sync.completed"),
    ("/far", "sync.completed"),
];
/// Until everybody is at work.
const WARM_UP: Duration = Duration::from_secs(3);
/// Work has begun by then, or never does.
const BEGINS_WITHIN: Duration = Duration::from_mins(1);

/// Three processes of the server profile, or two of the embedded one on the same file.
pub(super) struct Site {
    form: Form,
    pub(super) on: Profile,
    installation: Installation,
    lines: Option<ServerLines>,
    pub(super) marketplace: FaultyLine,
    pub(super) receiver: FaultyLine,
    pub(super) redis: Option<RedisServer>,
    pub(super) postgres: Option<PostgresServer>,
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) fleet: Vec<Process>,
    pub(super) disk: Option<SmallDisk>,
    shoppers: Shoppers,
    pulse: Pulse,
}

/// What processes of the server profile are connected by.
struct ServerLines {
    /// Of all but the last process.
    database: FaultyLine,
    /// Of the last process.
    last_database: FaultyLine,
    queue: FaultyLine,
}

impl ServerLines {
    async fn to(database_url: &str, redis_url: &str) -> Self {
        Self {
            database: FaultyLine::to_url(database_url).await,
            last_database: FaultyLine::to_url(database_url).await,
            queue: FaultyLine::to_url(redis_url).await,
        }
    }
}

/// What a site stands on, beside what all stand on.
#[derive(Default)]
struct Ground {
    postgres: Option<PostgresServer>,
    disk: Option<SmallDisk>,
}

fn settings() -> [(&'static str, &'static str); 7] {
    [
        ("MARKETPLACE_TIMEOUT_MS", "2000"),
        ("CALLBACK_CRON", "* * * * * *"),
        ("CALLBACK_TIMEOUT_MS", "2000"),
        ("CALLBACK_BACKOFF_SECONDS", "1"),
        // Nothing is given up for a fault.
        ("CALLBACK_MAX_ATTEMPTS", "1000"),
        ("SYNC_FAILED_MAX_ATTEMPTS", "1000"),
        ("SYNC_CONCURRENCY", "4"),
    ]
}

/// Role and name of each process; the last one is the one that things happen to.
fn roles(on: Profile) -> &'static [(&'static str, &'static str)] {
    match on {
        Profile::Embedded => &[
            ("api,worker,scheduler", "one"),
            ("api,worker,scheduler", "two"),
        ],
        Profile::Server => &[
            ("api,scheduler", "front"),
            ("worker", "worker-1"),
            ("worker", "worker-2"),
        ],
    }
}

impl Site {
    pub(super) async fn open(on: Profile) -> Self {
        Self::open_on(on, Ground::default()).await
    }

    /// On a PostgreSQL of its own.
    pub(super) async fn open_on_own_postgres() -> Self {
        Self::open_on_postgres(PostgresServer::start()).await
    }

    /// On this PostgreSQL.
    pub(super) async fn open_on_postgres(server: PostgresServer) -> Self {
        let (postgres, disk) = (Some(server), None);
        Self::open_on(Profile::Server, Ground { postgres, disk }).await
    }

    /// With its file on a disk of its own.
    pub(super) async fn open_on_disk(disk: SmallDisk) -> Self {
        let (postgres, disk) = (None, Some(disk));
        Self::open_on(Profile::Embedded, Ground { postgres, disk }).await
    }

    async fn open_on(on: Profile, ground: Ground) -> Self {
        let Ground { postgres, disk } = ground;
        let redis = (on == Profile::Server).then(RedisServer::start);
        let redis_url = redis.as_ref().map(RedisServer::url);
        let mut installation = Installation::on_redis(on, redis_url.clone(), &settings()).await;
        if let Some(server) = &postgres {
            installation.db = Db::connect(&server.url(), 2).await.unwrap();
            installation.db.migrate().await.unwrap();
        }
        let mut overrides = Vec::new();
        overrides.extend(
            disk.as_ref()
                .map(|disk| ("DATABASE_URL".to_owned(), disk.url())),
        );
        let marketplace_url = installation.marketplace.url();
        let marketplace = FaultyLine::to_url(&marketplace_url).await;
        let by_line = marketplace.url(&marketplace_url);
        overrides.push(("MOCK_API_BASE_URL".to_owned(), by_line));
        let mut lines = None;
        if let Some(redis_url) = redis_url {
            let url = match &postgres {
                Some(server) => server.url(),
                None => installation.database_url().to_owned(),
            };
            let own = ServerLines::to(&url, &redis_url).await;
            overrides.push(("DATABASE_URL".to_owned(), own.database.url(&url)));
            overrides.push(("REDIS_URL".to_owned(), own.queue.url(&redis_url)));
            lines = Some(own);
        }
        installation.environment.extend(overrides);
        installation.marketplace.fail_first();
        installation.marketplace.delay(Duration::from_millis(20));

        let subscriber = Arc::new(Subscriber::start().await);
        let receiver = FaultyLine::to_url(&subscriber.url("/")).await;
        let form = Form::asked_for();
        let pulse = Pulse::of(form, installation.marketplace.clone(), subscriber.clone());
        let fleet = start_all_but_last(on, &installation.environment, disk.as_ref()).await;
        let base = format!("http://{}", fleet[0].address("public").await);
        subscribe(&installation, &base, &subscriber, &receiver).await;
        let shoppers = Shoppers::start(installation.http(), &base).await;
        let mut site = Self {
            form,
            on,
            installation,
            lines,
            marketplace,
            receiver,
            redis,
            postgres,
            subscriber,
            fleet,
            disk,
            shoppers,
            pulse,
        };
        site.start_last(&[]).await;
        site
    }

    /// The line of all processes but the last to PostgreSQL.
    pub(super) fn database(&self) -> &FaultyLine {
        &self.lines.as_ref().unwrap().database
    }

    /// The line of the last process to PostgreSQL.
    pub(super) fn last_database(&self) -> &FaultyLine {
        &self.lines.as_ref().unwrap().last_database
    }

    /// The line of all processes to Redis.
    pub(super) fn queue(&self) -> &FaultyLine {
        &self.lines.as_ref().unwrap().queue
    }

    /// The process that things happen to.
    pub(super) fn last(&self) -> &Process {
        self.fleet.last().unwrap()
    }

    /// `kill -9` of the last process.
    pub(super) async fn kill_last(&mut self) {
        let exit = self.fleet.pop().unwrap().kill().await;
        assert_eq!(exit.code, None, "a signal ended it");
    }

    /// Starts the last process (again), with further settings.
    pub(super) async fn start_last(&mut self, settings: &[(&str, &str)]) {
        let mut all = self.installation.environment.clone();
        if let Some(lines) = &self.lines {
            let (_, url) = all
                .iter()
                .rfind(|(name, _)| name == "DATABASE_URL")
                .unwrap();
            all.push(("DATABASE_URL".to_owned(), lines.last_database.url(url)));
        }
        all.extend(environment(settings));
        let role = *roles(self.on).last().unwrap();
        let process = start(&all, role, self.disk.as_ref()).await;
        self.fleet.push(process);
    }

    /// Goes through a fault, as often as is asked for, and has the pace back each time.
    pub(super) async fn endure(&mut self, name: &str, mut fault: impl AsyncFnMut(&mut Self)) {
        sleep(WARM_UP).await;
        let started = Instant::now();
        let mut before = self.pulse.take().await;
        // A machine that does other things takes its time to begin.
        while before.orders < SHOPS && started.elapsed() < BEGINS_WITHIN {
            before = self.pulse.take().await;
        }
        let window = self.form.window;
        println!("{:?}, {name}: {before:?} in {window:?}", self.on);
        assert!(
            before.orders >= SHOPS,
            "hardly anything is done: {before:?}"
        );
        for round in 1..=self.form.rounds {
            fault(self).await;
            let ended = Instant::now();
            let back = self.pulse.is_back(before, ended).await;
            let (back, percent) =
                back.unwrap_or_else(|why| panic!("{name}: {why}\n{}", self.complaints()));
            println!(
                "{:?}, {name}, {round}: {percent} % back after {back:?}",
                self.on
            );
        }
    }

    /// The last things that the processes complained of.
    fn complaints(&self) -> String {
        let mut complaints = String::new();
        for (process, (_, name)) in self.fleet.iter().zip(roles(self.on)) {
            let written = process.written();
            let is_complaint =
                |line: &&str| line.contains("\"ERROR\"") || line.contains("\"WARN\"");
            let lines: Vec<&str> = written
                .lines()
                .rev()
                .filter(is_complaint)
                .take(15)
                .collect();
            for line in lines.iter().rev() {
                writeln!(complaints, "{name}: {line}").unwrap();
            }
        }
        complaints
    }

    /// Lets everything come to its end and checks it; tells what was done twice.
    pub(super) async fn close(mut self, name: &str) -> Tally {
        let shoppers = std::mem::take(&mut self.shoppers);
        let receipts = shoppers.go_home().await;
        let receipts = receipts.unwrap_or_else(|| panic!("{name}: {}", self.complaints()));
        let waited = proof::wait_until_done(&mut self.installation, self.disk.as_ref()).await;
        let waited = waited.unwrap_or_else(|why| panic!("{name}: {why}\n{}", self.complaints()));
        for process in &self.fleet {
            process.signal("TERM");
        }
        for process in self.fleet {
            let exit = process.exit().await;
            assert_eq!(exit.code, Some(0), "{:#?}", exit.stderr);
        }
        if let Some(disk) = &self.disk {
            self.installation.db = disk.look().await.unwrap();
        }
        let tally = proof::check(&self.installation, &self.subscriber, &receipts).await;
        let Tally { orders, events, .. } = tally;
        println!(
            "{:?}, {name}: {orders} orders and {events} events, all done after {waited:?}",
            self.on
        );
        println!("{:?}, {name}: {tally:?}", self.on);
        assert!(tally.deliveries > tally.events, "somebody heard of them");
        tally
    }
}

async fn start_all_but_last(
    on: Profile,
    settings: &Environment,
    disk: Option<&SmallDisk>,
) -> Vec<Process> {
    let (_, others) = roles(on).split_last().unwrap();
    let mut fleet = Vec::new();
    for role in others {
        fleet.push(start(settings, *role, disk).await);
    }
    fleet
}

/// Starts a process and waits until it is ready.
async fn start(
    settings: &Environment,
    (roles, name): (&str, &str),
    disk: Option<&SmallDisk>,
) -> Process {
    let mut settings = settings.clone();
    settings.push(("MOCK_ETSY_USER".to_owned(), name.to_owned()));
    let way_in = disk.map(SmallDisk::way_in).unwrap_or_default();
    let way_in: Vec<&str> = way_in.iter().map(String::as_str).collect();
    let process = Process::start_under(&way_in, &["serve", "--roles", roles], &settings);
    process.wait_for_event("started").await;
    process
}

async fn subscribe(
    installation: &Installation,
    base: &str,
    subscriber: &Subscriber,
    receiver: &FaultyLine,
) {
    for (path, event) in WEBHOOKS {
        let direct = subscriber.url(path);
        let url = match path {
            "/far" => receiver.url(&direct),
            _ => direct,
        };
        let body = json!({ "organizationId": "org-1", "event": event, "targetUrl": url });
        let request = installation
            .http()
            .post(format!("{base}/webhooks/register"));
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}
