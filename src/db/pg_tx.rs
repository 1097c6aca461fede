//! A transaction on PostgreSQL, with a deadline for every answer.
//!
//! A connection can die unheard: it stays open, carries nothing, and nobody is told. The time
//! limits of the server do not help then, and sqlx has none: a statement, and the test of a
//! connection that goes back into the pool, would wait for ever, and the pool would be empty soon.
//! Here an answer that does not come in time is an error like that of a connection that broke,
//! and the connection is thrown away.

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Error, Executor, PgConnection, PgPool, Postgres};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// How long a statement may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one may take that goes over many rows: longer than the server lets it.
pub(super) const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
/// How long the end of a transaction that nobody waits for may take.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// A transaction; rolled back unless committed.
#[derive(Debug)]
pub struct PgTx {
    /// None only while it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    patience: Duration,
    state: State,
}

/// What has to be done to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Roll back.
    Open,
    /// Nothing.
    Ended,
    /// Throw it away.
    Silent,
}

impl PgTx {
    pub(super) async fn begin(
        pool: &PgPool,
        statement: &'static str,
        patience: Duration,
    ) -> sqlx::Result<Self> {
        let mut tx = Self {
            // On the heap: it is large, and in everything that has a transaction.
            connection: Some(Box::pin(pool.acquire()).await?),
            patience,
            state: State::Open,
        };
        tx.execute(statement).await?;
        Ok(tx)
    }

    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        self.execute("COMMIT").await?;
        self.state = State::Ended;
        Ok(())
    }

    /// How long a statement may take.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// The answer to a statement that was waited for as long as that.
    pub(crate) fn heard<T>(&mut self, answer: Result<sqlx::Result<T>, Elapsed>) -> sqlx::Result<T> {
        answer.unwrap_or_else(|_| {
            self.state = State::Silent;
            let text = format!("no answer within {} s", self.patience.as_secs());
            Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
        })
    }

    async fn execute(&mut self, statement: &'static str) -> sqlx::Result<()> {
        let patience = self.patience;
        let answer = timeout(patience, (**self).execute(statement)).await;
        self.heard(answer).map(|_| ())
    }
}

impl Deref for PgTx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("it is not dropped")
    }
}

impl DerefMut for PgTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is not dropped")
    }
}

impl Drop for PgTx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if self.state == State::Silent {
            drop(connection.detach());
            return;
        }
        tokio::spawn(give_back(connection, self.state == State::Open));
    }
}

/// Brings a connection back into the pool, which tests it, or throws it away.
///
/// A caller that went away in the middle of a statement has left its answer on the way: the
/// rollback reads it first.
async fn give_back(mut connection: PoolConnection<Postgres>, is_open: bool) {
    if is_open {
        let rolled_back = timeout(GIVE_BACK_TIMEOUT, connection.execute("ROLLBACK")).await;
        if !matches!(rolled_back, Ok(Ok(_))) {
            drop(connection.detach());
            return;
        }
    }
    // What dropping it would do, which waits for ever for a test that is not answered. The
    // connection is in the future, and gone with it when the time is up.
    let _ = timeout(GIVE_BACK_TIMEOUT, connection.return_to_pool()).await;
}
