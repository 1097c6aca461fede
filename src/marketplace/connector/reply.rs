//! Reading what a marketplace sends, without trusting it.

use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ConnectorError, ReplyBody, Verdict};
use crate::marketplace::money::{Currency, Money};
use crate::retry::retry_after;
use crate::timestamp;

/// A longer reply is not read to its end.
const REPLY_LIMIT: usize = 64 * 1024;

/// A marketplace that says "come back next week" is asked again tomorrow.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Turns an answer into a verdict, or into the reason why it is none.
pub(super) async fn judge(
    response: Response,
    now: DateTime<Utc>,
) -> Result<Verdict, ConnectorError> {
    let status = response.status();
    let retry_after = pause(response.headers(), now);
    let (bytes, end) = read(response).await;
    let body = ReplyBody::from_bytes(&bytes);
    match status {
        StatusCode::TOO_MANY_REQUESTS => Err(ConnectorError::RateLimited { retry_after, body }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ConnectorError::Auth {
            status: status.as_u16(),
            body,
        }),
        _ if !status.is_success() => Err(ConnectorError::Marketplace {
            status: Some(status.as_u16()),
            message: format!("Marketplace API error: {}", reason(status)).into(),
            body,
        }),
        _ => match end {
            End::Broken(error) => Err(ConnectorError::no_answer(&error)),
            End::TooLong => Err(ConnectorError::invalid_response(status.as_u16(), body)),
            End::Whole => verdict(&bytes)
                .ok_or_else(|| ConnectorError::invalid_response(status.as_u16(), body)),
        },
    }
}

/// The registered phrase: what the marketplace wrote there itself is not repeated.
fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Unknown status")
}

enum End {
    Whole,
    TooLong,
    Broken(reqwest::Error),
}

/// Reads up to the limit. How the body ended only matters if the status was good.
async fn read(mut response: Response) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > REPLY_LIMIT => {
                let room = REPLY_LIMIT - bytes.len();
                bytes.extend_from_slice(&chunk[..room]);
                return (bytes, End::TooLong);
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, End::Whole),
            Err(error) => return (bytes, End::Broken(error)),
        }
    }
}

/// How long the marketplace wants to be left in peace.
fn pause(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    retry_after(text, now, LONGEST_RETRY_AFTER)
}

#[derive(Deserialize)]
struct Status {
    status: bool,
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(rename = "orderId")]
    id: String,
    /// Kept as text, because a float would round it.
    #[serde(borrow)]
    amount: &'a RawValue,
    currency: String,
    #[serde(rename = "importedAtUTC")]
    imported_at: String,
}

/// The verdict in a good reply; `None` if it breaks the contract in any way.
fn verdict(bytes: &[u8]) -> Option<Verdict> {
    let Status { status } = serde_json::from_slice(bytes).ok()?;
    if !status {
        return Some(Verdict::Invalid);
    }
    let order: Order<'_> = serde_json::from_slice(bytes).ok()?;
    let currency = Currency::parse(order.currency).ok()?;
    let money = Money::from_json_number(order.amount.get(), currency).ok()?;
    let imported_at = timestamp::parse(&order.imported_at).ok()?;
    // Beyond these years no database reads back what it is given.
    if !(1..=9999).contains(&imported_at.year()) {
        return None;
    }
    let is_stored_whole = (1..=255).contains(&order.id.chars().count()) && !order.id.contains('\0');
    is_stored_whole.then_some(Verdict::Valid {
        order_id: order.id,
        money,
        imported_at,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "status": true, "orderId": "order-1", "amount": 19.99, "currency": "USD",
            "importedAtUTC": "2024-01-01T12:00:00.123456+01:00", "more": {"is": "ignored"},
        })
    }

    fn judged(reply: &Value) -> Option<Verdict> {
        verdict(reply.to_string().as_bytes())
    }

    #[test]
    fn a_good_reply_becomes_an_order() {
        let expected = Verdict::Valid {
            order_id: "order-1".into(),
            money: Money::new(1999, Currency::parse("USD").unwrap()),
            imported_at: "2024-01-01T11:00:00.123Z".parse().unwrap(),
        };
        assert_eq!(judged(&good()), Some(expected));
        assert_eq!(judged(&json!({"status": false})), Some(Verdict::Invalid));
        assert_eq!(
            judged(&json!({"status": false, "orderId": 7})),
            Some(Verdict::Invalid)
        );
    }

    #[test]
    fn any_broken_member_makes_the_reply_invalid() {
        let broken = [
            ("status", json!("true")),
            ("status", json!(1)),
            ("status", json!(null)),
            ("orderId", json!("")),
            ("orderId", json!(7)),
            ("orderId", json!("a\0b")),
            ("orderId", json!("ü".repeat(256))),
            ("amount", json!("19.99")),
            ("amount", json!(null)),
            ("amount", json!(19.999)),
            ("amount", json!(1e300)),
            ("currency", json!("")),
            ("currency", json!("12345678901")),
            ("currency", json!(null)),
            ("importedAtUTC", json!("2024-01-01")),
            ("importedAtUTC", json!("0001-01-01T00:00:00+02:00")),
            ("importedAtUTC", json!("9999-12-31T23:59:59-01:00")),
            ("importedAtUTC", json!(1_704_110_400)),
        ];
        for (member, value) in broken {
            let mut reply = good();
            reply[member] = value;
            assert_eq!(judged(&reply), None, "{reply}");
        }
        for member in ["status", "orderId", "amount", "currency", "importedAtUTC"] {
            let mut reply = good();
            reply.as_object_mut().unwrap().remove(member);
            assert_eq!(judged(&reply), None, "{reply}");
        }
        for text in [
            "",
            "null",
            "[]",
            "true",
            "<html>",
            "{\"status\":true",
            "\u{feff}{}",
        ] {
            assert_eq!(verdict(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_order_id_of_255_characters_is_taken() {
        let mut reply = good();
        reply["orderId"] = "ü".repeat(255).into();
        assert!(judged(&reply).is_some());
    }

    #[test]
    fn a_large_amount_is_not_rounded() {
        let reply = good().to_string().replace("19.99", "90071992547409.93");
        let Some(Verdict::Valid { money, .. }) = verdict(reply.as_bytes()) else {
            panic!("{reply}");
        };
        assert_eq!(money.minor(), 9_007_199_254_740_993);
    }

    #[test]
    fn a_pause_is_what_the_header_says_up_to_a_day() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "86401".parse().unwrap())]);
        let pause_of = |headers| pause(headers, DateTime::UNIX_EPOCH);
        assert_eq!(pause_of(&headers), Some(LONGEST_RETRY_AFTER));
        assert_eq!(pause_of(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn no_reply_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".*") {
            verdict(&bytes);
            verdict(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod fuzz {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::fuzz::{Source, fuzz};

    const WORDS: [&str; 6] = [
        "order-1",
        "USD",
        "JPY",
        "2024-01-01T12:00:00Z",
        "true",
        "19.99",
    ];

    /// A number as it may be written; the text of a float would not be.
    fn number(source: &mut Source<'_>) -> String {
        let sign = source.pick(&["", "-"]);
        let (whole, fraction) = (source.number() % 1_000_000, source.number() % 1000);
        let power = source.pick(&["", "e2", "E-1", "e+0", "e400", "e-400"]);
        match source.below(3) {
            0 => format!("{sign}{whole}"),
            1 => format!("{sign}{whole}.{fraction:02}"),
            _ => format!("{sign}{whole}.{fraction}{power}"),
        }
    }

    fn reply(source: &mut Source<'_>) -> String {
        let mut reply = json!({ "status": true, "orderId": source.text(&WORDS) });
        reply["currency"] = json!(source.pick(&["USD", "JPY", "KWD", "CLF", "???", ""]));
        let clock = [
            "12:00:00Z",
            "23:59:59.9999-23:59",
            "00:00:00+23:59",
            "24:00:00Z",
        ];
        let day = source.pick(&["2024-01-01", "0001-01-01", "0000-01-01", "9999-12-31"]);
        reply["importedAtUTC"] = json!(format!("{day}T{}", source.pick(&clock)));
        reply["amount"] = json!("AMOUNT");
        if source.below(4) == 0 {
            let member = source.pick(&["status", "orderId", "amount", "currency", "importedAtUTC"]);
            reply[member] = source.json(&WORDS);
        }
        let amount = number(source);
        let text = reply.to_string().replace("\"AMOUNT\"", &amount);
        match source.below(8) {
            0 => source.nearly(&text),
            1 => source.text(&["{", "}", "\"status\":", "true", "false", ",", "\"amount\":"]),
            _ => text,
        }
    }

    /// As the standard library's floats have it, which are near enough to tell cents.
    fn is_near(money: &Money, text: &str) -> bool {
        let (ours, theirs): (f64, f64) = (
            money.to_json_number().parse().unwrap(),
            text.parse().unwrap(),
        );
        (ours - theirs).abs() <= theirs.abs() * 1e-12
    }

    #[test]
    fn a_reply_is_an_order_only_as_it_stands_there_and_as_it_can_be_stored() {
        fuzz!(|source| {
            let text = reply(source);
            let Some(verdict) = verdict(text.as_bytes()) else {
                return;
            };
            let members: HashMap<&str, &RawValue> = serde_json::from_str(&text).unwrap();
            let member =
                |name: &str| -> String { serde_json::from_str(members[name].get()).unwrap() };
            let is_valid = verdict != Verdict::Invalid;
            assert_eq!(members["status"].get(), is_valid.to_string(), "{text}");
            let Verdict::Valid {
                order_id,
                money,
                imported_at,
            } = verdict
            else {
                return;
            };
            assert_eq!(member("orderId"), order_id, "{text}");
            assert_eq!(member("currency"), money.currency().as_str(), "{text}");
            assert!(is_near(&money, members["amount"].get()), "{text}: {money}");
            let stored = timestamp::format(imported_at);
            assert_eq!(stored.len(), "2024-01-01T12:00:00.000Z".len(), "{stored}");
            assert!(!order_id.is_empty() && !order_id.contains('\0'), "{text}");
        });
    }
}
