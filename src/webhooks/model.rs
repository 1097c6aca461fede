//! The words of events.

use serde::{Serialize, Serializer};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::enum_variant_names,
    reason = "named as on the wire; runs are what has events so far"
)]
pub(crate) enum EventType {
    /// A run of a store began.
    SyncStarted,
    /// It ended; some orders may have failed.
    SyncCompleted,
    /// It ended and the store is failing, or it broke off.
    SyncFailed,
}

impl EventType {
    /// Its name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SyncStarted => "sync.started",
            Self::SyncCompleted => "sync.completed",
            Self::SyncFailed => "sync.failed",
        }
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
