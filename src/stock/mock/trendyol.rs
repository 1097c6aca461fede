//! Plays Trendyol's stock API.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use poem::http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::shuffled;
use super::protocol::{Answer, Incoming, Protocol, Route};
use super::state::{Batch, Ending, Line, Operation, World};
use crate::stock::model::ListingTier;

/// What it says to a request that it had already.
pub const IDENTICAL: &str = "15 dakika boyunca aynı isteği tekrarlı olarak atamazsınız!";
/// How long results can be asked for.
const RESULTS_FOR: TimeDelta = TimeDelta::hours(4);
const MAX_ITEMS: usize = 1000;
const MAX_BARCODES: usize = 50;
const MAX_QUANTITY: i64 = 20_000;

/// How it behaves.
#[derive(Clone, Debug)]
pub struct TrendyolRules {
    /// Whether the form of the `User-Agent` matters, beside that there is one.
    pub is_strict: bool,
    /// How many requests it takes.
    pub tier: ListingTier,
    /// Whether it counts requests.
    pub has_limits: bool,
    /// How long it takes until quantities are applied.
    pub applies_after: TimeDelta,
    /// How long it refuses a request that it had.
    pub identical_window: TimeDelta,
    /// Who is let in; everybody with a key and a secret when there is none.
    pub credentials: Option<(String, SecretString)>,
}

impl Default for TrendyolRules {
    fn default() -> Self {
        Self {
            is_strict: false,
            tier: ListingTier::Fifty,
            has_limits: true,
            applies_after: TimeDelta::seconds(1),
            identical_window: TimeDelta::minutes(15),
            credentials: None,
        }
    }
}

#[derive(Deserialize)]
struct Upload {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    barcode: Option<String>,
    quantity: Option<i64>,
}

impl TrendyolRules {
    /// Whoever calls says who it is, and may; else what they are told.
    fn let_in(&self, incoming: &Incoming<'_>) -> Result<(), Answer> {
        let agent = incoming.header("user-agent").unwrap_or_default();
        if agent.trim().is_empty() || (self.is_strict && !is_well_formed(agent)) {
            let why =
                json!({ "error": "Forbidden", "message": "User-Agent is missing or malformed" });
            return Err(Answer::new(StatusCode::FORBIDDEN, why));
        }
        let may =
            basic_pair(incoming.header("authorization")).is_some_and(
                |(user, password)| match &self.credentials {
                    Some((known, secret)) => user == *known && password == secret.expose_secret(),
                    None => !user.is_empty() && !password.is_empty(),
                },
            );
        let why = json!({ "exception": "ClientApiAuthenticationException" });
        may.then_some(())
            .ok_or_else(|| Answer::new(StatusCode::UNAUTHORIZED, why))
    }

    /// Two limits: of the route, and of its group.
    fn spend(&self, incoming: &Incoming<'_>, world: &mut World) -> Result<(), Answer> {
        if !self.has_limits {
            return Ok(());
        }
        let (write, read) = quotas(self.tier);
        let (group, quota) = match incoming.route.operation {
            Operation::Send => ("write", write),
            Operation::Poll | Operation::Read => ("read", read),
        };
        let seller = &incoming.route.seller;
        let route = format!("{seller} {:?}", incoming.route.operation);
        let is_left = world.spend(&route, 50, TimeDelta::seconds(10), incoming.now)
            && world.spend(
                &format!("{seller} {group}"),
                quota,
                TimeDelta::seconds(60),
                incoming.now,
            );
        is_left.then_some(()).ok_or_else(|| self.too_many())
    }

    fn send(&self, incoming: &Incoming<'_>, world: &mut World) -> Result<Answer, Answer> {
        let upload: Upload = serde_json::from_slice(incoming.body)
            .map_err(|_| bad_request("request.body.malformed", "the body cannot be read"))?;
        if upload.items.is_empty() || upload.items.len() > MAX_ITEMS {
            return Err(bad_request("items.size", "there must be 1 to 1000 items"));
        }
        let mut canonical: Vec<String> = upload
            .items
            .iter()
            .map(|item| json!([item.barcode, item.quantity]).to_string())
            .collect();
        canonical.sort_unstable();
        let seller = &incoming.route.seller;
        let canonical = canonical.join("\n").into_bytes();
        if world.repeats(seller, canonical, self.identical_window, incoming.now) {
            return Err(bad_request("repeated.request", IDENTICAL));
        }
        let id = batch_id(incoming);
        let lines = lines(&upload.items, seller, world);
        world.take(Batch {
            id: id.clone(),
            seller: seller.clone(),
            number: incoming.number,
            received_at: incoming.now,
            applies_at: incoming.now + self.applies_after,
            lines,
            is_applied: false,
            ending: Ending::default(),
            is_shuffled: false,
        });
        Ok(Answer::ok(json!({ "batchRequestId": id })))
    }
}

fn poll(incoming: &Incoming<'_>, world: &World) -> Answer {
    let id = incoming.route.batch.as_deref().unwrap_or_default();
    let batch = world
        .batch(&incoming.route.seller, id)
        .filter(|batch| incoming.now - batch.received_at < RESULTS_FOR);
    let Some(batch) = batch else {
        let why = errors("batch.request.not.found", "the batch request is not found");
        return Answer::new(StatusCode::NOT_FOUND, why);
    };
    let mut results: Vec<Value> = Vec::new();
    if batch.is_done() {
        results.extend(batch.lines.iter().map(|line| result(line, batch.ending)));
    }
    if batch.is_shuffled {
        results = shuffled(results, u64::try_from(batch.number).unwrap_or_default());
    }
    let failed = results
        .iter()
        .filter(|result| result["status"] == "FAILED")
        .count();
    let at = batch.received_at.timestamp_millis();
    Answer::ok(json!({
        "batchRequestId": id,
        "batchRequestType": "ProductInventoryUpdate",
        "sourceType": "API",
        "creationDate": at,
        "lastModification": if batch.is_done() { batch.applies_at.timestamp_millis() } else { at },
        "itemCount": batch.lines.len(),
        "failedItemCount": failed,
        "items": results,
    }))
}

fn result(line: &Line, ending: Ending) -> Value {
    let refusal = line
        .refusal
        .as_deref()
        .or((ending == Ending::Failed).then_some("the batch failed"));
    let (status, reasons) = match refusal {
        Some(refusal) => ("FAILED", vec![refusal]),
        None => ("SUCCESS", Vec::new()),
    };
    json!({ "requestItem": line.echo, "status": status, "failureReasons": reasons })
}

fn read(incoming: &Incoming<'_>, world: &World) -> Answer {
    let mut barcodes = incoming.parameters("barcodes");
    barcodes.extend(incoming.parameters("barcode"));
    if barcodes.len() > MAX_BARCODES {
        return bad_request("barcodes.size", "there may be at most 50 barcodes");
    }
    let shown = barcodes.iter().enumerate().filter_map(|(place, barcode)| {
        let quantity = world.quantity(&incoming.route.seller, barcode)?;
        Some(json!({
            "contentId": 1_000_000 + place,
            "productMainId": barcode,
            "variants": [{
                "variantId": 2_000_000 + place,
                "barcode": barcode,
                "quantity": quantity,
                "salePrice": 199.9,
                "listPrice": 249.9,
                "stockCode": barcode,
                "stockLastModifiedDate": null,
            }],
        }))
    });
    let content: Vec<Value> = shown.collect();
    Answer::ok(json!({
        "totalElements": content.len(),
        "totalPages": 1,
        "page": 0,
        "size": 100,
        "content": content,
    }))
}

fn lines(items: &[Item], seller: &str, world: &World) -> Vec<Line> {
    let barcode = |item: &Item| -> String {
        let barcode = item.barcode.as_deref().unwrap_or_default();
        barcode
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .collect()
    };
    let mut counts: HashMap<String, usize> = HashMap::new();
    for item in items {
        *counts.entry(barcode(item)).or_default() += 1;
    }
    let line = |item: &Item| {
        let barcode = barcode(item);
        let quantity = item.quantity.unwrap_or_default();
        let refusal = if barcode.is_empty() {
            Some("Barkod zorunludur".to_owned())
        } else if !world.knows(seller, &barcode) {
            Some(format!("{barcode} barkodlu ürün bulunamadı"))
        } else if item.quantity.is_none() {
            Some("Stok adedi zorunludur".to_owned())
        } else if !(0..=MAX_QUANTITY).contains(&quantity) {
            Some(format!(
                "Stok adedi 0 ile {MAX_QUANTITY} arasında olmalıdır"
            ))
        } else if counts.get(&barcode).is_some_and(|count| *count > 1) {
            Some(format!(
                "{barcode} barkodu istekte birden fazla kez gönderildi"
            ))
        } else {
            None
        };
        let echo = json!({ "barcode": barcode, "quantity": item.quantity });
        Line {
            identifier: barcode,
            quantity,
            refusal,
            echo,
        }
    };
    items.iter().map(line).collect()
}

fn batch_id(incoming: &Incoming<'_>) -> String {
    let mut state = u64::try_from(incoming.number).unwrap_or_default();
    let high = crate::ids::split_mix(&mut state);
    let low = crate::ids::split_mix(&mut state);
    format!(
        "{}-{}",
        Uuid::from_u64_pair(high, low),
        incoming.now.timestamp()
    )
}

fn errors(key: &str, message: &str) -> Value {
    json!({ "errors": [{ "key": key, "message": message, "errorCode": key }] })
}

fn bad_request(key: &str, message: &str) -> Answer {
    Answer::new(StatusCode::BAD_REQUEST, errors(key, message))
}

/// `{seller} - {integrator}`
fn is_well_formed(agent: &str) -> bool {
    agent.split_once(" - ").is_some_and(|(seller, name)| {
        let is_seller = !seller.is_empty() && seller.bytes().all(|byte| byte.is_ascii_digit());
        let is_name =
            (1..=30).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_seller && is_name
    })
}

/// The user and the password of Basic credentials.
pub(super) fn basic_pair(header: Option<&str>) -> Option<(String, String)> {
    let pair = STANDARD.decode(header?.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Requests a minute, of writing and of reading.
const fn quotas(tier: ListingTier) -> (usize, usize) {
    match tier {
        ListingTier::Fifty => (350, 1000),
        ListingTier::SeventyFive => (500, 1250),
        ListingTier::HundredFifty => (1000, 1500),
        ListingTier::FiveHundred => (1500, 1750),
        ListingTier::Unlimited => (2000, 2000),
    }
}

impl Protocol for TrendyolRules {
    fn route(&self, method: &Method, path: &[&str]) -> Option<Route> {
        let [
            "integration",
            service,
            "sellers",
            seller,
            "products",
            rest @ ..,
        ] = path
        else {
            return None;
        };
        let (operation, batch) = match (method.as_str(), *service, rest) {
            ("POST", "inventory", ["price-and-inventory"]) => (Operation::Send, None),
            ("GET", "product", ["batch-requests", id]) => (Operation::Poll, Some((*id).to_owned())),
            ("GET", "product", ["approved", "inventory-and-price"]) => (Operation::Read, None),
            _ => return None,
        };
        Some(Route {
            operation,
            seller: (*seller).to_owned(),
            batch,
        })
    }

    fn answer(&self, incoming: &Incoming<'_>, world: &mut World) -> Answer {
        let allowed = self
            .let_in(incoming)
            .and_then(|()| self.spend(incoming, world));
        let answer = allowed.and_then(|()| match incoming.route.operation {
            Operation::Send => self.send(incoming, world),
            Operation::Poll => Ok(poll(incoming, world)),
            Operation::Read => Ok(read(incoming, world)),
        });
        answer.unwrap_or_else(|refusal| refusal)
    }

    fn too_many(&self) -> Answer {
        let why = errors("too.many.requests", "too.many.requests");
        Answer::new(StatusCode::TOO_MANY_REQUESTS, why)
    }
}
