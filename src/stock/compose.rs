//! What of the rows that are due goes into a request: a pure function of what was read.
//!
//! A row is dropped if the marketplace shows its quantity already, skipped if the product is not
//! sold there or has no name there, and held while the results of the last push of its pair are
//! awaited, or while a blocked pair was tried shortly before. The others go. Pairs that are
//! blocked never go together with others, so that they hold nobody back.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::connector::{Item, Names};
use super::gates::Rules;
use super::model::{ItemState, PairState, ProductId, QueueOutcome};
use super::queries::claim::{DueRow, RowEnd};
use super::queries::pairs::{Before, Told, Unnamed};
use super::queries::pushes::NewItem;
use super::queries::quantities::Pair;
use super::rejections::{BLOCKED_PAUSE, FULFILLED_BY_MARKETPLACE};

/// An item of a request, with what it came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    /// The row that says it has to go; none, if it only keeps another one company.
    pub(super) row: Option<DueRow>,
    /// How the pair stood when it was read.
    pub(super) pair: Pair,
    /// What is told.
    pub(super) item: Item,
}

/// What becomes of rows that are due.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// What goes into the request.
    pub(super) send: Vec<Planned>,
    /// Rows that are done, or have to wait.
    pub(super) ends: Vec<RowEnd>,
    /// Pairs that the marketplace has no name for.
    pub(super) unnamed: Vec<Unnamed>,
}

impl Plan {
    /// Whether nothing becomes of any row.
    pub(super) fn is_empty(&self) -> bool {
        self.send.is_empty() && self.ends.is_empty()
    }

    /// Sends nothing: the rows wait.
    pub(super) fn postpone(&mut self, until: DateTime<Utc>, why: &str) {
        let rows = self.send.drain(..).filter_map(|planned| planned.row);
        self.ends.extend(rows.map(|row| RowEnd {
            next_attempt_at: Some(until),
            last_error: Some(why.to_owned()),
            ..end(&row, None)
        }));
    }

    /// The ends of rows, and of others, in the order of products.
    pub(super) fn ends_with(&self, others: Vec<RowEnd>) -> Vec<RowEnd> {
        let mut ends = others;
        ends.extend(self.ends.iter().cloned());
        ends.sort_unstable_by_key(|end| end.product_id);
        ends
    }
}

/// What becomes of a row.
enum Fate {
    Goes(Item),
    Ends(QueueOutcome),
    HasNoName,
    WaitsUntil(DateTime<Utc>),
}

/// Makes a plan of rows, the most urgent first, for a request of at most `max_items`.
pub(super) fn compose(
    rows: Vec<DueRow>,
    mut pairs: HashMap<ProductId, Pair>,
    names: impl Fn(&Names) -> Option<Names>,
    rules: &Rules,
    max_items: usize,
    now: DateTime<Utc>,
) -> Plan {
    let mut plan = Plan::default();
    let (mut free, mut blocked) = (Vec::new(), Vec::new());
    for row in rows {
        // A product without a row in the store is not listed there, and has one here all the same.
        let Some(pair) = pairs.remove(&row.product_id) else {
            continue;
        };
        match fate(&row, &pair, &names, rules, now) {
            Fate::Goes(item) => {
                let group = match pair.push_state {
                    PairState::Ok => &mut free,
                    PairState::Blocked => &mut blocked,
                };
                group.push(Planned {
                    row: Some(row),
                    pair,
                    item,
                });
            }
            Fate::Ends(outcome) => plan.ends.push(end(&row, Some(outcome))),
            Fate::HasNoName => {
                plan.unnamed.push(Unnamed {
                    product_id: row.product_id,
                    queue_id: row.id,
                    version: row.version,
                });
                plan.ends
                    .push(end(&row, Some(QueueOutcome::SkippedNoIdentifier)));
            }
            Fate::WaitsUntil(until) => plan.ends.push(RowEnd {
                next_attempt_at: Some(until),
                ..end(&row, None)
            }),
        }
    }
    plan.send = if free.is_empty() { blocked } else { free };
    one_of_each_name(&mut plan.send);
    plan.send.truncate(max_items);
    plan
}

fn fate(
    row: &DueRow,
    pair: &Pair,
    names: impl Fn(&Names) -> Option<Names>,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Fate {
    let is_theirs = pair.push_error_code.as_deref() == Some(FULFILLED_BY_MARKETPLACE);
    if !pair.is_listed || is_theirs {
        return Fate::Ends(QueueOutcome::SkippedNotListed);
    }
    let Some(names) = names(&names_of(pair)) else {
        return Fate::HasNoName;
    };
    let quantity = pair.quantity.clamp(0, rules.quantity_cap);
    if let Some(until) = waits_until(row, pair, quantity, rules).filter(|until| *until > now) {
        return Fate::WaitsUntil(until);
    }
    if pair.last_confirmed_quantity == Some(quantity) && !row.force {
        return Fate::Ends(QueueOutcome::NoopUnchanged);
    }
    Fate::Goes(Item {
        product_id: pair.product_id,
        names,
        quantity,
    })
}

/// Until when a row is held, if it is.
fn waits_until(row: &DueRow, pair: &Pair, quantity: i64, rules: &Rules) -> Option<DateTime<Utc>> {
    let pushed_at = pair.last_pushed_at?;
    if pair.in_flight_push_id.is_some() {
        let is_lower = pair
            .last_pushed_quantity
            .is_some_and(|pushed| quantity < pushed);
        return Some(rules.held_until(pushed_at, row.priority, is_lower));
    }
    (pair.push_state == PairState::Blocked).then(|| pushed_at + BLOCKED_PAUSE)
}

/// Leaves of several items with the same names the first; the others go with a later request.
fn one_of_each_name(planned: &mut Vec<Planned>) {
    let mut seen = HashSet::new();
    planned.retain(|planned| {
        let names = &planned.item.names;
        seen.insert([
            names.external_sku.clone(),
            names.external_barcode.clone(),
            names.external_listing_id.clone(),
            names.external_location_id.clone(),
        ])
    });
}

/// All the names that a product has in a store.
pub(super) fn names_of(pair: &Pair) -> Names {
    Names {
        sku: pair.sku.clone(),
        barcode: pair.barcode.clone(),
        external_sku: pair.external_sku.clone(),
        external_barcode: pair.external_barcode.clone(),
        external_listing_id: pair.external_listing_id.clone(),
        external_location_id: pair.external_location_id.clone(),
    }
}

/// The end of a row, as it was taken.
pub(super) fn end(row: &DueRow, outcome: Option<QueueOutcome>) -> RowEnd {
    RowEnd {
        id: row.id,
        product_id: row.product_id,
        version: row.version,
        outcome,
        next_attempt_at: None,
        push_id: None,
        last_error: None,
    }
}

/// The items as they are sent.
pub(super) fn items(planned: &[Planned]) -> Vec<Item> {
    planned.iter().map(|planned| planned.item.clone()).collect()
}

/// The items as they are stored, in the order they are sent.
pub(super) fn new_items(planned: &[Planned], state: ItemState) -> Vec<NewItem> {
    (1..)
        .zip(planned)
        .map(|(element_no, Planned { row, pair, item })| NewItem {
            element_no,
            product_id: item.product_id,
            external_sku: item.names.external_sku.clone(),
            external_barcode: item.names.external_barcode.clone(),
            external_listing_id: item.names.external_listing_id.clone(),
            external_location_id: item.names.external_location_id.clone(),
            computed_quantity: pair.quantity,
            sent_quantity: item.quantity,
            queue_id: row.as_ref().map(|row| row.id),
            queue_version: row.as_ref().map(|row| row.version),
            reason: row.as_ref().map(|row| row.reason),
            priority: row.as_ref().map(|row| row.priority),
            state,
        })
        .collect()
}

/// What the pairs are told, in the order of products.
pub(super) fn told(planned: &[Planned]) -> Vec<Told> {
    let mut told: Vec<Told> = planned
        .iter()
        .map(|planned| Told {
            product_id: planned.item.product_id,
            quantity: planned.item.quantity,
        })
        .collect();
    told.sort_unstable_by_key(|told| told.product_id);
    told
}

/// How the pairs stood before, in the order of products.
pub(super) fn before(planned: &[Planned]) -> Vec<Before> {
    let mut before: Vec<Before> = planned
        .iter()
        .map(|planned| Before {
            product_id: planned.item.product_id,
            last_confirmed_quantity: planned.pair.last_confirmed_quantity,
            last_pushed_quantity: planned.pair.last_pushed_quantity,
            last_pushed_at: planned.pair.last_pushed_at,
        })
        .collect();
    before.sort_unstable_by_key(|before| before.product_id);
    before
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use jobs::PushId;
    use uuid::Uuid;

    use super::*;
    use crate::stock::connector::Manners;
    use crate::stock::model::{ProductType, QueueId, Reason};

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn rules() -> Rules {
        Rules::plain(Manners {
            max_items: 1000,
            max_read_items: 50,
            quantity_cap: 20_000,
            results_for: None,
            refuses_identical: false,
            max_outstanding: None,
            spacing: None,
            daily_updates_per_listing: None,
            day_offset: 0,
        })
    }

    fn pair(number: u128) -> Pair {
        Pair {
            product_id: ProductId(Uuid::from_u128(number)),
            product_type: ProductType::Simple,
            quantity: 5,
            sku: None,
            barcode: Some(format!("b{number}")),
            external_sku: None,
            external_barcode: None,
            external_listing_id: None,
            external_location_id: None,
            is_listed: true,
            last_confirmed_quantity: None,
            in_flight_push_id: None,
            last_pushed_quantity: None,
            last_pushed_at: None,
            push_state: PairState::Ok,
            push_error_code: None,
            blocked_until: None,
            reject_count: 0,
        }
    }

    fn row(number: u128) -> DueRow {
        DueRow {
            id: QueueId(Uuid::from_u128(number)),
            product_id: ProductId(Uuid::from_u128(number)),
            version: 1,
            reason: Reason::StockAdded,
            priority: 70,
            force: false,
            created_at: noon(),
        }
    }

    /// By barcode, as long as there is one.
    fn by_barcode(names: &Names) -> Option<Names> {
        let barcode = names.external_barcode.clone().or(names.barcode.clone())?;
        Some(Names {
            external_barcode: Some(barcode),
            ..Names::default()
        })
    }

    fn plan_of(rows: Vec<DueRow>, pairs: Vec<Pair>, max_items: usize) -> Plan {
        let pairs = pairs
            .into_iter()
            .map(|pair| (pair.product_id, pair))
            .collect();
        compose(rows, pairs, by_barcode, &rules(), max_items, noon())
    }

    /// The outcome of a row, or in how many seconds it is due again.
    type End = (Option<QueueOutcome>, Option<i64>);

    fn one(row: DueRow, pair: Pair) -> (Vec<i64>, Vec<End>) {
        let plan = plan_of(vec![row], vec![pair], 10);
        let sent = plan.send.iter().map(|planned| planned.item.quantity);
        let wait = |until: DateTime<Utc>| (until - noon()).num_seconds();
        let ends = plan
            .ends
            .iter()
            .map(|it| (it.outcome, it.next_attempt_at.map(wait)));
        (sent.collect(), ends.collect())
    }

    /// Scenario 9.
    #[test]
    fn quantities_are_sent_within_the_cap() {
        for (quantity, sent) in [(20_001, 20_000), (20_000, 20_000), (0, 0), (7, 7)] {
            let pair = Pair {
                quantity,
                ..pair(1)
            };
            assert_eq!(one(row(1), pair), (vec![sent], vec![]));
        }
    }

    #[test]
    fn what_the_marketplace_shows_already_is_dropped_unless_it_is_forced() {
        let shown = Pair {
            last_confirmed_quantity: Some(5),
            ..pair(1)
        };
        let dropped = vec![(Some(QueueOutcome::NoopUnchanged), None)];
        assert_eq!(one(row(1), shown.clone()), (vec![], dropped));
        let forced = DueRow {
            force: true,
            ..row(1)
        };
        assert_eq!(one(forced, shown), (vec![5], vec![]));
        let above_the_cap = Pair {
            quantity: 30_000,
            last_confirmed_quantity: Some(20_000),
            ..pair(1)
        };
        assert!(one(row(1), above_the_cap).0.is_empty());
    }

    #[test]
    fn what_is_not_sold_there_or_not_by_us_or_has_no_name_is_skipped() {
        let skipped = |pair| one(row(1), pair).1[0].0.unwrap();
        let unlisted = Pair {
            is_listed: false,
            ..pair(1)
        };
        assert_eq!(skipped(unlisted), QueueOutcome::SkippedNotListed);
        let theirs = Pair {
            push_error_code: Some(FULFILLED_BY_MARKETPLACE.to_owned()),
            ..pair(1)
        };
        assert_eq!(skipped(theirs), QueueOutcome::SkippedNotListed);
        let unnamed = Pair {
            barcode: None,
            ..pair(1)
        };
        let plan = plan_of(vec![row(1)], vec![unnamed], 10);
        assert_eq!(
            plan.ends[0].outcome,
            Some(QueueOutcome::SkippedNoIdentifier)
        );
        assert_eq!(plan.unnamed.len(), 1);
    }

    #[test]
    fn newer_quantities_wait_for_the_results_of_older_ones_and_urgent_lower_ones_less_long() {
        let pushed = |seconds| Pair {
            in_flight_push_id: Some(PushId(Uuid::from_u128(9))),
            last_pushed_at: Some(noon() - TimeDelta::seconds(seconds)),
            last_pushed_quantity: Some(6),
            ..pair(1)
        };
        let urgent = DueRow {
            priority: 100,
            ..row(1)
        };
        assert_eq!(one(row(1), pushed(5)), (vec![], vec![(None, Some(55))]));
        assert_eq!(one(row(1), pushed(60)), (vec![5], vec![]));
        assert_eq!(
            one(urgent.clone(), pushed(5)),
            (vec![], vec![(None, Some(5))])
        );
        assert_eq!(one(urgent.clone(), pushed(10)), (vec![5], vec![]));
        let higher = Pair {
            quantity: 7,
            ..pushed(10)
        };
        assert_eq!(one(urgent, higher), (vec![], vec![(None, Some(50))]));
    }

    #[test]
    fn blocked_pairs_are_tried_once_in_a_quarter_of_an_hour_and_never_with_others() {
        let blocked = |number, minutes| Pair {
            push_state: PairState::Blocked,
            last_pushed_at: Some(noon() - TimeDelta::minutes(minutes)),
            ..pair(number)
        };
        assert_eq!(
            one(row(1), blocked(1, 14)),
            (vec![], vec![(None, Some(60))])
        );
        assert_eq!(one(row(1), blocked(1, 15)), (vec![5], vec![]));
        let both = plan_of(vec![row(1), row(2)], vec![blocked(1, 15), pair(2)], 10);
        assert_eq!(both.send.len(), 1);
        assert_eq!(both.send[0].item.product_id, row(2).product_id);
        assert_eq!(both.ends, [], "the blocked one stays due");
    }

    #[test]
    fn of_two_with_the_same_name_one_goes_and_no_more_than_fit() {
        let namesake = Pair {
            barcode: Some("b1".to_owned()),
            ..pair(2)
        };
        let plan = plan_of(
            vec![row(1), row(2), row(3), row(4)],
            vec![pair(1), namesake, pair(3), pair(4)],
            2,
        );
        let sent: Vec<_> = plan
            .send
            .iter()
            .map(|it| it.item.product_id.0.as_u128())
            .collect();
        assert_eq!(sent, [1, 3]);
        assert_eq!(plan.ends, [], "the others stay due");
    }

    #[test]
    fn what_is_stored_is_in_the_order_of_sending_and_pairs_are_in_the_order_of_products() {
        let plan = plan_of(vec![row(9), row(3)], vec![pair(3), pair(9)], 10);
        let stored = new_items(&plan.send, ItemState::Sent);
        let numbers = |it: &NewItem| (it.element_no, it.product_id.0.as_u128());
        assert_eq!(
            stored.iter().map(numbers).collect::<Vec<_>>(),
            [(1, 9), (2, 3)]
        );
        let told = told(&plan.send);
        assert!(told.is_sorted_by_key(|told| told.product_id));
        assert!(before(&plan.send).is_sorted_by_key(|before| before.product_id));
    }
}
