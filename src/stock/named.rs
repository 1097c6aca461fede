//! What a request names: whose things it is about, and which store and product.

use jobs::StoreId;
use uuid::Uuid;

use super::model::ProductId;
use crate::http::auth::Caller;
use crate::http::fields::{self, Fields};
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

/// The organization and the product.
pub(super) fn product(
    caller: &Caller,
    organization_id: Option<&str>,
    product_id: &str,
) -> Result<(String, ProductId), Problem> {
    let values = [
        ("organizationId", organization_id),
        ("productId", Some(product_id)),
    ];
    read(caller, &values, |fields| {
        fields.uuid("productId").map(ProductId)
    })
}

/// The organization and the store.
pub(super) fn store(
    caller: &Caller,
    organization_id: Option<&str>,
    store_id: &str,
) -> Result<(String, StoreId), Problem> {
    let values = [
        ("organizationId", organization_id),
        ("storeId", Some(store_id)),
    ];
    read(caller, &values, |fields| {
        fields.uuid("storeId").map(StoreId)
    })
}

/// A product in a store, of an organization.
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
    let values = [
        ("organizationId", organization_id),
        ("storeId", Some(store_id)),
        ("productId", Some(product_id)),
    ];
    let (organization_id, (store_id, product_id)) = read(caller, &values, |fields| {
        let store_id = fields.uuid("storeId").map(StoreId);
        let product_id = fields.uuid("productId").map(ProductId);
        Some((store_id?, product_id?))
    })?;
    Ok(Pair {
        organization_id,
        store_id,
        product_id,
    })
}

/// An id of the right form that is nobody's: put yours in.
pub(super) fn example_id() -> String {
    Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0003).to_string()
}

/// An organization as a parameter.
#[expect(clippy::unnecessary_wraps, reason = "the parameter is optional")]
pub(super) fn example_organization() -> Option<String> {
    Some("org-1".to_owned())
}
