//! Turns the errors of poem and poem-openapi (no route, wrong method, a parameter that does not
//! parse) into problems. Answers that are problems already, or the bare errors of the mock
//! marketplace, pass as they are.

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Error, IntoResponse, Response};
use poem_openapi::error::{ParseParamError, ParsePathError, ParseRequestPayloadError};
use serde_json::Value;

use super::fields::code;
use super::kind::{KINDS, METHOD_NOT_ALLOWED};
use super::problem::{Detail, Problem};
use super::routes::Entry;

/// The answer to a request that ended in `error`.
pub(super) fn answer(error: Error, method: &Method, route: Option<&Entry>) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    if error.is::<MethodNotAllowedError>() {
        return wrong_method(method, route);
    }
    problem(&error).into_response()
}

/// `OPTIONS` is answered for every path; other methods a path does not have are refused.
fn wrong_method(method: &Method, route: Option<&Entry>) -> Response {
    let allow = route
        .map(Entry::allow)
        .and_then(|allow| HeaderValue::from_str(&allow).ok());
    let mut response = if method == Method::OPTIONS && allow.is_some() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let detail = format!("This path has no method {method}");
        Problem::of(METHOD_NOT_ALLOWED, detail).into_response()
    };
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn problem(error: &Error) -> Problem {
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return invalid(vec![error.name.into()], code::INVALID_STRING, &error.reason);
    }
    if let Some(error) = error.downcast_ref::<ParsePathError>() {
        return invalid(vec![error.name.into()], code::INVALID_STRING, &error.reason);
    }
    if let Some(error) = error.downcast_ref::<ParseRequestPayloadError>() {
        return invalid(Vec::new(), code::INVALID_JSON, &error.reason);
    }
    if error.is::<NotFoundError>() {
        return Problem::not_found("Not found").detail("There is nothing at this path");
    }
    if let Some(ReadBodyError::PayloadTooLarge) = error.downcast_ref() {
        return Problem::payload_too_large(super::limits::BODY_BYTES);
    }
    match error.status() {
        StatusCode::BAD_REQUEST => invalid(Vec::new(), code::INVALID_REQUEST, &error.to_string()),
        StatusCode::UNAUTHORIZED => Problem::unauthorized(),
        StatusCode::NOT_FOUND => Problem::not_found("Not found"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::unsupported_media_type(),
        status if status.is_client_error() => {
            match KINDS.iter().find(|kind| kind.status == status) {
                Some(kind) => Problem::of(*kind, kind.title),
                None => invalid(Vec::new(), code::INVALID_REQUEST, &error.to_string()),
            }
        }
        _ => Problem::internal(error),
    }
}

fn invalid(path: Vec<Value>, code: &str, message: &str) -> Problem {
    Problem::validation(vec![Detail {
        path,
        code: code.to_owned(),
        message: message.to_owned(),
    }])
}
