//! How problems look in the API document: each status that a route may answer with has its
//! schema, its example and its headers.

use poem::http::HeaderName;
use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use serde_json::json;

use super::kind::{IDEMPOTENCY_KEY_REUSED, IMPORT_IN_PROGRESS};
use super::limits::BODY_BYTES;
use super::problem::{CONTENT_TYPE, Detail, Problem, Shape};

/// The problems a route may answer with, each with an example.
fn documented() -> Vec<(&'static str, Problem)> {
    let missing = Detail {
        path: vec!["syncToken".into()],
        code: "required".to_owned(),
        message: "Required".to_owned(),
    };
    vec![
        (
            "Something is wrong with the request; `details` says what.",
            Problem::validation(vec![missing]),
        ),
        (
            "No API key, or one that is not valid.",
            Problem::unauthorized(),
        ),
        (
            "The API key belongs to another organization, or may only read.",
            Problem::forbidden(),
        ),
        (
            "There is no such thing.",
            Problem::not_found("Store not found"),
        ),
        (
            "The request does not fit the present state.",
            Problem::conflict(
                IMPORT_IN_PROGRESS.code,
                "The receipt is being imported by another request",
            )
            .with("success", false)
            .retry_after(1),
        ),
        (
            "The body is too large.",
            Problem::payload_too_large(BODY_BYTES),
        ),
        ("The body is not JSON.", Problem::unsupported_media_type()),
        (
            "The Idempotency-Key was sent with another request.",
            Problem::of(
                IDEMPOTENCY_KEY_REUSED,
                "The Idempotency-Key was sent with another request before",
            ),
        ),
        ("Too many requests.", Problem::rate_limited(1)),
        (
            "Unexpected; the cause is in the log.",
            Problem::unexpected(),
        ),
        (
            "The service cannot answer now (`service_unavailable`), or has too much to do \
             (`overloaded`, and nothing was done).",
            Problem::overloaded(),
        ),
    ]
}

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let responses = documented().into_iter().map(|(description, problem)| {
            let (mut example, kind, headers) = problem.into_body();
            example["requestId"] = json!("0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1b");
            MetaResponse {
                description,
                status: Some(kind.status.as_u16()),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: CONTENT_TYPE,
                    schema: MetaSchemaRef::Inline(Box::new(MetaSchema {
                        all_of: vec![Shape::schema_ref()],
                        example: Some(example),
                        ..MetaSchema::ANY
                    })),
                }],
                headers: headers
                    .iter()
                    .map(|(name, _)| documented_header(name))
                    .collect(),
            }
        });
        MetaResponses {
            responses: responses.collect(),
        }
    }

    fn register(registry: &mut Registry) {
        Shape::register(registry);
    }
}

fn documented_header(name: &HeaderName) -> MetaHeader {
    MetaHeader {
        name: name.to_string(),
        description: None,
        required: false,
        deprecated: false,
        schema: String::schema_ref(),
    }
}
