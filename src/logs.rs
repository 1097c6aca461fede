//! Logs: one JSON object a line, all on one level, or lines for people.
//!
//! A line has `timestamp`, `level`, `event`, `service` and `target`, then the fields of the spans
//! around it (so every line of a request has its `requestId`), then its own; its text is
//! `message`. A name is never there twice: the event wins over its spans, the inner span over the
//! outer. Secrets are kept out by whoever logs; [`Redacted`] shows as much of one as is safe.

use std::fmt;
use std::io::{IsTerminal, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber, error};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The `service` of every line.
pub const SERVICE: &str = "marketplace-sync";

/// The `event` of a line that names none, most often one of a library.
pub const NO_EVENT: &str = "log";

/// What is logged unless the settings say otherwise.
pub const DEFAULT_FILTER: &str = "info,apalis_core=warn,sqlx=warn,hyper=warn,hyper_util=warn,h2=warn,reqwest=warn,rustls=warn,poem=warn";

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people at a terminal.
    Pretty,
}

/// Where lines go: a server logs to stdout, a command prints its result there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A further listener of all lines, for example the live log of the board.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter (`RUST_LOG`) does not parse.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There are logs already.
    #[error("logs are set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up the logs of this process, and logs panics as well. `filter` is in the syntax of
/// `RUST_LOG`; none or an empty one means [`DEFAULT_FILTER`].
pub fn init(
    format: LogFormat,
    output: LogOutput,
    filter: Option<&str>,
    extra: Vec<ExtraLayer>,
) -> Result<(), LogError> {
    let filter = filter
        .filter(|filter| !filter.trim().is_empty())
        .unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = match output {
        LogOutput::Stdout => lines(format, std::io::stdout().is_terminal(), std::io::stdout),
        LogOutput::Stderr => lines(format, std::io::stderr().is_terminal(), std::io::stderr),
    };
    // One list that is never empty: an empty list of layers switches everything off.
    let layers: Vec<ExtraLayer> = std::iter::once(lines).chain(extra).collect();
    tracing_subscriber::registry()
        .with(layers)
        .with(filter)
        .try_init()?;
    log_panics();
    Ok(())
}

/// The layer that writes lines, for [`init`] and for tests that capture them. `color` is for
/// people only.
pub fn lines<W>(format: LogFormat, color: bool, writer: W) -> ExtraLayer
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    match format {
        LogFormat::Json => Box::new(JsonLines { writer }),
        LogFormat::Pretty => Box::new(
            tracing_subscriber::fmt::layer()
                .with_ansi(color)
                .with_writer(writer),
        ),
    }
}

/// From now on a panic is a log line like any other, with the fields of its span.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(event = "panic", location, "panicked: {message}");
    }));
}

/// Shows the first four characters of a secret, if it is long enough not to be given away.
#[derive(Clone, Copy)]
pub struct Redacted<'a>(pub &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.0.chars().count() >= 16 { 4 } else { 0 };
        let start: String = self.0.chars().take(shown).collect();
        write!(formatter, "{start}…")
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Writes each event as a JSON object on one level.
struct JsonLines<W> {
    writer: W,
}

/// The fields of a span, kept until its events are written.
struct SpanFields(Map<String, Value>);

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Map::new();
            attributes.record(&mut Collect(&mut fields));
            // Another layer of this kind (stderr and a file) has put the same there.
            span.extensions_mut().replace(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            record.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Map::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root)
        {
            if let Some(SpanFields(of_span)) = span.extensions().get() {
                fields.extend(
                    of_span
                        .iter()
                        .map(|(name, value)| (name.clone(), value.clone())),
                );
            }
        }
        event.record(&mut Collect(&mut fields));
        fields.entry("event").or_insert_with(|| NO_EVENT.into());
        fields.insert("timestamp".to_owned(), now().into());
        fields.insert(
            "level".to_owned(),
            metadata.level().as_str().to_ascii_lowercase().into(),
        );
        fields.insert("service".to_owned(), SERVICE.into());
        fields.insert("target".to_owned(), metadata.target().into());
        let line = format!("{}\n", Value::Object(fields));
        // A log that cannot be written has nowhere to complain.
        let _ = self
            .writer
            .make_writer_for(metadata)
            .write_all(line.as_bytes());
    }
}

fn now() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Collects fields as JSON values; what JSON has no type for becomes text.
struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        // Fields of the `log` crate's bridge repeat the metadata.
        if !field.name().starts_with("log.") {
            let name = field.name().trim_start_matches("r#");
            self.0.insert(name.to_owned(), value.into());
        }
    }
}

impl Visit for Collect<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::{info, info_span};
    use tracing_subscriber::layer::SubscriberExt;

    use super::{ExtraLayer, LogFormat, LogOutput, Redacted, init, lines, log_panics};

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

    /// What `work` logs, as JSON objects.
    fn capture(work: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::default();
        let writer = captured.clone();
        let layers: Vec<ExtraLayer> = vec![lines(LogFormat::Json, false, move || writer.clone())];
        let subscriber = tracing_subscriber::registry().with(layers);
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_is_one_json_object_on_one_level() {
        let mut lines = capture(|| {
            let _request = info_span!("request", requestId = "r-1", attempt = 1).entered();
            let inner = info_span!("job", attempt = 2, storeId = tracing::field::Empty).entered();
            inner.record("storeId", "s-1");
            info!(
                event = "job_completed",
                durationMs = 1.5,
                level = "forged",
                "synced\nstore s-1"
            );
        });
        let time = lines[0]["timestamp"].take();
        assert!(chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).is_ok());
        insta::assert_snapshot!(lines[0], @r#"{"attempt":2,"durationMs":1.5,"event":"job_completed","level":"info","message":"synced\nstore s-1","requestId":"r-1","service":"marketplace-sync","storeId":"s-1","target":"marketplace_sync::logs::tests","timestamp":null}"#);
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_line_without_an_event_is_told_apart() {
        let lines = capture(|| info!("plain"));
        assert_eq!(lines[0]["event"], "log");
        assert_eq!(lines[0]["message"], "plain");
    }

    #[test]
    fn a_panic_is_a_line_with_the_fields_of_its_span() {
        let lines = capture(|| {
            let usual = std::panic::take_hook();
            log_panics();
            let panicked = std::panic::catch_unwind(|| {
                let _request = info_span!("request", requestId = "r-1").entered();
                panic!("no shelf {}", 7);
            });
            std::panic::set_hook(usual);
            assert!(panicked.is_err());
        });
        assert_eq!(lines[0]["event"], "panic");
        assert_eq!(lines[0]["level"], "error");
        assert_eq!(lines[0]["requestId"], "r-1");
        assert_eq!(lines[0]["message"], "panicked: no shelf 7");
        assert!(lines[0]["location"].as_str().unwrap().contains("logs.rs:"));
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused_before_anything_is_set_up() {
        let error = init(
            LogFormat::Json,
            LogOutput::Stderr,
            Some("info,[=bad"),
            Vec::new(),
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("the log filter is not valid")
        );
    }

    #[test]
    fn a_secret_shows_four_characters_at_most() {
        assert_eq!(Redacted("whsec_0123456789abcdef").to_string(), "whse…");
        assert_eq!(format!("{:?}", Redacted("short-secret")), "…");
        assert_eq!(Redacted("").to_string(), "…");
    }
}
