//! Who is calling: an API key in `X-API-Key`, or as a bearer token, acts for one organization.
//!
//! A route takes [`Caller`] as its first argument, before the body, and asks
//! [`Caller::may_act_for`] once it knows the organization. What the method of a request demands
//! of the key's [`Scope`] is checked before the route is called. No key and an unknown one are
//! 401; a key that may not do this is 403.

mod access;
mod caller;
mod listed;

pub use self::access::{Access, Grant, Scope, StoredKeys};
pub use self::caller::{ANONYMOUS, Caller, KEY_HEADER};
pub use self::listed::{KeyHash, ListedKey, ParseKeysError, parse_keys};
