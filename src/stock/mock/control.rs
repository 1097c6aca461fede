//! The routes of a mock marketplace that are no marketplace's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use poem::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::faults::Fault;
use super::protocol::Answer;
use super::server::MockMarketplace;
use super::state::{Catalogue, World};
use crate::timestamp::Timestamp;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sale {
    seller: String,
    identifier: String,
    quantity: u32,
}

/// Whether a header has a credential.
pub(super) fn is_secret(header: &str) -> bool {
    [
        "authorization",
        "x-api-key",
        "x-shopify-access-token",
        "x-amz-access-token",
    ]
    .contains(&header)
}

/// Answers a request to one of these routes.
pub(super) fn answer(
    mock: &MockMarketplace,
    method: &Method,
    path: &[&str],
    query: &[(String, String)],
    body: &[u8],
) -> Answer {
    let done = match (method.as_str(), path) {
        ("GET", ["state"]) => {
            let seller = query
                .iter()
                .find(|(name, _)| name == "seller")
                .map(|(_, value)| value.as_str());
            let now = Timestamp::from(mock.clock().now());
            Ok(mock.look(|world| state(world, seller, now)))
        }
        ("POST", ["clock"]) => read::<Advance>(body).map(|advance| {
            mock.advance(TimeDelta::seconds(advance.advance_seconds.into()));
            json!({ "now": Timestamp::from(mock.clock().now()) })
        }),
        ("GET", ["faults"]) => Ok(mock.look(|world| json!({ "items": world.faults.all() }))),
        ("POST", ["faults"]) => read::<Fault>(body).and_then(|fault| {
            let complaint = fault.complaint().map(str::to_owned);
            complaint.map_or(Ok(()), Err)?;
            mock.fault(fault);
            Ok(mock.look(|world| json!({ "items": world.faults.all() })))
        }),
        ("DELETE", ["faults"]) => {
            mock.clear_faults();
            Ok(json!({ "items": [] }))
        }
        ("POST", ["sell"]) => read::<Sale>(body).and_then(|sale| {
            let left = mock.sell(&sale.seller, &sale.identifier, sale.quantity.into());
            let left = left.ok_or("the seller has no such item")?;
            Ok(json!({ "quantity": left }))
        }),
        ("POST", ["reset"]) => {
            mock.reset();
            Ok(json!({}))
        }
        _ => return Answer::new(StatusCode::NOT_FOUND, json!({ "error": "no such route" })),
    };
    match done {
        Ok(body) => Answer::ok(body),
        Err(error) => Answer::new(StatusCode::BAD_REQUEST, json!({ "error": error })),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// Everything, or all of one seller.
fn state(world: &World, seller: Option<&str>, now: Timestamp) -> Value {
    let is_wanted = |of: &str| seller.is_none_or(|seller| seller == of);
    let mut sellers: BTreeSet<&str> = world.stored().keys().map(String::as_str).collect();
    sellers.extend(
        world
            .requests
            .iter()
            .filter_map(|request| request.seller.as_deref()),
    );
    let items: Vec<Value> = sellers
        .into_iter()
        .filter(|of| is_wanted(of))
        .flat_map(|of| items(world, of))
        .collect();
    let batches: Vec<_> = world
        .batches
        .iter()
        .filter(|batch| is_wanted(&batch.seller))
        .collect();
    let requests: Vec<_> = world
        .requests
        .iter()
        .filter(|request| seller.is_none() || request.seller.as_deref() == seller)
        .collect();
    json!({ "now": now, "items": items, "batches": batches, "requests": requests })
}

fn items(world: &World, seller: &str) -> Vec<Value> {
    let mut quantities: BTreeMap<&str, i64> = BTreeMap::new();
    if let Catalogue::These(entries) = &world.catalogue {
        quantities.extend(
            entries
                .iter()
                .map(|(name, entry)| (name.as_str(), entry.quantity)),
        );
    }
    let stored = world.stored().get(seller).into_iter().flatten();
    quantities.extend(stored.map(|(name, quantity)| (name.as_str(), *quantity)));
    let item = |(identifier, quantity)| json!({ "seller": seller, "identifier": identifier, "quantity": quantity });
    quantities.into_iter().map(item).collect()
}
