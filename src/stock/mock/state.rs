//! What a mock marketplace remembers.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use poem::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::faults::{FaultKind, Faults};
use crate::timestamp::Timestamp;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Telling quantities.
    Send,
    /// Asking what became of them.
    Poll,
    /// Asking for quantities.
    Read,
}

/// Which items a marketplace knows, of every seller.
#[derive(Clone, Debug, Default)]
pub enum Catalogue {
    /// All that it hears of.
    #[default]
    Any,
    /// These, by their identifiers.
    These(BTreeMap<String, Entry>),
}

/// An item of a catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// How many there are at the start.
    pub quantity: i64,
    /// The marketplace's own name of it, where it has one.
    pub alias: Option<String>,
}

impl Catalogue {
    /// These identifiers, with nothing in stock.
    pub fn of<'a>(identifiers: impl IntoIterator<Item = &'a str>) -> Self {
        let entries = identifiers
            .into_iter()
            .map(|name| (name.to_owned(), Entry::default()));
        Self::These(entries.collect())
    }

    /// How many it has; none when it has whatever it hears of.
    pub fn len(&self) -> Option<usize> {
        match self {
            Self::Any => None,
            Self::These(entries) => Some(entries.len()),
        }
    }

    /// Whether nothing can be in it.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// An item.
    pub fn get(&self, identifier: &str) -> Option<&Entry> {
        match self {
            Self::Any => None,
            Self::These(entries) => entries.get(identifier),
        }
    }

    fn knows(&self, identifier: &str) -> bool {
        matches!(self, Self::Any) || self.get(identifier).is_some()
    }
}

/// A request, as it came, and what it was answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// Its place among all requests, from 1.
    pub number: usize,
    /// When it came.
    pub received_at: Timestamp,
    /// What for; none when there is no such route.
    pub operation: Option<Operation>,
    /// Whose store.
    pub seller: Option<String>,
    /// Its method.
    #[serde(serialize_with = "method")]
    pub method: Method,
    /// Its path, with its query.
    pub path: String,
    /// Its headers, without credentials.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    #[serde(serialize_with = "body")]
    pub body: String,
    /// What it was answered; none as long as it was not, or when the connection was lost.
    pub status: Option<u16>,
}

impl Received {
    /// Its body, if it is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

fn method<S: serde::Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}

fn body<S: serde::Serializer>(body: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let read: Option<Value> = serde_json::from_str(body).ok();
    read.unwrap_or_else(|| body.into()).serialize(serializer)
}

/// Quantities that were told together.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Its name.
    pub id: String,
    /// Whose.
    pub seller: String,
    /// The request that brought it.
    pub number: usize,
    /// When that was.
    #[serde(serialize_with = "instant")]
    pub received_at: DateTime<Utc>,
    /// When it is applied.
    #[serde(serialize_with = "instant")]
    pub applies_at: DateTime<Utc>,
    /// Its items, in the order they came.
    pub lines: Vec<Line>,
    /// Whether it was applied.
    pub is_applied: bool,
    /// How it ends.
    pub ending: Ending,
    /// Its results come in another order.
    pub is_shuffled: bool,
}

/// How a batch ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// It is applied, and its results say so.
    #[default]
    Usual,
    /// It is applied, and its results never say so.
    NeverTold,
    /// Nothing of it is applied.
    Failed,
}

impl Batch {
    /// Whether its results are there.
    pub fn is_done(&self) -> bool {
        self.is_applied && self.ending != Ending::NeverTold
    }
}

fn instant<S: serde::Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    Timestamp::from(*at).serialize(serializer)
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The item that is meant.
    pub identifier: String,
    /// How many there are.
    pub quantity: i64,
    /// Why it is refused, if it is.
    pub refusal: Option<String>,
    /// As it is repeated with the results.
    pub echo: Value,
}

/// All that a mock marketplace remembers.
#[derive(Debug)]
pub struct World {
    /// Which items there are.
    pub catalogue: Catalogue,
    /// All requests, in the order they came.
    pub requests: Vec<Received>,
    /// All batches, in the order they came.
    pub batches: Vec<Batch>,
    /// The quantities that were told, or that changed, by seller and identifier.
    stored: BTreeMap<String, BTreeMap<String, i64>>,
    places: HashMap<String, usize>,
    waiting: Vec<usize>,
    bodies: HashMap<(String, Vec<u8>), DateTime<Utc>>,
    calls: HashMap<String, VecDeque<DateTime<Utc>>>,
    spent: HashMap<(String, NaiveDate), usize>,
    pub(super) faults: Faults,
}

impl World {
    pub(super) fn new(catalogue: Catalogue, seed: u64) -> Self {
        Self {
            catalogue,
            requests: Vec::new(),
            batches: Vec::new(),
            stored: BTreeMap::new(),
            places: HashMap::new(),
            waiting: Vec::new(),
            bodies: HashMap::new(),
            calls: HashMap::new(),
            spent: HashMap::new(),
            faults: Faults::new(seed),
        }
    }

    /// Whether the seller has the item.
    pub fn knows(&self, seller: &str, identifier: &str) -> bool {
        self.catalogue.knows(identifier) || self.told(seller, identifier).is_some()
    }

    /// How many of an item the marketplace shows.
    pub fn quantity(&self, seller: &str, identifier: &str) -> Option<i64> {
        let at_first = || self.catalogue.get(identifier).map(|entry| entry.quantity);
        self.told(seller, identifier).or_else(at_first)
    }

    fn told(&self, seller: &str, identifier: &str) -> Option<i64> {
        self.stored.get(seller)?.get(identifier).copied()
    }

    /// What the marketplace shows of all that it was told of.
    pub fn stored(&self) -> &BTreeMap<String, BTreeMap<String, i64>> {
        &self.stored
    }

    /// Sets what is shown.
    pub fn store(&mut self, seller: &str, identifier: &str, quantity: i64) {
        let items = self.stored.entry(seller.to_owned()).or_default();
        items.insert(identifier.to_owned(), quantity);
    }

    /// Takes a batch; its faults may change what becomes of it.
    pub fn take(&mut self, mut batch: Batch) {
        for line in &mut batch.lines {
            if let Some(reason) = self.refusal(&line.identifier) {
                line.refusal = Some(reason);
            }
        }
        let mut is = |wanted: &FaultKind| {
            self.faults
                .take(Some(Operation::Send), |kind| kind == wanted)
                .is_some()
        };
        if is(&FaultKind::NeverDone) {
            batch.ending = Ending::NeverTold;
        }
        if is(&FaultKind::FailBatch) {
            batch.ending = Ending::Failed;
        }
        batch.is_shuffled = is(&FaultKind::ShuffleResults);
        let is_late = |kind: &FaultKind| matches!(kind, FaultKind::ApplyLate { .. });
        let late = self.faults.take(Some(Operation::Send), is_late);
        if let Some(FaultKind::ApplyLate { delay_seconds }) = late {
            batch.applies_at += TimeDelta::seconds(delay_seconds.into());
        }
        let place = self.batches.len();
        self.places.insert(batch.id.clone(), place);
        self.waiting.push(place);
        self.batches.push(batch);
    }

    /// Why an item is refused, if that was asked for.
    pub fn refusal(&mut self, wanted: &str) -> Option<String> {
        let is_meant = |kind: &FaultKind| matches!(kind, FaultKind::RejectItem { identifier, .. } if identifier == wanted);
        match self.faults.take(Some(Operation::Send), is_meant) {
            Some(FaultKind::RejectItem { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    /// A batch of a seller.
    pub fn batch(&self, seller: &str, id: &str) -> Option<&Batch> {
        let batch = &self.batches[*self.places.get(id)?];
        (batch.seller == seller).then_some(batch)
    }

    /// Batches of a seller whose results are not there.
    pub fn outstanding(&self, seller: &str) -> usize {
        let of_seller = self.batches.iter().filter(|batch| batch.seller == seller);
        of_seller.filter(|batch| !batch.is_done()).count()
    }

    /// Applies what is due, in the order it is due.
    pub(super) fn settle(&mut self, now: DateTime<Utc>) {
        let mut due: Vec<usize> = Vec::new();
        let batches = &self.batches;
        self.waiting.retain(|place| {
            let is_due = batches[*place].applies_at <= now;
            if is_due {
                due.push(*place);
            }
            !is_due
        });
        due.sort_by_key(|place| (self.batches[*place].applies_at, *place));
        for place in due {
            let batch = &mut self.batches[place];
            batch.is_applied = true;
            if batch.ending == Ending::Failed {
                continue;
            }
            let items = self.stored.entry(batch.seller.clone()).or_default();
            for line in batch.lines.iter().filter(|line| line.refusal.is_none()) {
                items.insert(line.identifier.clone(), line.quantity);
            }
        }
    }

    /// When the next batch is applied.
    pub(super) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.waiting
            .iter()
            .map(|place| self.batches[*place].applies_at)
            .min()
    }

    /// Whether the seller sent the same within the window; if not, it has now.
    pub fn repeats(
        &mut self,
        seller: &str,
        body: Vec<u8>,
        window: TimeDelta,
        now: DateTime<Utc>,
    ) -> bool {
        self.bodies.retain(|_, at| now - *at < window);
        let key = (seller.to_owned(), body);
        let is_repeated = self.bodies.contains_key(&key);
        if !is_repeated {
            self.bodies.insert(key, now);
        }
        is_repeated
    }

    /// Spends one of so many calls in a sliding window, if there is one left.
    pub fn spend(
        &mut self,
        rate: &str,
        limit: usize,
        window: TimeDelta,
        now: DateTime<Utc>,
    ) -> bool {
        let calls = self.calls.entry(rate.to_owned()).or_default();
        while calls.front().is_some_and(|at| now - *at >= window) {
            calls.pop_front();
        }
        let is_left = calls.len() < limit;
        if is_left {
            calls.push_back(now);
        }
        is_left
    }

    /// Spends so many updates of a day, if they are left.
    pub fn spend_today(
        &mut self,
        seller: &str,
        day: NaiveDate,
        updates: usize,
        limit: usize,
    ) -> bool {
        let spent = self.spent.entry((seller.to_owned(), day)).or_default();
        let is_left = *spent + updates <= limit;
        if is_left {
            *spent += updates;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::Fault;
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn world() -> World {
        World::new(Catalogue::of(["a", "b"]), 1)
    }

    fn batch(id: &str, seconds: i64, quantity: i64) -> Batch {
        Batch {
            id: id.into(),
            seller: "s".into(),
            number: 1,
            received_at: noon(),
            applies_at: noon() + TimeDelta::seconds(seconds),
            lines: vec![Line {
                identifier: "a".into(),
                quantity,
                refusal: None,
                echo: Value::Null,
            }],
            is_applied: false,
            ending: Ending::Usual,
            is_shuffled: false,
        }
    }

    #[test]
    fn a_window_of_calls_slides() {
        let mut world = world();
        let second = TimeDelta::seconds(1);
        let mut spend = |at: i64| {
            world.spend(
                "r",
                2,
                TimeDelta::seconds(10),
                noon() + second * i32::try_from(at).unwrap(),
            )
        };
        let taken = [0, 4, 5, 9, 10, 11, 13, 14].map(&mut spend);
        // What was refused does not count.
        assert_eq!(taken, [true, true, false, false, true, false, false, true]);
        assert!(world.spend("other", 2, TimeDelta::seconds(10), noon()));
    }

    #[test]
    fn a_day_has_so_many_updates_and_the_next_one_has_them_again() {
        let mut world = world();
        let (today, tomorrow) = (noon().date_naive(), noon().date_naive().succ_opt().unwrap());
        assert!(world.spend_today("s", today, 7, 10));
        assert!(
            !world.spend_today("s", today, 4, 10),
            "nothing of it is spent"
        );
        assert!(world.spend_today("s", today, 3, 10));
        assert!(!world.spend_today("s", today, 1, 10));
        assert!(world.spend_today("s", tomorrow, 10, 10));
        assert!(world.spend_today("t", today, 10, 10));
    }

    #[test]
    fn the_same_body_of_the_same_seller_repeats_within_the_window() {
        let mut world = world();
        let window = TimeDelta::seconds(900);
        let mut repeats = |seller: &str, body: &str, at: i64| {
            world.repeats(seller, body.into(), window, noon() + TimeDelta::seconds(at))
        };
        assert!(!repeats("s", "x", 0));
        assert!(repeats("s", "x", 899));
        assert!(!repeats("s", "y", 899));
        assert!(!repeats("t", "x", 899));
        // A refusal does not begin another window.
        assert!(!repeats("s", "x", 900));
        assert!(repeats("s", "x", 1799));
    }

    #[test]
    fn batches_are_applied_when_they_are_due_and_not_in_the_order_they_came() {
        let mut world = world();
        world.take(batch("late", 5, 1));
        world.take(batch("soon", 2, 2));
        assert_eq!((world.outstanding("s"), world.outstanding("t")), (2, 0));
        assert_eq!(world.next_due(), Some(noon() + TimeDelta::seconds(2)));
        world.settle(noon() + TimeDelta::seconds(1));
        assert_eq!(world.quantity("s", "a"), Some(0));
        world.settle(noon() + TimeDelta::seconds(3));
        assert_eq!(
            (world.quantity("s", "a"), world.outstanding("s")),
            (Some(2), 1)
        );
        world.settle(noon() + TimeDelta::seconds(9));
        assert_eq!(
            (world.quantity("s", "a"), world.next_due()),
            (Some(1), None)
        );
        assert!(world.batch("s", "late").is_some_and(Batch::is_done));
        assert!(world.batch("t", "late").is_none());
    }

    #[test]
    fn a_batch_takes_the_faults_that_are_about_it() {
        let mut world = world();
        for kind in [
            FaultKind::RejectItem {
                identifier: "b".into(),
                reason: "not this one".into(),
            },
            FaultKind::RejectItem {
                identifier: "a".into(),
                reason: "no".into(),
            },
            FaultKind::FailBatch,
        ] {
            world.faults.add(Fault::once(Operation::Send, kind));
        }
        world.take(batch("one", 0, 5));
        world.settle(noon());
        let batch = world.batch("s", "one").unwrap();
        assert_eq!(batch.lines[0].refusal.as_deref(), Some("no"));
        assert_eq!((batch.ending, batch.is_done()), (Ending::Failed, true));
        assert_eq!(world.quantity("s", "a"), Some(0));
        assert_eq!(world.faults.all().len(), 1);
    }
}
