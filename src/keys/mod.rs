//! API keys of organizations: made, listed and revoked on the command line, asked for by the API.
//!
//! A key is shown once, when it is made; its SHA-256 is what is kept. One that is revoked or has
//! expired opens nothing from that moment on, in every process: no answer is remembered. Which
//! key was used when is written to the minute.
//!
//! Table: `api_keys`.

mod access;
mod manage;
mod model;
mod queries;

pub use self::access::access;
pub(crate) use self::access::{StartWithoutKey, check_start};
pub use self::manage::{create_key, list_keys, revoke_key};
pub use self::model::{ApiKey, KeyId, KeyState, NewKey};
