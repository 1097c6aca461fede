//! Every setting, its default and its meaning; the only reader of the environment.
//!
//! Settings are environment variables, also from a `.env` file in the working directory. A bad
//! one is one line that names it. Secrets are wrapped, so that printing [`Settings`] shows none.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | all of them, and how they are read |
//! | [`access`] | where the service listens, who may call, how often |
//! | [`work`] | what it does for stores, webhooks and stock |
//! | [`occasions`] | what the demo, the smoke test and the tools set by themselves |
//! | [`reader`] | one setting at a time, and what several mean together |

mod access;
#[cfg(test)]
mod fuzz;
mod occasions;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod work;

pub use self::access::{AuthMode, AuthSettings, Listener, RateSettings};
pub(crate) use self::reader::environment;
pub use self::settings::{DEFAULT_DATABASE_URL, Settings};
pub use self::work::{
    CallbackSettings, MockSettings, StockSettings, SyncSettings, WebhookSettings,
};
