//! What a test's thread logs, as JSON objects: a test runs on one thread, its tasks included.

use std::io;
use std::sync::{Arc, Mutex};

use marketplace_sync::logs::{ExtraLayer, LogFormat, lines};
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

/// The lines since it was made.
pub(crate) struct Logs {
    written: Written,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logs {
    /// From now until it is dropped.
    pub(crate) fn capture() -> Self {
        let written = Written::default();
        let writer = written.clone();
        let layers: Vec<ExtraLayer> = vec![lines(LogFormat::Json, false, move || writer.clone())];
        let filter = Targets::new()
            .with_target("marketplace_sync", LevelFilter::DEBUG)
            .with_default(LevelFilter::INFO);
        let subscriber = tracing_subscriber::registry().with(layers).with(filter);
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
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

    /// Every line, as it is written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }

    /// How many lines of an event there are.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.of(event).len()
    }
}
