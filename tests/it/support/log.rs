//! What the service logs, on the thread a test runs on: its tasks run there, too.

use std::io;
use std::sync::{Arc, Mutex, Once};

use marketplace_sync::logs::{self, ExtraLayer, LogFormat};
use serde_json::Value;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;

/// Captures the log until it is dropped.
pub(crate) struct Log {
    bytes: Captured,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Listens on all other threads, to nothing. A place in the code that logs remembers whether
/// anybody may want to hear; while this is there, no thread makes it forget the others.
struct Nobody;

impl Subscriber for Nobody {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    /// From now on, what passes the filter.
    pub(crate) fn start(filter: &str) -> Self {
        static NOBODY: Once = Once::new();
        NOBODY.call_once(|| tracing::subscriber::set_global_default(Nobody).unwrap());
        let bytes = Captured::default();
        let writer = bytes.clone();
        let layers: Vec<ExtraLayer> =
            vec![logs::lines(LogFormat::Json, false, move || writer.clone())];
        let subscriber = tracing_subscriber::registry()
            .with(layers)
            .with(EnvFilter::new(filter));
        Self {
            bytes,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// From now on, what a run and a pass log.
    pub(crate) fn capture() -> Self {
        Self::start("info,marketplace_sync=debug")
    }

    /// All lines, as they were written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes.0.lock().unwrap().clone()).unwrap()
    }

    /// All lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        self.text().lines().map(parse).collect()
    }

    /// The lines of an event, without the time, what varies from run to run, and what the queue
    /// adds to the lines of its jobs.
    pub(crate) fn of(&self, event: &str) -> Vec<Value> {
        let mut lines: Vec<Value> = self
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["event"] == event)
            .collect();
        for line in &mut lines {
            let line = line.as_object_mut().unwrap();
            for varying in ["timestamp", "target", "message"] {
                assert!(line.remove(varying).is_some_and(|value| value.is_string()));
            }
            for of_queue in ["job", "task_id", "attempt"] {
                line.remove(of_queue);
            }
            if let Some(duration) = line.remove("durationMs") {
                assert!(duration.is_u64());
            }
        }
        lines
    }

    /// How many lines of an event there are.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.of(event).len()
    }
}
