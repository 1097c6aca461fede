//! The words of this domain, as they stand in SQL, in JSON and in logs; no SQL, no HTTP.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
pub use jobs::PushId;
use poem_openapi::Enum;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

/// An enum whose words are the same in SQL, in JSON and in logs.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Enum, sqlx::Type)]
        #[sqlx(type_name = "TEXT")]
        pub enum $name {
            $(
                $(#[$word_doc])*
                #[serde(rename = $text)]
                #[oai(rename = $text)]
                #[sqlx(rename = $text)]
                $word,
            )*
        }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$word),*];
            /// Their words.
            pub const NAMES: &[&str] = &[$($text),*];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let named = |it: &&Self| it.as_str() == text;
                Self::ALL.iter().find(named).copied().ok_or(UnknownWord(Self::NAMES))
            }
        }
    )* };
}

/// The text is none of these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be one of {}", .0.join(", "))]
pub struct UnknownWord(pub &'static [&'static str]);

words! {
    /// What a product is.
    ProductType {
        /// It lies on a shelf.
        Simple = "SIMPLE",
        /// It is made of others, and there are as many as they make.
        Set = "SET",
    }
    /// Whether quantities of a store are pushed.
    PushMode {
        /// No.
        Off = "OFF",
        /// All but the request.
        DryRun = "DRY_RUN",
        /// Yes.
        Live = "LIVE",
    }
    /// Where the quantities of a store come from.
    StockSource {
        /// They are its own.
        Direct = "DIRECT",
        /// From the shelves of its warehouses.
        Warehouse = "WAREHOUSE",
    }
    /// How a marketplace is spared.
    RateMode {
        /// No request is repeated within the window of identical requests.
        IdenticalBody = "IDENTICAL_BODY",
        /// One run, then nothing for the length of the window.
        StoreWindow = "STORE_WINDOW",
        /// So many requests outstanding.
        Concurrency = "CONCURRENCY",
    }
    /// How many listings a seller may have, which decides how often they may call.
    ListingTier {
        /// 50,000.
        Fifty = "50K",
        /// 75,000.
        SeventyFive = "75K",
        /// 150,000.
        HundredFifty = "150K",
        /// 500,000.
        FiveHundred = "500K",
        /// As many as they like.
        Unlimited = "UNLIMITED",
    }
    /// Which of a marketplace's environments a store is in.
    MarketplaceEnv {
        /// The real one.
        Prod = "PROD",
        /// The one for trying things.
        Stage = "STAGE",
    }
    /// Why a quantity is told.
    Reason {
        /// An order took some.
        OrderCreated = "ORDER_CREATED",
        /// An order gave some back.
        OrderCancelled = "ORDER_CANCELLED",
        /// Some left a shelf.
        StockRemoved = "STOCK_REMOVED",
        /// Some came.
        StockAdded = "STOCK_ADDED",
        /// A set is made of other things.
        SetChanged = "SET_CHANGED",
        /// All of a store, or what may differ.
        Resync = "RESYNC",
        /// The marketplace shows another one.
        Reconcile = "RECONCILE",
        /// Somebody said so.
        Manual = "MANUAL",
    }
    /// What became of a row of the queue.
    QueueOutcome {
        /// The marketplace took it.
        Sent = "SENT",
        /// The marketplace shows it already.
        NoopUnchanged = "NOOP_UNCHANGED",
        /// It would have been sent.
        DryRun = "DRY_RUN",
        /// Its store is not live.
        SkippedStoreDisabled = "SKIPPED_STORE_DISABLED",
        /// The product is not sold there, or not by us.
        SkippedNotListed = "SKIPPED_NOT_LISTED",
        /// The marketplace has no name for the product.
        SkippedNoIdentifier = "SKIPPED_NO_IDENTIFIER",
    }
    /// Whether a product is pushed to a store.
    PairState {
        /// Yes.
        Ok = "OK",
        /// The marketplace refuses it.
        Blocked = "BLOCKED",
    }
    /// What is done about an order for more than there is.
    ReservationMode {
        /// Nothing of it is reserved.
        Strict = "STRICT",
        /// What there is is reserved: the marketplace has sold it already.
        AllowShortfall = "ALLOW_SHORTFALL",
    }
    /// How a reservation stands.
    ReservationStatus {
        /// It holds what it reserved.
        Active = "ACTIVE",
        /// It gave everything back.
        Released = "RELEASED",
        /// Its goods left.
        Fulfilled = "FULFILLED",
    }
    /// Why a counter moved.
    MovementKind {
        /// An order took some.
        Reserve = "RESERVE",
        /// An order gave some back.
        Release = "RELEASE",
        /// Reserved goods left.
        Fulfil = "FULFIL",
        /// Somebody counted.
        Adjust = "ADJUST",
        /// Some came to a shelf.
        ShelfAdd = "SHELF_ADD",
        /// Some left a shelf.
        ShelfRemove = "SHELF_REMOVE",
        /// Some went to an order that waited for them.
        Backfill = "BACKFILL",
    }
    /// How a push stands.
    PushState {
        /// It would have been sent.
        DryRun = "DRY_RUN",
        /// It is on the way, or its sender died.
        Sending = "SENDING",
        /// The marketplace took it and has not said what became of it.
        Accepted = "ACCEPTED",
        /// All of it was applied.
        Confirmed = "CONFIRMED",
        /// Some of it was applied.
        Partial = "PARTIAL",
        /// None of it was applied.
        Failed = "FAILED",
        /// It may have been applied.
        Unknown = "UNKNOWN",
        /// The marketplace never said what became of it.
        Expired = "EXPIRED",
    }
    /// How an item of a push stands.
    ItemState {
        /// It was sent, or is about to be.
        Sent = "SENT",
        /// It was applied.
        Confirmed = "CONFIRMED",
        /// It was refused.
        Rejected = "REJECTED",
        /// It may have been applied.
        Unknown = "UNKNOWN",
        /// It would have been sent.
        DryRun = "DRY_RUN",
    }
    /// Whom a logged request went to.
    Provider {
        /// Aras Kargo.
        ArasKargo = "ARAS_KARGO",
        /// Trendyol.
        Trendyol = "TRENDYOL",
        /// Hepsiburada.
        Hepsiburada = "HEPSIBURADA",
        /// Ikas.
        Ikas = "IKAS",
        /// Uyumsoft.
        Uyumsoft = "UYUMSOFT",
        /// Shopify.
        Shopify = "SHOPIFY",
        /// Amazon.
        Amazon = "AMAZON",
        /// Etsy.
        Etsy = "ETSY",
    }
    /// What a logged request was for.
    ApiLogType {
        /// Orders.
        SetOrder = "SET_ORDER",
        /// Barcodes.
        GetBarcode = "GET_BARCODE",
        /// States.
        UpdateStatus = "UPDATE_STATUS",
        /// Orders.
        GetOrder = "GET_ORDER",
        /// Invoices.
        CreateInvoice = "CREATE_INVOICE",
        /// Something else.
        Other = "OTHER",
        /// Quantities.
        UpdateStock = "UPDATE_STOCK",
        /// What became of quantities.
        GetStockResult = "GET_STOCK_RESULT",
        /// The quantities that a marketplace shows.
        GetStock = "GET_STOCK",
    }
    /// Why nothing is sent to the marketplace of a store.
    GateReason {
        /// `STOCK_PUSH_ENABLED` is off.
        Disabled = "DISABLED",
        /// There is no adapter for the marketplace.
        AdapterMissing = "ADAPTER_MISSING",
        /// The marketplace does not take the credentials, or there are none.
        Auth = "AUTH",
        /// The marketplace answers what nobody expects.
        Protocol = "PROTOCOL",
        /// Too many failures in a row.
        Breaker = "BREAKER",
        /// The last request failed.
        Backoff = "BACKOFF",
        /// The marketplace wants it slower.
        RateLimited = "RATE_LIMITED",
        /// The window after a run ([`RateMode::StoreWindow`]).
        Window = "WINDOW",
        /// The same request would be refused.
        IdenticalBody = "IDENTICAL_BODY",
        /// As many requests are outstanding as may be.
        Outstanding = "OUTSTANDING",
        /// Requests too close together.
        Spacing = "SPACING",
        /// Too many requests for now.
        Bucket = "BUCKET",
        /// Everything that may be sent today was.
        DailyBudget = "DAILY_BUDGET",
    }
}

impl Reason {
    /// Which rows go first; 100 is the most urgent.
    pub const fn priority(self) -> i32 {
        match self {
            Self::OrderCreated => 100,
            Self::OrderCancelled => 90,
            Self::StockRemoved => 80,
            Self::StockAdded => 70,
            Self::SetChanged | Self::Resync | Self::Reconcile | Self::Manual => 50,
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )* };
}

ids! {
    /// A row of `products`.
    ProductId
    /// A row of `warehouses`.
    WarehouseId
    /// A row of `shelves`.
    ShelfId
    /// A row of `stock_reservations`.
    ReservationId
    /// A row of `stock_movements`.
    MovementId
    /// A row of `stock_update_queue`.
    QueueId
    /// A row of `api_logs`.
    ApiLogId
}

/// Something that is sold.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Whose it is.
    pub organization_id: String,
    /// What people call it.
    pub name: String,
    /// What the merchant calls it.
    pub sku: Option<String>,
    /// What scanners call it.
    pub barcode: Option<String>,
    /// What it is.
    pub product_type: ProductType,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}
