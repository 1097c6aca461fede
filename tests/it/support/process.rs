//! The real binary, started as a user or an orchestrator would: by arguments and environment.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// The longest any test waits for a process to do what it must.
const PATIENCE: Duration = Duration::from_mins(1);

/// Settings by name, as in the environment.
pub(crate) type Environment = Vec<(String, String)>;

/// A process of the service. Dropped, it kills it.
pub(crate) struct Process {
    child: Child,
    output: watch::Receiver<Output>,
    /// Where it was started: no `.env` of anybody else is there.
    _folder: TempDir,
}

/// What a process has written so far.
#[derive(Clone, Debug, Default)]
struct Output {
    stdout: Vec<String>,
    stderr: Vec<String>,
    open: u8,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Process {
    /// Starts the binary with nothing but these settings.
    pub(crate) fn start(arguments: &[&str], settings: &Environment) -> Self {
        Self::start_under(&[], arguments, settings)
    }

    /// Starts it by another program that becomes it (`exec`), with other rights for example.
    pub(crate) fn start_under(
        wrapper: &[&str],
        arguments: &[&str],
        settings: &Environment,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let words = [
            wrapper,
            &[env!("CARGO_BIN_EXE_marketplace-sync")],
            arguments,
        ]
        .concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (output, reader) = watch::channel(Output {
            open: 2,
            ..Output::default()
        });
        read(child.stdout.take().unwrap(), output.clone(), |output| {
            &mut output.stdout
        });
        read(child.stderr.take().unwrap(), output, |output| {
            &mut output.stderr
        });
        Self {
            child,
            output: reader,
            _folder: folder,
        }
    }

    /// Waits for a line of the JSON log with this `event`, and returns the first one.
    pub(crate) async fn wait_for_event(&self, name: &str) -> Value {
        self.wait_for_events(name, 1).await.swap_remove(0)
    }

    /// Waits until the log has so many lines with this `event`.
    pub(crate) async fn wait_for_events(&self, name: &str, count: usize) -> Vec<Value> {
        let mut output = self.output.clone();
        let seen = output
            .wait_for(|output| output.open == 0 || events(&output.stdout, name).len() >= count);
        let Ok(seen) = timeout(PATIENCE, seen).await else {
            panic!(
                "no `{name}` within {PATIENCE:?}: {:#?}",
                self.output.borrow()
            );
        };
        let found = events(&seen.as_ref().unwrap().stdout, name);
        assert!(
            found.len() >= count,
            "ended without `{name}`: {:#?}",
            *seen.unwrap()
        );
        found
    }

    /// The lines of the JSON log so far with this `event`.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        events(&self.output.borrow().stdout, name)
    }

    /// Everything written so far, on stdout and on stderr.
    pub(crate) fn written(&self) -> String {
        let output = self.output.borrow();
        [&output.stdout[..], &output.stderr[..]].concat().join("\n")
    }

    /// Where a listener (`public`, `admin`) is, as the log tells.
    pub(crate) async fn address(&self, listener: &str) -> SocketAddr {
        self.wait_for_event("started").await;
        self.listening(listener).await
    }

    /// The same, while it may still wait for its database.
    pub(crate) async fn listening(&self, listener: &str) -> SocketAddr {
        for count in 1.. {
            let lines = self.wait_for_events("listening", count).await;
            if let Some(line) = lines.iter().find(|line| line["listener"] == listener) {
                return line["address"].as_str().unwrap().parse().unwrap();
            }
        }
        unreachable!("a process that listens nowhere says nothing more")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal (`TERM`, `KILL` …).
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap();
        assert!(sent.success(), "process {id} is gone already");
    }

    /// Waits for its end.
    pub(crate) async fn exit(mut self) -> Exit {
        let mut output = self.output.clone();
        let closed = output.wait_for(|output| output.open == 0);
        let Ok(closed) = timeout(PATIENCE, closed)
            .await
            .map(|closed| closed.map(|_| ()))
        else {
            panic!(
                "did not end within {PATIENCE:?}: {:#?}",
                self.output.borrow()
            );
        };
        closed.unwrap();
        let code = self.child.wait().unwrap().code();
        let Output { stdout, stderr, .. } = self.output.borrow().clone();
        Exit {
            code,
            stdout,
            stderr,
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(mut self) -> Exit {
        self.child.kill().unwrap();
        self.exit().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Exit {
    /// The lines of the JSON log on stdout with this `event`.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        events(&self.stdout, name)
    }

    /// The one line on stderr of a command that failed; it shows no stack and no secret.
    pub(crate) fn complaint(&self) -> &str {
        let [line] = &self.stderr[..] else {
            panic!("not one line on stderr: {self:#?}")
        };
        assert!(line.starts_with("marketplace-sync: "), "{line}");
        assert!(
            !line.contains("panicked") && !line.contains(".rs:"),
            "{line}"
        );
        line
    }
}

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str], settings: &Environment) -> Exit {
    Process::start(arguments, settings).exit().await
}

/// Settings from pairs of literals.
pub(crate) fn environment(pairs: &[(&str, &str)]) -> Environment {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

/// Resident memory of a process in megabytes, and the processor time it has used so far.
pub(crate) fn footprint(process: &Process) -> (f64, Duration) {
    let folder = Path::new("/proc").join(process.id().to_string());
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: f64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    let stat = std::fs::read_to_string(folder.join("stat")).unwrap();
    // Behind the name, which ends with the last parenthesis: utime and stime, in 1/100 s.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 1..]
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    (kilobytes / 1024.0, Duration::from_millis(ticks * 10))
}

fn events(lines: &[String], name: &str) -> Vec<Value> {
    // Cheap first: a busy process logs thousands of lines.
    let marker = format!("\"event\":\"{name}\"");
    let lines = lines.iter().filter(|line| line.contains(&marker));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn read(
    stream: impl Read + Send + 'static,
    output: watch::Sender<Output>,
    lines: fn(&mut Output) -> &mut Vec<String>,
) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            output.send_modify(|output| lines(output).push(line));
        }
        output.send_modify(|output| output.open -= 1);
    });
}
