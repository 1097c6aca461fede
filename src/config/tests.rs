//! What settings mean together, and that each is documented.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::{AuthMode, Settings};
use crate::marketplace::model::Marketplace;

/// Thirty-two bytes of zero.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
    Settings::from_lookup(&|name| {
        pairs
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

/// The settings that are read, for each way to set the service up.
fn names() -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    Settings::from_lookup(&|name| {
        names.borrow_mut().insert(name.to_owned());
        None
    })
    .unwrap();
    names.into_inner()
}

#[test]
fn every_setting_is_in_the_example_file_and_in_the_readme_and_no_other() {
    let example = include_str!("../../.env.example");
    let in_example: BTreeSet<String> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| {
            name.chars()
                .all(|letter| letter.is_ascii_uppercase() || letter == '_')
        })
        .collect();
    assert_eq!(in_example, names());
    let readme = include_str!("../../README.md");
    let table = readme
        .split("## Settings")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    for name in names() {
        assert!(table.contains(&format!("`{name}`")), "README lacks {name}");
    }
}

#[test]
fn nothing_set_is_the_embedded_profile_on_loopback() {
    let settings = settings(&[]).unwrap();
    assert!(!settings.is_server_profile());
    assert!(settings.public.is_loopback());
    assert!(settings.mock.enabled);
    assert_eq!(settings.auth.mode, AuthMode::AnonymousWithoutKeys);
    assert_eq!(settings.mock.credentials.len(), Marketplace::ALL.len());
}

#[test]
fn retries_of_deliveries_are_a_list_of_seconds() {
    let seconds = |pairs: &[(&str, &str)]| -> Vec<f64> {
        let delays = settings(pairs).unwrap().callback.backoff;
        delays.iter().map(Duration::as_secs_f64).collect()
    };
    insta::assert_compact_debug_snapshot!(seconds(&[]), @"[60.0, 300.0, 900.0]");
    let given = seconds(&[("CALLBACK_BACKOFF_SECONDS", "0.5, 2")]);
    insta::assert_compact_debug_snapshot!(given, @"[0.5, 2.0]");
}

#[test]
fn private_targets_are_allowed_only_where_the_service_is_private() {
    let is_allowed = |pairs: &[(&str, &str)]| {
        let settings = settings(pairs).unwrap();
        settings.webhook.allow_private_targets
    };
    let public = [
        ("HOST", "0.0.0.0"),
        ("AUTH", "anonymous"),
        ("TOKEN_ENCRYPTION_KEY", KEY),
    ];
    assert!(is_allowed(&[]));
    assert!(!is_allowed(&public));
    assert!(is_allowed(&[
        public[0],
        public[1],
        public[2],
        ("WEBHOOK_ALLOW_PRIVATE_TARGETS", "true"),
    ]));
}

#[test]
fn a_bad_setting_is_named() {
    for (name, value) in [
        ("PORT", "70000"),
        ("METRICS_PORT", "many"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("SYNC_CHUNK_SIZE", "0"),
        ("SYNC_CRON", "whenever"),
        ("SYNC_CRON", "0 0 0 1 1 * 2020"),
        ("SYNC_THROTTLE_SECONDS", "-1"),
        ("SYNC_ROW_CONCURRENCY", "many"),
        ("AUTH", "perhaps"),
        ("API_KEYS", "nonsense"),
        ("RATE_LIMIT_PER_KEY", "-1"),
        ("RATE_LIMIT_PER_IP", "many"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_REQUESTS", "1"),
        ("MAX_CONNECTIONS_PER_IP", "-1"),
        ("DEAD_LETTER_RETENTION_DAYS", "-1"),
        ("TOKEN_ENCRYPTION_KEY", "nonsense"),
        ("TOKEN_ENCRYPTION_KEY", "c2hvcnQ="),
        ("LOG_FORMAT", "xml"),
        ("MOCK_MARKETPLACE_ENABLED", "maybe"),
        ("MOCK_API_BASE_URL", "ftp://x"),
        ("DATABASE_URL", "mysql://x"),
        ("MARKETPLACE_TIMEOUT_MS", "0"),
        ("CALLBACK_CRON", "now"),
        ("CALLBACK_CONCURRENCY", "0"),
        ("CALLBACK_BACKOFF_SECONDS", "60,soon"),
        ("CALLBACK_BACKOFF_SECONDS", "60,,900"),
        ("CALLBACK_BACKOFF_SECONDS", "-1"),
        ("CALLBACK_MAX_ATTEMPTS", "0"),
        ("CALLBACK_TIMEOUT_MS", "0"),
        ("WEBHOOK_MAX_ENDPOINTS_PER_ORG", "0"),
        ("WEBHOOK_ALLOW_PRIVATE_TARGETS", "maybe"),
        ("LOG_FORMAT", "json\nor pretty"),
    ] {
        let error = settings(&[(name, value)]).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(name), "{name}={value}: {text}");
        assert!(!text.contains('\n'), "{name}={value} is one line: {text}");
    }
}

#[test]
fn postgres_without_redis_is_refused_with_what_to_set() {
    let error = settings(&[("DATABASE_URL", "postgres://localhost/x")]).unwrap_err();
    assert!(error.to_string().contains("REDIS_URL"));
}

/// Settings that are fit for a public host as far as stored secrets go.
fn encrypting(pairs: &[(&str, &str)]) -> Settings {
    let key = ("TOKEN_ENCRYPTION_KEY", KEY);
    settings(&[pairs, &[key]].concat()).unwrap()
}

#[test]
fn a_key_is_needed_where_others_can_call_or_one_is_listed() {
    let mode = |pairs: &[(&str, &str)]| encrypting(pairs).auth.mode;
    let key = format!("org:{}", "0".repeat(64));
    let listed = ("API_KEYS", key.as_str());
    let (public, local) = (("HOST", "0.0.0.0"), ("HOST", "localhost"));
    assert_eq!(mode(&[local]), AuthMode::AnonymousWithoutKeys);
    assert_eq!(mode(&[public]), AuthMode::Required);
    assert_eq!(mode(&[listed]), AuthMode::Required);
    for host in [public, local] {
        assert_eq!(mode(&[host, ("AUTH", "required")]), AuthMode::Required);
        let anonymous = mode(&[host, listed, ("AUTH", "anonymous")]);
        assert_eq!(anonymous, AuthMode::Anonymous);
    }
}

#[test]
fn calls_are_limited_where_others_can_call() {
    let rates = |pairs: &[(&str, &str)]| {
        let rates = encrypting(pairs).rates;
        (rates.per_key, rates.per_address)
    };
    let public = ("HOST", "0.0.0.0");
    assert_eq!(rates(&[]), (0, 0));
    assert_eq!(rates(&[public]), (100, 200));
    assert_eq!(rates(&[public, ("RATE_LIMIT_PER_IP", "0")]), (100, 0));
    assert_eq!(rates(&[("RATE_LIMIT_PER_KEY", "7")]), (7, 0));
    let connections = |pairs: &[(&str, &str)]| {
        let settings = encrypting(pairs);
        [&settings.public, &settings.admin].map(|it| settings.connections_per_address(it))
    };
    assert_eq!(connections(&[]), [0, 0]);
    assert_eq!(connections(&[public]), [100, 0], "each by its own host");
    let admin = [("ADMIN_HOST", "0.0.0.0"), ("ADMIN_PASSWORD", "secret")];
    assert_eq!(connections(&admin), [0, 100]);
    assert_eq!(connections(&[("MAX_CONNECTIONS_PER_IP", "7")]), [7, 7]);
    assert_eq!(
        connections(&[public, ("MAX_CONNECTIONS_PER_IP", "0")]),
        [0, 0]
    );
}

#[test]
fn a_public_admin_host_needs_a_password_and_a_public_host_shows_no_mock() {
    let error = settings(&[("ADMIN_HOST", "0.0.0.0")]).unwrap_err();
    assert!(error.to_string().contains("ADMIN_PASSWORD"));
    let open = [("HOST", "0.0.0.0"), ("AUTH", "anonymous")];
    let open = settings(&[open[0], open[1], ("TOKEN_ENCRYPTION_KEY", KEY)]).unwrap();
    assert!(
        !open.mock.enabled,
        "the mock is off where others can call it"
    );
    assert!(
        open.mock.credentials.is_empty(),
        "example credentials stay on loopback"
    );
}

#[test]
fn secrets_may_be_stored_plain_only_where_nobody_else_can_call() {
    assert!(settings(&[]).unwrap().encryption.is_empty());
    let keys = format!("{KEY}, {}8=", &KEY[..42]);
    let two = settings(&[("TOKEN_ENCRYPTION_KEY", &keys)]).unwrap();
    assert_eq!(two.encryption.current().unwrap().to_string(), "66687aad");
    let public = [("HOST", "0.0.0.0"), ("AUTH", "anonymous")];
    let error = settings(&public).unwrap_err().to_string();
    assert!(
        error.contains("`TOKEN_ENCRYPTION_KEY` must be set"),
        "{error}"
    );
    assert!(error.contains("openssl rand -base64 32"), "{error}");
}

#[test]
fn printing_the_settings_shows_no_secret() {
    let settings = settings(&[
        ("DATABASE_URL", "postgres://app:hunter2@localhost/x"),
        ("REDIS_URL", "redis://:hunter2@localhost"),
        ("ADMIN_PASSWORD", "hunter2"),
        ("MOCK_ETSY_PASS", "hunter2"),
        ("WEBHOOK_SECRET", "hunter2"),
        ("TOKEN_ENCRYPTION_KEY", KEY),
    ])
    .unwrap();
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains(KEY),
        "{shown}"
    );
}
