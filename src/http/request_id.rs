//! The name of a request: taken from `X-Request-Id` or made, in every answer, problem and log
//! line.

use poem::Request;

tokio::task_local! {
    static CURRENT: String;
}

/// The header it comes and goes in.
pub const HEADER: &str = "x-request-id";

/// The longest id taken from a caller.
const MAX_LENGTH: usize = 128;

/// The id of the request that this task serves; `None` outside of a request.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `work` as part of the request `id`.
pub(super) async fn scope<F: Future>(id: String, work: F) -> F::Output {
    CURRENT.scope(id, work).await
}

/// The caller's id when it is 1 to 128 visible ASCII characters, else one of our own.
pub(super) fn take_or_make(request: &Request, make: impl FnOnce() -> String) -> String {
    match request.header(HEADER) {
        Some(id) if is_acceptable(id.as_bytes()) => id.to_owned(),
        _ => make(),
    }
}

fn is_acceptable(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::is_acceptable;

    #[test]
    fn only_short_visible_ascii_is_taken_from_a_caller() {
        assert!(is_acceptable(b"a"));
        assert!(is_acceptable(&[b'~'; 128]));
        for bad in [
            &b""[..],
            b"two words",
            b"tab\t",
            "ü".as_bytes(),
            &[b'a'; 129],
        ] {
            assert!(!is_acceptable(bad), "{bad:?}");
        }
    }
}
