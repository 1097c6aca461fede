//! Whose things a request is about.

use uuid::Uuid;

use crate::http::auth::Caller;
use crate::http::fields;
use crate::http::page::PageRequest;
use crate::http::problem::Problem;

/// The organization and the ids that a request names, if the caller may act for it.
pub(super) fn own<const N: usize>(
    caller: &Caller,
    organization_id: Option<&str>,
    ids: [(&str, &str); N],
) -> Result<(String, [Uuid; N]), Problem> {
    let mut values = vec![("organizationId", organization_id)];
    values.extend(ids.iter().map(|(name, id)| (*name, Some(*id))));
    let (organization_id, ids) = fields::check(&values, |fields| {
        let organization_id = fields.text("organizationId", 1..=255);
        let ids = ids.map(|(name, _)| fields.uuid(name));
        let is_whole = ids.iter().all(Option::is_some);
        is_whole.then_some((organization_id?, ids.map(Option::unwrap_or_default)))
    })?;
    caller.may_act_for(&organization_id)?;
    Ok((organization_id, ids))
}

/// The same, and which page of a list is wanted.
pub(super) fn own_page<const N: usize>(
    caller: &Caller,
    organization_id: Option<&str>,
    ids: [(&str, &str); N],
    (limit, cursor): (Option<&str>, Option<&str>),
) -> Result<(String, [Uuid; N], PageRequest), Problem> {
    let page = [("limit", limit), ("cursor", cursor)];
    let mut values = vec![("organizationId", organization_id)];
    values.extend(ids.iter().map(|(name, id)| (*name, Some(*id))));
    values.extend(page);
    let (organization_id, ids, page) = fields::check(&values, |fields| {
        let organization_id = fields.text("organizationId", 1..=255);
        let ids = ids.map(|(name, _)| fields.uuid(name));
        let page = PageRequest::from_fields(fields);
        let is_whole = ids.iter().all(Option::is_some);
        is_whole.then_some((organization_id?, ids.map(Option::unwrap_or_default), page?))
    })?;
    caller.may_act_for(&organization_id)?;
    Ok((organization_id, ids, page))
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
