//! What goes wrong at a mock marketplace, on demand.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state::Operation;
use crate::ids::split_mix;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "fault",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum FaultKind {
    /// The connection is lost before anything is done.
    DropBefore,
    /// The connection is lost when everything is done, and nobody is told.
    DropAfter,
    /// Another answer.
    Status {
        /// Its status.
        status: u16,
        /// Its body; a text is sent as it is.
        #[serde(default)]
        body: Option<Value>,
        /// Whether the request was done all the same.
        #[serde(default)]
        applied: bool,
    },
    /// 429, as this marketplace says it.
    RateLimit {
        /// Its `Retry-After`, if it has one.
        #[serde(default)]
        retry_after_seconds: Option<u32>,
    },
    /// The answer takes longer.
    Slow {
        /// By so much.
        delay_ms: u64,
    },
    /// The request is done, and half of the answer comes.
    MalformedJson,
    /// The request is done, and the answer has so many bytes.
    Oversized {
        /// So many.
        bytes: usize,
    },
    /// An item is refused.
    RejectItem {
        /// Which.
        identifier: String,
        /// In these words.
        reason: String,
    },
    /// A batch is applied later than those that come after it.
    ApplyLate {
        /// By so much.
        delay_seconds: u32,
    },
    /// The results of a batch come in another order.
    ShuffleResults,
    /// A batch is applied, and its results never say so.
    NeverDone,
    /// A batch fails as a whole.
    FailBatch,
}

/// Something that goes wrong once or a few times, or by chance until it is taken away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// With what only; with everything when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// How often; once unless there is a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// With which chance, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl Fault {
    /// Once, with the next request of an operation.
    pub fn once(operation: Operation, kind: FaultKind) -> Self {
        Self {
            kind,
            operation: Some(operation),
            times: Some(1),
            rate: None,
        }
    }

    /// By chance, with every operation.
    pub fn by_rate(rate: f64, kind: FaultKind) -> Self {
        Self {
            kind,
            operation: None,
            times: None,
            rate: Some(rate),
        }
    }

    /// What is wrong with it, if anything is.
    pub(super) fn complaint(&self) -> Option<&'static str> {
        if self.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Some("a rate is from 0 to 1");
        }
        match self.kind {
            FaultKind::Status { status, .. } if !(200..=599).contains(&status) => {
                Some("a status is from 200 to 599")
            }
            FaultKind::Oversized { bytes } if bytes > 64 << 20 => Some("64 MiB are enough"),
            _ => None,
        }
    }
}

/// The faults that are waiting, and the dice.
#[derive(Debug)]
pub(super) struct Faults {
    waiting: Vec<Fault>,
    dice: u64,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            waiting: Vec::new(),
            dice: seed,
        }
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    pub(super) fn all(&self) -> &[Fault] {
        &self.waiting
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The first waiting fault of this operation that fits, and whose turn it is. One-shots are
    /// used up.
    pub(super) fn take(
        &mut self,
        operation: Option<Operation>,
        fits: impl Fn(&FaultKind) -> bool,
    ) -> Option<FaultKind> {
        let mut dice = self.dice;
        let place = self.waiting.iter().position(|fault| {
            let is_meant = fault.operation.is_none() || fault.operation == operation;
            is_meant && fits(&fault.kind) && fault.rate.is_none_or(|rate| chance(&mut dice) < rate)
        });
        self.dice = dice;
        let fault = &mut self.waiting[place?];
        let kind = fault.kind.clone();
        if fault.rate.is_none() {
            let left = fault.times.unwrap_or(1).saturating_sub(1);
            fault.times = Some(left);
        }
        self.waiting
            .retain(|fault| fault.rate.is_some() || fault.times != Some(0));
        Some(kind)
    }
}

/// A number from 0 to 1, without 1.
fn chance(dice: &mut u64) -> f64 {
    // 32 bits fit a float exactly.
    let bits = u32::try_from(split_mix(dice) >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// Another order of these, the same for the same number.
pub(super) fn shuffled<T>(mut list: Vec<T>, seed: u64) -> Vec<T> {
    let mut dice = seed;
    for end in (1..list.len()).rev() {
        let bound = u64::try_from(end + 1).unwrap_or(u64::MAX);
        let other = usize::try_from(split_mix(&mut dice) % bound).unwrap_or_default();
        list.swap(end, other);
    }
    list
}
