//! `keys rotate-encryption`, as an operator runs it.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::on;
use crate::support::process::{Environment, Process, run};
use crate::support::runs::until;

/// Keys of 32 times the same byte, and their ids.
const OLD: (&str, &str) = ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "72cd6e84");
const NEW: (&str, &str) = ("AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", "75877bb4");
const ROTATE: [&str; 2] = ["keys", "rotate-encryption"];

impl Installation {
    /// Inserts stores that have nothing to do.
    async fn insert_stores(&self, count: u32) {
        self.insert(count, 1).await;
        on!(&self.db, pool => sqlx::query("DELETE FROM sync_logs")
            .execute(pool).await.map(|_| ()).unwrap());
    }
}

/// The settings of an installation, with these keys.
fn with_keys(installation: &Installation, keys: &str) -> Environment {
    let mut settings = installation.environment.clone();
    settings.push(("TOKEN_ENCRYPTION_KEY".to_owned(), keys.to_owned()));
    settings
}

async fn rotated(settings: &Environment) -> Value {
    let exit = run(&ROTATE, settings).await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let [line] = &exit.stdout[..] else {
        panic!("not one line on stdout: {exit:#?}")
    };
    serde_json::from_str(line).unwrap()
}

/// Killed in the middle of its work, it goes on where it was; beside a process that serves.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rotation_is_finished_by_the_next_one(#[values(Embedded, Server)] on: Profile) {
    const STORES: u32 = 3000;
    let mut installation = Installation::new(on, &[]).await;
    installation.insert_stores(STORES).await;
    let first = rotated(&with_keys(&installation, OLD.0)).await;
    assert_eq!(first["rotated"]["stores.access_token"], STORES);
    let both = with_keys(&installation, &format!("{},{}", NEW.0, OLD.0));
    installation.environment = both.clone();
    let serving = installation.start_all().await;

    let process = Process::start(&ROTATE, &both);
    let with_new = "SELECT COUNT(*) FROM stores WHERE access_token LIKE 'enc:v1:75877bb4:%'";
    until(async || installation.count(with_new).await > 0).await;
    process.kill().await;
    let done = installation.count(with_new).await;
    println!("{done} of {STORES} were encrypted when it was killed");
    assert!(done < i64::from(STORES), "it was done already");

    let last = rotated(&both).await;
    assert_eq!(
        last["rotated"]["stores.access_token"],
        i64::from(STORES) - done
    );
    assert_eq!(last["freedKeys"], json!([OLD.1]));
    assert_eq!(installation.count(with_new).await, i64::from(STORES));
    // Every one is still what it was: the marketplace is asked with it, by who lacks the old key.
    serving.signal("TERM");
    assert_eq!(serving.exit().await.code, Some(0));
    installation.environment = with_keys_only(&both, NEW.0);
    installation.insert_rows_of_ten_stores().await;
    let _serving = installation.start_all().await;
    installation.wait_until_synced(Duration::from_mins(1)).await;
}

/// The same settings with other keys.
fn with_keys_only(settings: &Environment, keys: &str) -> Environment {
    let mut settings = settings.clone();
    settings.retain(|(name, _)| name != "TOKEN_ENCRYPTION_KEY");
    settings.push(("TOKEN_ENCRYPTION_KEY".to_owned(), keys.to_owned()));
    settings
}

#[tokio::test]
async fn a_rotation_needs_a_key_and_all_that_are_in_use() {
    let installation = Installation::new(Embedded, &[]).await;
    let exit = run(&ROTATE, &installation.environment).await;
    let complaint = exit.complaint();
    assert!(
        complaint.contains("`TOKEN_ENCRYPTION_KEY` must be set"),
        "{complaint}"
    );
    assert_eq!(exit.code, Some(2));
    installation.insert_stores(1).await;
    rotated(&with_keys(&installation, OLD.0)).await;
    let exit = run(&ROTATE, &with_keys(&installation, NEW.0)).await;
    let complaint = exit.complaint();
    assert!(complaint.contains(OLD.1), "{complaint}");
    assert_eq!(exit.code, Some(2));
}
