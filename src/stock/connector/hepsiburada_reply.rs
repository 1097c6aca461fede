//! Reading what Hepsiburada sends: uploads, quantities.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::reply::{Object, id, list, rejection, shortened};
use super::{Item, ItemOutcome, PollOutcome, Reading, Rejection, RejectionClass};

/// Codes of items that nothing but a person can help.
const PERMANENT: [&str; 7] = [
    "ProductNotFound",
    "MismatchingSkusSpecified",
    "InvalidAvailableStock",
    "ListingFrozen",
    "ListingDeletedRecently",
    "MerchantAlreadyListedAgainstProduct",
    "restrictedProductBrand",
];
/// The listing is in a campaign and may not go down; it may be sold meanwhile.
const CAMPAIGN: &str = "DiscountedListingStockDecrease";
const CAMPAIGN_PAUSE: TimeDelta = TimeDelta::minutes(60);
/// Codes of what only we can have done.
const OURS: [&str; 2] = [
    "DuplicateMerchantSkuSpecified",
    "DuplicateHepsiburadaSkuSpecified",
];

pub(super) fn merchant_sku(item: &Item) -> Option<&str> {
    item.names.external_sku.as_deref()
}

pub(super) fn hepsiburada_sku(item: &Item) -> Option<&str> {
    item.names.external_listing_id.as_deref()
}

pub(super) fn upload_id(reply: &[u8]) -> Option<String> {
    id(Object::read(reply)?.text("id"))
}

/// What became of an upload; none if nobody can read it.
pub(super) fn results(reply: &[u8], items: &[Item]) -> Option<PollOutcome> {
    let upload = Object::read(reply)?;
    let status = upload.text("status").unwrap_or_default();
    let is_failed = status.eq_ignore_ascii_case("Failed");
    if !is_failed && !status.eq_ignore_ascii_case("Done") {
        return Some(PollOutcome::Pending);
    }
    let rows = match upload.value("errors") {
        Some(errors) => list(errors)?,
        None => Vec::new(),
    };
    if is_failed && rows.is_empty() {
        let why = "the upload failed as a whole";
        let all = ItemOutcome::Rejected(rejection("UPLOAD_FAILED", why, RejectionClass::Retryable));
        return Some(PollOutcome::Done(vec![all; items.len()]));
    }
    let places = Places::of(items);
    let mut rejections: HashMap<usize, Rejection> = HashMap::new();
    // Of a failed upload nobody says that the rest was applied.
    let mut is_told_whole = !is_failed;
    for row in rows {
        let row = Object::of(row).unwrap_or_default();
        match places.find(&row) {
            Some(place) => {
                rejections.insert(place, refusal(&row));
            }
            None => is_told_whole = false,
        }
    }
    let rest = if is_told_whole {
        ItemOutcome::Confirmed
    } else {
        ItemOutcome::Unknown
    };
    let outcomes = (0..items.len()).map(|place| {
        rejections
            .remove(&place)
            .map_or_else(|| rest.clone(), ItemOutcome::Rejected)
    });
    Some(PollOutcome::Done(outcomes.collect()))
}

/// Where items stood in the request, by each of their names.
struct Places {
    by_sku: HashMap<String, Vec<usize>>,
    count: usize,
}

impl Places {
    fn of(items: &[Item]) -> Self {
        let mut by_sku: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, item) in items.iter().enumerate() {
            for sku in [hepsiburada_sku(item), merchant_sku(item)]
                .into_iter()
                .flatten()
            {
                by_sku
                    .entry(sku.to_ascii_uppercase())
                    .or_default()
                    .push(place);
            }
        }
        Self {
            by_sku,
            count: items.len(),
        }
    }

    /// The item that a row is about: by its SKUs, else by its number, which counts from one. The
    /// number also tells apart items of the same SKU.
    fn find(&self, row: &Object<'_>) -> Option<usize> {
        let number = row
            .integer("elementNo")
            .and_then(|number| usize::try_from(number).ok());
        let numbered = number
            .and_then(|number| number.checked_sub(1))
            .filter(|place| *place < self.count);
        let skus = ["hepsiburadaSku", "merchantSku"].map(|name| row.text(name));
        let mut named = skus
            .into_iter()
            .flatten()
            .filter_map(|sku| self.by_sku.get(&sku.trim().to_ascii_uppercase()));
        match named.next() {
            Some(places) => numbered
                .filter(|place| places.contains(place))
                .or(places.first().copied()),
            None => numbered,
        }
    }
}

/// Why an item was refused; the gravest of several reasons decides.
fn refusal(row: &Object<'_>) -> Rejection {
    let codes = row.texts("errors");
    let class = |code: &str| {
        let is = |known: &&str| known.eq_ignore_ascii_case(code);
        if PERMANENT.iter().any(is) {
            RejectionClass::Permanent
        } else if code.eq_ignore_ascii_case(CAMPAIGN) {
            RejectionClass::Deferred(CAMPAIGN_PAUSE)
        } else if OURS.iter().any(is) {
            RejectionClass::Internal
        } else {
            RejectionClass::Retryable
        }
    };
    let gravity = |class: &RejectionClass| match class {
        RejectionClass::Permanent => 0,
        RejectionClass::Deferred(_) => 1,
        RejectionClass::Internal => 2,
        RejectionClass::Retryable => 3,
    };
    let gravest = codes
        .iter()
        .map(|code| (code, class(code)))
        .min_by_key(|(_, class)| gravity(class));
    match gravest {
        Some((code, class)) => rejection(code, &codes.join("; "), class),
        None => rejection("", "Hepsiburada says no reason", RejectionClass::Retryable),
    }
}

/// What Hepsiburada shows, by each name.
#[derive(Default)]
pub(super) struct Listings(HashMap<String, Reading>);

impl Listings {
    /// Adds a page; none if nobody can read it.
    pub(super) fn read(&mut self, reply: &[u8]) -> Option<()> {
        let page = Object::read(reply)?;
        // Nothing found is a list of nothing, or null.
        if page.value("listings").is_none() {
            return page.integer("totalCount").map(|_| ());
        }
        page.list("listings")?;
        for listing in page.objects("listings") {
            let mut lock_reasons = listing.texts("lockReasons");
            lock_reasons.extend(listing.texts("freezeReasons"));
            for (flag, reason) in [
                ("isLocked", "locked"),
                ("isFrozen", "frozen"),
                ("isSuspended", "suspended"),
            ] {
                if listing.is_true(flag) && lock_reasons.is_empty() {
                    lock_reasons.push(reason.to_owned());
                }
            }
            let reading = Reading {
                quantity: listing.integer("availableStock"),
                is_fulfilled_by_marketplace: listing.is_true("isFulfilledByHB"),
                lock_reasons: lock_reasons
                    .iter()
                    .map(|reason| shortened(reason, 200))
                    .collect(),
            };
            for name in ["hepsiburadaSku", "merchantSku"] {
                if let Some(sku) = listing.text(name) {
                    self.0
                        .insert(sku.trim().to_ascii_uppercase(), reading.clone());
                }
            }
        }
        Some(())
    }

    pub(super) fn reading(&self, item: &Item) -> Reading {
        let names = [hepsiburada_sku(item), merchant_sku(item)]
            .into_iter()
            .flatten();
        let mut found = names.filter_map(|sku| self.0.get(&sku.to_ascii_uppercase()));
        found.next().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::by_sku;
    use super::*;

    fn items() -> Vec<Item> {
        vec![
            by_sku(Some("SKU-1"), Some("HB1"), 5),
            by_sku(Some("SKU-2"), None, 6),
            by_sku(None, Some("HB3"), 7),
        ]
    }

    fn read(upload: &Value) -> Option<PollOutcome> {
        results(upload.to_string().as_bytes(), &items())
    }

    /// The codes of those that were refused, by their places; `?` of those nobody knows of.
    fn codes(upload: &Value) -> Vec<String> {
        let Some(PollOutcome::Done(outcomes)) = read(upload) else {
            panic!("{upload}");
        };
        let code = |outcome| match outcome {
            ItemOutcome::Confirmed => "ok".to_owned(),
            ItemOutcome::Unknown => "?".to_owned(),
            ItemOutcome::Rejected(Rejection { code, .. }) => code,
        };
        outcomes.into_iter().map(code).collect()
    }

    #[test]
    fn only_done_and_failed_are_an_end() {
        for status in ["PROCESSING", "Waiting", "", "doneish", "InProgress"] {
            let upload = json!({ "status": status, "errors": [{ "elementNo": 1 }] });
            assert_eq!(read(&upload), Some(PollOutcome::Pending), "{status}");
        }
        assert_eq!(read(&json!({})), Some(PollOutcome::Pending));
        let unread = "{\"status\":\"Done\",\"errors\":\"many\"}";
        for broken in ["", "[]", "null", "{\"status\":", "\"Done\"", unread] {
            assert_eq!(results(broken.as_bytes(), &items()), None, "{broken}");
        }
    }

    #[test]
    fn done_without_errors_is_all_confirmed_and_failed_is_all_refused() {
        for errors in [json!([]), json!(null)] {
            assert_eq!(
                codes(&json!({ "status": "Done", "errors": errors })),
                ["ok", "ok", "ok"]
            );
            let failed = json!({ "status": "Failed", "errors": errors });
            let Some(PollOutcome::Done(outcomes)) = read(&failed) else {
                panic!("{failed}");
            };
            let is_retried = |outcome: &ItemOutcome| matches!(outcome, ItemOutcome::Rejected(it) if it.class == RejectionClass::Retryable);
            assert!(outcomes.len() == 3 && outcomes.iter().all(is_retried));
        }
        assert_eq!(codes(&json!({ "status": "done" })), ["ok", "ok", "ok"]);
    }

    #[test]
    fn an_error_finds_its_item_by_sku_and_then_by_number() {
        let errors = |errors: Value| codes(&json!({ "status": "Done", "errors": errors }));
        let frozen = json!(["ListingFrozen"]);
        // The number counts from one, and loses against a name.
        assert_eq!(
            errors(json!([{ "elementNo": 2, "errors": frozen }])),
            ["ok", "ListingFrozen", "ok"]
        );
        assert_eq!(
            errors(json!([{ "elementNo": 1, "merchantSku": "sku-2", "errors": frozen }])),
            ["ok", "ListingFrozen", "ok"]
        );
        assert_eq!(
            errors(json!([{ "elementNo": 1, "hepsiburadaSku": "HB3", "errors": frozen }])),
            ["ok", "ok", "ListingFrozen"]
        );
        assert_eq!(
            errors(json!([{ "elementNo": 3, "merchantSku": "elsewhere", "errors": frozen }])),
            ["ok", "ok", "ListingFrozen"]
        );
    }

    #[test]
    fn an_error_about_nothing_of_ours_leaves_the_others_open() {
        let errors = |errors: Value| codes(&json!({ "status": "Done", "errors": errors }));
        let one = json!({ "elementNo": 1, "errors": ["ListingFrozen"] });
        for stray in [
            json!({ "elementNo": 4 }),
            json!({ "elementNo": 0 }),
            json!("?"),
            json!({}),
        ] {
            assert_eq!(
                errors(json!([one, stray])),
                ["ListingFrozen", "?", "?"],
                "{stray}"
            );
        }
        // Nor does a failed upload say that what it does not name was applied.
        let failed = json!({ "status": "Failed", "errors": [one] });
        assert_eq!(codes(&failed), ["ListingFrozen", "?", "?"]);
    }

    #[test]
    fn numbers_tell_items_of_the_same_sku_apart() {
        let items = [by_sku(Some("A"), None, 1), by_sku(Some("A"), None, 2)];
        let twice = json!(["DuplicateMerchantSkuSpecified"]);
        let upload = json!({ "status": "Done", "errors": [
            { "elementNo": 1, "merchantSku": "A", "errors": twice },
            { "elementNo": 2, "merchantSku": "A", "errors": twice },
        ]});
        let Some(PollOutcome::Done(outcomes)) = results(upload.to_string().as_bytes(), &items)
        else {
            panic!("{upload}");
        };
        let is_ours = |outcome: &ItemOutcome| matches!(outcome, ItemOutcome::Rejected(it) if it.class == RejectionClass::Internal);
        assert!(outcomes.iter().all(is_ours), "{outcomes:?}");
    }

    #[test]
    fn the_gravest_reason_decides() {
        let class = |codes: Value| {
            let row = json!({ "errors": codes }).to_string();
            let row = Object::read(row.as_bytes()).unwrap();
            refusal(&row)
        };
        for code in PERMANENT {
            assert_eq!(
                class(json!([code])).class,
                RejectionClass::Permanent,
                "{code}"
            );
        }
        let deferred = class(json!(["SomethingElse", "DiscountedListingStockDecrease"]));
        assert_eq!(
            deferred.class,
            RejectionClass::Deferred(TimeDelta::minutes(60))
        );
        assert_eq!(deferred.code, "DiscountedListingStockDecrease");
        assert_eq!(
            deferred.message,
            "SomethingElse; DiscountedListingStockDecrease"
        );
        let both = class(json!(["DuplicateMerchantSkuSpecified", { "code": "ListingFrozen" }]));
        assert_eq!(
            (both.code.as_str(), both.class),
            ("ListingFrozen", RejectionClass::Permanent)
        );
        for unknown in [
            json!(["SomethingElse"]),
            json!([]),
            json!(null),
            json!([null]),
        ] {
            assert_eq!(class(unknown).class, RejectionClass::Retryable);
        }
    }

    #[test]
    fn quantities_are_read_by_any_name() {
        let mut listings = Listings::default();
        let page = json!({ "totalCount": 3, "listings": [
            { "merchantSku": "sku-1", "hepsiburadaSku": "HB1", "availableStock": 5, "isFulfilledByHB": true },
            { "hepsiburadaSku": "HB3", "availableStock": "7", "isLocked": true, "lockReasons": ["MaxLock"] },
            { "merchantSku": "SKU-2", "isFrozen": true },
            null,
        ]});
        listings.read(page.to_string().as_bytes()).unwrap();
        let readings: Vec<Reading> = items().iter().map(|item| listings.reading(item)).collect();
        assert_eq!(readings[0].quantity, Some(5));
        assert!(
            readings[0].is_fulfilled_by_marketplace && !readings[1].is_fulfilled_by_marketplace
        );
        assert_eq!(
            (readings[1].quantity, &readings[1].lock_reasons[..]),
            (None, &["frozen".to_owned()][..])
        );
        assert_eq!(
            (readings[2].quantity, &readings[2].lock_reasons[..]),
            (Some(7), &["MaxLock".to_owned()][..])
        );
        assert_eq!(
            listings.read(b"{\"totalCount\":0,\"listings\":null}"),
            Some(())
        );
        for broken in ["", "[]", "{}", "{\"listings\":5}"] {
            assert_eq!(listings.read(broken.as_bytes()), None, "{broken}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use serde_json::{Value, json};

    use super::super::testing::by_sku;
    use super::*;
    use crate::fuzz::{Source, fuzz};

    const WORDS: [&str; 6] = ["Done", "Failed", "ListingFrozen", "A", "{", "}"];
    const SKUS: [&str; 4] = ["A", "B", "C", "D"];

    fn upload(source: &mut Source<'_>) -> Value {
        let errors: Vec<Value> = (0..source.below(4))
            .map(|_| {
                let codes = [source.text(&WORDS)];
                let mut row = json!({ "elementNo": source.below(6), "errors": codes });
                if source.flag() {
                    row["merchantSku"] = json!(source.pick(&["a", "B", "c", "X"]));
                }
                if source.below(6) == 0 {
                    let member = source.pick(&["elementNo", "merchantSku", "errors"]);
                    row[member] = source.json(&WORDS);
                }
                row
            })
            .collect();
        let status = source.pick(&["Done", "Done", "Failed", "PROCESSING"]);
        let mut upload = json!({ "status": status, "errors": errors });
        if source.below(8) == 0 {
            let member = source.pick(&["status", "errors"]);
            upload[member] = source.json(&WORDS);
        }
        upload
    }

    fn is_named(row: &Value, item: &Item) -> bool {
        let name = row["merchantSku"].as_str().map(str::trim);
        name.is_some_and(|name| name.eq_ignore_ascii_case(merchant_sku(item).unwrap()))
    }

    /// Nothing is confirmed unless the upload is done and every one of its errors is about another.
    #[test]
    fn an_item_is_confirmed_only_where_nobody_refused_it() {
        fuzz!(|source| {
            let items: Vec<Item> = SKUS[..=source.below(3)]
                .iter()
                .map(|sku| by_sku(Some(sku), None, 1))
                .collect();
            let upload = upload(source);
            let text = upload.to_string();
            Listings::default().read(text.as_bytes());
            let Some(outcome) = results(text.as_bytes(), &items) else {
                let errors = &upload["errors"];
                assert!(!errors.is_null() && !errors.is_array(), "{text}");
                return;
            };
            let status = upload["status"].as_str().unwrap_or_default();
            let is_done = status.eq_ignore_ascii_case("Done");
            let PollOutcome::Done(outcomes) = outcome else {
                assert!(!is_done && !status.eq_ignore_ascii_case("Failed"), "{text}");
                return;
            };
            assert_eq!(outcomes.len(), items.len(), "{text}");
            let rows = upload["errors"].as_array().cloned().unwrap_or_default();
            let is_refused = |outcome: &ItemOutcome| matches!(outcome, ItemOutcome::Rejected(_));
            let confirmed = outcomes
                .iter()
                .filter(|it| **it == ItemOutcome::Confirmed)
                .count();
            let refused = outcomes.iter().filter(|it| is_refused(it)).count();
            assert!(confirmed == 0 || is_done, "{text}");
            assert!(
                confirmed == 0 || confirmed + refused == items.len(),
                "{text}"
            );
            assert!(
                !rows.is_empty() || !is_done || confirmed == items.len(),
                "{text}"
            );
            for (item, outcome) in items.iter().zip(&outcomes) {
                let is_named = rows.iter().any(|row| is_named(row, item));
                assert!(!is_named || is_refused(outcome), "{text}");
            }
        });
    }
}
