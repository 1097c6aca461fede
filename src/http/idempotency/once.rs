//! What a route does about its key.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Request, RequestBody, Response};
use poem_openapi::registry::{MetaParamIn, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::claim::{Claim, Identity, Outcome};
use super::{KEY_HEADER, REPLAYED_HEADER};
use crate::App;
use crate::db::Tx;
use crate::http::auth::Caller;
use crate::http::fields::{self, code};
use crate::http::kind::{IDEMPOTENCY_KEY_IN_USE, IDEMPOTENCY_KEY_REUSED};
use crate::http::problem::Problem;

/// The most characters of a key.
const MAX_KEY: usize = 255;
/// What JSON answers of routes say that they are.
const JSON: &str = "application/json; charset=utf-8";

/// Whose keys they are: the same key of somebody else is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(String);

impl Scope {
    /// Of an organization.
    pub fn organization(id: &str) -> Self {
        Self(format!("organization:{id}"))
    }

    /// Of a store, whose token is what the caller has.
    pub fn store(id: Uuid) -> Self {
        Self(format!("store:{id}"))
    }

    /// Of the organization of a caller; where anybody may call, of all who do.
    pub fn caller(caller: &Caller) -> Self {
        match caller.organization_id() {
            Some(id) => Self::organization(id),
            None => Self("anybody".to_owned()),
        }
    }
}

/// An answer that can be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(super) status: u16,
    content_type: String,
    body: String,
}

impl Answer {
    /// What a route answers with `Json`.
    pub fn json(value: &impl ToJSON) -> Self {
        Self {
            status: StatusCode::OK.as_u16(),
            content_type: JSON.to_owned(),
            body: value.to_json_string(),
        }
    }

    /// The same with another status than 200.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    /// A status alone.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status: status.as_u16(),
            content_type: String::new(),
            body: String::new(),
        }
    }

    /// An answer that was given; none if it is no text.
    pub(super) fn of(status: StatusCode, content_type: &str, body: &[u8]) -> Option<Self> {
        Some(Self {
            status: status.as_u16(),
            content_type: content_type.to_owned(),
            body: std::str::from_utf8(body).ok()?.to_owned(),
        })
    }

    /// As it is stored: the content type, and from the second line on the body.
    pub(super) fn to_text(&self) -> String {
        format!("{}\n{}", self.content_type, self.body)
    }

    pub(super) fn from_text(status: i32, text: &str) -> Option<Self> {
        let (content_type, body) = text.split_once('\n')?;
        Some(Self {
            status: u16::try_from(status).ok()?,
            content_type: content_type.to_owned(),
            body: body.to_owned(),
        })
    }

    /// The answer, as one that was given before.
    pub(super) fn replay(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = Response::builder().status(status).body(self.body);
        let headers = response.headers_mut();
        if let Ok(content_type) = HeaderValue::from_str(&self.content_type)
            && !content_type.is_empty()
        {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        headers.insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
        response
    }
}

/// A request with a key, as the layer around the route and the route know it.
pub(in crate::http) struct Keyed {
    method: Method,
    /// The template of its path.
    template: String,
    /// Its path and query.
    address: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// SHA-256 of the body, if the route has read one.
    body: Option<[u8; 32]>,
    progress: Progress,
    is_provisional: bool,
}

/// How far a request is with its key.
#[derive(Clone, Default)]
pub(super) enum Progress {
    /// The route has not claimed it.
    #[default]
    Unclaimed,
    /// It is ours, and has no answer yet.
    Claimed(Claim),
    /// The answer was committed with its effect.
    Kept,
    /// The answer was there already.
    Answered(Answer),
}

impl Keyed {
    pub(super) fn new(request: &Request, template: &str) -> Self {
        let address = request.uri().path_and_query();
        Self {
            method: request.method().clone(),
            template: template.to_owned(),
            address: address.map_or_else(String::new, ToString::to_string),
            state: Mutex::default(),
        }
    }

    /// Notes the bytes of the body.
    pub(in crate::http) fn saw_body(&self, bytes: &[u8]) {
        self.state().body = Some(Sha256::digest(bytes).into());
    }

    pub(super) fn progress(&self) -> Progress {
        self.state().progress.clone()
    }

    /// Whether the answer is not the last word.
    pub(super) fn is_provisional(&self) -> bool {
        self.state().is_provisional
    }

    /// What two requests have in common that are the same.
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.address.as_bytes());
        hash.update(self.state().body.unwrap_or_default());
        hash.finalize()
            .iter()
            .fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `Idempotency-Key` of a request, or that it has none. Take it before the body, name the
/// parameter `Idempotency-Key`, and [begin](Once::begin) before anything is changed.
pub struct Once(Option<(String, Arc<Keyed>)>);

impl Once {
    /// Whether the request has a key.
    pub fn has_key(&self) -> bool {
        self.0.is_some()
    }

    /// The key, if there is one.
    pub fn key(&self) -> Option<&str> {
        self.0.as_ref().map(|(key, _)| key.as_str())
    }

    /// Claims the key. An error ends the request: it was answered before (the client gets that
    /// answer and not this error), it runs just now, or the key is another request's.
    pub async fn begin(&self, app: &App, scope: Scope) -> Result<(), Problem> {
        let Some((key, keyed)) = &self.0 else {
            return Ok(());
        };
        let route = format!("{} {}", keyed.method, keyed.template);
        let identity = Identity {
            scope: &scope.0,
            route: &route,
            key,
            fingerprint: &keyed.fingerprint(),
        };
        let outcome = Claim::take(app, &identity).await.map_err(database)?;
        match outcome {
            Outcome::Claimed(claim) => {
                keyed.state().progress = Progress::Claimed(claim);
                Ok(())
            }
            Outcome::Answered(answer) => {
                keyed.state().progress = Progress::Answered(answer);
                Err(in_use())
            }
            Outcome::Running => Err(in_use()),
            Outcome::Reused => Err(Problem::of(
                IDEMPOTENCY_KEY_REUSED,
                "The Idempotency-Key was sent with another request before",
            )),
        }
    }

    /// Commits the transaction of the effect, and the answer with it.
    pub async fn save(&self, mut tx: Tx, answer: Answer) -> Result<(), Problem> {
        let Some((_, keyed)) = &self.0 else {
            return tx.save().await.map_err(database);
        };
        let Progress::Claimed(claim) = keyed.progress() else {
            return tx.save().await.map_err(database);
        };
        if !claim.keep(&mut tx, &answer).await.map_err(database)? {
            // It stalled for so long that the same request was let in once more.
            return Err(in_use());
        }
        tx.save().await.map_err(database)?;
        keyed.state().progress = Progress::Kept;
        Ok(())
    }

    /// Says that the answer is not the last word: the key is free afterwards.
    pub fn leave_open(&self) {
        if let Some((_, keyed)) = &self.0 {
            keyed.state().is_provisional = true;
        }
    }
}

fn in_use() -> Problem {
    Problem::of(
        IDEMPOTENCY_KEY_IN_USE,
        "A request with this Idempotency-Key is running",
    )
    .retry_after(1)
}

fn database(error: sqlx::Error) -> Problem {
    match error {
        sqlx::Error::PoolTimedOut => Problem::unavailable(1),
        error => Problem::internal(&error),
    }
}

/// The key of a request, checked.
fn key(request: &Request) -> Result<Option<String>, Problem> {
    let values: Vec<&HeaderValue> = request.headers().get_all(KEY_HEADER).iter().collect();
    let text = match values[..] {
        [] => return Ok(None),
        [value] => value.to_str().ok(),
        _ => None,
    };
    let name = "Idempotency-Key";
    fields::check(&[(name, Some(text.unwrap_or("\0")))], |fields| {
        let key = fields.text(name, 1..=MAX_KEY)?;
        if key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Some(Some(key));
        }
        fields.reject(
            name,
            code::INVALID_STRING,
            "Expected one key of printable ASCII characters",
        )
    })
}

impl<'a> ApiExtractor<'a> for Once {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

    type ParamType = String;
    type ParamRawType = String;

    fn register(_registry: &mut Registry) {}

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(String::schema_ref())
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<String>,
    ) -> poem::Result<Self> {
        let Some(keyed) = request.data::<Arc<Keyed>>() else {
            return Ok(Self(None));
        };
        let key = key(request)?;
        Ok(Self(key.map(|key| (key, keyed.clone()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(keys: &[&[u8]]) -> Request {
        keys.iter()
            .fold(Request::builder(), |request, key| {
                request.header(KEY_HEADER, HeaderValue::from_bytes(key).unwrap())
            })
            .finish()
    }

    #[test]
    fn a_key_is_one_to_255_printable_characters() {
        assert_eq!(key(&request(&[])).unwrap(), None);
        let longest = "k".repeat(255);
        for fine in ["0", "order 7: \"again\"", &longest] {
            let found = key(&request(&[fine.as_bytes()])).unwrap();
            assert_eq!(found.as_deref(), Some(fine));
        }
        let too_long = "k".repeat(256);
        for bad in [
            &b""[..],
            "schlüssel".as_bytes(),
            b"a\tb",
            too_long.as_bytes(),
        ] {
            assert!(key(&request(&[bad])).is_err(), "{bad:?}");
        }
        assert!(key(&request(&[b"one", b"two"])).is_err());
    }

    #[test]
    fn an_answer_is_the_same_after_it_was_stored() {
        for answer in [
            Answer::json(&vec!["a".to_owned(), "b\nc".to_owned()]),
            Answer::empty(StatusCode::ACCEPTED),
            Answer::of(StatusCode::CONFLICT, "application/problem+json", b"{}").unwrap(),
        ] {
            let again = Answer::from_text(answer.status.into(), &answer.to_text());
            assert_eq!(again, Some(answer));
        }
    }
}
