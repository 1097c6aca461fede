//! A key that is taken by a request that runs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;
use uuid::Uuid;

use super::once::Answer;
use super::queries::{self, Known, NewClaim};
use crate::App;
use crate::clock::Clock;
use crate::db::{Db, Tx};
use crate::encryption::{Column, Keyring, Sealed, hold_key};

/// How long a claim lasts without renewal.
pub(super) const CLAIM: Duration = Duration::from_secs(30);
/// How often it is renewed.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How long an answer is given again.
const RETENTION: TimeDelta = TimeDelta::hours(24);
/// How often a key is looked at that others take and free at the same time.
const TRIES: u32 = 3;

/// Where answers are.
pub(super) const ANSWER: Column = Column("idempotency_keys.answer");

/// Which key of whom, and of which request.
#[derive(Debug)]
pub(super) struct Identity<'a> {
    pub(super) scope: &'a str,
    pub(super) route: &'a str,
    pub(super) key: &'a str,
    pub(super) fingerprint: &'a str,
}

/// What came of trying to claim a key.
pub(super) enum Outcome {
    /// It is ours.
    Claimed(Claim),
    /// The request was answered before.
    Answered(Answer),
    /// The request runs just now.
    Running,
    /// The key is another request's.
    Reused,
}

/// A key that is ours.
#[derive(Clone)]
pub(super) struct Claim {
    id: Uuid,
    db: Db,
    clock: Clock,
    keyring: Keyring,
}

impl Claim {
    /// Claims a key, or says why not.
    pub(super) async fn take(app: &App, identity: &Identity<'_>) -> sqlx::Result<Outcome> {
        for _ in 0..TRIES {
            let now = app.clock.now();
            let claim = Self {
                id: app.ids.new_id(now),
                db: app.db.clone(),
                clock: app.clock.clone(),
                keyring: app.settings.encryption.clone(),
            };
            let new = NewClaim {
                id: claim.id,
                identity,
                running_until: now + CLAIM,
                expires_at: now + RETENTION,
                now,
            };
            let mut tx = app.db.write().await?;
            if queries::claim(&mut tx, &new).await? {
                tx.save().await?;
                return Ok(Outcome::Claimed(claim));
            }
            let known = queries::known(&mut tx, identity).await?;
            tx.save().await?;
            if let Some(known) = known {
                return claim.judge(identity, known);
            }
        }
        Ok(Outcome::Running)
    }

    fn judge(&self, identity: &Identity<'_>, known: Known) -> sqlx::Result<Outcome> {
        if known.fingerprint != identity.fingerprint {
            return Ok(Outcome::Reused);
        }
        let (Some(status), Some(text)) = (known.status, known.answer) else {
            return Ok(Outcome::Running);
        };
        let text = self
            .keyring
            .open(ANSWER.of(known.id), &Sealed::from(text))
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let answer = Answer::from_text(status, text.expose_secret());
        answer.map(Outcome::Answered).ok_or_else(|| {
            sqlx::Error::Decode("a kept answer has a status and a content type".into())
        })
    }

    /// Keeps the answer, unless the claim was lost; tells which.
    pub(super) async fn keep(&self, tx: &mut Tx, answer: &Answer) -> sqlx::Result<bool> {
        let now = self.clock.now();
        hold_key(tx, &self.keyring, now).await?;
        let text = SecretString::from(answer.to_text());
        let sealed = self.keyring.seal(ANSWER.of(self.id), &text);
        queries::keep(tx, self.id, answer.status.into(), &sealed).await
    }

    /// The same in a transaction of its own. The effect is there, so nothing is said to the
    /// client when it fails: the request may run again, and is safe to.
    pub(super) async fn keep_late(&self, answer: &Answer) {
        let kept = async {
            let mut tx = self.db.write().await?;
            let kept = self.keep(&mut tx, answer).await?;
            tx.save().await?;
            Ok::<_, sqlx::Error>(kept)
        };
        if let Err(error) = kept.await {
            warn!(event = "idempotency_answer_lost", %error, "failed to keep an answer for its Idempotency-Key");
        }
    }

    /// Frees the key, unless it has its answer.
    pub(super) async fn release(&self) {
        let released = async {
            let mut tx = self.db.write().await?;
            queries::release(&mut tx, self.id).await?;
            tx.save().await
        };
        if let Err(error) = released.await {
            warn!(event = "idempotency_release_failed", %error, "failed to free an Idempotency-Key; it ends by itself");
        }
    }

    /// Says that the request still runs.
    pub(super) async fn renew(&self) {
        let until: DateTime<Utc> = self.clock.now() + CLAIM;
        let renewed = async {
            let mut tx = self.db.write().await?;
            queries::renew(&mut tx, self.id, until).await?;
            tx.save().await
        };
        if let Err(error) = renewed.await {
            warn!(event = "idempotency_renewal_failed", %error, "failed to renew an Idempotency-Key");
        }
    }
}
