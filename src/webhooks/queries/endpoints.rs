//! Webhooks and their secrets.
