//! The worker: an apalis monitor that restarts it, the service that runs a job, and the end.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use apalis::{
    layers::limit::GlobalConcurrencyLimitLayer,
    prelude::{AbortError, Attempt, BoxDynError, Monitor, ParallelizeLayer, TaskId, WorkerBuilder},
};
use futures::FutureExt;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::{
    QueueError,
    feed::Feed,
    running::{Guard, Running},
    transport::{Taken, Transport, fresh_id},
};
use crate::Job;

/// Restart delays double from the first to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);
/// A worker that held out so long had recovered: its next failure is a first one.
const RECOVERED: Duration = Duration::from_secs(20);
/// How long the last words to the transport may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// One call of `run_worker`: all starts of one worker.
#[derive(Clone)]
pub(crate) struct Work {
    pub(super) transport: Arc<Transport>,
    pub(super) queue: &'static str,
    pub(super) poll: Duration,
    concurrency: usize,
    pub(super) pushed: watch::Receiver<()>,
    pub(super) shutdown: CancellationToken,
    pub(super) running: Running,
    /// Bounds the jobs of all starts together: those of a failed start run on.
    pub(super) places: Arc<Semaphore>,
    starts: Arc<Mutex<Starts>>,
    failures: Arc<AtomicU32>,
}

#[derive(Default)]
struct Starts {
    /// Names whose jobs were not handed back yet.
    names: Vec<String>,
    last: Option<Instant>,
}

impl Work {
    pub(crate) fn new(
        transport: Arc<Transport>,
        queue: &'static str,
        poll: Duration,
        concurrency: usize,
        pushed: watch::Receiver<()>,
        shutdown: CancellationToken,
    ) -> Self {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS.min(100_000));
        Self {
            transport,
            queue,
            poll,
            concurrency,
            pushed,
            shutdown,
            running: Running::new(),
            places: Arc::new(Semaphore::new(concurrency)),
            starts: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// How many jobs have ended, now and whenever it changes.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.running.finished()
    }

    /// Tells whether no job runs.
    pub(crate) fn idle(&self) -> impl Fn() -> bool + use<> {
        let running = self.running.clone();
        move || running.is_empty()
    }

    /// Runs jobs until shutdown; returns how many ended.
    pub(crate) async fn run<J, H, F>(self, handler: H) -> u64
    where
        J: Job,
        H: Fn(J) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (work, failed) = (self.clone(), self.clone());
        let outcome = Monitor::new()
            .should_restart(move |_, error| failed.restarts(error))
            .register(move |_| {
                let feed = work.feed();
                let (handler, running) = (handler.clone(), work.running.clone());
                WorkerBuilder::new(feed.name.clone())
                    .backend(feed)
                    .layer(ParallelizeLayer::new(tokio::spawn))
                    .layer(GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(
                        &work.places,
                    )))
                    .build(move |body: Vec<u8>, id: TaskId, attempt: Attempt| {
                        let guard = running.guard(id.to_string());
                        let span = job_span::<J>(&id, &attempt);
                        run_job::<J, H, F>(handler.clone(), body, guard).instrument(span)
                    })
            })
            .run()
            .await;
        if let Err(error) = outcome {
            tracing::warn!(queue = self.queue, %error, "the worker of {} ended early", self.queue);
        }
        self.farewell().await;
        *self.running.finished().borrow()
    }

    /// The backend of the next start, under a name of its own: a name is taken until its last
    /// heartbeat is old.
    fn feed(&self) -> Feed {
        let name = format!("{}-{}", self.queue, fresh_id());
        let former = {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            let former = starts.names.clone();
            starts.names.push(name.clone());
            starts.last = Some(Instant::now());
            former
        };
        let starting = self
            .clone()
            .start(name.clone(), former, self.backoff())
            .boxed();
        Feed::new(name, starting, self)
    }

    async fn start(
        self,
        name: String,
        former: Vec<String>,
        backoff: Duration,
    ) -> Result<(), QueueError> {
        sleep(backoff).await;
        self.transport.prepare(self.queue, &name).await?;
        for former in former {
            // What the former start still runs stays its own until it counts as dead.
            let runs = self.running.ids();
            let taken = Taken::AllExcept(&runs);
            self.transport.hand_back(self.queue, &former, taken).await?;
            if runs.is_empty() {
                self.transport.forget_worker(self.queue, &former).await?;
                let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
                starts.names.retain(|name| *name != former);
            }
        }
        Ok(())
    }

    fn backoff(&self) -> Duration {
        match self.failures.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            failures => {
                (FIRST_BACKOFF * 2_u32.saturating_pow(failures.min(10) - 1)).min(LAST_BACKOFF)
            }
        }
    }

    /// Whether a worker that failed starts again: until shutdown, always.
    fn restarts(&self, error: &dyn std::fmt::Display) -> bool {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.last.is_some_and(|start| start.elapsed() > RECOVERED) {
            self.failures.store(0, Ordering::Relaxed);
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let restarts = !self.shutdown.is_cancelled();
        tracing::warn!(queue = self.queue, failures, restarts, %error, "a worker of {} failed", self.queue);
        restarts
    }

    /// Waits for jobs that a failed start left running, then hands back what is left.
    async fn farewell(&self) {
        let all = u32::try_from(self.concurrency).unwrap_or(u32::MAX);
        let _places = self.places.acquire_many(all).await;
        let names = {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut starts.names)
        };
        let goodbye = async {
            for name in names {
                self.transport
                    .hand_back(self.queue, &name, Taken::AllExcept(&[]))
                    .await?;
                self.transport.forget_worker(self.queue, &name).await?;
            }
            Ok::<(), QueueError>(())
        };
        let error = match tokio::time::timeout(FAREWELL, goodbye).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(
            queue = self.queue,
            error,
            "left jobs of {} to the orphan time-out",
            self.queue
        );
    }
}

/// The span of a job: what is logged inside it appears on the board's page of that task, which
/// finds it by `task_id` and `attempt` (counted from 1).
fn job_span<J: Job>(id: &TaskId, attempt: &Attempt) -> Span {
    let attempt = attempt.current().max(1);
    tracing::info_span!("job", job = J::NAME, task_id = %id, attempt)
}

/// Runs one job. What a handler cannot log, a panic or a job that does not decode, is logged
/// here. Every failure ends as an `AbortError`: both transports keep that for
/// inspection and run it no more. A panic is caught here, because around apalis's own layers
/// it would leave the job in the state `Running`.
async fn run_job<J, H, F>(handler: H, body: Vec<u8>, _guard: Guard) -> Result<(), BoxDynError>
where
    J: Job,
    H: Fn(J) -> F,
    F: Future<Output = Result<(), String>>,
{
    let (identity, failure) = match serde_json::from_slice::<J>(&body) {
        Err(error) => (
            String::from_utf8_lossy(&body).into_owned(),
            format!("decode the job: {error}"),
        ),
        Ok(job) => {
            let identity = job.identity();
            match AssertUnwindSafe(async { handler(job).await })
                .catch_unwind()
                .await
            {
                Ok(Ok(())) => return Ok(()),
                // The handler knows more about it, and has logged it.
                Ok(Err(error)) => return Err(Box::new(AbortError::new(error))),
                Err(panic) => (
                    identity,
                    format!("the handler panicked: {}", panic_message(&*panic)),
                ),
            }
        }
    };
    tracing::error!(
        event = "job_failed",
        queue = J::QUEUE,
        jobId = identity,
        error = failure,
        "failed to run {identity}: {failure}"
    );
    Err(Box::new(AbortError::new(failure)))
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
