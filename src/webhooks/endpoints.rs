//! Registers endpoints, changes them, and keeps their secrets.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::model::EndpointId;
use super::queries::endpoints;
use super::sign::SigningSecret;
use crate::db::Tx;

/// The secrets that sign for these endpoints now, the newest first.
pub(crate) async fn signing_secrets(
    tx: &mut Tx,
    ids: &[EndpointId],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<EndpointId, Vec<SigningSecret>>> {
    let mut secrets: HashMap<_, Vec<_>> = HashMap::new();
    for (id, text) in endpoints::signing_secrets(tx, ids, now).await? {
        let secret = text
            .parse()
            .map_err(|error| sqlx::Error::Decode(Box::new(error) as _))?;
        secrets.entry(id).or_default().push(secret);
    }
    Ok(secrets)
}
