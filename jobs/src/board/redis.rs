//! The board's questions, asked of the keys that apalis-redis writes.

use std::{cmp::Reverse, collections::HashMap, sync::LazyLock};

use ::redis::{RedisResult, Script, cmd, pipe};
use apalis_core::{backend::RunningWorker, task::status::Status};
use uuid::Uuid;

use crate::queue::RedisTransport;

use super::{
    numbers::{Activity, Counts, SECONDS_A_DAY, STATUSES},
    task::{StoredTask, enqueued_at},
    view::{BoardError, TaskFilter, WORKER_SEEN_SECONDS},
};

/// How many ids of one place (list, set) are looked at: more than a bounded queue holds. Of
/// more finished jobs than that, lists show some; counts are exact.
const WINDOW: usize = 5_000;
const MAX_WORKERS: usize = 100;

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis.lua")));

/// A job and where it was found.
struct Found {
    id: String,
    queue: String,
    status: Status,
    due: Option<u64>,
}

pub(super) async fn counts(redis: &RedisTransport, queue: &str) -> Result<Counts, BoardError> {
    let (counts, _) = look(redis, queue, "", 0).await?;
    Ok(counts)
}

pub(super) async fn tasks(
    redis: &RedisTransport,
    queues: &[&str],
    filter: &TaskFilter,
) -> Result<Vec<StoredTask>, BoardError> {
    let wanted = filter
        .status
        .as_ref()
        .map_or_else(|| "*".to_owned(), ToString::to_string);
    // Waiting jobs are found in their order; a set of finished ones has none.
    let window = match filter.status {
        Some(Status::Pending) => (filter.offset as usize).saturating_add(filter.limit as usize),
        _ => WINDOW,
    };
    let mut found = Vec::new();
    for queue in queues {
        found.extend(look(redis, queue, &wanted, window.min(WINDOW)).await?.1);
    }
    sort(&mut found);
    let page = found
        .into_iter()
        .skip(filter.offset as usize)
        .take(filter.limit as usize)
        .collect();
    Ok(load(redis, page).await?)
}

pub(super) async fn task(
    redis: &RedisTransport,
    queue: &str,
    id: &str,
) -> Result<Option<StoredTask>, BoardError> {
    let keys = redis.keys(queue);
    let (exists, done, dead, due): (bool, bool, bool, Option<u64>) = pipe()
        .atomic()
        .hexists(keys.data, id)
        .sismember(keys.done, id)
        .sismember(keys.dead, id)
        .zscore(keys.scheduled, id)
        .query_async(&mut redis.connection())
        .await?;
    if !exists {
        return Ok(None);
    }
    let status = match (done, dead) {
        (true, _) => Status::Done,
        (_, true) => Status::Failed,
        _ => unfinished(redis, queue, id).await?,
    };
    let found = Found {
        id: id.to_owned(),
        queue: queue.to_owned(),
        status,
        due,
    };
    Ok(load(redis, vec![found]).await?.pop())
}

/// Whether a job that has not ended is with a worker, which has few, or waits.
async fn unfinished(redis: &RedisTransport, queue: &str, id: &str) -> RedisResult<Status> {
    for status in [Status::Running, Status::Queued] {
        let (_, found) = look(redis, queue, &status.to_string(), WINDOW).await?;
        if found.iter().any(|found| found.id == id) {
            return Ok(status);
        }
    }
    Ok(Status::Pending)
}

/// Workers whose heartbeat is recent.
pub(super) async fn workers(
    redis: &RedisTransport,
    queue: &str,
) -> Result<Vec<RunningWorker>, BoardError> {
    let mut connection = redis.connection();
    let keys = redis.keys(queue);
    let now = now(redis).await?;
    let alive: Vec<(String, u64)> = cmd("ZRANGE")
        .arg(keys.workers)
        .arg("+inf")
        .arg(now.saturating_sub(WORKER_SEEN_SECONDS))
        .arg(&["BYSCORE", "REV"])
        .arg(("LIMIT", 0, MAX_WORKERS))
        .arg("WITHSCORES")
        .query_async(&mut connection)
        .await?;
    if alive.is_empty() {
        return Ok(Vec::new());
    }
    let mut details = pipe();
    for (name, _) in &alive {
        details
            .cmd("HMGET")
            .arg(format!("{}:{name}", keys.worker_meta_prefix))
            .arg(&["backend_name", "service"]);
    }
    let details: Vec<(Option<String>, Option<String>)> =
        details.query_async(&mut connection).await?;
    Ok(alive
        .into_iter()
        .zip(details)
        .map(|((id, last_heartbeat), (backend, layers))| RunningWorker {
            started_at: started_at(&id).unwrap_or_default(),
            id,
            queue: queue.to_owned(),
            backend: backend.unwrap_or_default(),
            last_heartbeat,
            layers: layers.unwrap_or_default(),
        })
        .collect())
}

/// How many of the existing jobs were enqueued on each of the last days, by their ids.
pub(super) async fn activity(redis: &RedisTransport, queue: &str) -> Result<Activity, BoardError> {
    let today = now(redis).await? / SECONDS_A_DAY;
    let (_, found) = look(redis, queue, "*", WINDOW).await?;
    let mut activity = Activity::default();
    for enqueued_at in found.iter().filter_map(|found| enqueued_at(&found.id)) {
        let day = enqueued_at / SECONDS_A_DAY;
        activity.add(today.saturating_sub(day), 1);
    }
    Ok(activity)
}

/// The time as Redis has it, which is the time of the heartbeats.
async fn now(redis: &RedisTransport) -> RedisResult<u64> {
    let (seconds, _microseconds): (u64, u64) =
        cmd("TIME").query_async(&mut redis.connection()).await?;
    Ok(seconds)
}

/// When a worker started, which apalis-redis does not keep: its name ends in an id of that
/// moment.
fn started_at(worker: &str) -> Option<u64> {
    let id = worker.get(worker.len().checked_sub(36)?..)?;
    let (seconds, _nanoseconds) = id.parse::<Uuid>().ok()?.get_timestamp()?.to_unix();
    Some(seconds)
}

async fn look(
    redis: &RedisTransport,
    queue: &str,
    wanted: &str,
    window: usize,
) -> RedisResult<(Counts, Vec<Found>)> {
    let keys = redis.keys(queue);
    let (counts, found): ([u64; STATUSES.len()], Vec<String>) = LOOK
        .key(keys.active)
        .key(keys.scheduled)
        .key(keys.workers)
        .key(keys.done)
        .key(keys.dead)
        .key(keys.totals)
        .arg(keys.inflight_prefix)
        .arg(keys.meta_prefix)
        .arg(window)
        .arg(wanted)
        .invoke_async(&mut redis.connection())
        .await?;
    let found = found
        .as_chunks::<3>()
        .0
        .iter()
        .map(|[id, status, due]| Found {
            id: id.clone(),
            queue: queue.to_owned(),
            status: status.parse().unwrap_or_default(),
            due: due.parse().ok(),
        })
        .collect();
    Ok((counts.into(), found))
}

/// Waiting jobs by their turn (as found: a stable sort), then the rest with the latest first,
/// as ids begin with a time.
fn sort(found: &mut [Found]) {
    found.sort_by_cached_key(|found| match found.status {
        Status::Pending => (false, found.due, None),
        _ => (true, None, Some(Reverse(found.id.clone()))),
    });
}

/// Reads the jobs that were found; one that has been deleted since is left out.
async fn load(redis: &RedisTransport, found: Vec<Found>) -> RedisResult<Vec<StoredTask>> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let mut reads = pipe();
    for Found { id, queue, .. } in &found {
        let keys = redis.keys(queue);
        reads.hget(keys.data, id);
        reads.hgetall(format!("{}:{id}", keys.meta_prefix));
    }
    let answers: Vec<::redis::Value> = reads.query_async(&mut redis.connection()).await?;
    let mut tasks = Vec::with_capacity(found.len());
    for (found, answer) in found.into_iter().zip(answers.as_chunks::<2>().0) {
        let [arguments, details] = answer.clone();
        let Some(arguments) = ::redis::from_redis_value::<Option<Vec<u8>>>(arguments)? else {
            continue;
        };
        let details = ::redis::from_redis_value::<HashMap<String, String>>(details)?;
        tasks.push(stored(found, arguments, details));
    }
    Ok(tasks)
}

fn stored(found: Found, arguments: Vec<u8>, mut details: HashMap<String, String>) -> StoredTask {
    let number = |name: &str| details.get(name).and_then(|text| text.parse().ok());
    StoredTask {
        attempt: number("attempts").unwrap_or_default(),
        max_attempts: number("max_attempts").unwrap_or_default(),
        lock_at: number("locked_at"),
        done_at: number("done_at"),
        lock_by: details.remove("locked_by"),
        last_result: details.remove("result"),
        idempotency_key: details
            .remove("idempotency_key")
            .filter(|key| !key.is_empty()),
        id: found.id,
        queue: found.queue,
        status: found.status,
        run_at: found.due,
        arguments,
    }
}
