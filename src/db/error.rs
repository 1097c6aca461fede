//! What can go wrong with the database as a whole.

use sqlx::Error;

/// What can go wrong with the database as a whole, in words for the person who starts the service.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The address cannot be understood.
    #[error("`DATABASE_URL` is not a PostgreSQL or SQLite address: {0}")]
    Address(String),
    /// A newer release has migrated this database.
    #[error(
        "the database has migration {0}, which this release does not know: \
         start the release that made it, or a newer one"
    )]
    NewerThanBinary(i64),
    /// Nobody can write to it.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Another process holds it.
    #[error("the database is locked by another process: {0}")]
    Locked(String),
    /// There is no room left.
    #[error("the disk of the database is full: {0}")]
    Full(String),
    /// It does not answer, or has no connection to give.
    #[error("the database is unreachable: {0}")]
    Unreachable(String),
    /// It answers, and will not have us: a wrong password, no such database, not a database.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// A migration failed.
    #[error("the database cannot be migrated: {0}")]
    Migration(String),
}

impl DbError {
    /// Whether it may be gone in a while without anybody changing a setting, so that a service
    /// that starts waits for it.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::Full(_) | Self::Unreachable(_))
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match Trouble::of(&error) {
            Some(Trouble::Locked) => Self::Locked(text),
            Some(Trouble::ReadOnly) => Self::ReadOnly(text),
            Some(Trouble::Full) => Self::Full(text),
            Some(Trouble::Away | Trouble::Standby) => Self::Unreachable(text),
            None => Self::Refused(text),
        }
    }
}

/// Why the database cannot serve a statement that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Another process holds it for too long.
    Locked,
    /// Its file may not be written.
    ReadOnly,
    /// It has no room left.
    Full,
    /// It takes no writes because it is not the primary, or not yet.
    Standby,
    /// It does not answer, starts, stops, or has no connection to give.
    Away,
}

impl Trouble {
    /// The trouble of an error; none when the statement, a setting or a row is at fault.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Database(error) => Self::of_code(&error.code().unwrap_or_default()),
            Error::Io(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed => Some(Self::Away),
            _ => None,
        }
    }

    /// SQLite: the primary result code is the low byte. PostgreSQL: SQLSTATE.
    fn of_code(code: &str) -> Option<Self> {
        // A SQLSTATE of five digits is no result code: those have at most four.
        if let Some(code) = code.parse::<u16>().ok().filter(|_| code.len() < 5) {
            return match code & 0xff {
                5 | 6 => Some(Self::Locked),
                8 => Some(Self::ReadOnly),
                10 => Some(Self::Away),
                13 => Some(Self::Full),
                _ => None,
            };
        }
        match code {
            "53100" => Some(Self::Full),
            "55P03" => Some(Self::Locked),
            "25006" => Some(Self::Standby),
            // The database was dropped: it does not come back by itself.
            "57P04" => None,
            // No connection; too many of them, or no memory; it starts or stops; a disk fails.
            _ => ["08", "53", "57P", "58"]
                .iter()
                .any(|class| code.starts_with(class))
                .then_some(Self::Away),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_somebody_must_change() {
        let of = |code| Trouble::of_code(code);
        for (code, trouble) in [
            ("5", Trouble::Locked),
            ("517", Trouble::Locked),
            ("1032", Trouble::ReadOnly),
            ("13", Trouble::Full),
            ("778", Trouble::Away),
            ("53100", Trouble::Full),
            ("53300", Trouble::Away),
            ("57P03", Trouble::Away),
            ("08006", Trouble::Away),
            ("25006", Trouble::Standby),
        ] {
            assert_eq!(of(code), Some(trouble), "{code}");
        }
        // No such table, a file that is no database, a constraint; wrong password, no such
        // database, no right, no such table, a dropped database, a unique key.
        for code in [
            "1", "26", "2067", "28P01", "3D000", "42501", "42P01", "57P04", "23505", "",
        ] {
            assert_eq!(of(code), None, "{code}");
        }
    }
}
