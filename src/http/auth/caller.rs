//! The caller of a route, as an argument of it.

use std::fmt::Display;

use poem::http::header;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tracing::info;

use super::access::{Access, Grant, Scope};
use super::listed::KeyHash;
use crate::http::admission::Entrance;
use crate::http::problem::Problem;
use crate::http::rates::{Credential, Visitor};

/// The header of a key.
pub const KEY_HEADER: &str = "x-api-key";

/// How the log names somebody who needs no key or password.
pub const ANONYMOUS: &str = "anonymous";

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Option<Grant>);

impl Caller {
    /// The organization the caller's key acts for; `None` when access is anonymous.
    pub fn organization_id(&self) -> Option<&str> {
        self.0.as_ref().map(|grant| grant.organization_id.as_str())
    }

    /// Whether the caller may read and change what belongs to an organization; 403 if not.
    pub fn may_act_for(&self, organization_id: &str) -> Result<(), Problem> {
        match self.organization_id() {
            Some(own) if own != organization_id => Err(Problem::forbidden()),
            _ => Ok(()),
        }
    }

    /// Says in the log what the caller has done: an action, the kind of thing it was done to, and
    /// which one that is.
    pub fn has_done(&self, action: &'static str, kind: &'static str, id: impl Display) {
        let actor = self.0.as_ref().map_or(ANONYMOUS, |grant| &grant.key_name);
        let organization_id = self.organization_id();
        info!(event = "api_action", actor, organizationId = organization_id, action, kind, id = %id, "{actor}: {action} of {kind} {id}");
    }

    /// Who sent a request, if they may send one like it.
    async fn of(request: &Request) -> Result<Self, Problem> {
        // A listener that was not told who may call lets nobody in.
        let access = request.data::<Access>().ok_or_else(Problem::unauthorized)?;
        let presented = presented_key(request).map(|key| (key, KeyHash::of(key)));
        let entrance = request.data::<Entrance>();
        if let Some(entrance) = entrance {
            let credential = presented.map(|(_, hash)| Credential::Key(hash.0));
            entrance.enter(credential, 1).await?;
        }
        if access.is_anonymous().await? {
            return Ok(Self(None));
        }
        let (key, hash) = presented.ok_or_else(Problem::unauthorized)?;
        let visitor = request.data::<Visitor>();
        visitor.map_or(Ok(()), Visitor::may_try)?;
        let Some(grant) = access.grant(key).await? else {
            if let Some(visitor) = visitor {
                visitor.failed(hash);
            }
            return Err(Problem::unknown_key());
        };
        visitor.map_or(Ok(()), |visitor| visitor.spend(hash))?;
        if let Some(entrance) = entrance {
            entrance.learn(Credential::Key(hash.0), &grant.organization_id);
        }
        if grant.scope < Scope::needed_by(request.method()) {
            return Err(Problem::read_only_key());
        }
        Ok(Self(Some(grant)))
    }
}

/// The key of a request: `X-API-Key`, else the bearer token.
fn presented_key(request: &Request) -> Option<&str> {
    let key = request.header(KEY_HEADER).or_else(|| {
        let (scheme, token) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })?;
    (!key.is_empty()).then_some(key)
}

const SCHEMES: [&str; 2] = ["ApiKey", "Bearer"];

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "apiKey",
            description: Some(
                "A key made with `marketplace-sync keys create`. One of scope `read` may only \
                 GET.",
            ),
            name: Some("X-API-Key"),
            key_in: Some("header"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        let bearer = MetaSecurityScheme {
            ty: "http",
            description: Some("The same key as a bearer token."),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(SCHEMES[0], scheme);
        registry.create_security_scheme(SCHEMES[1], bearer);
    }

    fn security_schemes() -> Vec<&'static str> {
        SCHEMES.to_vec()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self::of(request).await?)
    }
}
