//! A disk that fills up under two processes at work, and has room again later.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use marketplace_sync::db::Db;
use tempfile::TempDir;
use tokio::time::sleep;

use super::site::Site;

/// Mounts a disk that only this program and who enters its namespace can see, until its input
/// ends.
const HOLD: &str = "mount -t tmpfs -o size=12m tmpfs \"$0\" && echo mounted && exec cat";
/// Room that is left, so that it fills up in the middle of something.
const LEFT: u64 = 128 * 1024;

/// Gone when it is dropped and all processes on it have ended.
pub(super) struct SmallDisk {
    folder: TempDir,
    copies: TempDir,
    holder: Child,
}

impl SmallDisk {
    /// None where mounting is not permitted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut holder = Command::new("unshare")
            .args(["-rm", "sh", "-c", HOLD])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let mut output = BufReader::new(holder.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let disk = Self {
            folder,
            copies: tempfile::tempdir().unwrap(),
            holder,
        };
        (line.trim() == "mounted").then_some(disk)
    }

    /// The program that starts others where the disk is to be seen.
    pub(super) fn way_in(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        let words = [
            "nsenter",
            "-t",
            &holder,
            "-U",
            "-m",
            "--preserve-credentials",
        ];
        words.map(str::to_owned).to_vec()
    }

    /// The address of the database there.
    pub(super) fn url(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("small.db").display())
    }

    /// A copy of the database; none when somebody wrote meanwhile.
    pub(super) async fn look(&self) -> Option<Db> {
        let name = format!("{:x}.db", getrandom::u64().unwrap());
        let copy = self.copies.path().join(name);
        for end in ["", "-wal"] {
            let from = self.inside().join(format!("small.db{end}"));
            if from.exists() {
                fs::copy(from, format!("{}{end}", copy.display())).ok()?;
            }
        }
        let db = Db::connect(&format!("sqlite:{}", copy.display()), 1).await;
        db.ok()
    }

    /// Where it is, as others see it.
    fn inside(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        PathBuf::from(root).join(self.folder.path().strip_prefix("/").unwrap())
    }

    fn fill(&self) {
        let mut filler = File::create(self.inside().join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        let full = filler.metadata().unwrap().len();
        filler.set_len(full.saturating_sub(LEFT)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.inside().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
    }
}

/// What was acknowledged is there, and both processes go on by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_two_processes_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        println!("SKIPPED: mounting a small disk is not permitted here");
        return;
    };
    let mut site = Site::open_on_disk(disk).await;
    site.endure("full disk", async |site: &mut Site| {
        let disk = site.disk.as_ref().unwrap();
        disk.fill();
        sleep(Duration::from_secs(8)).await;
        let written = site.last().written();
        assert!(written.contains("is full"), "it never was full: {written}");
        disk.free();
    })
    .await;
    site.close("full disk").await;
}
