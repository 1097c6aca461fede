//! The jobs that one worker runs right now, and those it has not acknowledged yet.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use apalis_core::{
    layers::{Layer, Service},
    task::Task,
};
use futures::{FutureExt, future::BoxFuture};

use tokio::sync::watch;

/// A shared set of job ids; an id leaves it when its [`Guard`] drops.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    ids: Arc<Mutex<HashSet<String>>>,
    finished: watch::Sender<u64>,
}

impl Running {
    pub(crate) fn new() -> Self {
        Self {
            ids: Arc::default(),
            finished: watch::Sender::new(0),
        }
    }

    pub(crate) fn insert(&self, id: String) {
        self.lock().insert(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    /// How many jobs have ended, now and whenever it changes.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    /// Ends the job when dropped, however its run ends.
    pub(crate) fn guard(&self, id: String) -> Guard {
        Guard {
            running: self.clone(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Running::guard`].
#[derive(Debug)]
pub(crate) struct Guard {
    running: Running,
    id: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
        self.running.finished.send_modify(|count| *count += 1);
    }
}

/// How many jobs of one start are between the storage and their acknowledgement; a layer
/// around all others that counts them down.
///
/// A worker may stop only at zero: apalis passes acknowledgements through a small channel
/// that a stopped worker does not read before its last job has ended, and a job does not end
/// before its acknowledgement is in the channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unacknowledged(Arc<AtomicUsize>);

impl Unacknowledged {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// Counts down when dropped, however the job ends.
struct CountDown(Unacknowledged);

impl Drop for CountDown {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<S> Layer<S> for Unacknowledged {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            unacknowledged: self.clone(),
        }
    }
}

/// See [`Unacknowledged`].
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    inner: S,
    unacknowledged: Unacknowledged,
}

impl<S, Args> Service<Task<Args>> for Counted<S>
where
    S: Service<Task<Args>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, task: Task<Args>) -> Self::Future {
        let count_down = CountDown(self.unacknowledged.clone());
        let run = self.inner.call(task);
        async move {
            let _count_down = count_down;
            run.await
        }
        .boxed()
    }
}
