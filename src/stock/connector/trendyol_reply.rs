//! Reading what Trendyol sends: batches, refusals, quantities.

use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;

use super::reply::{Object, id, rejection};
use super::{Item, ItemOutcome, PollOutcome, Reading, RejectionClass};

/// Letters of a barcode.
const BARCODE_LETTERS: usize = 40;
/// What is in the refusal of a repeated request, as [`folded`] has it.
const IDENTICAL: &str = "ayni istegi tekrarli olarak atamazsiniz";

/// A barcode as Trendyol keeps it; none if it could not be one.
pub(super) fn normalized(barcode: &str) -> Option<String> {
    let is_kept = |letter: &char| !letter.is_whitespace() && !letter.is_control();
    let barcode: String = barcode.chars().filter(is_kept).collect();
    (1..=BARCODE_LETTERS)
        .contains(&barcode.chars().count())
        .then_some(barcode)
}

pub(super) fn barcode(item: &Item) -> &str {
    item.names.external_barcode.as_deref().unwrap_or_default()
}

pub(super) fn batch_id(reply: &[u8]) -> Option<String> {
    id(Object::read(reply)?.text("batchRequestId"))
}

/// Letters without what a typist or a server may lose: case, the dots of Turkish, punctuation.
pub(super) fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_lowercase) {
        match letter {
            'ı' => folded.push('i'),
            'ğ' => folded.push('g'),
            'ş' => folded.push('s'),
            'ç' => folded.push('c'),
            'ö' => folded.push('o'),
            'ü' => folded.push('u'),
            // What lower case leaves of `İ`.
            '\u{307}' => {}
            letter if letter.is_alphanumeric() => folded.push(letter),
            _ if folded.ends_with(' ') => {}
            _ => folded.push(' '),
        }
    }
    folded.trim().to_owned()
}

/// Whether it is the refusal of a repeated request. JSON may have written its letters as escapes.
pub(super) fn is_identical(text: &str) -> bool {
    let read: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let texts = [Some(text.to_owned()), read.map(|value| value.to_string())];
    texts
        .into_iter()
        .flatten()
        .any(|text| folded(&text).contains(IDENTICAL))
}

/// What became of a batch; none if nobody can read it.
pub(super) fn results(reply: &[u8], items: &[Item], permanent: &[String]) -> Option<PollOutcome> {
    let batch = Object::read(reply)?;
    let rows = batch.list("items")?;
    let expected = batch
        .integer("itemCount")
        .and_then(|count| usize::try_from(count).ok());
    let expected = expected.unwrap_or(items.len()).max(1);
    let rows: Option<Vec<_>> = rows.into_iter().map(|row| result(row, permanent)).collect();
    let Some(rows) = rows.filter(|rows| rows.len() >= expected) else {
        return Some(PollOutcome::Pending);
    };
    // The same barcode may have been sent twice; its results then go by turns.
    let mut by_barcode: HashMap<String, VecDeque<ItemOutcome>> = HashMap::new();
    for (barcode, outcome) in rows {
        by_barcode.entry(barcode).or_default().push_back(outcome);
    }
    let outcomes = items.iter().map(|item| {
        let results = by_barcode.get_mut(barcode(item));
        results
            .and_then(VecDeque::pop_front)
            .unwrap_or(ItemOutcome::Unknown)
    });
    Some(PollOutcome::Done(outcomes.collect()))
}

/// A row of a batch, with its barcode; none while it is not done.
fn result(row: &RawValue, permanent: &[String]) -> Option<(String, ItemOutcome)> {
    let row = Object::of(row)?;
    let status = row.text("status")?;
    let barcode = row
        .object("requestItem")
        .and_then(|item| item.text("barcode"));
    let barcode = barcode
        .and_then(|barcode| normalized(&barcode))
        .unwrap_or_default();
    if status.eq_ignore_ascii_case("SUCCESS") {
        Some((barcode, ItemOutcome::Confirmed))
    } else if status.eq_ignore_ascii_case("FAILED") {
        let reasons = row.texts("failureReasons").join("; ");
        let folded = folded(&reasons);
        let is_hopeless = permanent
            .iter()
            .any(|known| folded.contains(known.as_str()));
        let class = if is_hopeless {
            RejectionClass::Permanent
        } else {
            RejectionClass::Retryable
        };
        Some((
            barcode,
            ItemOutcome::Rejected(rejection("REJECTED", &reasons, class)),
        ))
    } else {
        None
    }
}

/// What Trendyol shows; none if nobody can read it.
pub(super) fn readings(reply: &[u8], items: &[Item]) -> Option<Vec<Reading>> {
    let page = Object::read(reply)?;
    page.list("content")?;
    let mut quantities: HashMap<String, i64> = HashMap::new();
    for content in page.objects("content") {
        for variant in content.objects("variants") {
            let barcode = variant
                .text("barcode")
                .and_then(|barcode| normalized(&barcode));
            if let (Some(barcode), Some(quantity)) = (barcode, variant.integer("quantity")) {
                quantities.insert(barcode, quantity);
            }
        }
    }
    let reading = |item| Reading {
        quantity: quantities.get(barcode(item)).copied(),
        ..Reading::default()
    };
    Some(items.iter().map(reading).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::by_barcode;
    use super::*;

    fn read(batch: &Value, items: &[Item]) -> Option<PollOutcome> {
        results(
            batch.to_string().as_bytes(),
            items,
            &[folded("Barkod BULUNAMADI")],
        )
    }

    fn row(barcode: &str, status: &str, reasons: &Value) -> Value {
        json!({ "requestItem": { "barcode": barcode }, "status": status, "failureReasons": reasons })
    }

    fn rejected(message: &str, class: RejectionClass) -> ItemOutcome {
        ItemOutcome::Rejected(rejection("REJECTED", message, class))
    }

    #[test]
    fn a_barcode_loses_its_spaces_and_cannot_be_long() {
        for (given, kept) in [
            ("8680000000", Some("8680000000")),
            (" 86 80\t00\u{a0}1 ", Some("8680001")),
            ("a.b-c_d", Some("a.b-c_d")),
            ("", None),
            (" \n", None),
        ] {
            assert_eq!(normalized(given).as_deref(), kept, "{given:?}");
        }
        assert_eq!(normalized(&"1".repeat(40)).map(|it| it.len()), Some(40));
        assert_eq!(normalized(&"1".repeat(41)), None);
    }

    #[test]
    fn the_refusal_of_a_repeated_request_is_known_however_it_is_written() {
        let text = "15 dakika boyunca aynı isteği tekrarlı olarak atamazsınız!";
        let escaped = text.replace('ı', "\\u0131").replace('ğ', "\\u011f");
        for text in [
            text.to_owned(),
            json!({ "errors": [{ "message": text }] }).to_string(),
            format!("{{\"message\":\"{escaped}\"}}"),
            text.to_uppercase(),
            "15 DAKİKA BOYUNCA AYNI İSTEĞİ TEKRARLI OLARAK ATAMAZSINIZ".into(),
            "<p>900 saniye boyunca ayni  istegi tekrarli olarak\natamazsiniz.</p>".into(),
        ] {
            assert!(is_identical(&text), "{text}");
        }
        for text in ["", "{}", "15 dakika boyunca", "too.many.requests"] {
            assert!(!is_identical(text), "{text}");
        }
    }

    #[test]
    fn a_batch_is_pending_until_all_of_its_items_are_done() {
        let items = [by_barcode("1", 5), by_barcode("2", 6)];
        let success = |barcode| row(barcode, "SUCCESS", &json!([]));
        for batch in [
            json!({ "itemCount": 2, "items": [] }),
            json!({ "itemCount": 2, "items": [success("1")] }),
            json!({ "itemCount": 2, "items": [success("1"), row("2", "PROCESSING", &json!([]))] }),
            json!({ "itemCount": 2, "items": [success("1"), { "requestItem": { "barcode": "2" } }] }),
            json!({ "itemCount": 2, "items": [success("1"), 5] }),
            json!({ "itemCount": 0, "items": [] }),
            json!({ "items": [success("1")] }),
        ] {
            assert_eq!(read(&batch, &items), Some(PollOutcome::Pending), "{batch}");
        }
        for broken in ["", "[]", "{}", "{\"items\":5}", "null", "<html>"] {
            assert_eq!(results(broken.as_bytes(), &items, &[]), None, "{broken}");
        }
    }

    #[test]
    fn results_find_their_items_in_any_order() {
        let items = ["1", "2", "3", "4", "5"].map(|barcode| by_barcode(barcode, 5));
        let batch = json!({ "itemCount": 4, "failedItemCount": 2, "status": "IN_PROGRESS", "items": [
            row("3", "FAILED", &json!(["Stok hatası", "ve başka"])),
            row("2", "success", &json!(null)),
            row("4", "FAILED", &json!(["4 nolu barkod bulunamadı."])),
            row(" 1", "SUCCESS", &json!([])),
        ]});
        let expected = vec![
            ItemOutcome::Confirmed,
            ItemOutcome::Confirmed,
            rejected("Stok hatası; ve başka", RejectionClass::Retryable),
            rejected("4 nolu barkod bulunamadı.", RejectionClass::Permanent),
            ItemOutcome::Unknown,
        ];
        assert_eq!(read(&batch, &items), Some(PollOutcome::Done(expected)));
    }

    #[test]
    fn results_of_a_barcode_that_was_sent_twice_go_by_turns() {
        let items = [by_barcode("1", 5), by_barcode("1", 6), by_barcode("1", 7)];
        let batch = json!({ "itemCount": 2, "items": [
            row("1", "FAILED", &json!([])), row("1", "SUCCESS", &json!([])),
        ]});
        let expected = vec![
            rejected("", RejectionClass::Retryable),
            ItemOutcome::Confirmed,
            ItemOutcome::Unknown,
        ];
        assert_eq!(read(&batch, &items), Some(PollOutcome::Done(expected)));
    }

    #[test]
    fn quantities_are_read_by_barcode() {
        let items = [by_barcode("1", 0), by_barcode("2", 0)];
        let page = json!({ "content": [
            { "variants": [{ "barcode": "9", "quantity": 1 }, { "barcode": "2", "quantity": 7 }] },
            { "variants": [{ "barcode": "1" }, null, { "quantity": 5 }] },
            5,
        ]});
        let readings = readings(page.to_string().as_bytes(), &items).unwrap();
        let quantities: Vec<_> = readings.iter().map(|reading| reading.quantity).collect();
        assert_eq!(quantities, [None, Some(7)]);
        for broken in ["", "[]", "{}", "{\"content\":{}}"] {
            assert!(
                super::readings(broken.as_bytes(), &items).is_none(),
                "{broken}"
            );
        }
    }
}

#[cfg(test)]
mod fuzz {
    use serde_json::{Value, json};

    use super::super::testing::by_barcode;
    use super::*;
    use crate::fuzz::{Source, fuzz};

    const BARCODES: [&str; 5] = ["1", "2", "3", "ü", ""];
    const WORDS: [&str; 6] = ["SUCCESS", "FAILED", "items", "1", "{", "}"];

    fn batch(source: &mut Source<'_>) -> String {
        let rows: Vec<Value> = (0..source.below(5))
            .map(|_| {
                let status = source.pick(&["SUCCESS", "SUCCESS", "FAILED", "PROCESSING"]);
                let mut row = json!({ "requestItem": { "barcode": source.pick(&BARCODES) },
                    "status": status, "failureReasons": [source.text(&WORDS)] });
                if source.below(6) == 0 {
                    let member = source.pick(&["requestItem", "status", "failureReasons"]);
                    row[member] = source.json(&WORDS);
                }
                row
            })
            .collect();
        let mut batch = json!({ "itemCount": rows.len(), "items": rows });
        if source.below(6) == 0 {
            let member = source.pick(&["itemCount", "items", "status"]);
            batch[member] = source.json(&WORDS);
        }
        let text = batch.to_string();
        if source.below(6) == 0 {
            source.nearly(&text)
        } else {
            text
        }
    }

    /// Nothing is confirmed that the reply does not say, by another reader, to be a success.
    #[test]
    fn an_item_is_confirmed_only_where_it_stands_so() {
        fuzz!(|source| {
            let items: Vec<Item> = (0..=source.below(4))
                .map(|_| by_barcode(source.pick(&["1", "2", "3", "4"]), 1))
                .collect();
            let text = batch(source);
            let Some(outcome) = results(text.as_bytes(), &items, &["1".into()]) else {
                return;
            };
            let PollOutcome::Done(outcomes) = outcome else {
                assert_eq!(outcome, PollOutcome::Pending, "{text}");
                return;
            };
            assert_eq!(outcomes.len(), items.len(), "{text}");
            let Ok(batch) = serde_json::from_str::<Value>(&text) else {
                return;
            };
            let rows = batch["items"].as_array().unwrap();
            let is = |row: &Value, status: &str, barcode: &str| {
                let name = row["requestItem"]["barcode"].as_str().and_then(normalized);
                let number = row["requestItem"]["barcode"]
                    .as_number()
                    .map(ToString::to_string);
                let says = row["status"].as_str().unwrap_or_default();
                name.or(number).as_deref() == Some(barcode) && says.eq_ignore_ascii_case(status)
            };
            for (item, outcome) in items.iter().zip(&outcomes) {
                let count = |status| {
                    rows.iter()
                        .filter(|row| is(row, status, barcode(item)))
                        .count()
                };
                match outcome {
                    ItemOutcome::Confirmed => assert!(count("SUCCESS") > 0, "{text}"),
                    ItemOutcome::Rejected(_) => assert!(count("FAILED") > 0, "{text}"),
                    ItemOutcome::Unknown => {}
                }
            }
            // Every row that is about an item of ours reached one.
            for barcode in ["1", "2", "3"] {
                let ours = items
                    .iter()
                    .filter(|item| super::barcode(item) == barcode)
                    .count();
                let theirs = rows
                    .iter()
                    .filter(|row| is(row, "SUCCESS", barcode) || is(row, "FAILED", barcode))
                    .count();
                let told = items
                    .iter()
                    .zip(&outcomes)
                    .filter(|(item, outcome)| {
                        super::barcode(item) == barcode && **outcome != ItemOutcome::Unknown
                    })
                    .count();
                assert_eq!(told, ours.min(theirs), "{text}");
            }
            readings(text.as_bytes(), &items);
        });
    }

    #[test]
    fn a_barcode_that_was_normalized_stays_as_it_is() {
        fuzz!(|source| {
            let text = source.text(&["868", "000", "-", ".", "_", " "]);
            if let Some(kept) = normalized(&text) {
                assert_eq!(normalized(&kept).as_ref(), Some(&kept), "{text:?}");
                assert!(!kept.contains(char::is_whitespace), "{text:?}");
            }
            let folded_once = folded(&text);
            assert_eq!(folded(&folded_once), folded_once, "{text:?}");
        });
    }
}
