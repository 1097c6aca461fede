//! What the model knows at an instant.

use super::{Flaw, MAX_ATTEMPTS, RETRY_AFTER, ROWS, Setup, TTL, WORKERS, Work};

/// Everything: the rows in SQL, the queue, the processes, and what faults are left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) now: u8,
    pub(super) rows: [Row; ROWS],
    /// `stores.lease_token`, `lease_expires_at` (the first only), or those of each delivery.
    pub(super) leases: [Option<Lease>; ROWS],
    /// `enqueued_until`.
    pub(super) slot: Option<u8>,
    /// `stores.imported_success_count`.
    pub(super) count: u8,
    /// Jobs that wait in the queue; each says the same.
    pub(super) jobs: u8,
    pub(super) scheduler: Scheduler,
    pub(super) workers: [Worker; WORKERS],
    pub(super) faults: Faults,
    pub(super) seen: Seen,
}

/// A row of `sync_logs` or `callback_deliveries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) status: Status,
    /// Outcomes so far.
    pub(super) attempt: u8,
    pub(super) due_at: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Status {
    Pending,
    Success,
    Dead,
}

/// A worker has one run at a time, so its number does as the token of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub(super) token: usize,
    pub(super) expires: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scheduler {
    pub(super) step: Pass,
    pub(super) is_stalled: bool,
}

/// How far a pass of `schedule/slots.rs` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    /// The tick has not come yet.
    Ahead,
    /// The slot is claimed until then; the job is not in the queue.
    Claimed(u8),
    /// The job is in the queue; the slot is still the short one.
    Pushed(u8),
    /// Nothing left to do before the next tick.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) step: Step,
    /// Stopped by the operating system: neither runs nor renews.
    pub(super) is_stalled: bool,
    /// Its job was handed to somebody else, for it seemed dead.
    pub(super) is_rescued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Idle,
    /// Has a job, and no lease.
    Fetched,
    /// Waits for the marketplace or the webhook.
    Asking(Ask),
    /// Knows the outcome, and has not written it.
    Answered(Ask, Outcome),
    /// Has written, and was not told that it has: it will write again.
    Unsure(Ask, Outcome),
    /// Nothing left to do but to free the lease (or, for an event, its slot).
    Ending,
}

/// A call for a row, and what was known of the row when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ask {
    pub(super) row: usize,
    pub(super) attempt: u8,
    /// Whether it has taken time already: its time-out is shorter than the lease.
    pub(super) has_waited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Success,
    Failure,
}

/// How much more may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    pub(super) crashes: u8,
    pub(super) stalls: u8,
    /// Jobs that the queue loses, doubles, or answers of the database that are lost.
    pub(super) others: u8,
}

/// What must not happen and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    /// An attempt of a row came to a second outcome.
    pub(super) two_outcomes: bool,
    /// A run wrote under a lease that was not its own (any more).
    pub(super) stale_write: bool,
}

impl State {
    pub(super) fn lease_of(&self, work: Work, row: usize) -> Option<Lease> {
        self.leases[work.lease_of(row)]
    }

    pub(super) fn owns(&self, work: Work, row: usize, worker: usize) -> bool {
        self.lease_of(work, row)
            .is_some_and(|lease| lease.token == worker)
    }

    pub(super) fn is_due(&self, row: usize) -> bool {
        let Row { status, due_at, .. } = self.rows[row];
        status == Status::Pending && due_at <= self.now
    }

    pub(super) fn is_slot_free(&self) -> bool {
        self.slot.is_none_or(|until| until <= self.now)
    }

    pub(super) fn is_done(&self) -> bool {
        self.rows.iter().all(|row| row.status != Status::Pending)
    }

    /// Nothing runs, waits, is held or is owed.
    pub(super) fn is_settled(&self) -> bool {
        let now = self.now;
        let is_held = |lease: &Option<Lease>| lease.is_some_and(|lease| lease.expires > now);
        self.is_done() && self.is_slot_free() && !self.leases.iter().any(is_held)
    }

    pub(super) fn successes(&self) -> u8 {
        let is_success = |row: &&Row| row.status == Status::Success;
        u8::try_from(self.rows.iter().filter(is_success).count()).unwrap()
    }

    /// Writes the outcome of a call: absolute values, made of what was read before the call.
    pub(super) fn record(&mut self, setup: &Setup, worker: usize, ask: Ask, outcome: Outcome) {
        let is_retry = matches!(self.workers[worker].step, Step::Unsure(..));
        self.seen.stale_write |= !self.owns(setup.work, ask.row, worker);
        let row = &mut self.rows[ask.row];
        self.seen.two_outcomes |= row.attempt != ask.attempt && !is_retry;
        // Store runs: `AND status <> 'success'`, and a success counts if the row was written.
        let was_success = row.status == Status::Success;
        let may_count = !was_success || setup.flaw == Some(Flaw::CountUnseen);
        if outcome == Outcome::Success && may_count {
            self.count += 1;
        }
        if was_success && setup.work == Work::Store {
            return;
        }
        row.attempt = ask.attempt + 1;
        row.due_at = self.now + RETRY_AFTER;
        row.status = match outcome {
            Outcome::Success => Status::Success,
            Outcome::Failure if row.attempt == MAX_ATTEMPTS => Status::Dead,
            Outcome::Failure => Status::Pending,
        };
    }

    /// Takes the lease of a row, unless somebody's lasts.
    pub(super) fn take(&mut self, setup: &Setup, row: usize, worker: usize) -> bool {
        let held = self.lease_of(setup.work, row);
        let never_ends = setup.flaw == Some(Flaw::LeaseWithoutExpiry);
        if held.is_some_and(|lease| never_ends || lease.expires > self.now) {
            return false;
        }
        let expires = self.now + TTL;
        self.leases[setup.work.lease_of(row)] = Some(Lease {
            token: worker,
            expires,
        });
        self.slot = Some(expires);
        true
    }
}
