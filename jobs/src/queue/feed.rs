//! What stands between an apalis worker and its storage: when to look for a job, and how to
//! stop.
//!
//! apalis drives its storage only while the worker is polled for a next job. [`Feed`] keeps it
//! driven until the last running job is acknowledged, asks it for a job only when there may be
//! one, and hands back what arrives too late. All of that must be exact: on SQLite the
//! storage's futures hold the only connection that the running jobs need to finish.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral, persistence::TaskPersistLayer},
    layers::Stack,
    task::Task,
    worker::context::WorkerContext,
};
use apalis_sqlite::JsonCodec;
use futures::{FutureExt, future::BoxFuture, task::AtomicWaker};
use serde_json::Value;
use tokio_util::{sync::WaitForCancellationFutureOwned, task::AbortOnDropHandle};

use super::{
    QueueError,
    running::{Running, Unacknowledged},
    transport::{Storage, Taken, Transport},
    worker::Work,
};

/// Where jobs end others come: how much oftener it is looked for those of other processes then.
const OFTENER_WHEN_BUSY: u32 = 5;

/// One thing to do before the next.
pub(crate) type Step = BoxFuture<'static, Result<(), QueueError>>;

/// The backend of one start of a worker.
pub(crate) struct Feed {
    pub(crate) name: String,
    queue: &'static str,
    transport: Arc<Transport>,
    storage: Storage,
    /// What the storage has fetched and not given out.
    buffered: Arc<AtomicUsize>,
    /// What must succeed before the storage is touched.
    starting: Option<Step>,
    /// Rings when there may be a job.
    bell: Arc<Bell>,
    /// Rings when the storage's fetch in flight got further.
    progress: Arc<Bell>,
    _lookout: AbortOnDropHandle<()>,
    running: Running,
    unacknowledged: Unacknowledged,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    draining: bool,
    /// A task of its own, because the storage may wait for the connection that it has.
    handing_back: Option<AbortOnDropHandle<Result<(), QueueError>>>,
}

impl Feed {
    pub(crate) fn new(name: String, starting: Step, work: &Work) -> Self {
        let bell = Arc::new(Bell::default());
        // A new worker looks at once.
        bell.ring();
        let buffered = Arc::new(AtomicUsize::new(0));
        let places = Arc::clone(&work.places);
        Self {
            name,
            queue: work.queue,
            transport: Arc::clone(&work.transport),
            storage: work
                .transport
                .storage(work.queue, places, Arc::clone(&buffered)),
            buffered,
            starting: Some(starting),
            _lookout: AbortOnDropHandle::new(tokio::spawn(look_out(work.clone(), bell.clone()))),
            bell,
            progress: Arc::default(),
            running: work.running.clone(),
            unacknowledged: Unacknowledged::default(),
            shutdown: Box::pin(work.shutdown.clone().cancelled_owned()),
            draining: false,
            handing_back: None,
        }
    }

    /// Hands back this one job. All that do not run would be too many: a job that has ended
    /// stays taken until its acknowledgement is written.
    fn hand_back(&self, id: String) -> AbortOnDropHandle<Result<(), QueueError>> {
        let (transport, queue) = (Arc::clone(&self.transport), self.queue);
        let name = self.name.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let late = [id];
            let taken = Taken::Only(&late);
            transport.hand_back(queue, &name, taken).await.map(drop)
        }))
    }
}

impl Backend for Feed {
    type Task = Task<Vec<u8>>;
    type Error = QueueError;

    fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        self.draining = self.draining || self.shutdown.as_mut().poll(cx).is_ready();
        if let Some(starting) = &mut self.starting {
            if self.draining {
                let _ = worker.stop();
                return Poll::Ready(Ok(()));
            }
            ready!(starting.poll_unpin(cx))?;
            self.starting = None;
        }
        self.storage.poll_ready(cx, worker)
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, QueueError>>> {
        loop {
            if let Some(handing_back) = &mut self.handing_back {
                // A task that did not end leaves its job to the farewell.
                ready!(handing_back.poll_unpin(cx)).unwrap_or(Ok(()))?;
                self.handing_back = None;
            }
            if self.draining && self.unacknowledged.is_zero() {
                // Only now: a stopped worker is not polled before its last job has ended.
                let _ = worker.stop();
                return Poll::Ready(None);
            }
            // A fetch in flight is followed to its end, also while draining: on SQLite it has
            // the connection. A new one is begun only when there may be a job.
            let progressed = self.progress.take(cx) | (self.buffered.load(Ordering::Acquire) > 0);
            let looks = self.bell.take(cx) && !self.draining;
            if !progressed && !looks {
                return Poll::Pending;
            }
            let waker = Waker::from(Arc::clone(&self.progress));
            let task = ready!(
                self.storage
                    .poll_next(&mut Context::from_waker(&waker), worker)?
            );
            let Some(task) = task else {
                return Poll::Ready(None);
            };
            let counted = |buffered: usize| Some(buffered.saturating_sub(1));
            let _ = self
                .buffered
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, counted);
            let id = task.task_id().map(ToString::to_string);
            if self.draining {
                self.handing_back = id.map(|id| self.hand_back(id));
                continue;
            }
            if let Some(id) = id {
                self.running.insert(id);
            }
            self.unacknowledged.add();
            // Where one job was, there may be another.
            self.bell.ring();
            return Poll::Ready(Some(Ok(task)));
        }
    }

    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        if self.starting.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.storage.poll_close(cx, worker)
    }
}

impl BackendConfig for Feed {
    type Args = Vec<u8>;
    type Id = <apalis_redis::RedisStorage<()> as BackendConfig>::Id;
    /// Jobs stay undecoded here: one that does not decode must not end the worker.
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Stack<TaskPersistLayer<JsonCodec<Value>, Value>, Unacknowledged>;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, worker: &mut WorkerContext) -> Self::Layer {
        Stack::new(self.storage.middleware(worker), self.unacknowledged.clone())
    }
}

/// Keeps one ring, and wakes the worker.
#[derive(Debug, Default)]
struct Bell {
    rang: AtomicBool,
    worker: AtomicWaker,
}

impl Bell {
    fn ring(&self) {
        self.rang.store(true, Ordering::Release);
        self.worker.wake();
    }

    /// Whether it rang since the last call; if not, the next ring wakes the task of `cx`.
    fn take(&self, cx: &Context<'_>) -> bool {
        self.worker.register(cx.waker());
        self.rang.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Looks out for jobs: those of this process at once, those of others now and then, and more often
/// while jobs end here.
///
/// Runs in a task of its own: a look must end even while the worker is not polled.
async fn look_out(mut work: Work, bell: Arc<Bell>) {
    let mut finished = work.finished();
    loop {
        let is_busy = finished.has_changed().unwrap_or(false);
        finished.mark_unchanged();
        let pause = if is_busy {
            work.poll / OFTENER_WHEN_BUSY
        } else {
            work.poll
        };
        tokio::select! {
            pushed = work.pushed.changed() => {
                bell.ring();
                if pushed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(pause) => {
                if work.transport.may_have_jobs(work.queue).await {
                    bell.ring();
                }
            }
        }
    }
}
