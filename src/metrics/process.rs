//! What the process costs, as the kernel tells it; nothing where there is no `/proc`.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The kernel tells processor time in hundredths of a second, on every platform we run on.
const TICKS_A_SECOND: f64 = 100.0;

/// Reads `/proc/self` at each scrape: a few small files, some tens of microseconds.
#[derive(Debug, Default)]
pub(super) struct ProcessFigures {}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        if let Some(seconds) = processor_time_of("self") {
            counter(
                &mut encoder,
                "process_cpu_seconds",
                "Processor time, user and system",
                seconds,
            )?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(kilobytes) = field(&status, "VmRSS:") {
            gauge(
                &mut encoder,
                "process_resident_memory_bytes",
                "Memory in use",
                kilobytes * 1024.0,
            )?;
        }
        if let Some(threads) = field(&status, "Threads:") {
            gauge(&mut encoder, "process_threads", "Threads", threads)?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One is the folder itself.
            let open = u32::try_from(files.count())
                .unwrap_or(u32::MAX)
                .saturating_sub(1);
            gauge(
                &mut encoder,
                "process_open_fds",
                "Open files and connections",
                f64::from(open),
            )?;
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(most) = field(&limits, "Max open files") {
            gauge(
                &mut encoder,
                "process_max_fds",
                "The most files and connections it may open",
                most,
            )?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    counter.encode(metric)
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}

/// The number behind a name at the beginning of a line of such a file.
pub(crate) fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time of a process, in seconds.
pub(crate) fn processor_time_of(pid: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_kernel_tells_time_and_memory_of_this_process() {
        let before = processor_time_of("self").unwrap();
        let started = Instant::now();
        let mut sum = 0_u64;
        while started.elapsed() < Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(processor_time_of("self").unwrap() > before);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(field(&status, "VmRSS:").unwrap() > 1000.0);
        assert_eq!(field(&status, "NoSuchField:"), None);
    }
}
