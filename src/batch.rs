//! Work of many callers, done together: whoever comes while a batch is under way is in the next.
//!
//! A caller that is alone waits for nobody. Under load a round trip, a commit and a lock are paid
//! once for all who wait for them: the more there is to do, the less each costs. Whoever makes a
//! batch fail or panic by what they want fails alone, because then each is worked on by itself; a
//! batch that collided with somebody else's work is worked on again; when the database is away all
//! hear of it.

use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use tokio::sync::oneshot;

use crate::db::{AsTransient, is_collision};

/// Callers of one batch.
const MAX: usize = 128;
/// Rows of one batch, unless one caller alone has more: they are all in memory at the same time, in
/// some forms.
const MAX_ROWS: usize = 2_000;
/// How often everybody else who is ready to go on does so before a batch is closed: those who are on
/// their way are in it then, and where there is nobody, it costs nothing.
const YIELDS: u32 = 4;
/// How often a batch is worked on that collides with somebody else's work.
const TRIES: u32 = 3;

/// What is worked on together: inputs with an output each.
pub(crate) struct Batcher<I, O>(Arc<Mutex<Waiting<I, O>>>);

struct Waiting<I, O> {
    callers: VecDeque<Caller<I, O>>,
    /// How many batches are under way, and may be.
    running: usize,
    most: usize,
    /// How many rows an input is about.
    rows: fn(&I) -> usize,
}

struct Caller<I, O> {
    input: Arc<I>,
    answer: oneshot::Sender<Result<O, BatchError>>,
}

/// Why there is no output.
#[derive(Clone, Debug)]
pub enum BatchError {
    /// The database refused, or is away; it is the same error for all.
    Database(Arc<sqlx::Error>),
    /// Somebody else has locked it just now.
    Busy,
    /// The work panicked, or the process ends.
    Interrupted,
}

impl fmt::Display for BatchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(formatter, "the database failed: {error}"),
            Self::Busy => formatter.write_str("the rows are locked by somebody else"),
            Self::Interrupted => formatter.write_str("the work was interrupted"),
        }
    }
}

impl std::error::Error for BatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(error) => Some(&**error),
            Self::Busy | Self::Interrupted => None,
        }
    }
}

impl From<sqlx::Error> for BatchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl AsTransient for BatchError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => error.is_transient(),
            Self::Busy => true,
            Self::Interrupted => false,
        }
    }
}

impl<I, O> fmt::Debug for Batcher<I, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Batcher").finish_non_exhaustive()
    }
}

impl<I, O> Batcher<I, O>
where
    I: Send + Sync + 'static,
    O: Send + 'static,
{
    /// At most so many batches at the same time.
    pub(crate) fn new(most: usize) -> Self {
        Self::of_rows(most, |_| 1)
    }

    /// The same where an input may be about many rows, which `rows` counts.
    pub(crate) fn of_rows(most: usize, rows: fn(&I) -> usize) -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            callers: VecDeque::new(),
            running: 0,
            most,
            rows,
        })))
    }

    /// Has an input worked on, with those of others. `work` and what it works with are the same
    /// whoever calls; it gives an output for each input, in their order, and goes on when the
    /// caller goes away.
    pub(crate) async fn run<C, W, F>(
        &self,
        context: &Arc<C>,
        input: I,
        work: W,
    ) -> Result<O, BatchError>
    where
        C: Send + Sync + 'static,
        W: Fn(Arc<C>, Vec<Arc<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = sqlx::Result<Vec<O>>> + Send,
    {
        let (answer, answered) = oneshot::channel();
        let leads = {
            let mut waiting = lock(&self.0);
            let input = Arc::new(input);
            waiting.callers.push_back(Caller { input, answer });
            let leads = waiting.running < waiting.most;
            waiting.running += usize::from(leads);
            leads
        };
        if leads {
            let (waiting, context) = (self.0.clone(), context.clone());
            tokio::spawn(async move {
                let work = |inputs| work(context.clone(), inputs);
                while let Some(callers) = next(&waiting).await {
                    answer_all(callers, &work).await;
                }
            });
        }
        answered.await.unwrap_or(Err(BatchError::Interrupted))
    }
}

fn lock<I, O>(waiting: &Mutex<Waiting<I, O>>) -> MutexGuard<'_, Waiting<I, O>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those who wait; when there are none, whoever comes next leads.
async fn next<I, O>(waiting: &Mutex<Waiting<I, O>>) -> Option<Vec<Caller<I, O>>> {
    for _ in 0..YIELDS {
        tokio::task::yield_now().await;
    }
    let mut waiting = lock(waiting);
    let mut rows = 0;
    let fits = |it: &&Caller<I, O>| {
        let is_first = rows == 0;
        rows += (waiting.rows)(&it.input).max(1);
        is_first || rows <= MAX_ROWS
    };
    let count = waiting.callers.iter().take(MAX).take_while(fits).count();
    if count == 0 {
        waiting.running -= 1;
        return None;
    }
    Some(waiting.callers.drain(..count).collect())
}

async fn answer_all<I, O, W, F>(callers: Vec<Caller<I, O>>, work: &W)
where
    W: Fn(Vec<Arc<I>>) -> F,
    F: Future<Output = sqlx::Result<Vec<O>>>,
{
    match attempt(&callers, work).await {
        Ok(outputs) => {
            for (caller, output) in callers.into_iter().zip(outputs) {
                // Whoever went away does not want to know.
                let _ = caller.answer.send(Ok(output));
            }
        }
        Err(error) if callers.len() > 1 && !error.is_transient() => {
            for caller in callers {
                let caller = [caller];
                let alone = attempt(&caller, work).await;
                let output = alone.and_then(|mut it| it.pop().ok_or(BatchError::Interrupted));
                let [caller] = caller;
                let _ = caller.answer.send(output);
            }
        }
        Err(error) => {
            for caller in callers {
                let _ = caller.answer.send(Err(error.clone()));
            }
        }
    }
}

/// Works on a batch, and again when that collided with somebody else's work.
async fn attempt<I, O, W, F>(callers: &[Caller<I, O>], work: &W) -> Result<Vec<O>, BatchError>
where
    W: Fn(Vec<Arc<I>>) -> F,
    F: Future<Output = sqlx::Result<Vec<O>>>,
{
    let mut left = TRIES;
    loop {
        let inputs = callers.iter().map(|caller| caller.input.clone()).collect();
        left -= 1;
        // A panic must not leave the others without an answer.
        match AssertUnwindSafe(async { work(inputs).await })
            .catch_unwind()
            .await
        {
            Ok(Err(error)) if is_collision(&error) && left > 0 => {}
            Ok(done) => return Ok(done?),
            Err(_panic) => return Err(BatchError::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    type Numbers = Batcher<u64, u64>;

    /// Doubles numbers; refuses batches with a 13, panics with a 666, is away for a 503.
    async fn double(batches: Arc<AtomicUsize>, inputs: Vec<Arc<u64>>) -> sqlx::Result<Vec<u64>> {
        batches.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(10)).await;
        for input in &inputs {
            match **input {
                13 => return Err(sqlx::Error::RowNotFound),
                503 => return Err(sqlx::Error::PoolTimedOut),
                666 => panic!("666"),
                _ => {}
            }
        }
        Ok(inputs.iter().map(|input| **input * 2).collect())
    }

    async fn run(numbers: &Numbers, inputs: &[u64]) -> (Vec<Result<u64, BatchError>>, usize) {
        let batches = Arc::new(AtomicUsize::new(0));
        let each = inputs
            .iter()
            .map(|input| numbers.run(&batches, *input, double));
        let answers = join_all(each).await;
        (answers, batches.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn everybody_has_the_answer_to_their_own_question_and_few_batches_are_made() {
        let numbers = Numbers::new(2);
        let inputs: Vec<u64> = (1000..1300).collect();
        let (answers, batches) = run(&numbers, &inputs).await;
        let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, inputs.iter().map(|it| it * 2).collect::<Vec<_>>());
        assert!(batches <= 5, "{batches} batches");
        // Whoever led the last batch may look once more.
        let (answers, batches) = run(&Numbers::new(2), &[4]).await;
        assert_eq!((answers[0].as_ref().unwrap(), batches), (&8, 1));
    }

    #[tokio::test]
    async fn a_batch_has_so_many_rows_or_one_caller() {
        let numbers = Numbers::of_rows(1, |it| usize::try_from(*it).unwrap());
        let (answers, batches) = run(&numbers, &[1100, 1000, 999, 1, 9000]).await;
        let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [2200, 2000, 1998, 2, 18000]);
        assert_eq!(batches, 3, "1100; 1000, 999 and 1; 9000");
    }

    #[tokio::test]
    async fn whoever_makes_a_batch_fail_fails_alone() {
        let (answers, _) = run(&Numbers::new(1), &[1, 2, 13, 4]).await;
        let is_right: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(is_right, [true, true, false, true]);
    }

    #[tokio::test]
    async fn all_hear_that_the_database_is_away_and_none_is_tried_alone() {
        let (answers, batches) = run(&Numbers::new(1), &[1, 2, 503, 4]).await;
        let is_away =
            |it: &Result<u64, BatchError>| it.as_ref().is_err_and(AsTransient::is_transient);
        assert!(answers.iter().all(is_away), "{answers:?}");
        assert_eq!(batches, 1);
    }

    #[tokio::test]
    async fn whoever_makes_a_batch_panic_fails_alone() {
        let numbers = Numbers::new(1);
        let (answers, _) = run(&numbers, &[1, 666, 3]).await;
        assert!(matches!(answers[1], Err(BatchError::Interrupted)));
        assert_eq!(answers[2].as_ref().unwrap(), &6);
        let (answers, _) = run(&numbers, &[5]).await;
        assert_eq!(answers[0].as_ref().unwrap(), &10);
    }

    #[tokio::test]
    async fn callers_that_go_away_hold_nobody_up() {
        let numbers = Numbers::new(1);
        let gone = run(&numbers, &[1, 2]);
        assert!(
            tokio::time::timeout(Duration::from_millis(5), gone)
                .await
                .is_err()
        );
        let (answers, _) = run(&numbers, &[6]).await;
        assert_eq!(answers[0].as_ref().unwrap(), &12);
    }
}
