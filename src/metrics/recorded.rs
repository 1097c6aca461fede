//! What happens, counted where it happens.

use std::fmt::{Debug, Write as _};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::labels::{
    CALLBACKS, DeliveryOutcome, HttpLabels, JobOutcome, KindLabels, MarketplaceLabels, ORDERS,
    OutcomeLabels, PassLabels, SCHEDULERS, SYNC_ROW_OUTCOMES, SchedulerLabels, known_method,
};
use super::names::{self, Name};
use super::process::ProcessFigures;
use super::readings::{Pace, Readings};
use super::stock::StockFigures;
use crate::http::admission::AdmissionFigures;
use crate::http::shell::Served;
use crate::marketplace::model::Marketplace;
use crate::places::Figures;

/// A histogram for each set of labels.
pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of one service; a process has one service, a process of tests has several.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    http_requests: Histograms<HttpLabels>,
    /// Requests at work, in line and sent away.
    pub admission: AdmissionFigures,
    marketplace_requests: Histograms<MarketplaceLabels>,
    sync_rows: Family<OutcomeLabels, Counter>,
    sync_jobs: Family<OutcomeLabels, Counter>,
    sync_job_duration: Histogram,
    lock_contention: Counter,
    backlog: Counter,
    pass_duration: Histograms<SchedulerLabels>,
    passes: Family<PassLabels, Counter>,
    enqueued: Family<SchedulerLabels, Counter>,
    deliveries: Family<OutcomeLabels, Counter>,
    callback_jobs: Family<OutcomeLabels, Counter>,
    callback_requests: Histograms<OutcomeLabels>,
    dead_letters: Family<KindLabels, Counter>,
    /// What happens with stock.
    pub stock: StockFigures,
    /// What is read when somebody asks.
    pub readings: Arc<Readings>,
}

impl Metrics {
    /// Of a service that has done nothing yet: what can be named beforehand is there and zero,
    /// because a rate needs a zero to rise from.
    pub fn new(pace: Pace) -> Self {
        let mut registry = Registry::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register(names::BUILD.0, names::BUILD.1, version);
        let readings = Arc::new(Readings::new(pace));
        registry.register_collector(Box::new(readings.clone()));
        registry.register_collector(Box::new(ProcessFigures::default()));
        let it = &mut registry;
        let metrics = Self {
            http_requests: histograms(it, names::HTTP_REQUEST_DURATION, names::http),
            admission: admission(it),
            marketplace_requests: histograms(
                it,
                names::MARKETPLACE_REQUEST_DURATION,
                names::outbound,
            ),
            sync_rows: counters(it, names::SYNC_ROWS_PROCESSED),
            sync_jobs: counters(it, names::SYNC_JOBS),
            sync_job_duration: registered(it, names::SYNC_JOB_DURATION, names::job()),
            lock_contention: counters(it, names::SYNC_LOCK_CONTENTION),
            backlog: counters(it, names::SYNC_BACKLOG),
            pass_duration: histograms(it, names::SCHEDULER_PASS_DURATION, names::pass),
            passes: counters(it, names::SCHEDULER_PASSES),
            enqueued: counters(it, names::SCHEDULER_ENQUEUED),
            deliveries: counters(it, names::CALLBACK_DELIVERIES),
            callback_jobs: counters(it, names::CALLBACK_JOBS),
            callback_requests: histograms(it, names::CALLBACK_REQUEST_DURATION, names::outbound),
            dead_letters: counters(it, names::DEAD_LETTERS),
            stock: StockFigures::new(it),
            readings,
            registry,
        };
        metrics.name_everything();
        metrics
    }

    fn name_everything(&self) {
        for outcome in SYNC_ROW_OUTCOMES {
            let _ = self.sync_rows.get_or_create(&OutcomeLabels { outcome });
        }
        for outcome in JobOutcome::ALL.map(JobOutcome::as_str) {
            let _ = self.sync_jobs.get_or_create(&OutcomeLabels { outcome });
        }
        for outcome in [JobOutcome::Completed, JobOutcome::Failed].map(JobOutcome::as_str) {
            let _ = self.callback_jobs.get_or_create(&OutcomeLabels { outcome });
        }
        for outcome in DeliveryOutcome::ALL.map(DeliveryOutcome::as_str) {
            let _ = self.deliveries.get_or_create(&OutcomeLabels { outcome });
        }
        for kind in [ORDERS, CALLBACKS] {
            let _ = self.dead_letters.get_or_create(&KindLabels { kind });
        }
        for scheduler in SCHEDULERS {
            let labels = SchedulerLabels { scheduler };
            let _ = self.pass_duration.get_or_create(&labels);
            let _ = self.enqueued.get_or_create(&labels);
            for outcome in ["success", "failure"] {
                let labels = PassLabels { scheduler, outcome };
                let _ = self.passes.get_or_create(&labels);
            }
        }
        for marketplace in Marketplace::ALL.map(Marketplace::as_str) {
            // Of the outcomes only the one that an alert asks for the rate of.
            let outcome = "auth_error";
            let labels = MarketplaceLabels {
                marketplace,
                outcome,
            };
            let _ = self.marketplace_requests.get_or_create(&labels);
        }
    }

    /// Everything, in the text format of Prometheus; what is read is as the last reading has it.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        if prometheus_text::encode(&mut text, &self.registry).is_err() {
            // Writing to a string does not fail, and nothing else does; then half is told.
            let _ = writeln!(text, "# cut short");
        }
        text
    }

    /// A request was answered.
    pub fn http_request(&self, served: &Served<'_>) {
        let labels = HttpLabels {
            route: served.route.unwrap_or("unmatched").to_owned(),
            method: known_method(served.method),
            status: served.status,
        };
        let requests = self.http_requests.get_or_create(&labels);
        requests.observe(served.duration.as_secs_f64());
    }

    /// A marketplace was asked.
    pub fn marketplace_request(
        &self,
        marketplace: Marketplace,
        outcome: &'static str,
        duration: Duration,
    ) {
        let marketplace = marketplace.as_str();
        let labels = MarketplaceLabels {
            marketplace,
            outcome,
        };
        let requests = self.marketplace_requests.get_or_create(&labels);
        requests.observe(duration.as_secs_f64());
    }

    /// A run wrote down what its rows came to.
    pub fn sync_rows(&self, success: usize, failed: usize, rate_limited: usize) {
        for (outcome, rows) in SYNC_ROW_OUTCOMES
            .into_iter()
            .zip([success, failed, rate_limited])
        {
            if rows > 0 {
                let rows = u64::try_from(rows).unwrap_or(u64::MAX);
                self.sync_rows
                    .get_or_create(&OutcomeLabels { outcome })
                    .inc_by(rows);
            }
        }
    }

    /// The job of a store begins; what is returned counts it when it is dropped.
    pub fn sync_job(&self) -> JobTimer<'_> {
        JobTimer {
            jobs: &self.sync_jobs,
            duration: Some(&self.sync_job_duration),
            started: std::time::Instant::now(),
            outcome: JobOutcome::Failed,
        }
    }

    /// The same for the job of an event.
    pub fn callback_job(&self) -> JobTimer<'_> {
        JobTimer {
            jobs: &self.callback_jobs,
            duration: None,
            ..self.sync_job()
        }
    }

    /// The store of a job was being synced already.
    pub fn lock_contention(&self) {
        self.lock_contention.inc();
    }

    /// A run left rows behind.
    pub fn backlog(&self) {
        self.backlog.inc();
    }

    /// A pass of a scheduler went through.
    pub fn pass(&self, scheduler: &'static str, duration: Duration, enqueued: u64) {
        let labels = SchedulerLabels { scheduler };
        let durations = self.pass_duration.get_or_create(&labels);
        durations.observe(duration.as_secs_f64());
        self.enqueued.get_or_create(&labels).inc_by(enqueued);
        let outcome = "success";
        self.passes
            .get_or_create(&PassLabels { scheduler, outcome })
            .inc();
    }

    /// A pass of a scheduler broke off.
    pub fn pass_failed(&self, scheduler: &'static str) {
        let outcome = "failure";
        self.passes
            .get_or_create(&PassLabels { scheduler, outcome })
            .inc();
    }

    /// A webhook was asked to take an event; `result` is one of few words.
    pub fn callback_request(&self, result: &'static str, duration: Duration) {
        let requests = self
            .callback_requests
            .get_or_create(&OutcomeLabels { outcome: result });
        requests.observe(duration.as_secs_f64());
    }

    /// What came of it was written down.
    pub fn delivery(&self, outcome: DeliveryOutcome) {
        let labels = OutcomeLabels {
            outcome: outcome.as_str(),
        };
        self.deliveries.get_or_create(&labels).inc();
        if outcome == DeliveryOutcome::DeadLetter {
            self.dead_letters
                .get_or_create(&KindLabels { kind: CALLBACKS })
                .inc();
        }
    }

    /// A delivery was given up without another try.
    pub fn delivery_given_up(&self) {
        self.dead_letters
            .get_or_create(&KindLabels { kind: CALLBACKS })
            .inc();
    }

    /// Orders failed for the last time.
    pub fn orders_given_up(&self, orders: usize) {
        let orders = u64::try_from(orders).unwrap_or(u64::MAX);
        self.dead_letters
            .get_or_create(&KindLabels { kind: ORDERS })
            .inc_by(orders);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Pace::default())
    }
}

/// Counts a job when it is dropped. One that says nothing has failed: a panic does not.
#[derive(Debug)]
pub struct JobTimer<'a> {
    jobs: &'a Family<OutcomeLabels, Counter>,
    duration: Option<&'a Histogram>,
    started: std::time::Instant,
    outcome: JobOutcome,
}

impl JobTimer<'_> {
    /// What the job came to.
    pub fn ended(mut self, outcome: JobOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for JobTimer<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.as_str();
        self.jobs.get_or_create(&OutcomeLabels { outcome }).inc();
        if let Some(duration) = self.duration {
            duration.observe(self.started.elapsed().as_secs_f64());
        }
    }
}

fn registered<M: Metric + Clone>(registry: &mut Registry, name: Name, metric: M) -> M {
    registry.register(name.0, name.1, metric.clone());
    metric
}

fn admission(registry: &mut Registry) -> AdmissionFigures {
    AdmissionFigures {
        places: Figures {
            taken: registered(registry, names::HTTP_REQUESTS_AT_WORK, Gauge::default()),
            waiting: registered(registry, names::HTTP_REQUESTS_WAITING, Gauge::default()),
        },
        refused: counters(registry, names::HTTP_REQUESTS_REFUSED),
    }
}

pub(super) fn counters<M: Metric + Clone + Default>(registry: &mut Registry, name: Name) -> M {
    registered(registry, name, M::default())
}

pub(super) fn histograms<L>(
    registry: &mut Registry,
    name: Name,
    make: fn() -> Histogram,
) -> Histograms<L>
where
    L: EncodeLabelSet + Clone + Hash + Eq + Debug + Send + Sync + 'static,
{
    registered(registry, name, Family::new_with_constructor(make))
}
