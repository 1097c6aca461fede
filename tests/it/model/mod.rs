//! A checked model of what keeps work from being lost or done twice: enqueue slot, queue, lease,
//! fenced write, release, and the pass that makes up for what went wrong.
//!
//! The checker (stateright) walks through **every** order in which two or three workers and a
//! scheduler can take these steps, with processes that die or stall past their lease at any of
//! them, a queue that loses and doubles jobs, and commits whose answer is lost. What holds for
//! the model holds for the service as far as the model is the service, so each step is tied to
//! the statement it stands for. That the model can find something is shown by leaving out one
//! safeguard at a time ([`Flaw`]): each must break the property that it is there for.
//!
//! | step ([`Act`]) | stands for |
//! |---|---|
//! | `Claim` | the tick's look at what is due, and `claim_slots` (`marketplace/queries/schedule.rs`, `webhooks/queries/schedule.rs`): `enqueued_until IS NULL OR enqueued_until <= now` |
//! | `Push`, `KeepSlot` | `push_claimed` in `schedule/slots.rs`: the push, then `move_slots` where the slot is still the one that was claimed |
//! | `Fetch` | a worker takes a job; the queue has it no more, or hands it to another (`Rescue`, `CrashAndRescue`) |
//! | `Take` | of a store: `take` of `store_lease` (`marketplace/queries/stores.rs`), `already_running` when it is held, then `due_rows`; of an event: `owed_events`, and `claim_deliveries` with `hold_slots` (`webhooks/together/take.rs`) |
//! | `Answer` | the marketplace or the webhook answered, within its time-out |
//! | `Write` | of a store: `try_write` in `marketplace/sync.rs`, which is `lock_leased_store`, `record_outcomes`, `record_attempt`; of an event: `record_all` in `webhooks/together/record.rs`, whose `write_outcomes` also frees the lease. Then the next row |
//! | `WriteUnheard` | the commit happened and its answer was lost, so that `db::persist` writes again |
//! | `End` | of a store: `release` of `store_lease`; of an event: `free_slot`, whoever holds it |
//! | `Time` | an instant passes: whoever waits for an answer and is not stalled has renewed (`renew` of `store_lease`) or has found its lease lost and stopped (`keep` in `lease.rs`); the next tick may come |
//!
//! A worker has one run at a time, so its number is the token of its run. Every path ends: time
//! only goes on, a tick comes once an instant, and faults are counted. So "in the end" is what
//! holds wherever nothing can happen any more, and the end comes at a bounded time after the last
//! fault ([`CALM`] to [`END`]): work is not only done some day.
//!
//! Left out: pauses, breakers and lanes (they only delay), imports by callers (their claim is a
//! lease of the same kind on a row), and a job that comes again after its run has ended, which is
//! the same as a doubled one.

use rstest::rstest;
use stateright::{Checker, Model, Property};

mod state;
mod steps;

use state::{Faults, Outcome, Pass, Row, Scheduler, Seen, State, Status, Step, Worker};

const WORKERS: usize = 3;
const ROWS: usize = 2;
/// A lease lasts so many instants without renewal; a call takes at most one.
const TTL: u8 = 2;
/// `SLOT_BEFORE_PUSH`.
const SHORT_SLOT: u8 = 1;
/// `SLOT`.
const LONG_SLOT: u8 = 3;
/// The backoff.
const RETRY_AFTER: u8 = 1;
/// A row that failed so often is a dead letter.
const MAX_ATTEMPTS: u8 = 2;
/// Nothing goes wrong from then on, and nobody stays stalled.
const CALM: u8 = 3;
/// By then everything is done and free.
const END: u8 = 10;

const IDLE: Worker = Worker {
    step: Step::Idle,
    is_stalled: false,
    is_rescued: false,
};

/// What the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// `SyncStore`: one renewed lease for all rows of a store, released at the end.
    Store,
    /// `DeliverCallback`: a lease for each delivery, never renewed, freed by the write.
    Event,
}

impl Work {
    fn lease_of(self, row: usize) -> usize {
        match self {
            Self::Store => 0,
            Self::Event => row,
        }
    }
}

/// A safeguard that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// The write does not look whether the lease is still its own.
    WriteWithoutFence,
    /// The release frees whatever lease there is.
    ReleaseWithoutOwner,
    /// The renewal prolongs whatever lease there is.
    RenewWithoutOwner,
    /// A slot that was claimed stays so until a run frees it.
    SlotWithoutExpiry,
    /// A lease that was taken stays so until its run frees it.
    LeaseWithoutExpiry,
    /// A success is counted without a look at whether the row was one already.
    CountUnseen,
}

/// One model: which work, what is missing, how big.
#[derive(Clone, Debug)]
struct Setup {
    work: Work,
    flaw: Option<Flaw>,
    workers: usize,
    /// Rows that are due at the beginning; the others are done.
    rows: usize,
    faults: Faults,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    Time,
    Claim,
    Push,
    KeepSlot,
    SchedulerCrashes,
    SchedulerStalls,
    SchedulerResumes,
    Fetch(usize),
    Take(usize),
    Answer(usize, Outcome),
    Write(usize),
    WriteUnheard(usize),
    End(usize),
    Crash(usize),
    CrashAndRescue(usize),
    Stall(usize),
    Resume(usize),
    Rescue(usize),
    LoseJob,
    DoubleJob,
}

const ONE_OUTCOME: &str = "no attempt has two outcomes";
const FENCED: &str = "a stale run writes nothing";
const COUNTED: &str = "the count is that of the successes";
const DONE: &str = "all that is due is done in the end";
const FREE: &str = "nothing is taken in the end";
const OVERTAKEN: &str = "a run is overtaken by another before it writes";
const DEAD: &str = "a row is a dead letter";

impl Model for Setup {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        let row = |row| Row {
            status: if row < self.rows {
                Status::Pending
            } else {
                Status::Success
            },
            attempt: 0,
            due_at: 0,
        };
        let mut state = State {
            now: 0,
            rows: std::array::from_fn(row),
            leases: [None; ROWS],
            slot: None,
            count: 0,
            jobs: 0,
            scheduler: Scheduler {
                step: Pass::Ahead,
                is_stalled: false,
            },
            workers: [IDLE; WORKERS],
            faults: self.faults,
            seen: Seen::default(),
        };
        state.count = state.successes();
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Act>) {
        self.possible(state, actions);
    }

    fn next_state(&self, last: &State, act: Act) -> Option<State> {
        Some(self.after(last, act))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_OUTCOME, |_, state: &State| !state.seen.two_outcomes),
            Property::always(FENCED, |_, state: &State| !state.seen.stale_write),
            Property::always(COUNTED, |_, state: &State| state.count == state.successes()),
            Property::always(DONE, |model: &Self, state: &State| {
                state.is_done() || !model.is_over(state)
            }),
            Property::always(FREE, |model: &Self, state: &State| {
                state.is_settled() || !model.is_over(state)
            }),
            Property::sometimes(OVERTAKEN, |model: &Self, state: &State| {
                model.is_overtaken(state)
            }),
            Property::sometimes(DEAD, |_, state: &State| {
                state.rows.iter().any(|row| row.status == Status::Dead)
            }),
        ]
    }
}

fn faults(crashes: u8, stalls: u8, others: u8) -> Faults {
    Faults {
        crashes,
        stalls,
        others,
    }
}

fn check(setup: Setup) -> impl Checker<Setup> {
    setup.checker().threads(2).spawn_bfs().join()
}

/// The long form takes minutes and gigabytes: `MODEL=long`.
fn is_long() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the test's own setting")]
    let wanted = std::env::var("MODEL").ok();
    match wanted.as_deref() {
        None => false,
        Some("long") => true,
        Some(other) => panic!("MODEL={other}: only `long` is known"),
    }
}

/// How many workers and rows there are, and what may go wrong; shorter and in the long form.
type Size = (usize, usize, Faults);

/// The last two properties show that the model gets where it hurts.
#[rstest]
fn all_orders_of_steps_and_faults_are_safe_and_come_to_an_end(
    #[values(Work::Store, Work::Event)] work: Work,
    #[values(
        [(2, 1, faults(1, 1, 1)), (3, 1, faults(1, 1, 1))],
        [(2, 2, faults(1, 1, 0)), (2, 2, faults(1, 1, 1))],
        [(2, 1, faults(1, 2, 0)), (2, 1, faults(1, 2, 1))],
        [(3, 1, faults(0, 1, 1)), (3, 1, faults(0, 2, 1))]
    )]
    sizes: [Size; 2],
) {
    let (workers, rows, faults) = sizes[usize::from(is_long())];
    let setup = Setup {
        work,
        flaw: None,
        workers,
        rows,
        faults,
    };
    check(setup).assert_properties();
}

#[rstest]
#[case(Work::Store, Flaw::WriteWithoutFence, &[FENCED, ONE_OUTCOME])]
#[case(Work::Store, Flaw::ReleaseWithoutOwner, &[FENCED])]
#[case(Work::Store, Flaw::RenewWithoutOwner, &[FENCED])]
#[case(Work::Store, Flaw::SlotWithoutExpiry, &[DONE, FREE])]
#[case(Work::Store, Flaw::LeaseWithoutExpiry, &[DONE, FREE])]
#[case(Work::Store, Flaw::CountUnseen, &[COUNTED])]
#[case(Work::Event, Flaw::WriteWithoutFence, &[FENCED, ONE_OUTCOME])]
#[case(Work::Event, Flaw::SlotWithoutExpiry, &[DONE, FREE])]
#[case(Work::Event, Flaw::LeaseWithoutExpiry, &[DONE, FREE])]
fn each_safeguard_is_needed(
    #[case] work: Work,
    #[case] flaw: Flaw,
    #[case] broken: &[&'static str],
) {
    let checker = check(Setup {
        work,
        flaw: Some(flaw),
        workers: 2,
        rows: 1,
        faults: faults(1, 1, 1),
    });
    let safeties = [ONE_OUTCOME, FENCED, COUNTED, DONE, FREE];
    let found: Vec<_> = safeties
        .into_iter()
        .filter(|property| checker.discovery(property).is_some())
        .collect();
    for property in broken {
        assert!(found.contains(property), "{flaw:?} breaks only {found:?}");
    }
}
