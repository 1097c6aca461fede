//! `keys`, and the starts that depend on there being one.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::Value;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::process::{Exit, Process, run};

impl Installation {
    /// Runs `keys …`.
    async fn keys(&self, arguments: &[&str]) -> Exit {
        run(&[&["keys"], arguments].concat(), &self.environment).await
    }

    /// The status of a request with a key.
    async fn status(&self, process: &Process, key: &str) -> StatusCode {
        let api = process.address("public").await;
        let url = format!("http://{api}/webhooks?organizationId=org-1");
        let request = self.http().get(url).header("x-api-key", key);
        request.send().await.unwrap().status()
    }
}

/// The JSON lines on stdout of a command that did its work.
fn lines(exit: &Exit) -> Vec<Value> {
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let parse = |line: &String| serde_json::from_str(line).unwrap();
    exit.stdout.iter().map(parse).collect()
}

#[rstest]
#[tokio::test]
async fn a_key_is_shown_once_listed_and_revoked(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[("AUTH", "required")]).await;
    let create = ["create", "--organization", "org-1", "--name", "ERP"];
    let until = ["--scope", "read", "--expires-in-days", "30"];
    let made = lines(&installation.keys(&[&create[..], &until].concat()).await);
    let [made] = &made[..] else {
        panic!("{made:?}")
    };
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with(made["prefix"].as_str().unwrap()));
    assert_eq!(
        (&made["scope"], &made["name"]),
        (&"read".into(), &"ERP".into())
    );
    lines(
        &installation
            .keys(&["create", "--organization", "org-2"])
            .await,
    );

    let process = installation.start("api", "all").await;
    assert_eq!(installation.status(&process, key).await, 200);
    assert_eq!(installation.status(&process, "wrong").await, 401);

    let all = installation.keys(&["list"]).await;
    assert!(!format!("{all:?}").contains(&key[13..]));
    let states: Vec<Value> = lines(&all)
        .iter()
        .map(|line| line["state"].clone())
        .collect();
    assert_eq!(states, ["active", "active"]);
    let own = lines(
        &installation
            .keys(&["list", "--organization", "org-1"])
            .await,
    );
    let [own] = &own[..] else { panic!("{own:?}") };
    assert_eq!(own["id"], made["id"]);
    assert_eq!(own["expiresAt"], made["expiresAt"]);

    let id = made["id"].as_str().unwrap();
    let revoked = lines(&installation.keys(&["revoke", id]).await);
    assert_eq!(revoked[0]["state"], "revoked");
    assert_eq!(
        installation.status(&process, key).await,
        401,
        "without a restart"
    );
}

#[rstest]
#[case(&["create"], 2, "--organization")]
#[case(&["create", "--organization", ""], 2, "1 to 255")]
#[case(&["create", "--organization", "a", "--scope", "all"], 2, "read, write")]
#[case(&["create", "--organization", "a", "--expires-in-days", "0"], 2, "--expires-in-days")]
#[case(&["revoke", "7"], 2, "<ID>")]
#[case(&["revoke", "018cc251-f400-7000-8000-000000000000"], 1, "there is no API key 018cc251")]
#[tokio::test]
async fn what_cannot_be_done_is_said(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] words: &str,
) {
    let installation = Installation::new(Embedded, &[]).await;
    let exit = installation.keys(arguments).await;
    assert_eq!(exit.code, Some(code), "{exit:#?}");
    assert!(exit.stdout.is_empty(), "{exit:#?}");
    assert!(exit.stderr.join("\n").contains(words), "{exit:#?}");
}

#[rstest]
#[case("HOST", "0.0.0.0")]
#[case("AUTH", "required")]
#[tokio::test]
async fn a_start_without_a_key_says_how_to_make_one(
    #[values(Embedded, Server)] on: Profile,
    #[case] name: &str,
    #[case] value: &str,
) {
    // Thirty-two bytes of zero: beyond this machine secrets are encrypted.
    let encryption = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let settings = [(name, value), ("TOKEN_ENCRYPTION_KEY", encryption)];
    let installation = Installation::new(on, &settings).await;
    let exit = run(&["serve"], &installation.environment).await;
    assert_eq!(exit.code, Some(2), "{exit:#?}");
    let complaint = exit.stderr.last().unwrap();
    assert!(
        complaint.contains("keys create --organization"),
        "{complaint}"
    );
    // A process without the API has nothing to lock.
    installation.start("worker,scheduler", "all").await;

    let made = lines(
        &installation
            .keys(&["create", "--organization", "org-1"])
            .await,
    );
    let process = installation.start("api", "all").await;
    assert_eq!(process.events("anonymous_access").len(), 0);
    let key = made[0]["key"].as_str().unwrap();
    assert_eq!(installation.status(&process, key).await, 200);
}

#[rstest]
#[tokio::test]
async fn anonymous_access_is_warned_of(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[]).await;
    let process = installation.start("api", "all").await;
    assert_eq!(process.events("anonymous_access").len(), 1);
    assert_eq!(installation.status(&process, "any").await, 200);
}
