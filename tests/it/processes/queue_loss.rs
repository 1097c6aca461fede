//! A Redis that loses everything in the middle of work.

use std::time::Duration;

use redis::Client;

use super::Installation;
use crate::support::app::Profile::Server;
use crate::support::queues::RedisServer;

/// What is due is in the rows, so a flush costs a tick and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_loses_no_work() {
    let redis = RedisServer::start();
    let settings = [("SYNC_CONCURRENCY", "2")];
    let installation = Installation::on_redis(Server, Some(redis.url()), &settings).await;
    installation.insert(100, 10).await;
    installation.marketplace.delay(Duration::from_millis(20));
    let fleet = installation.start_fleet().await;
    installation.marketplace.called(100).await;
    let mut connection = Client::open(redis.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    redis::cmd("FLUSHALL")
        .exec_async(&mut connection)
        .await
        .unwrap();
    let lost = fleet[0].wait_for_event("queue_lost").await;
    assert!(
        lost["freed"].as_u64() > Some(0),
        "jobs were waiting when it was flushed: {lost}"
    );

    let took = installation.wait_until_synced(Duration::from_mins(1)).await;
    println!("after the flush it took {took:?}");
    let calls = installation.assert_all_synced(100, 10).await;
    assert!(
        calls.values().all(|times| *times == 1),
        "asked more than once"
    );
}
