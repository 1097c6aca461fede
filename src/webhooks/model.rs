//! The words of this domain, as they stand in SQL, in JSON and in logs; no SQL, no HTTP.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use poem_openapi::Enum;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Enum, sqlx::Type)]
#[sqlx(type_name = "TEXT")]
pub enum EventType {
    /// A run of a store began.
    #[serde(rename = "sync.started")]
    #[oai(rename = "sync.started")]
    #[sqlx(rename = "sync.started")]
    SyncStarted,
    /// It ended; some orders may have failed.
    #[serde(rename = "sync.completed")]
    #[oai(rename = "sync.completed")]
    #[sqlx(rename = "sync.completed")]
    SyncCompleted,
    /// It ended and the store is failing, or it broke off.
    #[serde(rename = "sync.failed")]
    #[oai(rename = "sync.failed")]
    #[sqlx(rename = "sync.failed")]
    SyncFailed,
    /// A marketplace took quantities.
    #[serde(rename = "stock.push.completed")]
    #[oai(rename = "stock.push.completed")]
    #[sqlx(rename = "stock.push.completed")]
    StockPushCompleted,
    /// A marketplace refused a request with quantities, or it broke off.
    #[serde(rename = "stock.push.failed")]
    #[oai(rename = "stock.push.failed")]
    #[sqlx(rename = "stock.push.failed")]
    StockPushFailed,
    /// Quantities wait for longer than they should.
    #[serde(rename = "stock.push.delayed")]
    #[oai(rename = "stock.push.delayed")]
    #[sqlx(rename = "stock.push.delayed")]
    StockPushDelayed,
    /// A marketplace does not take the credentials of a store.
    #[serde(rename = "stock.push.auth_failed")]
    #[oai(rename = "stock.push.auth_failed")]
    #[sqlx(rename = "stock.push.auth_failed")]
    StockPushAuthFailed,
    /// A marketplace refuses the quantity of a product again and again.
    #[serde(rename = "stock.item.blocked")]
    #[oai(rename = "stock.item.blocked")]
    #[sqlx(rename = "stock.item.blocked")]
    StockItemBlocked,
    /// A marketplace sold more than there was.
    #[serde(rename = "stock.oversold")]
    #[oai(rename = "stock.oversold")]
    #[sqlx(rename = "stock.oversold")]
    StockOversold,
    /// A shelf holds less than is reserved.
    #[serde(rename = "stock.deficit")]
    #[oai(rename = "stock.deficit")]
    #[sqlx(rename = "stock.deficit")]
    StockDeficit,
    /// An order names products that are not known.
    #[serde(rename = "stock.order.unmatched")]
    #[oai(rename = "stock.order.unmatched")]
    #[sqlx(rename = "stock.order.unmatched")]
    StockOrderUnmatched,
}

impl EventType {
    /// Every event that can be subscribed to.
    pub const ALL: [Self; 11] = [
        Self::SyncStarted,
        Self::SyncCompleted,
        Self::SyncFailed,
        Self::StockPushCompleted,
        Self::StockPushFailed,
        Self::StockPushDelayed,
        Self::StockPushAuthFailed,
        Self::StockItemBlocked,
        Self::StockOversold,
        Self::StockDeficit,
        Self::StockOrderUnmatched,
    ];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SyncStarted => "sync.started",
            Self::SyncCompleted => "sync.completed",
            Self::SyncFailed => "sync.failed",
            Self::StockPushCompleted => "stock.push.completed",
            Self::StockPushFailed => "stock.push.failed",
            Self::StockPushDelayed => "stock.push.delayed",
            Self::StockPushAuthFailed => "stock.push.auth_failed",
            Self::StockItemBlocked => "stock.item.blocked",
            Self::StockOversold => "stock.oversold",
            Self::StockDeficit => "stock.deficit",
            Self::StockOrderUnmatched => "stock.order.unmatched",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The text names no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such event; the API document lists them")]
pub struct UnknownEvent;

impl FromStr for EventType {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |event: &Self| event.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or(UnknownEvent)
    }
}

/// A row of `webhook_endpoints`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct EndpointId(pub Uuid);

impl From<EndpointId> for Uuid {
    fn from(id: EndpointId) -> Self {
        id.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A row of `callback_deliveries`: one event, owed to one endpoint.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct DeliveryId(pub Uuid);

impl From<DeliveryId> for Uuid {
    fn from(id: DeliveryId) -> Self {
        id.0
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Where an organization wants to hear of an event.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub organization_id: String,
    /// What it hears of.
    pub event: EventType,
    /// Where it is, as it was given.
    pub target_url: String,
    /// Whether anything is sent to it.
    pub is_active: bool,
    /// Why not, when nobody of the organization said so.
    pub inactive_reason: Option<String>,
    /// What the organization says it is for.
    pub description: Option<String>,
    /// Whether events are sent one after the other, in the order they happened.
    pub is_ordered: bool,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// When it was registered first.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}
