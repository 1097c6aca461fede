//! A Redis that cannot be reached, answers late, forgets everything, or goes down.
//!
//! What is due is in the rows, and what runs holds a lease there: nothing is done twice.

use std::time::Duration;

use redis::{Client, Cmd};
use rstest::rstest;
use tokio::time::sleep;

use super::site::Site;
use crate::support::app::Profile::Server;
use crate::support::queues::RedisServer;

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Connections are refused.
    Cut,
    /// Nothing gets through, until it does.
    Stall,
    /// What was open is dead, and nobody is told.
    Freeze,
    /// `CLIENT PAUSE`.
    Pause,
    /// `FLUSHALL`.
    Flush,
    /// It is killed, and starts again a while later.
    Down,
}

const A_WHILE: Duration = Duration::from_secs(7);

#[rstest]
#[case::cut(Trouble::Cut)]
#[case::stall(Trouble::Stall)]
#[case::freeze(Trouble::Freeze)]
#[case::pause(Trouble::Pause)]
#[case::flush(Trouble::Flush)]
#[case::down(Trouble::Down)]
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_in_trouble_loses_nothing(#[case] kind: Trouble) {
    let name = format!("Redis, {kind:?}");
    let mut site = Site::open(Server).await;
    site.endure(&name, async |site: &mut Site| go_through(kind, site).await)
        .await;
    let tally = site.close(&name).await;
    assert_eq!(tally.asked_by_two, 0, "{tally:?}");
    assert_eq!(tally.asked_again, 0, "{tally:?}");
    assert_eq!(tally.sent_again, 0, "{tally:?}");
}

async fn go_through(kind: Trouble, site: &mut Site) {
    match kind {
        Trouble::Cut => site.queue().cut(),
        Trouble::Stall => site.queue().stall(),
        Trouble::Pause => {
            let milliseconds = u64::try_from(A_WHILE.as_millis()).unwrap();
            let mut pause = redis::cmd("CLIENT");
            pause.arg("PAUSE").arg(milliseconds).arg("ALL");
            tell(site, &pause).await;
        }
        Trouble::Freeze => return site.queue().freeze(),
        Trouble::Flush => return tell(site, &redis::cmd("FLUSHALL")).await,
        Trouble::Down => site.redis.as_mut().unwrap().kill(),
    }
    sleep(A_WHILE).await;
    site.queue().mend();
    if matches!(kind, Trouble::Down) {
        site.redis.as_mut().unwrap().run();
    }
}

async fn tell(site: &Site, command: &Cmd) {
    let url = site.redis.as_ref().map(RedisServer::url).unwrap();
    let client = Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    command.exec_async(&mut connection).await.unwrap();
}
