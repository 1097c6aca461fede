//! The tests of the service, in one binary: one file a domain or contract.

mod http_contract;
