//! `traceparent` of W3C Trace Context, version 00: `00-<trace>-<span>-<flags>`, all in hex.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};

/// The context that a header tells of; an empty one when it tells none that is valid.
pub(super) fn context(header: Option<&str>) -> Context {
    let parent = header.and_then(parse);
    parent.map_or_else(Context::new, |parent| {
        Context::new().with_remote_span_context(parent)
    })
}

/// The header of a span; none for a span that is none.
pub(super) fn header(span: &SpanContext) -> Option<String> {
    span.is_valid().then(|| {
        let flags = span.trace_flags() & TraceFlags::SAMPLED;
        format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())
    })
}

/// A later version may have more behind the flags.
fn parse(header: &str) -> Option<SpanContext> {
    let mut parts = header.trim().split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let span = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let parent = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    parent.is_valid().then_some(parent)
}

fn hex(text: &str, length: usize) -> Option<&str> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == length && text.bytes().all(is_hex)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_valid_comes_back_as_it_was() {
        let parent = parse(VALID).unwrap();
        assert!(parent.is_remote() && parent.is_sampled());
        assert_eq!(header(&parent).as_deref(), Some(VALID));
        let unsampled = VALID.replace("-01", "-00");
        assert!(!parse(&unsampled).unwrap().is_sampled());
        let later = format!("{}-what-comes", VALID.replacen("00", "01", 1));
        assert_eq!(header(&parse(&later).unwrap()).as_deref(), Some(VALID));
    }

    #[test]
    fn what_is_not_valid_is_nobodys_child() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473ü-00f067aa0ba902b7-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert_eq!(header(&SpanContext::empty_context()), None);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_breaks_it(text in ".{0,80}") {
            if let Some(parent) = parse(&text) {
                prop_assert!(parent.is_valid());
            }
        }
    }
}
