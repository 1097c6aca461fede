//! A PostgreSQL of a test's own, that can be stopped in the middle of everything.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// PostgreSQL refuses to run as root.
const AS_POSTGRES: &str = "as_postgres() {
    if [ \"$(id -u)\" = 0 ]; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups -- \"$@\"
    fi
    exec \"$@\"
};";
const PREPARE: &str = "folder=$1; [ \"$(id -u)\" != 0 ] || chown -R postgres: \"$folder\"
    (as_postgres \"$0/initdb\" --pgdata=\"$folder/data\" --username=postgres \\
        --pwfile=\"$folder/password\" --auth-local=trust --auth-host=password \\
        --encoding=UTF8 --no-locale --no-sync --no-instructions) >\"$folder/log\" 2>&1";
/// The server stands beside a shell that waits for the end of its input, which comes when this
/// process ends, however it ends. SIGQUIT is what `pg_ctl stop -m immediate` sends.
const RUN: &str = "folder=$1; cd \"$folder\"
    as_postgres \"$0/postgres\" -D \"$folder/data\" -p \"$2\" -k \"$folder\" \\
        -c listen_addresses=127.0.0.1 -c unix_socket_permissions=0700 -c max_connections=100 \\
        -c fsync=off -c full_page_writes=off >>\"$folder/log\" 2>&1 &
    server=$!; cat >/dev/null; kill -QUIT $server; wait $server";

/// Ends with the test, also with one that is killed.
pub(crate) struct PostgresServer {
    bin: String,
    port: u16,
    password: String,
    folder: TempDir,
    shell: Option<Child>,
}

impl PostgresServer {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
        let bin = std::env::var("TEST_PG_BIN")
            .expect("TEST_PG_BIN names the folder of initdb and postgres: run scripts/test");
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut server = Self {
            bin,
            port,
            password: format!("{:x}", getrandom::u64().unwrap()),
            folder: tempfile::tempdir().unwrap(),
            shell: None,
        };
        let path = server.folder.path().join("password");
        std::fs::write(path, &server.password).unwrap();
        let prepared = server.shell(PREPARE).status().unwrap();
        assert!(prepared.success(), "initdb failed: {}", server.log());
        server.run();
        server
    }

    /// Its one database.
    pub(crate) fn url(&self) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")
    }

    /// Starts it (again), with what was committed; it may need a while to get ready.
    pub(crate) fn run(&mut self) {
        let shell = self.shell(RUN).stdin(Stdio::piped()).spawn().unwrap();
        self.shell = Some(shell);
        let mut attempts = 0;
        while !self.is_ready() {
            attempts += 1;
            assert!(attempts < 600, "postgres did not start: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(format!("{}/pg_isready", self.bin));
        let port = self.port.to_string();
        command.args(["-q", "-h", "127.0.0.1", "-p", &port]);
        command.status().unwrap().success()
    }

    /// Stops it at once: nothing is finished, nobody is told, and the next start must recover.
    pub(crate) fn stop_immediately(&mut self) {
        let Some(mut shell) = self.shell.take() else {
            return;
        };
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{AS_POSTGRES}\n{script}"), &self.bin])
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop_immediately();
    }
}
