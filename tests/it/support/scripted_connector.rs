//! A connector whose answers are scripted, whose calls are counted, and which can hold calls in
//! flight until they are let go.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use marketplace_sync::marketplace::connector::{
    Connector, ConnectorError, ReceiptRequest, ReplyBody, Verdict,
};
use marketplace_sync::marketplace::model::Marketplace;
use marketplace_sync::marketplace::money::{Currency, Money};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use super::marketplace::noon;

/// What a call gets.
pub(crate) type Reply = Result<Verdict, ConnectorError>;

type Rule = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// One call, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Whom it asked.
    pub(crate) marketplace: Marketplace,
    /// What it asked about.
    pub(crate) receipt: String,
    /// The currency it named.
    pub(crate) currency: Option<String>,
    /// The store's token it brought.
    pub(crate) access_token: Option<String>,
}

/// Answers every receipt with [`valid`] unless told otherwise. Clones share everything.
#[derive(Clone)]
pub(crate) struct ScriptedConnector {
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    held: watch::Sender<Held>,
    in_flight: watch::Sender<usize>,
}

/// Which calls are held.
enum Held {
    Nothing,
    All,
    Only(String),
}

struct Script {
    replies: HashMap<String, VecDeque<Reply>>,
    rule: Rule,
    calls: Vec<Call>,
    most_in_flight: usize,
}

impl Default for ScriptedConnector {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                script: Mutex::new(Script {
                    replies: HashMap::new(),
                    rule: Arc::new(|call| valid(&call.receipt)),
                    calls: Vec::new(),
                    most_in_flight: 0,
                }),
                held: watch::Sender::new(Held::Nothing),
                in_flight: watch::Sender::new(0),
            }),
        }
    }
}

impl ScriptedConnector {
    /// The calls about a receipt get these replies one after another, then the last one again.
    pub(crate) fn reply(&self, receipt: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        self.script(|script| script.replies.insert(receipt.into(), replies));
    }

    /// Receipts without replies of their own are answered by this rule.
    pub(crate) fn reply_with(&self, rule: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        self.script(|script| script.rule = Arc::new(rule));
    }

    /// From now on calls stay in flight until [`ScriptedConnector::release`].
    pub(crate) fn hold(&self) {
        self.shared.held.send_replace(Held::All);
    }

    /// The same for the calls about one receipt.
    pub(crate) fn hold_only(&self, receipt: &str) {
        self.shared.held.send_replace(Held::Only(receipt.into()));
    }

    /// Lets go of the held calls, and of all that come later.
    pub(crate) fn release(&self) {
        self.shared.held.send_replace(Held::Nothing);
    }

    /// Waits until so many calls are in flight at the same time.
    pub(crate) async fn in_flight(&self, calls: usize) {
        let mut in_flight = self.shared.in_flight.subscribe();
        in_flight.wait_for(|now| *now >= calls).await.unwrap();
    }

    /// Waits until a receipt was asked about.
    pub(crate) async fn asked(&self, receipt: &str) {
        let mut in_flight = self.shared.in_flight.subscribe();
        let asked = |_: &usize| self.calls_of(receipt) > 0;
        in_flight.wait_for(asked).await.unwrap();
    }

    /// All calls, in the order they came.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script(|script| script.calls.clone())
    }

    /// How many calls there were about a receipt.
    pub(crate) fn calls_of(&self, receipt: &str) -> usize {
        self.calls()
            .iter()
            .filter(|call| call.receipt == receipt)
            .count()
    }

    /// The most calls that were in flight at the same time.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.script(|script| script.most_in_flight)
    }

    fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.shared.script.lock().unwrap())
    }

    async fn answer(&self, call: Call) -> Reply {
        let _flight = self.take_off(call.clone());
        let mut held = self.shared.held.subscribe();
        let is_free = |held: &Held| match held {
            Held::Nothing => true,
            Held::All => false,
            Held::Only(receipt) => *receipt != call.receipt,
        };
        held.wait_for(is_free).await.unwrap();
        let reply = self.script(|script| {
            let replies = script.replies.get_mut(&call.receipt)?;
            match replies.len() {
                1 => replies.front().cloned(),
                _ => replies.pop_front(),
            }
        });
        // A rule may panic, and a panic poisons a lock.
        let rule = self.script(|script| script.rule.clone());
        reply.unwrap_or_else(|| rule(&call))
    }

    fn take_off(&self, call: Call) -> Flight<'_> {
        self.script(|script| script.calls.push(call));
        self.shared.in_flight.send_modify(|calls| *calls += 1);
        let now = *self.shared.in_flight.borrow();
        self.script(|script| script.most_in_flight = script.most_in_flight.max(now));
        Flight(&self.shared.in_flight)
    }
}

/// Ends a flight also when the caller drops the call.
struct Flight<'a>(&'a watch::Sender<usize>);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

impl Connector for ScriptedConnector {
    fn validate<'a>(&'a self, request: ReceiptRequest<'a>) -> BoxFuture<'a, Reply> {
        let call = Call {
            marketplace: request.marketplace,
            receipt: request.receipt.into(),
            currency: request.currency.map(Into::into),
            access_token: request
                .access_token
                .map(|token| token.expose_secret().into()),
        };
        self.answer(call).boxed()
    }
}

/// An order of 10.00 USD, imported at noon.
#[expect(clippy::unnecessary_wraps, reason = "a script is a list of replies")]
pub(crate) fn valid(receipt: &str) -> Reply {
    Ok(Verdict::Valid {
        order_id: format!("order-of-{receipt}"),
        money: Money::new(1000, Currency::parse("USD").unwrap()),
        imported_at: noon(),
    })
}

/// No such order.
#[expect(clippy::unnecessary_wraps, reason = "a script is a list of replies")]
pub(crate) fn invalid() -> Reply {
    Ok(Verdict::Invalid)
}

/// Asked too often.
pub(crate) fn rate_limited(retry_after: Option<std::time::Duration>) -> Reply {
    Err(ConnectorError::RateLimited {
        retry_after,
        body: ReplyBody::default(),
    })
}

/// Not let in.
pub(crate) fn unauthorized() -> Reply {
    Err(ConnectorError::Auth {
        status: 401,
        body: ReplyBody::default(),
    })
}

/// The marketplace is in trouble.
pub(crate) fn broken(message: &str) -> Reply {
    Err(ConnectorError::Marketplace {
        status: None,
        message: message.to_owned().into(),
        body: ReplyBody::default(),
    })
}
