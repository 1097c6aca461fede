//! What may happen next, and what it changes.

use super::state::{Ask, Faults, Outcome, Pass, State, Step, Worker};
use super::{Act, CALM, END, Flaw, IDLE, LONG_SLOT, ROWS, SHORT_SLOT, Setup, TTL, WORKERS, Work};

impl Setup {
    /// Whether nothing can happen any more.
    pub(super) fn is_over(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.possible(state, &mut actions);
        actions.is_empty()
    }

    /// Whether somebody else has the lease of a run that is about to write.
    pub(super) fn is_overtaken(&self, state: &State) -> bool {
        (0..WORKERS).any(|worker| match state.workers[worker].step {
            Step::Answered(ask, _) => state
                .lease_of(self.work, ask.row)
                .is_some_and(|lease| lease.token != worker),
            _ => false,
        })
    }

    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Act>) {
        let may_fail = state.now < CALM;
        schedule(state, actions);
        for worker in 0..self.workers {
            work(state, worker, may_fail, actions);
        }
        if may_fail {
            go_wrong(state, actions);
        }
        if Self::may_pass(state) {
            actions.push(Act::Time);
        }
    }

    /// Whoever can do something does it before time passes, unless he is stalled, or waits for
    /// an answer; and nobody is stalled for ever.
    fn may_pass(state: &State) -> bool {
        let calm = state.now >= CALM;
        let waits =
            |step| matches!(step, Step::Asking(Ask { has_waited, .. }) if !has_waited && !calm);
        let is_patient = |worker: &Worker| match worker.step {
            _ if worker.is_stalled => !calm,
            Step::Idle => state.jobs == 0,
            step => waits(step),
        };
        let scheduler = state.scheduler;
        let is_passed = match scheduler.step {
            _ if scheduler.is_stalled => !calm,
            step => step == Pass::Over,
        };
        state.now < END
            && !(state.is_settled() && state.workers.iter().all(|worker| worker.step == Step::Idle))
            && is_passed
            && state.workers.iter().all(is_patient)
    }

    pub(super) fn after(&self, last: &State, act: Act) -> State {
        let mut state = last.clone();
        match act {
            Act::Time => self.pass(&mut state),
            Act::Claim => self.claim_slot(&mut state),
            Act::Push | Act::KeepSlot => push(&mut state),
            Act::Fetch(worker) => {
                state.jobs -= 1;
                state.workers[worker].step = Step::Fetched;
            }
            Act::Take(worker) => self.take(&mut state, worker),
            Act::Answer(worker, outcome) => {
                let Step::Asking(ask) = state.workers[worker].step else {
                    unreachable!()
                };
                state.workers[worker].step = Step::Answered(ask, outcome);
            }
            Act::Write(worker) => self.write(&mut state, worker),
            Act::WriteUnheard(worker) => {
                let Step::Answered(ask, outcome) = state.workers[worker].step else {
                    unreachable!()
                };
                self.write(&mut state, worker);
                state.workers[worker].step = Step::Unsure(ask, outcome);
                state.faults.others -= 1;
            }
            Act::End(worker) => self.end(&mut state, worker),
            fault => fail(&mut state, fault),
        }
        state
    }

    /// An instant later: the tick fires, and whoever runs has renewed its lease, or found that it
    /// is lost and stopped.
    fn pass(&self, state: &mut State) {
        for worker in 0..WORKERS {
            let it = &mut state.workers[worker];
            if it.is_stalled {
                continue;
            }
            if let Step::Asking(ask) = &mut it.step {
                ask.has_waited = true;
                if self.work == Work::Store {
                    self.renew(state, worker);
                }
            }
        }
        state.now += 1;
        if state.scheduler.step == Pass::Over {
            state.scheduler.step = Pass::Ahead;
        }
    }

    fn renew(&self, state: &mut State, worker: usize) {
        let is_ours = state.owns(self.work, 0, worker);
        if is_ours || self.flaw == Some(Flaw::RenewWithoutOwner) {
            let expires = state.now + 1 + TTL;
            if let Some(lease) = &mut state.leases[0] {
                lease.expires = expires;
                state.seen.stale_write |= !is_ours;
            }
            state.slot = Some(expires);
        } else {
            state.workers[worker] = IDLE;
        }
    }

    fn claim_slot(&self, state: &mut State) {
        let never_ends = self.flaw == Some(Flaw::SlotWithoutExpiry);
        let is_free = if never_ends {
            state.slot.is_none()
        } else {
            state.is_slot_free()
        };
        let is_due = (0..ROWS).any(|row| state.is_due(row));
        state.scheduler.step = Pass::Over;
        if is_due && is_free {
            let until = state.now + SHORT_SLOT;
            state.slot = Some(until);
            state.scheduler.step = Pass::Claimed(until);
        }
    }

    fn take(&self, state: &mut State, worker: usize) {
        if self.work == Work::Store && !state.take(self, 0, worker) {
            // `already_running`
            state.workers[worker] = IDLE;
            return;
        }
        self.read(state, worker, 0);
    }

    fn read(&self, state: &mut State, worker: usize, from: usize) {
        let now = state.now;
        let is_free = |row: usize| state.leases[row].is_none_or(|lease| lease.expires <= now);
        let due = (from..ROWS)
            .find(|row| state.is_due(*row) && (self.work == Work::Store || is_free(*row)));
        state.workers[worker].step = match due {
            Some(row) => {
                if self.work == Work::Event {
                    state.take(self, row, worker);
                }
                Step::Asking(Ask {
                    row,
                    attempt: state.rows[row].attempt,
                    has_waited: false,
                })
            }
            None => Step::Ending,
        };
    }

    fn write(&self, state: &mut State, worker: usize) {
        let (Step::Answered(ask, outcome) | Step::Unsure(ask, outcome)) =
            state.workers[worker].step
        else {
            unreachable!()
        };
        let is_ours = state.owns(self.work, ask.row, worker);
        let has_fence = self.flaw != Some(Flaw::WriteWithoutFence);
        if is_ours || !has_fence {
            state.record(self, worker, ask, outcome);
            if self.work == Work::Event {
                state.leases[ask.row] = None;
            }
        } else if self.work == Work::Store {
            // `lock_lost`
            state.workers[worker] = IDLE;
            return;
        }
        self.read(state, worker, ask.row + 1);
    }

    fn end(&self, state: &mut State, worker: usize) {
        state.workers[worker] = IDLE;
        if self.work == Work::Event {
            state.slot = None;
            return;
        }
        let is_ours = state.owns(self.work, 0, worker);
        if is_ours || self.flaw == Some(Flaw::ReleaseWithoutOwner) {
            state.seen.stale_write |= !is_ours && state.leases[0].is_some();
            state.leases[0] = None;
            state.slot = None;
        }
    }
}

/// The job goes into the queue, then the slot is kept for it.
fn push(state: &mut State) {
    match state.scheduler.step {
        Pass::Claimed(until) => {
            state.jobs += 1;
            state.scheduler.step = Pass::Pushed(until);
        }
        Pass::Pushed(until) => {
            if state.slot == Some(until) {
                state.slot = Some(state.now + LONG_SLOT);
            }
            state.scheduler.step = Pass::Over;
        }
        Pass::Ahead | Pass::Over => unreachable!(),
    }
}

/// Something goes wrong, or goes on after it had stopped.
fn fail(state: &mut State, act: Act) {
    match act {
        Act::SchedulerCrashes => {
            state.scheduler.step = Pass::Over;
            state.faults.crashes -= 1;
        }
        Act::SchedulerStalls => {
            state.scheduler.is_stalled = true;
            state.faults.stalls -= 1;
        }
        Act::SchedulerResumes => state.scheduler.is_stalled = false,
        Act::LoseJob => {
            state.jobs -= 1;
            state.faults.others -= 1;
        }
        Act::DoubleJob => {
            state.jobs += 1;
            state.faults.others -= 1;
        }
        Act::Crash(worker) | Act::CrashAndRescue(worker) => {
            let was_rescued = state.workers[worker].is_rescued;
            state.jobs += u8::from(act == Act::CrashAndRescue(worker) && !was_rescued);
            state.workers[worker] = IDLE;
            state.faults.crashes -= 1;
        }
        Act::Stall(worker) => {
            state.workers[worker].is_stalled = true;
            state.faults.stalls -= 1;
        }
        Act::Resume(worker) => state.workers[worker].is_stalled = false,
        Act::Rescue(worker) => {
            state.workers[worker].is_rescued = true;
            state.jobs += 1;
        }
        step => unreachable!("{step:?} is no fault"),
    }
}

fn schedule(state: &State, actions: &mut Vec<Act>) {
    let scheduler = state.scheduler;
    if scheduler.is_stalled {
        actions.push(Act::SchedulerResumes);
        return;
    }
    actions.extend(match scheduler.step {
        Pass::Ahead => Some(Act::Claim),
        Pass::Claimed(_) => Some(Act::Push),
        Pass::Pushed(_) => Some(Act::KeepSlot),
        Pass::Over => None,
    });
}

fn work(state: &State, worker: usize, may_fail: bool, actions: &mut Vec<Act>) {
    let it = state.workers[worker];
    if it.is_stalled {
        actions.push(Act::Resume(worker));
        return;
    }
    match it.step {
        Step::Idle if state.jobs > 0 => actions.push(Act::Fetch(worker)),
        Step::Idle => {}
        Step::Fetched => actions.push(Act::Take(worker)),
        Step::Asking(_) => {
            actions.push(Act::Answer(worker, Outcome::Success));
            if may_fail {
                actions.push(Act::Answer(worker, Outcome::Failure));
            }
        }
        Step::Answered(..) | Step::Unsure(..) => actions.push(Act::Write(worker)),
        Step::Ending => actions.push(Act::End(worker)),
    }
}

fn go_wrong(state: &State, actions: &mut Vec<Act>) {
    let Faults {
        crashes,
        stalls,
        others,
    } = state.faults;
    let is_busy = matches!(state.scheduler.step, Pass::Claimed(_) | Pass::Pushed(_));
    if is_busy && crashes > 0 {
        actions.push(Act::SchedulerCrashes);
    }
    if is_busy && stalls > 0 && !state.scheduler.is_stalled {
        actions.push(Act::SchedulerStalls);
    }
    for worker in 0..WORKERS {
        let it = state.workers[worker];
        if it.step == Step::Idle {
            continue;
        }
        if crashes > 0 {
            actions.extend([Act::Crash(worker), Act::CrashAndRescue(worker)]);
        }
        if stalls > 0 && !it.is_stalled {
            actions.push(Act::Stall(worker));
        }
        if it.is_stalled && !it.is_rescued {
            actions.push(Act::Rescue(worker));
        }
        if others > 0 && !it.is_stalled && matches!(it.step, Step::Answered(..)) {
            actions.push(Act::WriteUnheard(worker));
        }
    }
    if others > 0 && state.jobs > 0 {
        actions.extend([Act::LoseJob, Act::DoubleJob]);
    }
}
