//! Mock marketplaces: Trendyol and Hepsiburada, as their stock APIs behave, for trying things by
//! hand, for demos and for tests.
//!
//! They answer as the marketplaces do: asynchronously, item by item, within limits, and with the
//! same texts when they refuse. Beside the marketplace's own routes they have these:
//!
//! | route | what |
//! |---|---|
//! | `GET /__mock/state` | the quantity of every item, every batch, every request in the order it came |
//! | `POST /__mock/clock` | `{"advanceSeconds": 900}`: goes ahead in time |
//! | `GET`, `POST`, `DELETE /__mock/faults` | what goes wrong next ([`FaultKind`]), once or by chance |
//! | `POST /__mock/sell` | `{"seller", "identifier", "quantity"}`: an order that only the marketplace knows |
//! | `POST /__mock/reset` | forgets everything but what it was started with |
//!
//! [`MockMarketplace`] is the same in the process: it can be asked, moved and waited for without a
//! request. What a marketplace answers is a [`Protocol`]; time, faults and what is remembered are
//! the same for all of them.

mod clock;
mod control;
mod faults;
pub mod hepsiburada;
mod protocol;
mod server;
mod state;
pub mod trendyol;

pub use faults::{Fault, FaultKind};
pub use protocol::{Answer, Incoming, Protocol, Route};
pub use server::{MockMarketplace, Options, Running};
pub use state::{Batch, Catalogue, Ending, Entry, Line, Operation, Received, World};
