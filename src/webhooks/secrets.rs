//! The stored secrets of endpoints.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use tracing::error;
use uuid::Uuid;

use super::model::EndpointId;
use super::queries::endpoints as queries;
use super::sign::{NoSigningSecret, SigningSecret};
use crate::App;
use crate::db::Tx;
use crate::encryption::{Column, Sealed, StoredSecret, hold_key};

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

/// What signs for an endpoint, of what is stored. One that cannot be read is left out as long as
/// there is another: a receiver that knows that one is not to suffer.
pub(super) fn signing_of(app: &App, endpoint_id: EndpointId, stored: &[StoredSecret]) -> Signing {
    let mut secrets = Vec::new();
    for StoredSecret { id, secret } in stored {
        match open(app, *id, secret) {
            Ok(secret) => secrets.push(secret),
            Err(error) => {
                error!(event = "signing_secret_unreadable", endpointId = %endpoint_id, secretId = %id, error, "failed to read a signing secret of webhook {endpoint_id}: {error}");
            }
        }
    }
    if secrets.is_empty() && !stored.is_empty() {
        return Err(SecretUnreadable);
    }
    Ok(secrets)
}

fn open(app: &App, id: Uuid, sealed: &Sealed) -> Result<SigningSecret, String> {
    let keyring = &app.settings.encryption;
    let opened = keyring.open(SECRET.of(id), sealed);
    let opened = opened.map_err(|error| error.to_string())?;
    let secret = opened.expose_secret().parse();
    secret.map_err(|error: NoSigningSecret| error.to_string())
}
