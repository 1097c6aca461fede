//! What the service logs, on the thread a test runs on.

use std::io;
use std::sync::{Arc, Mutex};

use marketplace_sync::logs::{self, ExtraLayer, LogFormat};
use serde_json::Value;
use tracing::subscriber::DefaultGuard;
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

impl Log {
    /// From now on, what passes the filter.
    pub(crate) fn start(filter: &str) -> Self {
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

    /// All lines, as they were written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes.0.lock().unwrap().clone()).unwrap()
    }

    /// All lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        self.text().lines().map(parse).collect()
    }
}
