//! `Idempotency-Key`: a request that is sent again has one effect and gets the same answer.
//!
//! A route takes [`Once`] and calls [`Once::begin`] when it knows whose request it is (the
//! [`Scope`]). From then on the key is claimed: the same request at the same time is answered
//! with 409, another one with the same key with 422, and one that is done with the answer it had,
//! for 24 hours.
//!
//! Where the effect is one transaction, [`Once::save`] keeps the answer in it: a process that
//! dies leaves both or neither. Otherwise the answer is kept when the route has given it (`layer`),
//! and a request that died in between runs again; such routes are safe to run twice. Kept are
//! answers that say how it ended; one that invites to ask again (5xx, 408, 429, `Retry-After`) is
//! not, and its key is free.
//!
//! A claim that is not renewed ends by itself, so a key is free again [`CLAIM`](claim::CLAIM)
//! after a crash. A request with a key goes on when its client goes away: the client will ask
//! for its answer. Answers may contain secrets and are stored like them ([`crate::encryption`]).

mod claim;
mod layer;
mod once;
mod queries;
mod retention;

pub(super) use layer::call;
pub(super) use once::Keyed;
pub use once::{Answer, Once, Scope};
pub(crate) use queries::sealed_answers;
pub(crate) use retention::purge_expired_keys;

/// The header of the key.
pub const KEY_HEADER: &str = "idempotency-key";
/// The header that an answer has which was given before.
pub const REPLAYED_HEADER: &str = "idempotency-replayed";
