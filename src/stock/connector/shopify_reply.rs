//! Reading what Shopify sends: errors in good answers, quantities.

use std::time::Duration;

use chrono::TimeDelta;

use super::answer::{Answer, failure};
use super::reply::{Object, rejection, shortened};
use super::{CallFailure, FailureKind, Item, ItemOutcome, Reading, RejectionClass, SendOutcome};

/// Codes of items that nothing but a person can help.
const PERMANENT: [&str; 4] = [
    "INVALID_INVENTORY_ITEM",
    "INVALID_LOCATION",
    "ITEM_NOT_STOCKED_AT_LOCATION",
    "NON_MUTABLE_INVENTORY_ITEM",
];
/// Another attempt with the same key is at work.
const AT_WORK: &str = "IDEMPOTENCY_CONCURRENT_REQUEST";
/// The key is spent; the next push has another.
const SPENT: [&str; 2] = [
    "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED",
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
];

/// What came of the mutation.
pub(super) fn sent(
    reply: &[u8],
    items: &[Item],
    answer: &Answer,
) -> Result<SendOutcome, CallFailure> {
    let whole = Object::read(reply).ok_or_else(|| answer.failure())?;
    if let Some(failure) = graphql_failure(&whole, answer) {
        return Err(failure);
    }
    let payload = whole
        .object("data")
        .and_then(|data| data.object("inventorySetQuantities"));
    let payload = payload.ok_or_else(|| answer.failure())?;
    // Without the list nobody says that there was no error, and what is in it is one.
    let errors = payload.list("userErrors").ok_or_else(|| answer.failure())?;
    if errors.is_empty() {
        return Ok(SendOutcome::Done(vec![ItemOutcome::Confirmed; items.len()]));
    }
    let errors: Vec<Object<'_>> = errors
        .into_iter()
        .map(|error| Object::of(error).unwrap_or_default())
        .collect();
    let codes: Vec<String> = errors
        .iter()
        .map(|error| error.text("code").unwrap_or_default())
        .collect();
    if codes.iter().any(|code| code == AT_WORK) {
        return Err(answer.said(FailureKind::RetryUnchanged));
    }
    if codes.iter().any(|code| SPENT.contains(&code.as_str())) {
        return Err(failure(
            FailureKind::Ambiguous,
            "the idempotency key is spent",
        ));
    }
    // Nothing was applied; what no error is about is sent again.
    let mut outcomes = vec![ItemOutcome::Unknown; items.len()];
    for (error, code) in errors.iter().zip(&codes) {
        let place = if items.len() == 1 {
            Some(0)
        } else {
            place(error)
        };
        let message = error.text("message").unwrap_or_default();
        let Some(outcome) = place.and_then(|place| outcomes.get_mut(place)) else {
            // Somebody has to find out which item it is.
            let why = shortened(&format!("{code}: {message}"), 300);
            return Err(failure(FailureKind::BadRequest, &why));
        };
        *outcome = ItemOutcome::Rejected(rejection(code, &message, class(code)));
    }
    Ok(SendOutcome::Done(outcomes))
}

fn class(code: &str) -> RejectionClass {
    if PERMANENT.contains(&code) {
        RejectionClass::Permanent
    } else if code.starts_with("INVALID_QUANTITY_") || code.starts_with("NO_DUPLICATE_") {
        RejectionClass::Internal
    } else {
        RejectionClass::Retryable
    }
}

/// Which quantity an error is about: the number in `["input", "quantities", "3", …]`.
fn place(error: &Object<'_>) -> Option<usize> {
    let path = error.texts("field");
    let after = path
        .iter()
        .skip_while(|name| *name != "quantities")
        .nth(1)?;
    after.parse().ok()
}

/// Why the whole request came to nothing, if it did, although its status is good.
fn graphql_failure(whole: &Object<'_>, answer: &Answer) -> Option<CallFailure> {
    whole.value("errors")?;
    let errors = whole.objects("errors");
    let codes: Vec<String> = errors
        .iter()
        .filter_map(|error| error.object("extensions")?.text("code"))
        .collect();
    let is = |known: &str| codes.iter().any(|code| code == known);
    let kind = if is("THROTTLED") {
        FailureKind::RateLimited {
            retry_after: until_affordable(whole),
            is_for_address: false,
        }
    } else if is("ACCESS_DENIED") {
        FailureKind::Unauthorized
    } else if is("INTERNAL_SERVER_ERROR") || is("TIMEOUT") {
        FailureKind::Ambiguous
    } else if errors.is_empty() {
        // Of one form or another, but no list of errors.
        return whole
            .list("errors")
            .is_none_or(|list| !list.is_empty())
            .then(|| answer.failure());
    } else {
        FailureKind::BadRequest
    };
    Some(answer.said(kind))
}

/// How long it takes until there are as many points as the request costs.
fn until_affordable(whole: &Object<'_>) -> Option<TimeDelta> {
    let cost = whole.object("extensions")?.object("cost")?;
    let status = cost.object("throttleStatus")?;
    let missing = cost.integer("requestedQueryCost")? - status.integer("currentlyAvailable")?;
    let rate = status.integer("restoreRate").filter(|rate| *rate > 0)?;
    let seconds = u64::try_from(missing.max(0))
        .ok()?
        .div_ceil(u64::try_from(rate).ok()?);
    TimeDelta::from_std(Duration::from_secs(seconds.clamp(1, 3600))).ok()
}

pub(super) fn readings(
    reply: &[u8],
    items: &[Item],
    answer: &Answer,
) -> Result<Vec<Reading>, CallFailure> {
    let whole = Object::read(reply).ok_or_else(|| answer.failure())?;
    if let Some(failure) = graphql_failure(&whole, answer) {
        return Err(failure);
    }
    let data = whole.object("data").ok_or_else(|| answer.failure())?;
    let quantity = |place: usize| {
        let level = data
            .object(&format!("i{place}"))?
            .object("inventoryLevel")?;
        let quantities = level.objects("quantities");
        let mut available = quantities
            .iter()
            .filter(|quantity| quantity.text("name").is_none_or(|name| name == "available"));
        available.next()?.integer("quantity")
    };
    let reading = |place| Reading {
        quantity: quantity(place),
        ..Reading::default()
    };
    Ok((0..items.len()).map(reading).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::by_sku;
    use super::*;

    fn read(items: usize, reply: &Value) -> Result<SendOutcome, CallFailure> {
        let items = vec![by_sku(None, Some("gid"), 1); items];
        let text = reply.to_string();
        sent(text.as_bytes(), &items, &Answer::of(200, &text))
    }

    fn payload(errors: &Value) -> Value {
        json!({ "data": { "inventorySetQuantities": { "userErrors": errors } } })
    }

    fn error(code: &str, place: usize) -> Value {
        let field = ["input", "quantities", &place.to_string(), "inventoryItemId"];
        json!({ "code": code, "field": field, "message": "why" })
    }

    fn rejected(code: &str, class: RejectionClass) -> ItemOutcome {
        ItemOutcome::Rejected(rejection(code, "why", class))
    }

    fn kind(reply: &Value) -> FailureKind {
        read(2, reply).unwrap_err().kind
    }

    #[test]
    fn no_error_is_all_confirmed_and_any_error_confirms_nothing() {
        let all = vec![ItemOutcome::Confirmed; 2];
        assert_eq!(read(2, &payload(&json!([]))), Ok(SendOutcome::Done(all)));
        for (code, class) in [
            ("INVALID_INVENTORY_ITEM", RejectionClass::Permanent),
            ("INVALID_LOCATION", RejectionClass::Permanent),
            ("ITEM_NOT_STOCKED_AT_LOCATION", RejectionClass::Permanent),
            ("NON_MUTABLE_INVENTORY_ITEM", RejectionClass::Permanent),
            ("INVALID_QUANTITY_TOO_HIGH", RejectionClass::Internal),
            (
                "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR",
                RejectionClass::Internal,
            ),
            ("SOMETHING_ELSE", RejectionClass::Retryable),
        ] {
            let outcomes = vec![ItemOutcome::Unknown, rejected(code, class)];
            let reply = payload(&json!([error(code, 1)]));
            assert_eq!(read(2, &reply), Ok(SendOutcome::Done(outcomes)), "{code}");
        }
    }

    #[test]
    fn an_error_that_names_no_item_is_one_of_the_request_unless_there_is_one_item() {
        let nowhere = json!([{ "code": "INVALID_LOCATION", "field": ["input"], "message": "why" }]);
        let far = json!([error("INVALID_LOCATION", 7)]);
        for errors in [nowhere, far] {
            assert_eq!(kind(&payload(&errors)), FailureKind::BadRequest, "{errors}");
            let outcomes = vec![rejected("INVALID_LOCATION", RejectionClass::Permanent)];
            assert_eq!(read(1, &payload(&errors)), Ok(SendOutcome::Done(outcomes)));
        }
    }

    #[test]
    fn idempotency_says_whether_the_same_push_goes_again() {
        let one = |code: &str| kind(&payload(&json!([error(code, 0)])));
        assert_eq!(
            one("IDEMPOTENCY_CONCURRENT_REQUEST"),
            FailureKind::RetryUnchanged
        );
        assert_eq!(
            one("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"),
            FailureKind::Ambiguous
        );
        assert_eq!(
            one("IDEMPOTENCY_KEY_PARAMETER_MISMATCH"),
            FailureKind::Ambiguous
        );
    }

    #[test]
    fn a_good_status_with_errors_is_a_failure() {
        let coded =
            |code: &str| json!({ "errors": [{ "message": "m", "extensions": { "code": code } }] });
        assert_eq!(kind(&coded("ACCESS_DENIED")), FailureKind::Unauthorized);
        assert_eq!(
            kind(&coded("INTERNAL_SERVER_ERROR")),
            FailureKind::Ambiguous
        );
        assert_eq!(kind(&coded("SOMETHING_ELSE")), FailureKind::BadRequest);
        assert_eq!(
            kind(&json!({ "errors": [{ "message": "Variable $input" }] })),
            FailureKind::BadRequest
        );
        let unread = FailureKind::Protocol {
            may_be_applied: true,
        };
        for reply in [
            json!({ "errors": "no" }),
            json!({}),
            json!({ "data": null }),
            json!({ "data": { "inventorySetQuantities": null } }),
            json!({ "data": { "inventorySetQuantities": {} } }),
            json!([]),
        ] {
            assert_eq!(kind(&reply), unread, "{reply}");
        }
    }

    #[test]
    fn throttling_ends_when_the_points_are_back() {
        let throttled = |cost: &Value| {
            let errors = json!([{ "message": "Throttled", "extensions": { "code": "THROTTLED" } }]);
            match kind(&json!({ "errors": errors, "extensions": { "cost": cost } })) {
                FailureKind::RateLimited {
                    retry_after,
                    is_for_address: false,
                } => retry_after.map(|pause| pause.num_seconds()),
                other => panic!("{other:?}"),
            }
        };
        let cost = |asked: i64, left: i64, rate: i64| {
            json!({ "requestedQueryCost": asked, "throttleStatus": {
                "maximumAvailable": 2000, "currentlyAvailable": left, "restoreRate": rate } })
        };
        assert_eq!(throttled(&cost(510, 10, 100)), Some(5));
        assert_eq!(throttled(&cost(10, 500, 100)), Some(1));
        assert_eq!(throttled(&cost(10, 0, 0)), None);
        assert_eq!(throttled(&json!(null)), None);
    }

    #[test]
    fn quantities_are_read_in_the_order_they_were_asked_for() {
        let items = vec![by_sku(None, Some("gid"), 1); 3];
        let level = |quantity: i64| {
            json!({ "inventoryLevel": { "quantities": [
            { "name": "on_hand", "quantity": 99 }, { "name": "available", "quantity": quantity }] } })
        };
        let text = json!({ "data": { "i2": level(7), "i0": level(5), "i1": null } }).to_string();
        let read = readings(text.as_bytes(), &items, &Answer::of(200, &text)).unwrap();
        let quantities: Vec<_> = read.iter().map(|reading| reading.quantity).collect();
        assert_eq!(quantities, [Some(5), None, Some(7)]);
    }
}

#[cfg(test)]
mod fuzz {
    use serde_json::{Value, json};

    use super::super::testing::by_sku;
    use super::*;
    use crate::fuzz::fuzz;

    const WORDS: [&str; 5] = ["INVALID_LOCATION", "quantities", "input", "1", "THROTTLED"];

    /// All or nothing is confirmed, and all only where there is a list of errors that is empty.
    #[test]
    fn everything_is_confirmed_or_nothing() {
        fuzz!(|source| {
            let items = vec![by_sku(None, Some("gid"), 1); source.below(3) + 1];
            let errors: Vec<Value> = (0..source.below(3))
                .map(|_| {
                    let field = ["input", "quantities", source.pick(&["0", "1", "2", "x"])];
                    json!({ "code": source.text(&WORDS), "field": field, "message": "m" })
                })
                .collect();
            let mut payload = json!({ "userErrors": errors });
            if source.below(6) == 0 {
                payload["userErrors"] = source.json(&WORDS);
            }
            let mut whole = json!({ "data": { "inventorySetQuantities": payload } });
            if source.below(6) == 0 {
                let member = source.pick(&["errors", "data", "extensions"]);
                whole[member] = source.json(&WORDS);
            }
            let text = whole.to_string();
            let answer = Answer::of(200, &text);
            let read = sent(text.as_bytes(), &items, &answer);
            let payload = &whole["data"]["inventorySetQuantities"];
            let is_clean = payload["userErrors"] == json!([]) && whole["errors"].is_null();
            let all = vec![ItemOutcome::Confirmed; items.len()];
            assert_eq!(read == Ok(SendOutcome::Done(all)), is_clean, "{text}");
            if let Ok(SendOutcome::Done(outcomes)) = read {
                assert_eq!(outcomes.len(), items.len(), "{text}");
                assert!(
                    is_clean || !outcomes.contains(&ItemOutcome::Confirmed),
                    "{text}"
                );
            }
            readings(text.as_bytes(), &items, &answer).ok();
        });
    }
}
