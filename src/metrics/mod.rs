//! What operators watch: metrics in the text format of Prometheus.
//!
//! Two kinds. What happens is counted where it happens, in memory ([`Metrics`]): a few
//! nanoseconds each, no allocation that matters, and only what this process did. What there is
//! (rows, depths, ages) is read when somebody asks ([`Readings`]): the same in every process, so
//! dashboards take the maximum over processes and not the sum.
//!
//! Reading is bounded. Counts stop at a limit, ages are one look into an index, and whoever asks
//! within five seconds gets what the last one got (thirty for what costs a pass over stores). A
//! part that does not answer in time is left out, so nobody sees a number that is not true.
//!
//! Labels have few values: a route is the template of a path, a method one that is known, and no
//! id is ever a label, but that of a store whose stock is pushed ([`stock`]). Names are wire format (`names`); a test holds them.

mod endpoint;
mod gauges;
mod labels;
mod names;
mod process;
mod queries;
mod readings;
mod recorded;
mod stock;
mod stock_gauges;

pub use endpoint::{endpoint, pages};
pub(crate) use labels::known_method;
pub use labels::{DeliveryOutcome, JobOutcome};
pub(crate) use process::{field, processor_time_of};
pub use readings::{Pace, Reading, Readings, Schedule};
pub use recorded::{JobTimer, Metrics};
pub use stock::{Phase, StockFigures, StoreLabel};
