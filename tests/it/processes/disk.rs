//! A disk that fills up while the service runs, and has room again later.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Installation;
use crate::support::app::Profile::Embedded;
use crate::support::process::Process;

/// Mounts a small disk that only this program and what it becomes can see.
const ON_SMALL_DISK: [&str; 5] = [
    "unshare",
    "-rm",
    "sh",
    "-c",
    "mount -t tmpfs -o size=3m tmpfs \"$0\" && exec \"$@\"",
];

fn may_mount(folder: &Path) -> bool {
    let mut command = Command::new(ON_SMALL_DISK[0]);
    command
        .args(&ON_SMALL_DISK[1..])
        .arg(folder)
        .arg("true")
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Takes every byte that is left but a few, so that it fills up in the middle of something.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut filler = File::create(&path).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    filler
        .set_len(filler.metadata().unwrap().len() - 256 * 1024)
        .unwrap();
    path
}

/// A folder as a process sees it that has mounts of its own.
fn seen_by(process: &Process, folder: &Path) -> PathBuf {
    let inside = folder.strip_prefix("/").unwrap();
    let root = format!("/proc/{}/root", process.id());
    Path::new(&root).join(inside)
}

/// The API of the process, for one store.
struct Shop<'a> {
    http: &'a reqwest::Client,
    base: String,
    token: String,
}

impl<'a> Shop<'a> {
    async fn register(http: &'a reqwest::Client, process: &Process) -> Self {
        let base = format!("http://{}", process.address("public").await);
        let store = json!({
            "organizationId": "org-1", "marketplace": "etsy", "externalStoreId": "shop",
            "storeName": "Shop", "accessToken": "secret", "currency": "USD",
        });
        let answer = http
            .post(format!("{base}/stores/register"))
            .json(&store)
            .send()
            .await
            .unwrap();
        let body: Value = answer.json().await.unwrap();
        Self {
            http,
            base,
            token: body["syncToken"].as_str().unwrap().to_owned(),
        }
    }

    /// Imports a receipt; an order, or a problem that blames the server.
    async fn import(&self, receipt: &str) -> Result<(), StatusCode> {
        let body = json!({ "syncToken": self.token, "receipt": receipt });
        let url = format!("{}/orders/import", self.base);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let status = answer.status();
        let is_patient = answer.headers().contains_key("retry-after");
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let body: Value = answer.json().await.unwrap();
        if status == StatusCode::OK {
            assert_eq!(body["success"], true, "{body}");
            return Ok(());
        }
        assert!(kind.starts_with("application/problem+json"), "{kind}");
        assert_eq!(body["status"], status.as_u16());
        assert!(is_patient, "{body}");
        Err(status)
    }

    /// Imports one receipt after the other until five were refused; tells the number of the
    /// last, and which were refused.
    async fn import_until_refused(&self) -> (u64, Vec<String>) {
        let mut refused = Vec::new();
        for number in 1..2_000 {
            let receipt = format!("shop-{number}");
            if let Err(status) = self.import(&receipt).await {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                refused.push(receipt);
            }
            if refused.len() == 5 {
                return (number, refused);
            }
        }
        panic!("the disk never filled up");
    }

    async fn imported(&self) -> u64 {
        let url = format!("{}/stores/sync-status", self.base);
        let answer = self
            .http
            .get(url)
            .header("x-sync-token", &self.token)
            .send()
            .await
            .unwrap();
        let body: Value = answer.json().await.unwrap();
        body["importedOrders"].as_u64().unwrap()
    }
}

/// What was answered as imported is imported, what was not is not, and it works again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    if !may_mount(folder.path()) {
        println!("SKIPPED: mounting a small disk is not permitted here");
        return;
    }
    let mut installation = Installation::new(Embedded, &[]).await;
    let url = format!("sqlite:{}", folder.path().join("small.db").display());
    installation
        .environment
        .push(("DATABASE_URL".to_owned(), url));
    let wrapper = [&ON_SMALL_DISK[..], &[folder.path().to_str().unwrap()]].concat();
    let process = Process::start_under(&wrapper, &["serve"], &installation.environment);
    let shop = Shop::register(installation.http(), &process).await;
    let disk = seen_by(&process, folder.path());

    assert_eq!(shop.import("shop-0").await, Ok(()));
    let filler = fill(&disk);
    let (number, refused) = shop.import_until_refused().await;
    let done = number + 1 - refused.len() as u64;
    assert_eq!(
        shop.imported().await,
        done,
        "reading works, and tells the truth"
    );
    fs::remove_file(filler).unwrap();

    for receipt in &refused {
        // Room or not, an import that was cut off in the middle is in progress for a while.
        let again = shop.import(receipt).await;
        assert!(
            matches!(again, Ok(()) | Err(StatusCode::CONFLICT)),
            "{again:?}: {}",
            process.written()
        );
    }
    let freed = Instant::now();
    while shop.imported().await < number + 1 {
        assert!(
            freed.elapsed() < Duration::from_mins(1),
            "an import was lost"
        );
        sleep(Duration::from_millis(100)).await;
    }
    println!(
        "full after {number} imports; all there {:?} after it had room again",
        freed.elapsed()
    );
    assert_eq!(installation.marketplace.calls().len() as u64, number + 1);
    process.signal("TERM");
    assert_eq!(process.exit().await.code, Some(0));
}

/// A service on a full disk waits for room, and starts when somebody made it.
#[tokio::test]
async fn a_start_without_room_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    if !may_mount(folder.path()) {
        println!("SKIPPED: mounting a small disk is not permitted here");
        return;
    }
    let mut installation = Installation::new(Embedded, &[]).await;
    let url = format!("sqlite:{}", folder.path().join("small.db").display());
    installation
        .environment
        .push(("DATABASE_URL".to_owned(), url));
    let script = "mount -t tmpfs -o size=3m tmpfs \"$0\" && \
                  { cat /dev/zero >\"$0\"/filler 2>&-; exec \"$@\"; }";
    let place = folder.path().to_str().unwrap();
    let wrapper = ["unshare", "-rm", "sh", "-c", script, place];
    let process = Process::start_under(&wrapper, &["serve"], &installation.environment);
    let line = process.wait_for_event("waiting_to_start").await;
    let message = line["message"].as_str().unwrap();
    assert!(
        message.contains("the disk of the database is full"),
        "{line}"
    );
    fs::remove_file(seen_by(&process, folder.path()).join("filler")).unwrap();
    let shop = Shop::register(installation.http(), &process).await;
    assert_eq!(shop.import("shop-1").await, Ok(()));
}

/// A command on a full disk says so.
#[tokio::test]
async fn a_command_without_room_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    if !may_mount(folder.path()) {
        println!("SKIPPED: mounting a small disk is not permitted here");
        return;
    }
    let mut installation = Installation::new(Embedded, &[]).await;
    let url = format!("sqlite:{}", folder.path().join("small.db").display());
    installation
        .environment
        .push(("DATABASE_URL".to_owned(), url));
    let script = "mount -t tmpfs -o size=64k tmpfs \"$0\" && exec \"$@\"";
    let wrapper = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        script,
        folder.path().to_str().unwrap(),
    ];
    let exit = Process::start_under(&wrapper, &["migrate"], &installation.environment)
        .exit()
        .await;
    assert!(
        exit.complaint()
            .contains("the disk of the database is full"),
        "{exit:#?}"
    );
    assert_eq!(exit.code, Some(3));
}
