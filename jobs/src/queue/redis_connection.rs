//! The connection to Redis: one for all, replaced when it breaks and when it falls silent.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Client, Cmd, IntoConnectionInfo, Pipeline, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

/// A dead Redis gives an error, not a hang.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long nothing is said before the kernel asks whether the other end is still there; it also
/// keeps what is in between from forgetting a connection that is seldom used.
const QUIET: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A handle to the one multiplexed connection; cheap to clone.
///
/// A [`ConnectionManager`] connects again after a connection that breaks, and only then. One that
/// stays open and carries nothing any more (a router that was restarted, a proxy whose other end
/// is gone) is whole to it: every command would wait for its time-out until the kernel gives the
/// connection up, a quarter of an hour later or never. Here the first answer that does not come
/// in time ends it, and the next command connects anew.
#[derive(Clone)]
pub(crate) struct RedisConnection {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Numbered>,
}

/// So that of many commands without an answer only the first replaces the connection.
#[derive(Clone)]
struct Numbered {
    number: u64,
    manager: ConnectionManager,
}

impl RedisConnection {
    /// Connects to `redis://` or `rediss://`.
    pub(crate) async fn open(url: &str) -> RedisResult<Self> {
        let keepalive = TcpKeepalive::new()
            .with_time(QUIET)
            .with_interval(ASK_AGAIN);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive);
        let client = Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        let current = Mutex::new(Numbered { number: 0, manager });
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                config,
                current,
            }),
        })
    }

    fn current(&self) -> MutexGuard<'_, Numbered> {
        let current = self.shared.current.lock();
        current.unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces a connection whose answer did not come, unless that was done already.
    fn note<T>(&self, number: u64, answer: &RedisResult<T>) {
        if !answer.as_ref().is_err_and(RedisError::is_timeout) {
            return;
        }
        let mut current = self.current();
        if current.number != number {
            return;
        }
        let Shared { client, config, .. } = &*self.shared;
        match ConnectionManager::new_lazy_with_config(client.clone(), config.clone()) {
            Ok(manager) => {
                let number = number + 1;
                *current = Numbered { number, manager };
                tracing::warn!("Redis did not answer in time; connecting to it again");
            }
            Err(error) => tracing::error!(%error, "failed to replace a silent connection to Redis"),
        }
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let Numbered {
                number,
                mut manager,
            } = self.current().clone();
            let answer = manager.send_packed_command(command).await;
            self.note(number, &answer);
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let Numbered {
                number,
                mut manager,
            } = self.current().clone();
            let answers = manager.send_packed_commands(pipeline, offset, count).await;
            self.note(number, &answers);
            answers
        })
    }

    fn get_db(&self) -> i64 {
        self.current().manager.get_db()
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisConnection")
            .finish_non_exhaustive()
    }
}
