//! The traps of apalis-redis.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobs::{Job, Queue, QueueOptions, SyncStore};
use redis::AsyncCommands;

use super::worker::Worker;
use crate::support::queues::{Counts, RedisServer, TestQueue, Transport::Redis, stores};

#[expect(clippy::disallowed_methods, reason = "Redis stamps real time")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// One `unpack` of 8,000 ids fails in Lua, and every restart would meet them again.
#[tokio::test(flavor = "multi_thread")]
async fn nine_thousand_due_jobs_do_not_stop_the_queue() {
    let test = TestQueue::open(Redis).await;
    let key = test.key(SyncStore::QUEUE);
    let mut pipe = redis::pipe();
    for (n, job) in stores(9_000).into_iter().enumerate() {
        let id = format!("01KB{n:022}");
        let meta = [
            ("attempts", "0"),
            ("max_attempts", "25"),
            ("status", "Pending"),
        ];
        pipe.hset(
            format!("{key}:data"),
            &id,
            serde_json::to_string(&job).unwrap(),
        )
        .hset_multiple(format!("{key}:meta:{id}"), &meta)
        .zadd(format!("{key}:scheduled"), &id, 1);
    }
    pipe.exec_async(&mut test.redis().await).await.unwrap();

    let mut worker = Worker::run(&test.queue, 8, async |_| Ok(()));
    worker.next().await;
    worker.stop().await;
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(counts.waiting + counts.done, 9_000);
    assert_eq!(counts.taken, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_needs_no_promotion() {
    let test = TestQueue::open(Redis).await;
    test.queue.push(&stores(3)).await.unwrap();
    let scheduled = test.key(&format!("{}:scheduled", SyncStore::QUEUE));
    assert_eq!(
        test.redis().await.zcard::<_, u64>(scheduled).await.unwrap(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow() {
    let test = TestQueue::open_with(Redis, |options| {
        options.heartbeat = Duration::from_secs(1);
        options.dead_after = Duration::from_secs(3);
    })
    .await;
    for _ in 0..3 {
        test.queue.push(&stores(20)).await.unwrap();
        test.queue
            .run_until_empty(4, async |_: SyncStore| Ok(()))
            .await
            .unwrap();
        // One that dies and leaves its name, its metadata and a job.
        let mut killed = Worker::run(&test.queue, 1, async |_| std::future::pending().await);
        test.queue.push(&stores(1)).await.unwrap();
        killed.next().await;
        killed.task.abort();
        let _ = killed.task.await;
    }
    test.silence_workers(SyncStore::QUEUE).await;
    let mut worker = Worker::run(&test.queue, 1, async |_| Ok(()));
    for _ in 0..3 {
        worker.next().await;
    }
    worker.stop().await;

    let later = now() + Duration::from_mins(1);
    assert_eq!(
        test.queue
            .purge_finished(Duration::ZERO, later)
            .await
            .unwrap(),
        63
    );
    let mut left = test.redis_keys("*").await;
    left.retain(|key| !key.ends_with(":signal"));
    let totals = test.key("sync-store-queue:totals");
    assert_eq!(left, std::slice::from_ref(&totals));
    assert_eq!(
        test.redis()
            .await
            .hget::<_, _, u64>(totals, "done")
            .await
            .unwrap(),
        63
    );
}

/// A leftover id without data fails every fetch of apalis.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_without_data_does_not_stop_the_queue() {
    let test = TestQueue::open(Redis).await;
    let active = test.key(&format!("{}:active", SyncStore::QUEUE));
    let _: () = test
        .redis()
        .await
        .rpush(active, "01KC0000000000000000000000")
        .await
        .unwrap();
    let jobs = stores(1);
    test.queue.push(&jobs).await.unwrap();
    let mut worker = Worker::run(&test.queue, 1, async |_| Ok(()));
    assert_eq!(worker.next().await, jobs[0]);
    worker.stop().await;
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 1,
            ..Counts::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_outlives_its_redis() {
    let mut server = RedisServer::start();
    let test = TestQueue::on_server(&server).await;
    let mut worker = Worker::run(&test.queue, 2, async |_| Ok(()));
    test.queue.push(&stores(1)).await.unwrap();
    worker.next().await;

    server.kill();
    let asked = Instant::now();
    test.queue.push(&stores(1)).await.unwrap_err();
    test.queue.ping().await.unwrap_err();
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "an error, not a hang"
    );
    server.run();

    let jobs = stores(1);
    while test.queue.push(&jobs).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The first job may run again: its acknowledgement may have been on its way.
    while worker.next().await != jobs[0] {}
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_redis_can_be_stopped() {
    let mut server = RedisServer::start();
    let test = TestQueue::on_server(&server).await;
    let mut worker = Worker::run(&test.queue, 2, async |_| Ok(()));
    test.queue.push(&stores(1)).await.unwrap();
    worker.next().await;
    server.kill();
    test.queue.ping().await.unwrap_err();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_is_noticed_and_survived() {
    let server = RedisServer::start();
    let test = TestQueue::on_server(&server).await;
    let mut worker = Worker::run(&test.queue, 1, async |_| Ok(()));
    test.queue.push(&stores(1)).await.unwrap();
    worker.next().await;
    let epoch = test.queue.epoch().await.unwrap();

    redis::cmd("FLUSHALL")
        .exec_async(&mut test.redis().await)
        .await
        .unwrap();
    assert_ne!(test.queue.epoch().await.unwrap(), epoch);
    let jobs = stores(1);
    test.queue.push(&jobs).await.unwrap();
    assert_eq!(worker.next().await, jobs[0]);
    worker.stop().await;
}

#[tokio::test]
async fn a_dead_redis_is_an_error_at_the_start() {
    let mut server = RedisServer::start();
    server.kill();
    let asked = Instant::now();
    let error = Queue::connect_redis(&server.url(), QueueOptions::default())
        .await
        .unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(10), "{error}");
}
