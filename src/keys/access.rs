//! Who may call the API, by the settings and the stored keys.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use futures::FutureExt;
use futures::future::BoxFuture;
use subtle::ConstantTimeEq;
use tracing::{debug, warn};

use super::model::{ApiKey, KeyId, KeyState, has_the_form_of_a_key};
use super::queries;
use crate::App;
use crate::config::AuthMode;
use crate::http::auth::{Access, Grant, KeyHash, StoredKeys};
use crate::http::problem::Problem;
use crate::rate::Limiter;

/// Uses of a key are noted this often, and refusals of one are logged this often.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// Who may call the API of this process.
pub fn access(app: &Arc<App>) -> Access {
    let auth = &app.settings.auth;
    let stored = || Arc::new(Keys::new(app.clone()));
    match auth.mode {
        AuthMode::Anonymous => Access::anonymous(),
        AuthMode::Required => Access::by_key(auth.listed.clone(), Some(stored())),
        AuthMode::AnonymousWithoutKeys => {
            Access::anonymous_until_a_key_exists(stored(), app.key_exists.clone())
        }
    }
}

/// A key is demanded, and nobody has one.
#[derive(Debug, thiserror::Error)]
#[error(
    "`AUTH` is `required` and there is no API key: make one with \
     `marketplace-sync keys create --organization my-organization`, list one in `API_KEYS`, or \
     set `AUTH=anonymous`"
)]
pub struct StartWithoutKey;

/// Warns if anybody may call the API; refuses a start after which nobody could.
pub(crate) async fn check_start(app: &App) -> sqlx::Result<Result<(), StartWithoutKey>> {
    let auth = &app.settings.auth;
    let exist = auth.mode != AuthMode::Anonymous && (!auth.listed.is_empty() || exist(app).await?);
    app.key_exists.store(exist, Ordering::Relaxed);
    if auth.mode == AuthMode::Required {
        return Ok(if exist { Ok(()) } else { Err(StartWithoutKey) });
    }
    if !exist {
        warn!(
            event = "anonymous_access",
            "no API key is needed: whoever reaches the API may register stores"
        );
    }
    Ok(Ok(()))
}

async fn exist(app: &App) -> sqlx::Result<bool> {
    let mut tx = app.db.read().await?;
    let exist = queries::keys_exist(&mut tx).await?;
    tx.save().await?;
    Ok(exist)
}

/// The stored keys.
struct Keys {
    app: Arc<App>,
    uses: Limiter<KeyId>,
    refusals: Limiter<KeyId>,
}

impl Keys {
    fn new(app: Arc<App>) -> Self {
        let seldom = || Limiter::one_per(NOTED_EVERY, NonZeroU32::MIN, &app.clock);
        Self {
            uses: seldom(),
            refusals: seldom(),
            app,
        }
    }

    async fn find(&self, text: &str) -> sqlx::Result<Option<Grant>> {
        if !has_the_form_of_a_key(text) {
            return Ok(None);
        }
        let hash = KeyHash::of(text);
        let mut tx = self.app.db.read().await?;
        let row = queries::key_by_hash(&mut tx, hash).await?;
        tx.save().await?;
        // How long the index takes tells about the hash of a guess, which whoever guesses knows.
        let is_same = |stored: &str| {
            KeyHash::from_hex(stored).is_some_and(|stored| bool::from(stored.ct_eq(&hash)))
        };
        let Some(row) = row.filter(|row| is_same(&row.hash)) else {
            return Ok(None);
        };
        let state = row.key.state(self.app.clock.now());
        if state != KeyState::Active {
            self.log_refusal(&row.key, state);
            return Ok(None);
        }
        self.note_use(&row.key);
        Ok(Some(Grant {
            organization_id: row.key.organization_id,
            scope: row.key.scope,
            key_name: row.key.prefix,
        }))
    }

    /// The caller is not told why, so the operator is.
    fn log_refusal(&self, key: &ApiKey, state: KeyState) {
        if self.refusals.spend(&key.id).is_ok() {
            warn!(
                event = "api_key_refused",
                keyId = %key.id,
                organizationId = key.organization_id,
                prefix = key.prefix,
                reason = state.as_str(),
                "refused API key {}: it is {}",
                key.prefix,
                state.as_str()
            );
        }
    }

    /// Best effort, and beside the request.
    fn note_use(&self, key: &ApiKey) {
        let now = self.app.clock.now();
        let age = key.last_used_at.map(|at| now - at);
        let minute = TimeDelta::from_std(NOTED_EVERY).unwrap_or_default();
        if age.is_some_and(|age| age < minute) || self.uses.spend(&key.id).is_err() {
            return;
        }
        let (app, id) = (self.app.clone(), key.id);
        self.app.tasks.spawn(async move {
            let noted = async {
                let mut tx = app.db.write().await?;
                queries::note_use(&mut tx, id, now).await?;
                tx.save().await
            };
            if let Err(error) = noted.await {
                debug!(keyId = %id, %error, "failed to note the use of an API key");
            }
        });
    }
}

impl StoredKeys for Keys {
    fn grant<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Grant>, Problem>> {
        self.find(key).map(|found| found.map_err(problem)).boxed()
    }

    fn exist(&self) -> BoxFuture<'_, Result<bool, Problem>> {
        exist(&self.app).map(|exist| exist.map_err(problem)).boxed()
    }
}

/// Every connection is taken, or the database is away.
fn problem(error: sqlx::Error) -> Problem {
    match error {
        sqlx::Error::PoolTimedOut => Problem::unavailable(1),
        error => Problem::internal(&error),
    }
}
