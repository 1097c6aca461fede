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
    /// Whether it is maintained for this dialect alone: false when it comes from pieces that are
    /// written once for both.
    pub is_written_apart: bool,
}

inventory::collect!(Statement);

impl Statement {
    /// Every statement of the program.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        inventory::iter::<Self>.into_iter()
    }
}

/// Marks a literal as SQL of both dialects, or of one (`sql!(postgres: "…")`). What differs in
/// few places is written once, with [`both!`](super::both).
macro_rules! sql {
    (@register $text:expr, $only:expr, $is_written_apart:literal) => {{
        inventory::submit! {
            $crate::db::Statement {
                text: $text,
                file: file!(),
                line: line!(),
                only: $only,
                is_written_apart: $is_written_apart,
            }
        }
        $text
    }};
    (@once $dialect:ident $text:expr) => {
        $crate::db::sql!(@register $text, Some($crate::db::Dialect::$dialect), false)
    };
    (postgres: $text:expr) => {
        $crate::db::sql!(@register $text, Some($crate::db::Dialect::Postgres), true)
    };
    (sqlite: $text:expr) => {
        $crate::db::sql!(@register $text, Some($crate::db::Dialect::Sqlite), true)
    };
    ($text:expr) => { $crate::db::sql!(@register $text, None, false) };
}
pub(crate) use sql;
