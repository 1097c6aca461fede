//! What operators do with keys.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use tracing::info;

use super::model::{ApiKey, KeyId, KeyText, NewKey};
use super::queries;
use crate::db::Db;
use crate::ids::Ids;

/// Makes a key. Its text is in the answer and nowhere else.
pub async fn create_key(
    db: &Db,
    ids: &Ids,
    new: NewKey,
    now: DateTime<Utc>,
) -> sqlx::Result<(ApiKey, SecretString)> {
    let text = KeyText::random();
    let key = ApiKey {
        id: KeyId(ids.new_id(now)),
        organization_id: new.organization_id,
        name: new.name,
        prefix: text.prefix().to_owned(),
        scope: new.scope,
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    let mut tx = db.write().await?;
    queries::insert_key(&mut tx, &key, text.hash()).await?;
    tx.save().await?;
    info!(
        event = "api_key_created",
        keyId = %key.id,
        organizationId = key.organization_id,
        prefix = key.prefix,
        "made API key {}",
        key.prefix
    );
    Ok((key, text.into_secret()))
}

/// The keys of an organization, or of all.
pub async fn list_keys(db: &Db, organization_id: Option<&str>) -> sqlx::Result<Vec<ApiKey>> {
    let mut tx = db.read().await?;
    let keys = queries::keys_of(&mut tx, organization_id).await?;
    tx.save().await?;
    Ok(keys)
}

/// Revokes a key: it opens nothing from now on. `None` if there is no such key.
pub async fn revoke_key(db: &Db, id: KeyId, now: DateTime<Utc>) -> sqlx::Result<Option<ApiKey>> {
    let mut tx = db.write().await?;
    let key = queries::revoke(&mut tx, id, now).await?;
    tx.save().await?;
    if let Some(key) = &key {
        info!(
            event = "api_key_revoked",
            keyId = %key.id,
            organizationId = key.organization_id,
            prefix = key.prefix,
            "revoked API key {}",
            key.prefix
        );
    }
    Ok(key)
}
