//! Plays Hepsiburada's stock API.

use std::collections::HashMap;

use chrono::{FixedOffset, TimeDelta};
use poem::http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::shuffled;
use super::protocol::{Answer, Incoming, Protocol, Route};
use super::state::{Batch, Catalogue, Ending, Line, Operation, World};
use super::trendyol::basic_pair;

/// What it says to one upload too many.
pub const TOO_MANY_UPLOADS: &str =
    "There are too many ongoing/waiting inventory uploads at the moment. Please try again later.";
const MAX_ITEMS: usize = 4000;
const MAX_OUTSTANDING: usize = 5;
/// Updates a day for each listing.
const DAILY_UPDATES: usize = 10;
/// Requests a minute from one address, which here is everybody's.
const REQUESTS: usize = 180;
const MAX_QUANTITY: i64 = 1_000_000;
/// Its days are those of Istanbul, in seconds from UTC.
const DAY_OFFSET: i32 = 3 * 3600;

/// How it says that there are too many uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// With a status that says so, too.
    #[default]
    TooManyRequests,
    /// In a good answer that has no id.
    GoodAnswer,
}

/// How it behaves.
#[derive(Clone, Debug)]
pub struct HepsiburadaRules {
    /// Whether a `User-Agent` with the merchant in it is refused, beside that there is one.
    pub is_strict: bool,
    /// How it says that there are too many uploads.
    pub refusal: Refusal,
    /// How many listings a merchant has; as many as the catalogue has when there is none.
    pub listings: Option<usize>,
    /// Whether it counts requests and updates.
    pub has_limits: bool,
    /// How long it takes until quantities are applied.
    pub applies_after: TimeDelta,
    /// Who is let in; everybody with a user and a key when there is none.
    pub credentials: Option<(String, SecretString)>,
}

impl Default for HepsiburadaRules {
    fn default() -> Self {
        Self {
            is_strict: false,
            refusal: Refusal::default(),
            listings: None,
            has_limits: true,
            applies_after: TimeDelta::seconds(1),
            credentials: None,
        }
    }
}

impl HepsiburadaRules {
    /// Whoever calls says who it is, and may; else what they are told.
    fn let_in(&self, incoming: &Incoming<'_>) -> Result<(), Answer> {
        let agent = incoming.header("user-agent").unwrap_or_default();
        if agent.trim().is_empty() || (self.is_strict && agent.contains(" - ")) {
            let why =
                json!({ "message": "User-Agent header is required", "code": "MissingHeaders" });
            return Err(Answer::new(StatusCode::FORBIDDEN, why));
        }
        let may =
            basic_pair(incoming.header("authorization")).is_some_and(|(user, key)| {
                match &self.credentials {
                    Some((known, secret)) => user == *known && key == secret.expose_secret(),
                    None => !user.is_empty() && !key.is_empty(),
                }
            });
        let why = json!({ "message": "Unauthorized" });
        may.then_some(())
            .ok_or_else(|| Answer::new(StatusCode::UNAUTHORIZED, why))
    }

    fn send(&self, incoming: &Incoming<'_>, world: &mut World) -> Result<Answer, Answer> {
        let items: Vec<Value> = serde_json::from_slice(incoming.body)
            .map_err(|_| bad_request("the body is no list"))?;
        if items.is_empty() || items.len() > MAX_ITEMS {
            return Err(bad_request("there must be 1 to 4000 items"));
        }
        let merchant = &incoming.route.seller;
        if self.has_limits {
            if world.outstanding(merchant) >= MAX_OUTSTANDING {
                return Err(self.too_many_uploads());
            }
            let listings = self.listings.or(world.catalogue.len());
            let offset = FixedOffset::east_opt(DAY_OFFSET).expect("three hours are an offset");
            let day = incoming.now.with_timezone(&offset).date_naive();
            let is_left = listings.is_none_or(|listings| {
                world.spend_today(merchant, day, items.len(), DAILY_UPDATES * listings)
            });
            if !is_left {
                let why = json!({ "message": "the daily update limit is exceeded" });
                return Err(Answer::new(StatusCode::NOT_ACCEPTABLE, why));
            }
        }
        let id = upload_id(incoming);
        let lines = lines(&items, merchant, world);
        world.take(Batch {
            id: id.clone(),
            seller: merchant.clone(),
            number: incoming.number,
            received_at: incoming.now,
            applies_at: incoming.now + self.applies_after,
            lines,
            is_applied: false,
            ending: Ending::default(),
            is_shuffled: false,
        });
        Ok(Answer::ok(json!({ "id": id })))
    }

    fn too_many_uploads(&self) -> Answer {
        let status = match self.refusal {
            Refusal::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Refusal::GoodAnswer => StatusCode::OK,
        };
        Answer::new(status, json!({ "message": TOO_MANY_UPLOADS }))
    }
}

fn poll(incoming: &Incoming<'_>, world: &World) -> Answer {
    let id = incoming.route.batch.as_deref().unwrap_or_default();
    let Some(batch) = world.batch(&incoming.route.seller, id) else {
        return Answer::new(
            StatusCode::NOT_FOUND,
            json!({ "message": "the upload is not found" }),
        );
    };
    let status = match (batch.is_done(), batch.ending == Ending::Failed) {
        (false, _) => "PROCESSING",
        (true, false) => "Done",
        (true, true) => "Failed",
    };
    let numbered = batch.lines.iter().enumerate().filter_map(|(place, line)| {
        let refusal = line.refusal.as_ref()?;
        let mut error = line.echo.clone();
        error["elementNo"] = json!(place + 1);
        error["errors"] = json!([refusal]);
        Some(error)
    });
    let mut errors: Vec<Value> = numbered.collect();
    if batch.is_shuffled {
        errors = shuffled(errors, u64::try_from(batch.number).unwrap_or_default());
    }
    // Of what is not done yet, and of what failed as a whole, it says no more.
    let is_told = batch.is_done() && batch.ending != Ending::Failed;
    Answer::ok(json!({
        "id": id,
        "status": status,
        "createdAt": crate::timestamp::format(batch.received_at),
        "total": batch.lines.len(),
        "errors": if is_told { json!(errors) } else { Value::Null },
    }))
}

fn read(incoming: &Incoming<'_>, world: &World) -> Answer {
    let number = |name| {
        incoming
            .parameter(name)
            .and_then(|value| value.parse::<usize>().ok())
    };
    let (Some(offset), Some(limit)) = (number("offset"), number("limit")) else {
        return bad_request("offset and limit are required");
    };
    let merchant = &incoming.route.seller;
    let wanted = incoming.parameters("merchantSkuList");
    let own = incoming.parameters("hbSkuList");
    let mut skus: Vec<String> = wanted.iter().map(|sku| sku.to_ascii_uppercase()).collect();
    skus.extend(own.iter().filter_map(|alias| by_alias(world, alias)));
    if wanted.is_empty() && own.is_empty() {
        let Catalogue::These(entries) = &world.catalogue else {
            return bad_request("this mock lists items only by name, unless it has a catalogue");
        };
        skus.extend(entries.keys().cloned());
    }
    let shown: Vec<Value> = skus
        .iter()
        .filter_map(|sku| {
            let quantity = world.quantity(merchant, sku)?;
            Some(json!({
                "hepsiburadaSku": alias_of(world, sku),
                "merchantSku": sku,
                "price": 199.9,
                "availableStock": quantity,
                "isSalable": quantity > 0,
                "isLocked": false,
                "lockReasons": [],
                "isFrozen": false,
                "freezeReasons": [],
                "stockDecreaseDisabled": false,
                "isFulfilledByHB": false,
            }))
        })
        .collect();
    let page: Vec<&Value> = shown.iter().skip(offset).take(limit).collect();
    Answer::ok(
        json!({ "listings": page, "totalCount": shown.len(), "limit": limit, "offset": offset }),
    )
}

/// The marketplace's own name of an item.
fn alias_of<'a>(world: &'a World, sku: &str) -> Option<&'a str> {
    world.catalogue.get(sku)?.alias.as_deref()
}

/// The merchant's name of an item, by the marketplace's.
fn by_alias(world: &World, alias: &str) -> Option<String> {
    match &world.catalogue {
        // It has no list to look in, so what it hears of is what it is called.
        Catalogue::Any => Some(alias.to_owned()),
        Catalogue::These(entries) => {
            let found = entries
                .iter()
                .find(|(_, entry)| entry.alias.as_deref() == Some(alias));
            found.map(|(sku, _)| sku.clone())
        }
    }
}

/// A listing of an upload, by the names that it was given.
struct Named {
    merchant_sku: Option<String>,
    hepsiburada_sku: Option<String>,
}

impl Named {
    /// What is not known here, such as `barcode`, is passed over.
    fn of(item: &Value) -> Self {
        let text = |name: &str| {
            item[name]
                .as_str()
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        Self {
            merchant_sku: text("merchantSku").map(str::to_ascii_uppercase),
            hepsiburada_sku: text("hepsiburadaSku").map(str::to_owned),
        }
    }

    /// The item that is meant, or why there is none.
    fn find(&self, merchant: &str, world: &World) -> Result<String, &'static str> {
        let own = self.hepsiburada_sku.as_deref();
        let by_alias = own.and_then(|alias| by_alias(world, alias));
        match (&self.merchant_sku, own, by_alias) {
            (None, None, _) => Err("NoSkuSpecified"),
            (Some(sku), _, _) if sku.contains(' ') || !world.knows(merchant, sku) => {
                Err("ProductNotFound")
            }
            (Some(sku), Some(_), found) => {
                // Two names of two items; who has no list believes what they are told.
                let is_listed = matches!(world.catalogue, Catalogue::These(_));
                let is_another = is_listed && found.as_ref() != Some(sku);
                if is_another {
                    Err("MismatchingSkusSpecified")
                } else {
                    Ok(sku.clone())
                }
            }
            (Some(sku), None, _) => Ok(sku.clone()),
            (None, Some(_), found) => found.ok_or("ProductNotFound"),
        }
    }
}

fn lines(items: &[Value], merchant: &str, world: &World) -> Vec<Line> {
    let named: Vec<Named> = items.iter().map(Named::of).collect();
    let mut merchant_skus: HashMap<&str, usize> = HashMap::new();
    let mut own_skus: HashMap<&str, usize> = HashMap::new();
    for names in &named {
        if let Some(sku) = &names.merchant_sku {
            *merchant_skus.entry(sku).or_default() += 1;
        }
        if let Some(sku) = &names.hepsiburada_sku {
            *own_skus.entry(sku).or_default() += 1;
        }
    }
    let line = |(names, item): (&Named, &Value)| {
        let is_twice = |skus: &HashMap<&str, usize>, sku: &Option<String>| {
            sku.as_deref()
                .and_then(|sku| skus.get(sku))
                .is_some_and(|count| *count > 1)
        };
        let quantity = item["availableStock"].as_i64();
        let found = names.find(merchant, world);
        let refusal = match (&found, quantity) {
            (Err(refusal), _) => Some(*refusal),
            (Ok(_), _) if is_twice(&merchant_skus, &names.merchant_sku) => {
                Some("DuplicateMerchantSkuSpecified")
            }
            (Ok(_), _) if is_twice(&own_skus, &names.hepsiburada_sku) => {
                Some("DuplicateHepsiburadaSkuSpecified")
            }
            (Ok(_), Some(0..=MAX_QUANTITY)) => None,
            (Ok(_), _) => Some("InvalidAvailableStock"),
        };
        Line {
            identifier: found.unwrap_or_else(|_| names.merchant_sku.clone().unwrap_or_default()),
            quantity: quantity.unwrap_or_default(),
            refusal: refusal.map(str::to_owned),
            echo: json!({ "merchantSku": names.merchant_sku, "hepsiburadaSku": names.hepsiburada_sku }),
        }
    };
    named.iter().zip(items).map(line).collect()
}

fn upload_id(incoming: &Incoming<'_>) -> String {
    let mut state = u64::try_from(incoming.number).unwrap_or_default();
    let high = crate::ids::split_mix(&mut state);
    let low = crate::ids::split_mix(&mut state);
    Uuid::from_u64_pair(high, low).to_string()
}

fn bad_request(why: &str) -> Answer {
    Answer::new(StatusCode::BAD_REQUEST, json!({ "message": why }))
}

impl Protocol for HepsiburadaRules {
    fn route(&self, method: &Method, path: &[&str]) -> Option<Route> {
        let ["listings", segment, merchant, rest @ ..] = path else {
            return None;
        };
        if !segment.eq_ignore_ascii_case("merchantid") {
            return None;
        }
        let (operation, batch) = match (method.as_str(), rest) {
            ("POST", ["stock-uploads"]) => (Operation::Send, None),
            ("GET", ["stock-uploads", "id", id]) => (Operation::Poll, Some((*id).to_owned())),
            ("GET", []) => (Operation::Read, None),
            _ => return None,
        };
        Some(Route {
            operation,
            seller: (*merchant).to_owned(),
            batch,
        })
    }

    fn answer(&self, incoming: &Incoming<'_>, world: &mut World) -> Answer {
        let allowed = self.let_in(incoming).and_then(|()| {
            // The only case that it takes.
            let is_written = world.requests[incoming.number - 1]
                .path
                .starts_with("/listings/merchantid/");
            is_written
                .then_some(())
                .ok_or_else(|| bad_request("The request is invalid."))?;
            let minute = TimeDelta::seconds(60);
            let is_left =
                !self.has_limits || world.spend("address", REQUESTS, minute, incoming.now);
            is_left.then_some(()).ok_or_else(|| self.too_many())
        });
        let answer = allowed.and_then(|()| match incoming.route.operation {
            Operation::Send => self.send(incoming, world),
            Operation::Poll => Ok(poll(incoming, world)),
            Operation::Read => Ok(read(incoming, world)),
        });
        let mut answer = answer.unwrap_or_else(|refusal| refusal);
        answer
            .headers
            .push(("x-correlation-id", upload_id(incoming)));
        answer
    }

    fn too_many(&self) -> Answer {
        Answer::new(
            StatusCode::TOO_MANY_REQUESTS,
            json!({ "message": "Too Many Requests" }),
        )
    }
}
