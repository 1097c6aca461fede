//! What the routes have in common: one method each, the query of a list, what an action is about,
//! and what the log has of it.

use std::fmt::Display;
use std::str::FromStr;

use jobs::StoreId;
use poem::error::MethodNotAllowedError;
use poem::http::{HeaderValue, header};
use poem::{Endpoint, EndpointExt, IntoResponse, Request};
use serde::Deserialize;
use tracing::info;
use uuid::Uuid;

use super::views::Done;
use crate::http::fields::{self, Fields};
use crate::http::kind::METHOD_NOT_ALLOWED;
use crate::http::page::PageRequest;
use crate::http::problem::Problem;

/// No place in a list is longer.
const PLACE_LENGTH: usize = 64;

/// Refuses other methods, and says which there is.
pub(super) fn only<E: Endpoint>(method: &'static str, endpoint: E) -> impl Endpoint {
    endpoint.catch_error(move |_: MethodNotAllowedError| async move {
        Problem::of(METHOD_NOT_ALLOWED, format!("Use {method}"))
            .header(header::ALLOW, HeaderValue::from_static(method))
            .into_response()
    })
}

/// The query of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListQuery {
    state: Option<String>,
    store_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl ListQuery {
    /// Reads a list's own members, and which page is wanted.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Result<(T, PageRequest), Problem> {
        self.read_behind(self.cursor.as_deref(), read)
    }

    /// The same of a list with places of its own.
    pub(super) fn read_with_place<T, P: FromStr<Err: Display>>(
        &self,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Result<(T, PageRequest, Option<P>), Problem> {
        let (own, page) = self.read_behind(None, read)?;
        let cursor = [("cursor", self.cursor.as_deref())];
        let after = fields::check(&cursor, |fields| {
            fields.optional("cursor", |fields, name| {
                fields.parsed(name, 1..=PLACE_LENGTH, P::from_str)
            })
        })?;
        Ok((own, page, after))
    }

    fn read_behind<T>(
        &self,
        cursor: Option<&str>,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Result<(T, PageRequest), Problem> {
        let values = [
            ("state", self.state.as_deref()),
            ("storeId", self.store_id.as_deref()),
            ("limit", self.limit.as_deref()),
            ("cursor", cursor),
        ];
        fields::check(&values, |fields| {
            let own = read(fields);
            let page = PageRequest::from_fields(fields);
            Some((own?, page?))
        })
    }

    /// One of these states; the first unless the caller says otherwise.
    pub(super) fn state<T: Copy>(&self, states: &[(&str, T)]) -> Result<(T, PageRequest), Problem> {
        let names: Vec<&str> = states.iter().map(|(name, _)| *name).collect();
        self.read(|fields| {
            let name = fields.optional("state", |fields, name| fields.one_of(name, &names))?;
            let state = states.iter().find(|(known, _)| Some(*known) == name);
            Some(state.unwrap_or(&states[0]).1)
        })
    }
}

/// The id of what an action is about, if the request says that it is JSON.
pub(super) fn target(request: &Request, id: &str) -> Result<Uuid, Problem> {
    let content_type = request.content_type().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::unsupported_media_type());
    }
    uuid("id", id)
}

/// An id in a path.
pub(super) fn uuid(name: &str, text: &str) -> Result<Uuid, Problem> {
    fields::check(&[(name, Some(text))], |fields| fields.uuid(name))
}

/// What an action is about, as the log names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    kind: &'static str,
    id: Uuid,
    store_id: Option<Uuid>,
}

impl Target {
    pub(super) fn of(kind: &'static str, id: impl Into<Uuid>) -> Self {
        Self {
            kind,
            id: id.into(),
            store_id: None,
        }
    }

    /// The same, of this store.
    pub(super) fn in_store(self, id: StoreId) -> Self {
        Self {
            store_id: Some(id.0),
            ..self
        }
    }
}

/// Who reads the log later wants to know what a person did, and what came of it.
pub(super) fn log_action<E: Display>(
    actor: &str,
    action: &str,
    target: Target,
    done: &Result<Done, E>,
) {
    let outcome = match done {
        Ok(done) if done.is_changed => "done".to_owned(),
        Ok(_) => "nothing to do".to_owned(),
        Err(error) => error.to_string(),
    };
    let Target { kind, id, store_id } = target;
    info!(
        event = "operator_action",
        actor,
        action,
        kind,
        id = %id,
        storeId = store_id.map(tracing::field::display),
        orders = done.as_ref().ok().and_then(|done| done.orders),
        outcome,
        "{actor}: {action} of {kind} {id}: {outcome}"
    );
}

/// Every connection is taken, or the database is away.
pub(super) fn database(error: sqlx::Error) -> Problem {
    match error {
        sqlx::Error::PoolTimedOut => Problem::unavailable(1),
        error => Problem::internal(&error),
    }
}
