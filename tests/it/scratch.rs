use jobs::board::Board;
use marketplace_sync::admin::{self, LogStream};
use poem::listener::{Acceptor, Listener, TcpListener};
use sqlx::sqlite::SqlitePoolOptions;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn scratch() {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql("CREATE TABLE Workers (id TEXT, worker_type TEXT, storage_name TEXT, layers TEXT, last_seen INTEGER, started_at INTEGER);
    CREATE TABLE Jobs (job BLOB NOT NULL, id TEXT NOT NULL UNIQUE, job_type TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'Pending', attempts INTEGER NOT NULL DEFAULT 0, max_attempts INTEGER NOT NULL DEFAULT 25, run_at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)), last_result TEXT, lock_at INTEGER, lock_by TEXT, done_at INTEGER, priority INTEGER NOT NULL DEFAULT 0, metadata TEXT, idempotency_key TEXT);
    INSERT INTO Workers VALUES ('w-1', 'sync-store-queue', 'SqliteStorage', 'TrackerService<LoadShed<x>>', strftime('%s','now'), strftime('%s','now') - 4000);").execute(&pool).await.unwrap();
    for (n, status) in ["Pending", "Pending", "Running", "Done", "Failed"].iter().enumerate() {
        sqlx::query("INSERT INTO Jobs (job, id, job_type, status, last_result, lock_by) VALUES (CAST($1 AS BLOB), $2, 'sync-store-queue', $3, '{\"Err\":\"oh no, the marketplace is away\"}', 'w-1')")
            .bind(format!("{{\"store_id\":\"0199-{n}\"}}")).bind(format!("01K0000000000000000000000{n}")).bind(status).execute(&pool).await.unwrap();
    }
    for n in 0..40 {
        sqlx::query("INSERT INTO Jobs (job, id, job_type, status) VALUES ('{}', $1, 'callback-queue', 'Done')")
            .bind(format!("01K00000000000000000000A{n:02}")).execute(&pool).await.unwrap();
    }
    let logs = LogStream::new();
    let subscriber = tracing::Dispatch::new(tracing_subscriber::registry().with(logs.layer()));
    let app = admin::app(Board::sqlite(pool, vec!["sync-store-queue".into(), "callback-queue".into()]), logs.clone(), None);
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
    let port = acceptor.local_addr()[0].as_socket_addr().unwrap().port();
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(app));
    let base = format!("http://127.0.0.1:{port}");
    tokio::task::block_in_place(|| {
        let mut browser = Browser::start();
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        for (page, name, cond) in [
            ("/", "home", "text.includes('sync-store-queue')"),
            ("/queues", "queues", "text.includes('callback-queue')"),
            ("/queues/sync-store-queue", "queue", "text.includes('w-1')"),
            ("/queues/sync-store-queue/Failed", "failed", "text.includes('01K00')"),
            ("/tasks", "tasks", "text.includes('01K00')"),
            ("/tasks/Done", "done", "text.includes('01K00')"),
            ("/workers", "workers", "text.includes('w-1')"),
            ("/queues/sync-store-queue/tasks/01K00000000000000000000004", "task", "text.includes('store_id')"),
            ("/logs", "logs", "text.includes('Logs')"),
        ] {
            browser.open(&format!("{base}{page}"));
            let text = browser.wait_for(cond);
            eprintln!("== {page}\n{text}");
            if name == "logs" {
                let subscriber = subscriber.clone();
                std::thread::spawn(move || loop { std::thread::sleep(std::time::Duration::from_millis(1000));
                tracing::dispatcher::with_default(&subscriber, || {
                    let span = tracing::info_span!("sync_store", task_id = %"abc", attempt = 2_u64);
                    let _in = span.enter();
                    for n in 0..20 { tracing::info!(n, "line {n}."); }
                })});
                let text = browser.wait_for("text.includes('task.end')");
                eprintln!("== logs\n{text}");
            }
            browser.screenshot(&dir.join(format!("board-{name}.png")));
        }
    });
}
