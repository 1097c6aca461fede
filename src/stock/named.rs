//! What a request names: whose things it is about, and which of them.

use jobs::StoreId;
use uuid::Uuid;

use super::model::ProductId;
use crate::http::auth::Caller;
use crate::http::fields::{self, Fields};
use crate::http::page::PageRequest;
use crate::http::problem::Problem;

/// Reads the organization and whatever else the values have, if the caller may act for it.
pub(super) fn read<T>(
    caller: &Caller,
    values: &[(&str, Option<&str>)],
    read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Result<(String, T), Problem> {
    let (organization_id, value) = fields::check(values, |fields| {
        let organization_id = fields.text("organizationId", 1..=255);
        let value = read(fields);
        Some((organization_id?, value?))
    })?;
    caller.may_act_for(&organization_id)?;
    Ok((organization_id, value))
}

/// The organization and the ids that a request names.
pub(super) fn own<const N: usize>(
    caller: &Caller,
    organization_id: Option<&str>,
    ids: [(&str, &str); N],
) -> Result<(String, [Uuid; N]), Problem> {
    let values = values_of(organization_id, ids, []);
    read(caller, &values, |fields| uuids(fields, ids))
}

/// The same, and which page of a list is wanted.
pub(super) fn own_page<const N: usize>(
    caller: &Caller,
    organization_id: Option<&str>,
    ids: [(&str, &str); N],
    (limit, cursor): (Option<&str>, Option<&str>),
) -> Result<(String, [Uuid; N], PageRequest), Problem> {
    let page = [("limit", limit), ("cursor", cursor)];
    let values = values_of(organization_id, ids, page);
    let (organization_id, (ids, page)) = read(caller, &values, |fields| {
        let ids = uuids(fields, ids);
        let page = PageRequest::from_fields_of_long_list(fields);
        Some((ids?, page?))
    })?;
    Ok((organization_id, ids, page))
}

fn values_of<'a, const N: usize, const M: usize>(
    organization_id: Option<&'a str>,
    ids: [(&'a str, &'a str); N],
    others: [(&'a str, Option<&'a str>); M],
) -> Vec<(&'a str, Option<&'a str>)> {
    let ids = ids.map(|(name, id)| (name, Some(id)));
    let organization = ("organizationId", organization_id);
    [organization]
        .into_iter()
        .chain(ids)
        .chain(others)
        .collect()
}

fn uuids<const N: usize>(fields: &mut Fields<'_>, ids: [(&str, &str); N]) -> Option<[Uuid; N]> {
    // No short cut: every bad one is to be named.
    let ids = ids.map(|(name, _)| fields.uuid(name));
    let is_whole = ids.iter().all(Option::is_some);
    is_whole.then_some(ids.map(Option::unwrap_or_default))
}

/// The organization and the product.
pub(super) fn product(
    caller: &Caller,
    organization_id: Option<&str>,
    product_id: &str,
) -> Result<(String, ProductId), Problem> {
    let (organization_id, [id]) = own(caller, organization_id, [("productId", product_id)])?;
    Ok((organization_id, ProductId(id)))
}

/// The organization and the store.
pub(super) fn store(
    caller: &Caller,
    organization_id: Option<&str>,
    store_id: &str,
) -> Result<(String, StoreId), Problem> {
    let (organization_id, [id]) = own(caller, organization_id, [("storeId", store_id)])?;
    Ok((organization_id, StoreId(id)))
}

/// A product in a store, of an organization.
#[expect(clippy::struct_field_names, reason = "it is three ids")]
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) organization_id: String,
    pub(super) store_id: StoreId,
    pub(super) product_id: ProductId,
}

/// The organization, the store and the product.
pub(super) fn pair(
    caller: &Caller,
    organization_id: Option<&str>,
    store_id: &str,
    product_id: &str,
) -> Result<Pair, Problem> {
    let ids = [("storeId", store_id), ("productId", product_id)];
    let (organization_id, [store_id, product_id]) = own(caller, organization_id, ids)?;
    Ok(Pair {
        organization_id,
        store_id: StoreId(store_id),
        product_id: ProductId(product_id),
    })
}

/// An organization as a parameter.
#[expect(clippy::unnecessary_wraps, reason = "the parameter is optional")]
pub(super) fn example_organization() -> Option<String> {
    Some("org-1".to_owned())
}

/// An id of the right form that is nobody's: put yours in.
pub(super) fn example_id() -> String {
    Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0003).to_string()
}
