//! A marketplace behind the adapter's contract: it shows what it was told, fails on order, can hold
//! calls in flight, and writes down everything that arrives.
//!
//! It knows an item by its barcode. Clones share everything.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use jobs::{PushId, StoreId};
use marketplace_sync::clock::Clock;
use marketplace_sync::stock::connector::{
    Adapter, Body, Bucket, CallFailure, Called, Exchange, FailureKind, Item, ItemOutcome, Manners,
    Names, Operation, PollOutcome, ReadOutcome, Reading, Rejection, RejectionClass, SendOutcome,
    Shop,
};
use marketplace_sync::stock::model::{ApiLogType, Provider};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// How it treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes nothing of it.
    Refuse(FailureKind),
    /// The connection drops before it takes anything.
    DropBefore,
    /// It takes all of it, and then the connection drops.
    DropAfter,
}

/// A request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) store: StoreId,
    pub(crate) push: PushId,
    pub(crate) at: DateTime<Utc>,
    /// Barcodes and quantities, in the order they came.
    pub(crate) items: Vec<(String, i64)>,
    pub(crate) was_taken: bool,
}

/// What it does with what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    /// Says at once what became of it.
    AtOnce,
    /// Says so when it is asked.
    WhenAsked,
    /// Does not say it, for now.
    Withheld,
}

struct Batch {
    store: StoreId,
    items: Vec<(String, i64)>,
    is_applied: bool,
}

struct State {
    clock: Option<Clock>,
    manners: Manners,
    results: Results,
    buckets: Vec<Bucket>,
    has_credentials: bool,
    shown: BTreeMap<(StoreId, String), i64>,
    readings: HashMap<String, Reading>,
    arrivals: Vec<Arrival>,
    faults: VecDeque<Fault>,
    store_faults: HashMap<StoreId, Fault>,
    rejections: HashMap<String, Rejection>,
    bad: Vec<String>,
    batches: HashMap<String, Batch>,
    polls: u64,
    reads: Vec<Vec<String>>,
    busy: HashMap<StoreId, usize>,
    most_at_once: usize,
    /// What is applied only later, and in which order.
    late: Vec<String>,
    applies_late: bool,
}

struct Shared {
    state: Mutex<State>,
    held: watch::Sender<bool>,
    in_flight: watch::Sender<usize>,
}

/// The marketplace.
#[derive(Clone)]
pub(crate) struct ScriptedAdapter(Arc<Shared>);

impl fmt::Debug for ScriptedAdapter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ScriptedAdapter")
    }
}

/// Takes a thousand items, and says at once what became of them.
fn manners() -> Manners {
    Manners {
        max_items: 1000,
        max_read_items: 50,
        quantity_cap: 20_000,
        results_for: None,
        refuses_identical: false,
        max_outstanding: None,
        spacing: None,
        daily_updates_per_listing: None,
        day_offset: 0,
    }
}

impl ScriptedAdapter {
    /// It says at once what became of an item.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                clock: None,
                manners: manners(),
                results: Results::AtOnce,
                buckets: Vec::new(),
                has_credentials: true,
                shown: BTreeMap::new(),
                readings: HashMap::new(),
                arrivals: Vec::new(),
                faults: VecDeque::new(),
                store_faults: HashMap::new(),
                rejections: HashMap::new(),
                bad: Vec::new(),
                batches: HashMap::new(),
                polls: 0,
                reads: Vec::new(),
                busy: HashMap::new(),
                most_at_once: 0,
                late: Vec::new(),
                applies_late: false,
            }),
            held: watch::Sender::new(false),
            in_flight: watch::Sender::new(0),
        }))
    }

    /// It says later what became of an item.
    pub(crate) fn later() -> Self {
        let adapter = Self::new();
        adapter.change(|manners| manners.results_for = Some(TimeDelta::hours(4)));
        adapter.give_results(Results::WhenAsked);
        adapter
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.state.lock().unwrap())
    }

    /// Changes how it wants to be treated.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Manners)) {
        self.state(|state| change(&mut state.manners));
    }

    pub(crate) fn give_results(&self, results: Results) {
        self.state(|state| state.results = results);
    }

    /// Whose time it goes by.
    pub(crate) fn go_by(&self, clock: &Clock) {
        self.state(|state| state.clock = Some(clock.clone()));
    }

    pub(crate) fn limit(&self, buckets: Vec<Bucket>) {
        self.state(|state| state.buckets = buckets);
    }

    pub(crate) fn forget_credentials(&self, forgets: bool) {
        self.state(|state| state.has_credentials = !forgets);
    }

    /// What becomes of the next requests; later ones are taken.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state(|state| state.faults.extend(faults));
    }

    /// What becomes of all requests of a store; none: they are taken.
    pub(crate) fn fail_store(&self, store: StoreId, fault: Option<Fault>) {
        self.state(|state| match fault {
            Some(fault) => state.store_faults.insert(store, fault),
            None => state.store_faults.remove(&store),
        });
    }

    /// Refuses an item from now on.
    pub(crate) fn reject(&self, barcode: &str, code: &str, class: RejectionClass) {
        let rejection = Rejection {
            code: code.to_owned(),
            message: format!("{barcode} is refused"),
            class,
        };
        self.state(|state| state.rejections.insert(barcode.to_owned(), rejection));
    }

    /// Takes it again.
    pub(crate) fn accept(&self, barcode: &str) {
        self.state(|state| state.rejections.remove(barcode));
    }

    /// Refuses every request as a whole that has one of these.
    pub(crate) fn spoil(&self, barcodes: &[&str]) {
        let barcodes = barcodes.iter().map(|&it| it.to_owned());
        self.state(|state| state.bad = barcodes.collect());
    }

    /// Applies what it takes only when it is told to ([`Self::apply_late`]).
    pub(crate) fn apply_later(&self, is_late: bool) {
        self.state(|state| state.applies_late = is_late);
    }

    /// Applies what it took, the last request first.
    pub(crate) fn apply_backwards(&self) {
        self.state(|state| {
            for batch in std::mem::take(&mut state.late).into_iter().rev() {
                state.apply(&batch);
            }
        });
    }

    /// Says that it holds the goods of an item, that it is locked, or shows something of its own.
    pub(crate) fn say(&self, barcode: &str, reading: Reading) {
        self.state(|state| state.readings.insert(barcode.to_owned(), reading));
    }

    /// Somebody sells, or changes, on the marketplace itself.
    pub(crate) fn show(&self, store: StoreId, barcode: &str, quantity: i64) {
        self.state(|state| state.shown.insert((store, barcode.to_owned()), quantity));
    }

    /// Calls that send are held until [`Self::release`].
    pub(crate) fn hold(&self) {
        self.0.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.0.held.send_replace(false);
    }

    /// Waits until so many calls that send are in flight.
    pub(crate) async fn in_flight(&self, calls: usize) {
        let mut in_flight = self.0.in_flight.subscribe();
        let arrived = in_flight.wait_for(|now| *now >= calls);
        tokio::time::timeout(Duration::from_secs(30), arrived)
            .await
            .expect("the calls did not come")
            .unwrap();
    }

    /// Everything that arrived.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.state(|state| state.arrivals.clone())
    }

    /// The items of everything that arrived.
    pub(crate) fn requests(&self) -> Vec<Vec<(String, i64)>> {
        self.arrivals()
            .into_iter()
            .map(|arrival| arrival.items)
            .collect()
    }

    /// Forgets what arrived.
    pub(crate) fn forget_arrivals(&self) {
        self.state(|state| state.arrivals.clear());
    }

    /// What it shows of an item.
    pub(crate) fn shown(&self, store: StoreId, barcode: &str) -> Option<i64> {
        self.state(|state| state.shown.get(&(store, barcode.to_owned())).copied())
    }

    /// How often it was asked for results.
    pub(crate) fn polls(&self) -> u64 {
        self.state(|state| state.polls)
    }

    /// Which items it was asked to show, call by call.
    pub(crate) fn reads(&self) -> Vec<Vec<String>> {
        self.state(|state| state.reads.clone())
    }

    /// The most requests of one store that were ever in flight at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state(|state| state.most_at_once)
    }

    async fn answer(&self, shop: &Shop, push: PushId, items: &[Item]) -> SendOutcome {
        let _flight = Flight::start(self, shop.store_id);
        let mut held = self.0.held.subscribe();
        let _ = held.wait_for(|held| !*held).await;
        self.state(|state| state.take(shop.store_id, push, items))
    }
}

impl State {
    fn now(&self) -> DateTime<Utc> {
        self.clock.as_ref().map_or(DateTime::UNIX_EPOCH, Clock::now)
    }

    #[expect(clippy::too_many_lines, reason = "one list of faults")]
    fn take(&mut self, store: StoreId, push: PushId, items: &[Item]) -> SendOutcome {
        let now = self.now();
        let items: Vec<(String, i64)> = items
            .iter()
            .map(|item| (barcode(item), item.quantity))
            .collect();
        let fault = match self.store_faults.get(&store) {
            Some(fault) => Some(*fault),
            None => self.faults.pop_front(),
        };
        let is_bad = items.iter().any(|(barcode, _)| self.bad.contains(barcode));
        let was_taken = !matches!(fault, Some(Fault::Refuse(_) | Fault::DropBefore)) && !is_bad;
        let is_repeated = was_taken && self.manners.refuses_identical && {
            let sorted = |items: &[(String, i64)]| {
                let mut items = items.to_vec();
                items.sort();
                items
            };
            let wanted = sorted(&items);
            self.arrivals.iter().any(|arrival| {
                arrival.store == store
                    && arrival.was_taken
                    && now - arrival.at < TimeDelta::seconds(900)
                    && sorted(&arrival.items) == wanted
            })
        };
        self.arrivals.push(Arrival {
            store,
            push,
            at: now,
            items: items.clone(),
            was_taken: was_taken && !is_repeated,
        });
        let failed = |kind| {
            SendOutcome::Failed(CallFailure {
                kind,
                message: format!("{kind:?}"),
            })
        };
        if is_repeated {
            return failed(FailureKind::Identical);
        }
        match fault {
            Some(Fault::Refuse(kind)) => return failed(kind),
            Some(Fault::DropBefore) => return failed(FailureKind::Ambiguous),
            _ if is_bad => return failed(FailureKind::BadRequest),
            _ => {}
        }
        let id = push.to_string();
        let outcomes = self.outcomes(&items);
        self.batches.insert(
            id.clone(),
            Batch {
                store,
                items,
                is_applied: false,
            },
        );
        if self.applies_late {
            self.late.push(id.clone());
        } else {
            self.apply(&id);
        }
        match (fault, self.results) {
            (Some(Fault::DropAfter), _) => failed(FailureKind::Ambiguous),
            (_, Results::AtOnce) => SendOutcome::Done(outcomes),
            _ => SendOutcome::Accepted { batch_id: id },
        }
    }

    fn outcomes(&self, items: &[(String, i64)]) -> Vec<ItemOutcome> {
        let outcome = |(barcode, _): &(String, i64)| match self.rejections.get(barcode) {
            Some(rejection) => ItemOutcome::Rejected(rejection.clone()),
            None => ItemOutcome::Confirmed,
        };
        items.iter().map(outcome).collect()
    }

    fn apply(&mut self, id: &str) {
        let Some(batch) = self.batches.get_mut(id) else {
            return;
        };
        batch.is_applied = true;
        for (barcode, quantity) in &batch.items {
            if !self.rejections.contains_key(barcode) {
                self.shown.insert((batch.store, barcode.clone()), *quantity);
            }
        }
    }
}

/// A call in flight; it ends also when the caller drops it.
struct Flight<'a>(&'a ScriptedAdapter, StoreId);

impl<'a> Flight<'a> {
    fn start(adapter: &'a ScriptedAdapter, store: StoreId) -> Self {
        adapter.state(|state| {
            let busy = state.busy.entry(store).or_default();
            *busy += 1;
            state.most_at_once = state.most_at_once.max(*busy);
        });
        adapter.0.in_flight.send_modify(|calls| *calls += 1);
        Self(adapter, store)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0
            .state(|state| *state.busy.get_mut(&self.1).unwrap() -= 1);
        self.0.0.in_flight.send_modify(|calls| *calls -= 1);
    }
}

fn barcode(item: &Item) -> String {
    item.names.external_barcode.clone().unwrap_or_default()
}

fn exchange(kind: ApiLogType, request: Option<String>) -> Exchange {
    Exchange {
        kind,
        method: "POST",
        url: "https://marketplace.test/stock".to_owned(),
        request,
        response: Some("{}".to_owned()),
        status: Some(200),
        error: None,
        duration: Duration::from_millis(5),
        correlation_id: None,
    }
}

impl Adapter for ScriptedAdapter {
    fn provider(&self) -> Provider {
        Provider::Trendyol
    }

    fn manners(&self) -> Manners {
        self.state(|state| state.manners)
    }

    fn names(&self, names: &Names) -> Option<Names> {
        let barcode = names
            .external_barcode
            .clone()
            .or_else(|| names.barcode.clone())?;
        Some(Names {
            external_barcode: Some(barcode),
            ..Names::default()
        })
    }

    fn has_credentials(&self, _: &Shop) -> bool {
        self.state(|state| state.has_credentials)
    }

    fn buckets(&self, _: &Shop, _: Operation) -> Vec<Bucket> {
        self.state(|state| state.buckets.clone())
    }

    fn build(&self, _: &Shop, _: PushId, items: &[Item]) -> Body {
        let mut lines: Vec<String> = items
            .iter()
            .map(|item| format!("{}={}", barcode(item), item.quantity))
            .collect();
        let text = lines.join(",");
        lines.sort();
        let hash = Sha256::digest(lines.join("\n"));
        let sha256 = format!("{hash:x}");
        Body { text, sha256 }
    }

    fn send<'a>(
        &'a self,
        shop: &'a Shop,
        push_id: PushId,
        items: &'a [Item],
        body: &'a Body,
    ) -> BoxFuture<'a, Called<SendOutcome>> {
        async move {
            let outcome = self.answer(shop, push_id, items).await;
            let exchange = exchange(ApiLogType::UpdateStock, Some(body.text.clone()));
            Called {
                exchanges: vec![exchange],
                outcome,
            }
        }
        .boxed()
    }

    fn poll<'a>(
        &'a self,
        _: &'a Shop,
        batch_id: &'a str,
        items: &'a [Item],
    ) -> BoxFuture<'a, Called<PollOutcome>> {
        async move {
            let outcome = self.state(|state| {
                state.polls += 1;
                let Some(batch) = state.batches.get(batch_id) else {
                    return PollOutcome::Gone;
                };
                if state.results == Results::Withheld || !batch.is_applied {
                    return PollOutcome::Pending;
                }
                let asked: Vec<(String, i64)> = items
                    .iter()
                    .map(|item| (barcode(item), item.quantity))
                    .collect();
                assert_eq!(asked, batch.items, "it is asked about what it was sent");
                PollOutcome::Done(state.outcomes(&asked))
            });
            let exchanges = vec![exchange(ApiLogType::GetStockResult, None)];
            Called { exchanges, outcome }
        }
        .boxed()
    }

    fn read_back<'a>(
        &'a self,
        shop: &'a Shop,
        items: &'a [Item],
    ) -> BoxFuture<'a, Called<ReadOutcome>> {
        async move {
            let readings = self.state(|state| {
                let barcodes: Vec<String> = items.iter().map(barcode).collect();
                let reading = |barcode: &String| {
                    let own = state.readings.get(barcode).cloned();
                    own.unwrap_or_else(|| Reading {
                        quantity: state.shown.get(&(shop.store_id, barcode.clone())).copied(),
                        ..Reading::default()
                    })
                };
                let readings = barcodes.iter().map(reading).collect();
                state.reads.push(barcodes);
                readings
            });
            Called {
                exchanges: vec![exchange(ApiLogType::GetStock, None)],
                outcome: ReadOutcome::Read(readings),
            }
        }
        .boxed()
    }
}
