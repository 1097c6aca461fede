//! What is really connected to: the addresses that a name has at send time, no redirect's
//! target, no proxy.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marketplace_sync::marketplace::connector::http_client;
use marketplace_sync::webhooks::guard::GuardError;
use marketplace_sync::webhooks::send::SendError;
use marketplace_sync::webhooks::{Guard, Sender};
use poem::http::StatusCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rstest::rstest;
use serde_json::{Value, json};

use super::{ORGANIZATION, register, registered};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::marketplace::PATIENCE;
use crate::support::process::{Process, environment};
use crate::support::receiver::Receiver;

/// Names as the test says; they may change.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, Vec<IpAddr>>>>);

impl Names {
    fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.0.lock().unwrap().insert(name.to_owned(), addresses);
    }

    fn guard(&self, allows_private: bool) -> Guard {
        Guard::over(allows_private, Arc::new(self.clone()))
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.0.lock().unwrap().get(name.as_str()).cloned();
        Box::pin(async move {
            let found = found.ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))?;
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

async fn post(sender: &Sender, url: &str) -> Result<u16, SendError> {
    let sent = sender
        .post(url, [("x-event-id", "1".to_owned())], b"{}".to_vec())
        .await;
    sent.reply.map(|reply| reply.status)
}

/// at send time, whatever the name was before.
#[tokio::test]
async fn a_name_that_leads_into_our_network_is_not_connected_to() {
    let receiver = Receiver::start().await;
    let port = receiver
        .url()
        .parse::<reqwest::Url>()
        .unwrap()
        .port()
        .unwrap();
    let names = Names::default();
    let url = format!("http://receiver.example:{port}/webhook");
    let refusing = Sender::new(names.guard(false), PATIENCE).unwrap();
    for addresses in [
        &["10.0.0.1"][..],
        &["127.0.0.1"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["fd00:ec2::254"],
        &["169.254.169.254"],
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["0.0.0.0"],
    ] {
        names.set("receiver.example", addresses);
        assert_eq!(
            post(&refusing, &url).await,
            Err(SendError::AddressRefused),
            "{addresses:?}"
        );
        let verdict = names.guard(false).check_target(&url).await;
        assert_eq!(verdict, Err(GuardError::NotPublic), "{addresses:?}");
    }
    assert_eq!(receiver.received().len(), 0);
    // The same name does lead there, when it may.
    names.set("receiver.example", &["127.0.0.1"]);
    let allowing = Sender::new(names.guard(true), PATIENCE).unwrap();
    assert_eq!(post(&allowing, &url).await, Ok(200));
    assert_eq!(receiver.received().len(), 1);
    // A URL with an address in it asks no resolver.
    assert_eq!(
        post(&refusing, &receiver.url()).await,
        Err(SendError::AddressRefused)
    );
    assert_eq!(receiver.received().len(), 1);
}

/// at registration, and again at send time.
#[rstest]
#[tokio::test]
async fn a_name_is_judged_when_it_is_registered_and_when_it_is_used(
    #[values(Embedded, Server)] on: Profile,
) {
    let names = Names::default();
    names.set("inside.example", &["10.0.0.1"]);
    names.set("rebinding.example", &["8.8.8.8"]);
    let guard = names.guard(false);
    let app = TestApp::build(on, &[], |app| {
        app.webhooks = Sender::new(guard, PATIENCE).unwrap();
    });
    let app = app.await;
    for host in [
        "inside.example",
        "127.0.0.1",
        "169.254.169.254",
        "localhost",
    ] {
        let (status, problem) = register(&app, "sync.completed", &format!("http://{host}/")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{host}");
        assert_eq!(problem["error"], "Validation error");
        assert_eq!(problem["details"][0]["path"], json!(["targetUrl"]));
    }
    // Not there yet: it is judged when it is.
    registered(&app, "sync.completed", "http://unknown.example/").await;
    let endpoint = registered(&app, "sync.completed", "http://rebinding.example/").await;
    names.set("rebinding.example", &["127.0.0.1"]);
    let id = endpoint["id"].as_str().unwrap();
    let path = format!("/webhooks/{id}/test?organizationId={ORGANIZATION}");
    let (_, answer) = app.post(&path, &json!({})).await;
    assert_eq!(answer["error"], "address_refused");
}

/// The setting decides, and where others can reach the API it is off.
#[rstest]
#[tokio::test]
async fn private_targets_are_refused_unless_the_setting_allows_them(
    #[values(Embedded, Server)] on: Profile,
) {
    for (settings, expected) in [
        (&[][..], StatusCode::OK),
        (
            &[("WEBHOOK_ALLOW_PRIVATE_TARGETS", "false")],
            StatusCode::BAD_REQUEST,
        ),
        (
            &[
                ("HOST", "0.0.0.0"),
                ("AUTH", "anonymous"),
                ("TOKEN_ENCRYPTION_KEY", KEY),
            ],
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let app = TestApp::start_with(on, settings).await;
        let (status, answer) = register(&app, "sync.completed", "http://127.0.0.1/").await;
        assert_eq!(status, expected, "{settings:?}: {answer}");
    }
}

///
#[rstest]
#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed(#[values(301, 302, 303, 307, 308)] status: u16) {
    let target = Receiver::start().await;
    let status = StatusCode::from_u16(status).unwrap();
    let receiver = Receiver::redirecting(status, target.url()).await;
    let sender = Sender::new(Guard::new(true), PATIENCE).unwrap();
    assert_eq!(post(&sender, &receiver.url()).await, Ok(status.as_u16()));
    assert_eq!((receiver.received().len(), target.received().len()), (1, 0));
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_is_a_time_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let sender = Sender::new(Guard::new(true), Duration::from_millis(100)).unwrap();
    assert_eq!(post(&sender, &url).await, Err(SendError::Timeout));
}

/// Thirty-two bytes of zero.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// reqwest would read the environment of the process, so this is one with proxies in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_not_used() {
    let receiver = Receiver::start().await;
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let proxies = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let settings = [("PORT", "0"), ("ADMIN_PORT", "0"), ("LOG_FORMAT", "json")];
    let proxies = proxies.map(|name| (name, proxy_url.as_str()));
    let process = Process::start(
        &["serve", "--roles", "api"],
        &environment(&[&settings[..], &proxies].concat()),
    );
    let base = format!("http://{}", process.address("public").await);
    let http = http_client(PATIENCE).unwrap();
    let post = async |path: &str, body: &Value| -> Value {
        let request = http.post(format!("{base}{path}")).json(body);
        request.send().await.unwrap().json().await.unwrap()
    };
    let webhook = json!({
        "organizationId": ORGANIZATION, "event": "sync.completed", "targetUrl": receiver.url(),
    });
    let webhook = post("/webhooks/register", &webhook).await;
    let id = webhook["id"].as_str().unwrap();
    let path = format!("/webhooks/{id}/test?organizationId={ORGANIZATION}");
    let answer = post(&path, &json!({})).await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(proxy.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
