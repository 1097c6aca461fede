//! A PostgreSQL of one test's own, to be stopped in the middle of everything and started again.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

use super::small_disk::SmallDisk;

/// Of the only user, `postgres`.
const PASSWORD: &str = "correct-horse";

/// What of a server is on a small disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDisk {
    /// All but its write-ahead log.
    Tables,
    /// Its write-ahead log.
    Log,
}

/// Ends with the test, also with one that is killed.
pub(crate) struct PostgresServer {
    port: u16,
    folder: TempDir,
    disk: Option<(SmallDisk, OnDisk)>,
    shell: Option<Child>,
}

impl PostgresServer {
    /// One that does not run yet.
    pub(crate) fn prepare() -> Self {
        Self::prepare_on(None)
    }

    /// One that runs on a small disk.
    pub(crate) fn start_on(disk: SmallDisk, part: OnDisk) -> Self {
        let mut server = Self::prepare_on(Some((disk, part)));
        server.run();
        server
    }

    fn prepare_on(disk: Option<(SmallDisk, OnDisk)>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = tempfile::Builder::new()
            .prefix("pg")
            .tempdir_in("/tmp")
            .unwrap();
        // It refuses to run as root, and must get into its folder.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let server = Self {
            port,
            folder,
            disk,
            shell: None,
        };
        let mut initdb = server.program("initdb");
        if let Some((disk, part)) = &server.disk {
            let log = match part {
                OnDisk::Tables => server.path("wal"),
                OnDisk::Log => disk.path().join("wal"),
            };
            let log = format!("--waldir={}", log.display());
            initdb.args(["--wal-segsize=1", &log]);
        }
        let made = initdb
            .args(["--username=postgres", "--auth=password", "--no-locale"])
            .args(["--encoding=UTF8", "--no-sync", "--no-instructions"])
            .arg(format!("--pwfile={}", server.path("password").display()))
            .arg(format!("--pgdata={}", server.data().display()))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        server
    }

    /// One that runs.
    pub(crate) fn start() -> Self {
        let mut server = Self::prepare();
        server.run();
        server
    }

    /// The address of its database `postgres`.
    pub(crate) fn url(&self) -> String {
        self.url_as("postgres", PASSWORD, "postgres")
    }

    pub(crate) fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let port = self.port;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Starts it (again), with what it had.
    pub(crate) fn run(&mut self) {
        // The server stands beside a shell that waits for the end of its input: when this
        // process ends, however it ends, the pipe closes and the shell stops the server at once
        // (`pg_ctl stop -m immediate`).
        let script = "\"$@\" >>\"$0\" 2>&1 & server=$!; cat >/dev/null; kill -QUIT $server; \
                      wait $server; true";
        let server = self.program("postgres");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script])
            .arg(self.path("log"))
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-k", ""])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        if self.disk.is_some() {
            shell.args(["-c", "min_wal_size=4MB", "-c", "max_wal_size=16MB"]);
            // Each part of the log takes room of its own.
            shell.args(["-c", "wal_recycle=off"]);
        }
        self.shell = Some(shell.spawn().unwrap());
        let mut attempts = 0;
        while !self.answers() {
            attempts += 1;
            assert!(attempts < 600, "postgres did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it at once, as a crash does; it recovers when it runs again.
    pub(crate) fn crash(&mut self) {
        let Some(mut shell) = self.shell.take() else {
            return;
        };
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    /// Starts it again if it has ended, as who looks after services does; tells whether it had.
    pub(crate) fn start_if_ended(&mut self) -> bool {
        for _ in 0..20 {
            if self.answers() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.crash();
        self.run();
        true
    }

    /// Begins the next part of its write-ahead log.
    pub(crate) async fn switch_log(&self) {
        // Without room for it, it ends all connections.
        if let Ok(mut connection) = PgConnection::connect(&self.url()).await {
            connection.execute("SELECT pg_switch_wal()").await.ok();
        }
    }

    /// The small disk that it is on.
    pub(crate) fn disk(&self) -> &SmallDisk {
        &self.disk.as_ref().expect("it is on a small disk").0
    }

    /// Its log so far.
    pub(crate) fn written(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    fn answers(&self) -> bool {
        let port = self.port.to_string();
        let mut asked = self.program("pg_isready");
        asked.args(["--quiet", "--host=127.0.0.1", "--port", &port]);
        asked.status().unwrap().success()
    }

    /// Where its data is.
    fn data(&self) -> PathBuf {
        match &self.disk {
            Some((disk, OnDisk::Tables)) => disk.path().join("data"),
            Some((_, OnDisk::Log)) | None => self.path("data"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of PostgreSQL, as a user that is not root.
    fn program(&self, name: &str) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
        let folder = std::env::var("TEST_PG_BIN")
            .expect("TEST_PG_BIN names the folder of PostgreSQL's programs: run scripts/test");
        let program = Path::new(&folder).join(name);
        if let Some((disk, _)) = &self.disk {
            // Who came by the way in is root there, and may be somebody else one namespace further.
            let mut words = disk.way_in().into_iter();
            let mut command = Command::new(words.next().unwrap());
            command
                .args(words)
                .args(["unshare", "-U", "--map-user=65534", "--map-group=65534"])
                .arg(program);
            return command;
        }
        // Whoever owns the folder runs the tests.
        if fs::metadata(self.folder.path()).unwrap().uid() != 0 {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .arg(program);
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.crash();
    }
}
