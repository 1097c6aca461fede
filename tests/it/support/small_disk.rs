//! A disk of a few megabytes, to be filled up and freed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use marketplace_sync::db::Db;
use tempfile::TempDir;

/// Mounts a disk that only this program and who enters its namespace can see, until its input
/// ends.
const HOLD: &str =
    "mount -t tmpfs -o \"size=$1m,mode=777\" tmpfs \"$0\" && echo mounted && exec cat";
/// Room that is left, so that it fills up in the middle of something.
const LEFT: u64 = 128 * 1024;

/// Gone when it is dropped and all processes on it have ended.
pub(crate) struct SmallDisk {
    folder: TempDir,
    copies: TempDir,
    holder: Child,
}

impl SmallDisk {
    /// None where mounting is not permitted.
    pub(crate) fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        let mut holder = Command::new("unshare")
            .args(["-rm", "sh", "-c", HOLD])
            .arg(folder.path())
            .arg(megabytes.to_string())
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
    pub(crate) fn way_in(&self) -> Vec<String> {
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

    /// Where it is, as who came by the way in sees it.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the SQLite database there.
    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path().join("small.db").display())
    }

    /// A copy of that database; none when somebody wrote meanwhile.
    pub(crate) async fn look(&self) -> Option<Db> {
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
        PathBuf::from(root).join(self.path().strip_prefix("/").unwrap())
    }

    /// Takes all but a little of what is free.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.inside().join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        let full = filler.metadata().unwrap().len();
        filler.set_len(full.saturating_sub(LEFT)).unwrap();
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
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
