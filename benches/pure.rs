//! How long the pure functions take that every request, event or page goes through:
//! `cargo bench`, or `cargo bench -- sign` for some of them.
//!
//! They touch neither database nor network, so a figure that changes is a change of the code.
//! What the service does as a whole is measured by `marketplace-sync bench`.

use std::hint::black_box;

use chrono::{DateTime, Utc};
use divan::Bencher;
use divan::counter::BytesCount;
use futures::FutureExt;
use jobs::OutboxId;
use marketplace_sync::http::page::Cursor;
use marketplace_sync::http::problem::Problem;
use marketplace_sync::marketplace::amount::Amount;
use marketplace_sync::marketplace::model::SyncLogStatus;
use marketplace_sync::marketplace::money::{Currency, Money};
use marketplace_sync::marketplace::status::{WINDOW, sync_status};
use marketplace_sync::places::{Figures, Places};
use marketplace_sync::timestamp;
use marketplace_sync::webhooks::sign::{SigningSecret, reference_headers, standard_headers};
use poem::IntoResponse;
use secrecy::SecretString;
use uuid::Uuid;

fn main() {
    divan::main();
}

/// Of an event: a small one, and one with much to tell.
const BODY_BYTES: [usize; 2] = [400, 16 * 1024];

fn instant() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(1_700_000_000_123)
}

fn id() -> Uuid {
    Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0001)
}

fn secret() -> SigningSecret {
    let text = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    text.parse().expect("this is a secret")
}

#[divan::bench(args = BODY_BYTES)]
fn sign_standard(bencher: Bencher<'_, '_>, bytes: usize) {
    let (body, secrets) = (vec![b'x'; bytes], [secret()]);
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| standard_headers(OutboxId(id()), instant(), black_box(&body), &secrets));
}

#[divan::bench(args = BODY_BYTES)]
fn sign_reference(bencher: Bencher<'_, '_>, bytes: usize) {
    let (body, secret) = (vec![b'x'; bytes], SecretString::from("secret"));
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let body = black_box(&body);
        reference_headers(OutboxId(id()), instant().into(), body, Some(&secret))
    });
}

#[divan::bench]
fn status_of_a_store(bencher: Bencher<'_, '_>) {
    let mut newest = [SyncLogStatus::Success; WINDOW];
    newest[WINDOW - 1] = SyncLogStatus::RateLimited;
    bencher.bench_local(|| sync_status(black_box(newest)));
}

#[divan::bench(args = ["7", "19.99", "-1234567.5", "1.999e2"])]
fn read_an_amount(bencher: Bencher<'_, '_>, text: &str) {
    let dollars = Currency::parse("USD").expect("this is a currency");
    bencher
        .with_inputs(|| dollars.clone())
        .bench_local_values(|currency| Money::from_json_number(black_box(text), currency));
}

#[divan::bench]
fn write_an_amount(bencher: Bencher<'_, '_>) {
    let dollars = Currency::parse("USD").expect("this is a currency");
    let money = Money::new(1999, dollars);
    bencher.bench_local(|| serde_json::to_string(&Amount::from(black_box(&money))));
}

#[divan::bench(threads = [1, 2])]
fn take_a_place(bencher: Bencher<'_, '_>) {
    let places = Places::new(800, std::time::Duration::from_secs(1), Figures::default());
    bencher.bench(|| drop(places.take(black_box(7_u64), 1).now_or_never()));
}

#[divan::bench]
fn write_a_timestamp() -> String {
    timestamp::format(black_box(instant()))
}

#[divan::bench]
fn write_a_problem() -> poem::Response {
    Problem::not_found(black_box("Store not found")).into_response()
}

#[divan::bench]
fn write_a_cursor() -> String {
    let (at, id) = (instant(), id());
    black_box(Cursor { at, id }).to_string()
}

#[divan::bench]
fn read_a_cursor(bencher: Bencher<'_, '_>) {
    let (at, id) = (instant(), id());
    let text = Cursor { at, id }.to_string();
    bencher.bench_local(|| black_box(text.as_str()).parse::<Cursor>());
}
