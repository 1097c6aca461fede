//! The integration tests, in one binary.

mod board;

mod support {
    pub(crate) mod browser;
}
