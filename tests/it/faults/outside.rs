//! A marketplace or a receiver in trouble.

use std::time::Duration;

use rstest::rstest;
use tokio::time::sleep;

use super::site::Site;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::faulty_line::FaultyLine;

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Connections are refused.
    Cut,
    /// Nothing gets through, until it does.
    Stall,
    /// Connections break again and again, in the middle of calls.
    Resets,
}

async fn trouble(kind: Trouble, line: &FaultyLine) {
    match kind {
        Trouble::Cut => line.cut(),
        Trouble::Stall => line.stall(),
        Trouble::Resets => {
            for _ in 0..25 {
                line.reset();
                sleep(Duration::from_millis(200)).await;
            }
            return;
        }
    }
    sleep(Duration::from_secs(6)).await;
    line.mend();
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_marketplace_in_trouble_loses_no_order(
    #[values(Embedded, Server)] on: Profile,
    #[values(Trouble::Cut, Trouble::Stall, Trouble::Resets)] kind: Trouble,
) {
    let name = format!("marketplace, {kind:?}");
    let mut site = Site::open(on).await;
    site.endure(&name, async |site: &mut Site| {
        trouble(kind, &site.marketplace).await;
    })
    .await;
    let tally = site.close(&name).await;
    assert_eq!(tally.sent_again, 0, "no event is sent again: {tally:?}");
}

/// Breaks that are not ten in a row do not open the breaker.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_whose_connections_break_loses_no_event(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut site = Site::open(on).await;
    site.endure("receiver, resets", async |site: &mut Site| {
        trouble(Trouble::Resets, &site.receiver).await;
    })
    .await;
    let tally = site.close("receiver, resets").await;
    assert_eq!((tally.asked_again, tally.asked_by_two), (0, 0), "{tally:?}");
}
