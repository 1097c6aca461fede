//! Identifiers that a job carries.
//!
//! They live here, in the leaf crate, because a job is an identity and nothing else: whoever
//! enqueues and whoever handles must mean the same type. Making ids (version 7) is the
//! application's business.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
            sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

id! {
    /// A registered marketplace store.
    StoreId
}
id! {
    /// An event in the outbox, to be delivered to the organization's webhooks.
    OutboxId
}
id! {
    /// A request that tells a marketplace quantities.
    PushId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_and_writes_as_a_bare_uuid() {
        let text = "01890a5d-ac96-774b-bcce-b302099a8057";
        let id: StoreId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<StoreId>(&format!("\"{text}\"")).unwrap(),
            id
        );
        assert!("no uuid".parse::<OutboxId>().is_err());
    }
}
