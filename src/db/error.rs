//! What can go wrong with the database as a whole.

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
    /// It does not answer, or not usefully.
    #[error("the database is unreachable: {0}")]
    Unreachable(String),
    /// A migration failed.
    #[error("the database cannot be migrated: {0}")]
    Migration(String),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .unwrap_or_default()
            .into_owned();
        // SQLite: primary result code in the low byte. PostgreSQL: SQLSTATE.
        let sqlite = code.parse::<i32>().map_or(0, |code| code & 0xff);
        match (sqlite, code.as_str()) {
            (5 | 6, _) | (_, "55P03") => Self::Locked(text),
            (8, _) | (_, "25006") => Self::ReadOnly(text),
            (13, _) | (_, "53100") => Self::Full(text),
            _ => Self::Unreachable(text),
        }
    }
}
