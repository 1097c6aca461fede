//! The live log of the board: what is logged inside a job, sent to whoever is looking.
//!
//! [`LogStream::layer`] goes into the process's `tracing` subscriber; the board's
//! `/api/v1/events` (server-sent events) reads the same stream. The page parses each entry
//! strictly and stops working at one it cannot read, so this module writes them itself:
//! the broadcaster that `apalis-board-api` brings keeps every client that ever connected,
//! goes silent for all once one browser tab sleeps, and takes the innermost span only.
//!
//! **A job's span** has the fields [`JOB_SPAN_FIELDS`]; the worker of the `jobs` crate opens it
//! around each job: `info_span!("job", job = "sync-store", task_id = %id, attempt = 1)`,
//! `task_id` being the id that the board shows. Handlers need do nothing, and may nest spans
//! in it. Everything logged inside appears on the log page and on the page of that task; what
//! is logged outside of jobs does not. The layer itself adds a `task.start` and a `task.end`
//! entry for the life of the span, which make the open page of that task reload it.
//!
//! Nobody looking costs one atomic load an event. A reader that cannot follow loses the
//! oldest entries, and never slows or breaks anything else.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{SecondsFormat, Utc};
use futures::{Stream, stream};
use poem::web::sse::{Event, SSE};
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The fields of a span that make it a job's span: the job's name, the board's task id and
/// the number of the attempt.
pub const JOB_SPAN_FIELDS: [&str; 3] = ["job", "task_id", "attempt"];

/// Entries a slow reader may lag behind before it loses the oldest.
const CAPACITY: usize = 1024;

/// The board calls itself unhealthy for good once its stream ends, so proxies must not
/// find it idle.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Carries what is logged inside jobs to the readers of the board's log page.
#[derive(Clone, Debug)]
pub struct LogStream {
    entries: broadcast::Sender<Arc<str>>,
    closed: CancellationToken,
}

impl Default for LogStream {
    fn default() -> Self {
        Self::new()
    }
}

impl LogStream {
    /// A stream without readers.
    pub fn new() -> Self {
        Self {
            entries: broadcast::Sender::new(CAPACITY),
            closed: CancellationToken::new(),
        }
    }

    /// The layer that feeds this stream. It does not filter: wrap it in the filter that the
    /// other logs have.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        JobLog(self.clone())
    }

    /// Ends the streams of all readers, so that a graceful shutdown need not wait for open
    /// browser tabs.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// The answer to one reader: entries from now on, until [`LogStream::close`].
    pub(super) fn follow(&self) -> SSE {
        SSE::new(self.events()).keep_alive(KEEP_ALIVE)
    }

    fn events(&self) -> impl Stream<Item = Event> + Send + 'static {
        let reader = (self.entries.subscribe(), self.closed.clone());
        stream::unfold(reader, |(mut entries, closed)| async move {
            loop {
                // What was logged before the end is still sent.
                let entry = tokio::select! {
                    biased;
                    entry = entries.recv() => entry,
                    () = closed.cancelled() => return None,
                };
                match entry {
                    Ok(entry) => return Some((Event::message(&*entry), (entries, closed))),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
    }

    fn is_read(&self) -> bool {
        self.entries.receiver_count() > 0
    }

    /// Sends one entry in the board's shape (`LogEntry` of `apalis-board-types`).
    fn send(&self, metadata: &Metadata<'_>, job: &JobSpan, message: &str) {
        let entry = json!({
            "timestamp": now(),
            "level": metadata.level().as_str(),
            "target": metadata.target(),
            "span": { "name": job.name, "task_id": job.task_id, "attempt": job.attempt },
            "fields": { "message": message },
        });
        // An error means that the last reader has just left.
        let _ = self.entries.send(entry.to_string().into());
    }
}

/// The time of an entry, to the microsecond: together with the message it is the page's key.
#[expect(
    clippy::disallowed_methods,
    reason = "a log tells when it was written, not what time the application takes it to be"
)]
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// What a job's span says; kept in the span's extensions.
#[derive(Default)]
struct JobSpan {
    name: String,
    task_id: String,
    attempt: i64,
}

struct JobLog(LogStream);

impl<S> Layer<S> for JobLog
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if JOB_SPAN_FIELDS
            .iter()
            .any(|field| metadata.fields().field(field).is_none())
        {
            return;
        }
        let mut job = JobSpan::default();
        attributes.record(&mut job);
        if self.0.is_read() {
            self.0
                .send(metadata, &job, &format!("task.start {}", job.name));
        }
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(job);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        if !self.0.is_read() {
            return;
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(job) = span.extensions().get::<JobSpan>() {
                let mut text = Text::default();
                event.record(&mut text);
                self.0.send(event.metadata(), job, &text.line());
                return;
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && self.0.is_read()
            && let Some(job) = span.extensions().get::<JobSpan>()
        {
            self.0
                .send(span.metadata(), job, &format!("task.end {}", job.name));
        }
    }
}

impl Visit for JobSpan {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "attempt" {
            self.attempt = value;
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "job" => value.clone_into(&mut self.name),
            "task_id" => value.clone_into(&mut self.task_id),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// An event as one line; the page shows nothing else of it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn line(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
