//! The stored secrets of endpoints.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use tracing::error;
use uuid::Uuid;

use super::model::EndpointId;
use super::queries::endpoints as queries;
use super::sign::{NoSigningSecret, SigningSecret};
use crate::App;
use crate::db::Tx;
use crate::encryption::{Column, Sealed, hold_key};

/// Where they are.
pub(super) const SECRET: Column = Column("webhook_secrets.secret");

/// An endpoint has secrets, and none of them can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecretUnreadable;

/// Adds the secret that signs from now on.
pub(super) async fn insert_secret(
    app: &App,
    tx: &mut Tx,
    endpoint_id: EndpointId,
    secret: &SigningSecret,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let id = app.ids.new_id(now);
    let keyring = &app.settings.encryption;
    hold_key(tx, keyring, now).await?;
    let sealed = keyring.seal(SECRET.of(id), &secret.to_text());
    queries::insert_secret(tx, id, endpoint_id, &sealed, now).await
}

/// What signs for an endpoint.
pub(super) type Signing = Result<Vec<SigningSecret>, SecretUnreadable>;

/// The secrets that sign for these endpoints now, the newest first. One that cannot be read is
/// left out as long as there is another: a receiver that knows that one is not to suffer.
pub(super) async fn signing_secrets(
    app: &App,
    tx: &mut Tx,
    endpoints: &[EndpointId],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<EndpointId, Signing>> {
    let mut signing: HashMap<EndpointId, Signing> =
        endpoints.iter().map(|id| (*id, Ok(Vec::new()))).collect();
    for (endpoint_id, id, text) in queries::signing_secrets(tx, endpoints, now).await? {
        let signing = signing.entry(endpoint_id).or_insert_with(|| Ok(Vec::new()));
        match (open(app, id, text), &mut *signing) {
            (Ok(secret), Ok(secrets)) => secrets.push(secret),
            (Ok(secret), Err(SecretUnreadable)) => *signing = Ok(vec![secret]),
            (Err(error), secrets) => {
                error!(event = "signing_secret_unreadable", endpointId = %endpoint_id, secretId = %id, error, "failed to read a signing secret of webhook {endpoint_id}: {error}");
                if secrets.as_ref().is_ok_and(Vec::is_empty) {
                    *secrets = Err(SecretUnreadable);
                }
            }
        }
    }
    Ok(signing)
}

fn open(app: &App, id: Uuid, text: String) -> Result<SigningSecret, String> {
    let keyring = &app.settings.encryption;
    let opened = keyring.open(SECRET.of(id), &Sealed::from(text));
    let opened = opened.map_err(|error| error.to_string())?;
    let secret = opened.expose_secret().parse();
    secret.map_err(|error: NoSigningSecret| error.to_string())
}
