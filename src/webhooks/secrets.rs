//! The stored secrets of endpoints.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use tracing::error;
use uuid::Uuid;

use super::model::EndpointId;
use super::queries::endpoints;
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
    endpoints::insert_secret(tx, id, endpoint_id, &sealed, now).await
}

/// The secrets that sign for an endpoint now, the newest first. One that cannot be read is left
/// out as long as there is another: a receiver that knows that one is not to suffer.
pub(super) async fn signing_secrets(
    app: &App,
    tx: &mut Tx,
    endpoint_id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<Vec<SigningSecret>, SecretUnreadable>> {
    let stored = endpoints::signing_secrets(tx, endpoint_id, now).await?;
    let has_some = !stored.is_empty();
    let mut secrets = Vec::with_capacity(stored.len());
    for (id, text) in stored {
        match open(app, id, text) {
            Ok(secret) => secrets.push(secret),
            Err(error) => {
                error!(event = "signing_secret_unreadable", endpointId = %endpoint_id, secretId = %id, error, "failed to read a signing secret of webhook {endpoint_id}: {error}");
            }
        }
    }
    Ok(if has_some && secrets.is_empty() {
        Err(SecretUnreadable)
    } else {
        Ok(secrets)
    })
}

fn open(app: &App, id: Uuid, text: String) -> Result<SigningSecret, String> {
    let keyring = &app.settings.encryption;
    let opened = keyring.open(SECRET.of(id), &Sealed::from(text));
    let opened = opened.map_err(|error| error.to_string())?;
    let secret = opened.expose_secret().parse();
    secret.map_err(|error: NoSigningSecret| error.to_string())
}
