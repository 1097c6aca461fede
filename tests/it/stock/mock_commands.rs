//! `mock-trendyol` and `mock-hepsiburada`, as people start them.

use marketplace_sync::marketplace::connector::http_client;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::mocks::control;
use crate::support::marketplace::PATIENCE;
use crate::support::process::{Process, environment, run};

/// A mock marketplace in a process of its own.
struct Mock {
    process: Process,
    url: String,
    said: String,
}

impl Mock {
    async fn start(arguments: &[&str]) -> Self {
        let settings = environment(&[("LOG_FORMAT", "json")]);
        let process = Process::start(arguments, &settings);
        let line = process.wait_for_event("listening").await;
        Self {
            url: format!("http://{}", line["address"].as_str().unwrap()),
            said: line["message"].as_str().unwrap().to_owned(),
            process,
        }
    }

    /// Sends a body to a path, as somebody; gives the status and the answer.
    async fn post(&self, path: &str, who: (&str, &str, &str), body: &Value) -> (u16, Value) {
        let (agent, user, password) = who;
        let request = http_client(PATIENCE)
            .unwrap()
            .post(format!("{}{path}", self.url));
        let request = request
            .basic_auth(user, Some(password))
            .header("user-agent", agent);
        let answer = request.json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What it shows of a seller, after so many seconds.
    async fn shows(&self, seller: &str, seconds: u32) -> Vec<(String, i64)> {
        let advance = json!({ "advanceSeconds": seconds });
        let (status, _) = control(&self.url, Method::POST, "clock", &advance).await;
        assert_eq!(status, StatusCode::OK);
        let path = format!("state?seller={seller}");
        let (_, state) = control(&self.url, Method::GET, &path, &Value::Null).await;
        let item = |item: &Value| {
            let identifier = item["identifier"].as_str().unwrap().to_owned();
            (identifier, item["quantity"].as_i64().unwrap())
        };
        state["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(item)
            .collect()
    }

    async fn end(self, signal: &str) {
        self.process.signal(signal);
        assert_eq!(self.process.exit().await.code, Some(0));
    }
}

#[tokio::test]
async fn mock_trendyol_serves_what_it_was_told_to() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "# barcodes\n8680000009999,7\n\nA 1,0\n").unwrap();
    let mut arguments = vec!["mock-trendyol", "--port", "0", "--strict-user-agent"];
    arguments.extend([
        "--seed-items",
        "2",
        "--items",
        file.path().to_str().unwrap(),
    ]);
    arguments.extend([
        "--credentials",
        "key:secret",
        "--tier",
        "UNLIMITED",
        "--latency-ms",
        "1",
    ]);
    let mock = Mock::start(&arguments).await;
    assert!(
        mock.said
            .contains(&format!("TRENDYOL_BASE_URL={}", mock.url)),
        "{}",
        mock.said
    );
    let path = "/integration/inventory/sellers/7/products/price-and-inventory";
    let body = json!({ "items": [{ "barcode": "8680000000002", "quantity": 3 }] });
    let status = async |who| mock.post(path, who, &body).await.0;
    assert_eq!(status(("curl", "key", "secret")).await, 403);
    assert_eq!(status(("7 - SelfIntegration", "key", "wrong")).await, 401);
    assert_eq!(status(("7 - SelfIntegration", "key", "secret")).await, 200);
    let expected = [
        ("8680000000001", 0),
        ("8680000000002", 3),
        ("8680000009999", 7),
        ("A 1", 0),
    ];
    let expected = expected.map(|(name, quantity)| (name.to_owned(), quantity));
    assert_eq!(mock.shows("7", 1).await, expected);
    mock.end("TERM").await;
}

#[tokio::test]
async fn mock_hepsiburada_serves_what_it_was_told_to() {
    let mut arguments = vec!["mock-hepsiburada", "--port", "0", "--item", "sku-9"];
    arguments.extend(["--outstanding-status", "200", "--apply-after-ms", "60000"]);
    let mock = Mock::start(&arguments).await;
    assert!(
        mock.said
            .contains(&format!("HEPSIBURADA_BASE_URL={}", mock.url)),
        "{}",
        mock.said
    );
    let body = json!([{ "merchantSku": "Sku-9", "availableStock": 3 }]);
    let who = ("SelfIntegration", "m-1", "key");
    let path = "/listings/merchantid/m-1/stock-uploads";
    for _ in 0..5 {
        let (status, answer) = mock.post(path, who, &body).await;
        assert!(
            status == 200 && answer["id"].is_string(),
            "{status} {answer}"
        );
    }
    let (status, answer) = mock.post(path, who, &body).await;
    let said = answer["message"].as_str().unwrap_or_default();
    assert!(
        status == 200 && said.contains("too many ongoing"),
        "{answer}"
    );
    assert_eq!(mock.shows("m-1", 60).await, [("SKU-9".to_owned(), 3)]);
    mock.end("INT").await;
}

#[tokio::test]
async fn help_says_how_a_mock_is_used() {
    let settings = environment(&[]);
    for command in ["mock-trendyol", "mock-hepsiburada"] {
        let help = run(&[command, "--help"], &settings).await.stdout.join("\n");
        let options = [
            "--port",
            "--strict-user-agent",
            "--latency-ms",
            "--seed-items",
            "--items",
        ];
        let routes = [
            "/__mock/state",
            "/__mock/clock",
            "/__mock/faults",
            "dropAfter",
            "/__mock/sell",
        ];
        for word in options
            .into_iter()
            .chain(routes)
            .chain(["_BASE_URL=http://127.0.0.1:410"])
        {
            assert!(
                help.contains(word),
                "{command} --help has no {word}: {help}"
            );
        }
    }
}

#[tokio::test]
async fn a_bad_argument_is_one_line_that_names_it() {
    let settings = environment(&[]);
    for (arguments, named) in [
        (&["mock-trendyol", "--items", "/nowhere"][..], "/nowhere"),
        (&["mock-trendyol", "--credentials", "key"], "--credentials"),
        (
            &["mock-hepsiburada", "--credentials", "key"],
            "--credentials",
        ),
    ] {
        let exit = run(arguments, &settings).await;
        assert_eq!(exit.code, Some(1), "{exit:?}");
        assert!(exit.complaint().contains(named), "{exit:?}");
    }
    let exit = run(&["mock-trendyol", "--tier", "9K"], &settings).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.join(" ").contains("50K, 75K, 150K"), "{exit:?}");
}
