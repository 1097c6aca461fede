//! What processes cost, as the kernel tells it.

use std::fmt::{self, Display};
use std::fs;

use serde::Serialize;

use crate::metrics::{field, processor_time_of};

/// What a process cost while something was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process {
    name: String,
    cpu_seconds: f64,
    /// The most memory it had at a time since it started; of several processes that share some,
    /// nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_mib: Option<f64>,
}

impl Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {:.1} CPU seconds",
            self.name, self.cpu_seconds
        )?;
        match self.peak_rss_mib {
            Some(peak) => write!(formatter, ", {peak:.0} MiB at most"),
            None => Ok(()),
        }
    }
}

/// Processes that are watched from now on.
pub(super) struct Watch {
    before: Vec<(String, Vec<u32>, f64)>,
}

impl Watch {
    /// This process, the one that is measured, and the servers of this machine.
    pub(super) fn start(subject: u32) -> Self {
        let own = vec![std::process::id()];
        let named = |name: &str| (name.to_owned(), pids_of(name));
        let groups = [
            ("service".to_owned(), vec![subject]),
            ("load, marketplace, receiver".to_owned(), own),
            named("postgres"),
            named("redis-server"),
        ];
        let before = groups
            .into_iter()
            .filter(|(_, pids)| !pids.is_empty())
            .map(|(name, pids)| {
                let seconds = cpu_seconds(&name, &pids);
                (name, pids, seconds)
            });
        Self {
            before: before.collect(),
        }
    }

    /// What they cost since.
    pub(super) fn stop(self) -> Vec<Process> {
        let processes = self.before.into_iter().map(|(name, pids, before)| {
            let peak = match pids[..] {
                [pid] => peak_rss_mib(pid),
                _ => None,
            };
            Process {
                cpu_seconds: ((cpu_seconds(&name, &pids) - before) * 100.0).round() / 100.0,
                peak_rss_mib: peak,
                name,
            }
        });
        processes.collect()
    }
}

/// Of the processes now; of a server by its name, because it may start and end some.
fn cpu_seconds(name: &str, pids: &[u32]) -> f64 {
    let by_name = pids_of(name);
    let pids = if by_name.is_empty() { pids } else { &by_name };
    pids.iter()
        .filter_map(|pid| processor_time_of(&pid.to_string()))
        .sum()
}

fn pids_of(name: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    })
    .collect()
}

fn peak_rss_mib(pid: u32) -> Option<f64> {
    mib(pid, "VmHWM:")
}

/// The memory that a process has now.
pub(super) fn rss_mib(pid: u32) -> Option<f64> {
    mib(pid, "VmRSS:")
}

fn mib(pid: u32, name: &str) -> Option<f64> {
    Some((field(&status(pid), name)? / 102.4).round() / 10.0)
}

fn status(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}
