//! Reading what a marketplace sends, without trusting it.
//!
//! An answer is read one level at a time, and each row by itself: a member of the wrong type is a
//! member that is missing, and one bad row costs that row. Nothing here fails loudly; who reads
//! decides what may be missing.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::{Rejection, RejectionClass};

/// Letters of a message that are kept.
const MESSAGE_LETTERS: usize = 1000;
/// Letters of a code, or of an id, that are kept.
const NAME_LETTERS: usize = 255;

/// A JSON object whose members have not been looked at yet.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(HashMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    /// The object that a reply is; none if it is no JSON, or something else.
    pub(super) fn read(reply: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(reply).ok().map(Self)
    }

    /// The object that a value is.
    pub(super) fn of(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok().map(Self)
    }

    /// A member, whatever it is, unless it is null.
    pub(super) fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .get(name)
            .copied()
            .filter(|value| value.get() != "null")
    }

    /// A member that is a text, or a number, as a text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(self.value(name)?)
    }

    /// A member that is a whole number.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        integer(self.value(name)?)
    }

    /// Whether a member is there and true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.get() == "true")
    }

    /// A member that is a list.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        list(self.value(name)?)
    }

    /// The members of a list that are objects.
    pub(super) fn objects(&self, name: &str) -> Vec<Object<'a>> {
        let values = self.list(name).unwrap_or_default();
        values.into_iter().filter_map(Object::of).collect()
    }

    /// A member that is an object.
    pub(super) fn object(&self, name: &str) -> Option<Object<'a>> {
        Object::of(self.value(name)?)
    }

    /// The texts of a member: itself, or those in a list, or what objects in it call a code or a
    /// message.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let values = list(value).unwrap_or_else(|| vec![value]);
        values.into_iter().filter_map(words).collect()
    }
}

/// The rows of a list.
pub(super) fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

fn text(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'-' | b'0'..=b'9' => Some(text.to_owned()),
        _ => None,
    }
}

fn integer(value: &RawValue) -> Option<i64> {
    let text = text(value)?;
    let whole = text.trim();
    // Some write `5.0`.
    let whole = match whole.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole,
        _ => whole,
    };
    whole.parse().ok()
}

/// What a row says, if it says anything: a text, or an object with a code or a message.
fn words(value: &RawValue) -> Option<String> {
    let said = text(value).or_else(|| {
        let object = Object::of(value)?;
        let names = [
            "code",
            "errorCode",
            "key",
            "message",
            "reason",
            "description",
        ];
        names.into_iter().find_map(|name| object.text(name))
    });
    said.filter(|said| !said.trim().is_empty())
}

/// What an error says to people: the usual members of the usual forms, else its beginning.
pub(super) fn reason(reply: &str) -> String {
    let said = Object::read(reply.as_bytes()).map(|object| {
        let mut said = object.texts("errors");
        for error in object.objects("errors") {
            said.extend(error.text("message"));
        }
        for name in [
            "exception",
            "error",
            "error_description",
            "message",
            "Message",
            "title",
            "detail",
        ] {
            said.extend(object.text(name));
        }
        said.dedup();
        said.join(": ")
    });
    let said = said.filter(|said| !said.is_empty());
    shortened(&said.unwrap_or_else(|| reply.to_owned()), 300)
}

/// A text that every database takes, in one line of at most so many letters.
pub(super) fn shortened(text: &str, letters: usize) -> String {
    let line = text
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut kept: String = line.clone().take(letters).collect();
    if line.count() > letters {
        kept.push('…');
    }
    kept
}

/// A text without what PostgreSQL does not take.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// An id that a marketplace gave: a text that can be stored whole and asked for again.
pub(super) fn id(text: Option<String>) -> Option<String> {
    text.filter(|id| {
        let is_short = (1..=NAME_LETTERS).contains(&id.chars().count());
        is_short && !id.chars().any(char::is_control)
    })
}

/// A rejection in the marketplace's words.
pub(super) fn rejection(code: &str, message: &str, class: RejectionClass) -> Rejection {
    let code = shortened(code, NAME_LETTERS - 1);
    let message = shortened(message, MESSAGE_LETTERS);
    Rejection {
        code: if code.is_empty() {
            "REJECTED".into()
        } else {
            code
        },
        message,
        class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Object<'_> {
        Object::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_member_of_another_type_is_missing() {
        let object = read(
            r#"{"text":"a","number":5,"half":5.5,"whole":5.0,"digits":"7","no":null,
            "list":[1,"x",null,{"code":"C"},{"message":"M"},[]],"object":{"a":true},"yes":true}"#,
        );
        assert_eq!(object.text("text").as_deref(), Some("a"));
        assert_eq!(object.text("number").as_deref(), Some("5"));
        assert_eq!(object.text("list"), None);
        assert_eq!(object.text("no"), None);
        assert_eq!(object.integer("number"), Some(5));
        assert_eq!(object.integer("whole"), Some(5));
        assert_eq!(object.integer("digits"), Some(7));
        assert_eq!(object.integer("half"), None);
        assert_eq!(object.integer("text"), None);
        assert_eq!(object.list("text").map(|list| list.len()), None);
        assert_eq!(object.list("list").map(|list| list.len()), Some(6));
        assert_eq!(object.texts("list"), ["1", "x", "C", "M"]);
        assert_eq!(object.texts("text"), ["a"]);
        assert_eq!(object.objects("list").len(), 2);
        assert!(object.object("object").unwrap().is_true("a"));
        assert!(object.is_true("yes") && !object.is_true("text") && !object.is_true("gone"));
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["", "null", "[]", "5", "{", "{\"a\":}", "\u{feff}{}"] {
            assert!(Object::read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Object::read(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn an_id_is_short_and_printable() {
        assert_eq!(id(Some("a-1".into())).as_deref(), Some("a-1"));
        assert_eq!(
            id(Some("ü".repeat(255))).map(|id| id.chars().count()),
            Some(255)
        );
        for bad in ["", "a\0b", "a\nb", &"x".repeat(256)] {
            assert_eq!(id(Some(bad.to_owned())), None, "{bad}");
        }
    }

    #[test]
    fn what_is_stored_of_a_rejection_fits_its_columns() {
        let long = rejection(
            &"c".repeat(999),
            &"m\0".repeat(9999),
            RejectionClass::Retryable,
        );
        assert!(long.code.chars().count() <= 255);
        assert!(long.message.chars().count() <= 1001 && !long.message.contains('\0'));
        assert_eq!(
            rejection(" ", "", RejectionClass::Retryable).code,
            "REJECTED"
        );
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
    }
}

#[cfg(test)]
mod fuzz {
    use serde_json::Value;

    use super::*;
    use crate::fuzz::fuzz;

    const WORDS: [&str; 8] = ["a", "{\"a\":", "}", "[", "]", ",", "\"x\"", "12"];

    /// Another reader says the same.
    #[test]
    fn a_member_is_what_it_is() {
        fuzz!(|source| {
            let value = source.json(&WORDS);
            let text = serde_json::json!({ "a": value }).to_string();
            let text = source.nearly(&text);
            let read = Object::read(text.as_bytes());
            // Numbers beyond all floats are a number here, and nothing there.
            let Ok(expected) = serde_json::from_str::<Value>(&text) else {
                return;
            };
            let Value::Object(expected) = expected else {
                assert!(read.is_none(), "{text}");
                return;
            };
            let read = read.unwrap();
            let expected = expected.get("a").cloned().unwrap_or_default();
            assert_eq!(read.value("a").is_some(), !expected.is_null(), "{text}");
            let is_texty = expected.is_string() || expected.is_number();
            assert_eq!(read.text("a").is_some(), is_texty, "{text}");
            assert_eq!(
                read.list("a").map(|list| list.len()),
                expected.as_array().map(Vec::len),
                "{text}"
            );
            assert_eq!(read.object("a").is_some(), expected.is_object(), "{text}");
            if let Some(number) = expected.as_i64() {
                assert_eq!(read.integer("a"), Some(number), "{text}");
            }
            assert!(!reason(&text).contains(char::is_control), "{text}");
        });
    }
}
