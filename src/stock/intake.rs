//! What an order orders: lines become products, and sets become what they are made of.
//!
//! One statement, however many lines. What the lines named is kept with the order, so that it can
//! be given back as it was taken, whatever a set is made of by then.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::model::{ProductId, ProductType};
use super::queries::intake::{MatchedLine, NamedLine, matched_lines, plain};
use super::queries::reservations::{SourceLine, UnmatchedLine};
use crate::db::Tx;
use jobs::StoreId;

/// A line of an order; whoever orders says at least one of the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderLine {
    pub(crate) product_id: Option<ProductId>,
    pub(crate) barcode: Option<String>,
    pub(crate) sku: Option<String>,
    pub(crate) quantity: i64,
}

/// What is ordered of a product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) quantity: i64,
    /// Where that comes from.
    pub(super) source_lines: Vec<SourceLine>,
}

/// What an order orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intake {
    /// By product, all lines together; never a set.
    pub(super) wanted: BTreeMap<ProductId, Wanted>,
    /// The sets that lines named.
    pub(super) sets: BTreeSet<ProductId>,
    /// A set that is made of nothing, if one was ordered.
    pub(super) empty_set: Option<ProductId>,
    /// Lines that name no product, or a set that is made of nothing.
    pub(super) unmatched: Vec<UnmatchedLine>,
}

/// Finds the products that lines name, within the organization: what the store calls them first,
/// then barcodes, then SKUs.
pub(super) async fn take_in(
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
    lines: &[OrderLine],
) -> Result<Intake, Error> {
    let named: Vec<NamedLine<'_>> = lines.iter().enumerate().map(name).collect();
    let matched = matched_lines(tx, organization_id, store_id, &named).await?;
    add_up(lines, &matched)
}

fn name((number, line): (usize, &OrderLine)) -> NamedLine<'_> {
    NamedLine {
        number,
        product_id: line.product_id.map(|id| plain(id.0)),
        barcode: line.barcode.as_deref(),
        sku: line.sku.as_deref(),
    }
}

fn add_up(lines: &[OrderLine], matched: &[MatchedLine]) -> Result<Intake, Error> {
    let mut intake = Intake::default();
    let mut is_matched = vec![false; lines.len()];
    for found in matched {
        let number = usize::try_from(found.number).unwrap_or(usize::MAX);
        let Some(line) = lines.get(number) else {
            continue;
        };
        let (product, units, set) = match (found.product_type, found.component_product_id) {
            (ProductType::Simple, _) => (found.product_id, 1, None),
            (ProductType::Set, Some(component)) => {
                let units = found.component_quantity.unwrap_or_default();
                (component, units, Some(found.product_id))
            }
            (ProductType::Set, None) => {
                intake.empty_set.get_or_insert(found.product_id);
                continue;
            }
        };
        is_matched[number] = true;
        intake.sets.extend(set);
        let wanted = intake.wanted.entry(product).or_default();
        let quantity = line.quantity.checked_mul(units);
        let sum = quantity.and_then(|quantity| wanted.quantity.checked_add(quantity));
        let (Some(quantity), Some(sum)) = (quantity, sum) else {
            return Err(Error::InvalidQuantity);
        };
        wanted.quantity = sum;
        wanted.source_lines.push(SourceLine {
            line: number,
            quantity,
            set_product_id: set.map(Into::into),
        });
    }
    let unmatched = lines.iter().enumerate().zip(is_matched);
    intake.unmatched = unmatched
        .filter(|(_, is_matched)| !is_matched)
        .map(|((line, ordered), _)| UnmatchedLine {
            line,
            product_id: ordered.product_id.map(Into::into),
            barcode: ordered.barcode.clone(),
            sku: ordered.sku.clone(),
            quantity: ordered.quantity,
        })
        .collect();
    Ok(intake)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn product(number: u128) -> ProductId {
        ProductId(Uuid::from_u128(number))
    }

    fn line(quantity: i64) -> OrderLine {
        OrderLine {
            product_id: None,
            barcode: Some("8680000000".to_owned()),
            sku: None,
            quantity,
        }
    }

    fn simple(number: i64, id: u128) -> MatchedLine {
        MatchedLine {
            number,
            product_id: product(id),
            product_type: ProductType::Simple,
            component_product_id: None,
            component_quantity: None,
        }
    }

    fn component(number: i64, set: u128, id: u128, quantity: i64) -> MatchedLine {
        MatchedLine {
            product_type: ProductType::Set,
            component_product_id: Some(product(id)),
            component_quantity: Some(quantity),
            ..simple(number, set)
        }
    }

    #[test]
    fn the_same_product_is_added_up_over_lines_and_sets() {
        let lines = [line(2), line(3), line(1)];
        let matched = [
            component(0, 9, 1, 1),
            component(0, 9, 2, 2),
            simple(1, 2),
            simple(2, 2),
        ];
        let intake = add_up(&lines, &matched).unwrap();
        assert_eq!(intake.wanted[&product(1)].quantity, 2);
        let gloves = &intake.wanted[&product(2)];
        assert_eq!(gloves.quantity, 4 + 3 + 1);
        let sources: Vec<_> = gloves
            .source_lines
            .iter()
            .map(|source| (source.line, source.quantity, source.set_product_id))
            .collect();
        let set = Some(product(9).0);
        assert_eq!(sources, [(0, 4, set), (1, 3, None), (2, 1, None)]);
        assert_eq!(intake.sets, [product(9)].into());
        assert_eq!(intake.unmatched, []);
    }

    #[test]
    fn what_names_nothing_and_a_set_of_nothing_are_left_over() {
        let lines = [line(1), line(2), line(3)];
        let empty = MatchedLine {
            product_type: ProductType::Set,
            ..simple(2, 9)
        };
        let intake = add_up(&lines, &[simple(0, 1), empty]).unwrap();
        let left: Vec<usize> = intake.unmatched.iter().map(|line| line.line).collect();
        assert_eq!(left, [1, 2]);
        assert_eq!(intake.empty_set, Some(product(9)));
        assert_eq!(intake.wanted.len(), 1);
    }

    #[test]
    fn more_than_can_be_counted_is_refused() {
        let matched = [component(0, 9, 1, i64::MAX)];
        let refused = add_up(&[line(2)], &matched);
        assert!(matches!(refused, Err(Error::InvalidQuantity)));
        let refused = add_up(&[line(i64::MAX), line(1)], &[simple(0, 1), simple(1, 1)]);
        assert!(matches!(refused, Err(Error::InvalidQuantity)));
    }
}
