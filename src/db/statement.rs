//! Every SQL literal of the program, so that one test can prepare them all.

use super::Dialect;

/// A statement that the suite prepares on the migrated schemas.
#[derive(Debug)]
pub struct Statement {
    /// The literal.
    pub text: &'static str,
    /// Where it stands.
    pub file: &'static str,
    /// Its line there.
    pub line: u32,
    /// The only dialect it is for; none when it is for both.
    pub only: Option<Dialect>,
}

inventory::collect!(Statement);

impl Statement {
    /// Every statement of the program.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        inventory::iter::<Self>.into_iter()
    }
}

/// Marks a literal as SQL of both dialects, or of one (`sql!(postgres: "…")`).
macro_rules! sql {
    (@register $text:expr, $only:expr) => {{
        inventory::submit! {
            $crate::db::Statement { text: $text, file: file!(), line: line!(), only: $only }
        }
        $text
    }};
    (postgres: $text:expr) => { $crate::db::sql!(@register $text, Some($crate::db::Dialect::Postgres)) };
    (sqlite: $text:expr) => { $crate::db::sql!(@register $text, Some($crate::db::Dialect::Sqlite)) };
    ($text:expr) => { $crate::db::sql!(@register $text, None) };
}
pub(crate) use sql;
