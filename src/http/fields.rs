//! Reads the fields of a request one by one and collects everything that is wrong, so that a
//! caller learns of all faults at once.
//!
//! Strings are taken verbatim; U+0000 is refused everywhere (the database cannot store it); lengths
//! are counted in characters. Unknown fields are ignored. Messages never repeat a value: it may
//! be a secret.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

use poem_openapi::types::MaybeUndefined;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::problem::{Detail, Problem};

/// The codes of a [`Detail`]; wire format.
pub mod code {
    /// The field is absent.
    pub const REQUIRED: &str = "required";
    /// The field has another JSON type.
    pub const INVALID_TYPE: &str = "invalid_type";
    /// Too few characters or items.
    pub const TOO_SHORT: &str = "too_short";
    /// Too many characters or items.
    pub const TOO_LONG: &str = "too_long";
    /// A number outside its range.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    /// Not one of the listed words.
    pub const INVALID_ENUM_VALUE: &str = "invalid_enum_value";
    /// Not a hyphenated UUID.
    pub const INVALID_UUID: &str = "invalid_uuid";
    /// A string that cannot be taken, for example one with U+0000.
    pub const INVALID_STRING: &str = "invalid_string";
    /// The body is not JSON.
    pub const INVALID_JSON: &str = "invalid_json";
    /// There is no body.
    pub const MISSING_BODY: &str = "missing_body";
    /// The request is wrong in a way that no field shows.
    pub const INVALID_REQUEST: &str = "invalid_request";

    /// All of them.
    pub const ALL: &[&str] = &[
        REQUIRED,
        INVALID_TYPE,
        TOO_SHORT,
        TOO_LONG,
        OUT_OF_RANGE,
        INVALID_ENUM_VALUE,
        INVALID_UUID,
        INVALID_STRING,
        INVALID_JSON,
        MISSING_BODY,
        INVALID_REQUEST,
    ];
}

/// More than this says nothing new, and a list of a thousand bad items would.
const MAX_DETAILS: usize = 100;

/// What can be read from the fields of a request.
///
/// Read every field first and use `?` only to build the value, so that all faults are found:
///
/// ```
/// use marketplace_sync::http::fields::{Fields, FromFields, check};
///
/// struct Import { receipt: String, sync_token: uuid::Uuid }
///
/// impl FromFields for Import {
///     fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
///         let receipt = fields.text("receipt", 1..=255);
///         let sync_token = fields.uuid("syncToken");
///         Some(Self { receipt: receipt?, sync_token: sync_token? })
///     }
/// }
///
/// assert!(check(&[("receipt", Some("r-1")), ("syncToken", None)], Import::from_fields).is_err());
/// ```
pub trait FromFields: Sized {
    /// Reads the value; `None` when a fault was noted in `fields`.
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self>;
}

/// The fields of one JSON object, or of a query or header, and the faults found so far.
pub struct Fields<'a> {
    object: Cow<'a, Map<String, Value>>,
    /// A query has no numbers: they are read from text.
    from_text: bool,
    details: Vec<Detail>,
}

impl<'a> Fields<'a> {
    /// The fields of a JSON object.
    pub fn of_object(object: &'a Map<String, Value>) -> Self {
        Self {
            object: Cow::Borrowed(object),
            from_text: false,
            details: Vec::new(),
        }
    }

    /// Reads with `read`; all faults together are one problem.
    pub fn check<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Problem> {
        match read(&mut self) {
            Some(value) if self.details.is_empty() => Ok(value),
            _ => Err(Problem::validation(self.details)),
        }
    }

    /// Notes a fault of a field that only the domain can see; gives `None`, to be returned.
    pub fn reject<T>(&mut self, name: &str, code: &str, message: impl Into<String>) -> Option<T> {
        self.note(vec![name.into()], code, message)
    }

    /// A string with a number of characters in `length`.
    pub fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<String> {
        let value = self.required(name)?;
        self.checked_text(vec![name.into()], value, &length)
    }

    /// A string that `parse` understands; its error is the message, so it must not repeat the
    /// value.
    pub fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        length: RangeInclusive<usize>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name, length)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => self.reject(name, code::INVALID_STRING, error.to_string()),
        }
    }

    /// A UUID in its hyphenated form of 36 characters, of any version, nil included.
    pub fn uuid(&mut self, name: &str) -> Option<Uuid> {
        let text = self.text(name, 0..=usize::MAX)?;
        self.checked_uuid(vec![name.into()], &text)
    }

    /// One of the words of `options`.
    pub fn one_of<'o>(&mut self, name: &str, options: &[&'o str]) -> Option<&'o str> {
        let text = self.text(name, 0..=usize::MAX)?;
        let known = options.iter().find(|option| **option == text).copied();
        known.or_else(|| {
            let message = format!("Expected one of {}", options.join(", "));
            self.reject(name, code::INVALID_ENUM_VALUE, message)
        })
    }

    /// A whole number in `range`.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.required(name)?;
        let number = match &value {
            Value::String(text) if self.from_text => text.parse().ok(),
            other => other.as_i64(),
        };
        match number {
            None => self.reject(name, code::INVALID_TYPE, "Expected a whole number"),
            Some(number) if range.contains(&number) => Some(number),
            Some(_) => {
                let message = format!("Expected {} to {}", range.start(), range.end());
                self.reject(name, code::OUT_OF_RANGE, message)
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.required(name)?;
        let flag = match &value {
            Value::String(text) if self.from_text => text.parse().ok(),
            other => other.as_bool(),
        };
        flag.or_else(|| self.reject(name, code::INVALID_TYPE, "Expected true or false"))
    }

    /// A list of strings: so many items, each of so many characters.
    pub fn text_list(
        &mut self,
        name: &str,
        items: RangeInclusive<usize>,
        length: RangeInclusive<usize>,
    ) -> Option<Vec<String>> {
        let list = self.list(name, &items)?;
        // No short cut: every bad item is to be named.
        let texts: Vec<Option<String>> = list
            .into_iter()
            .enumerate()
            .map(|(index, item)| self.checked_text(vec![name.into(), index.into()], item, &length))
            .collect();
        texts.into_iter().collect()
    }

    /// A list of UUIDs.
    pub fn uuid_list(&mut self, name: &str, items: RangeInclusive<usize>) -> Option<Vec<Uuid>> {
        let list = self.list(name, &items)?;
        let ids: Vec<Option<Uuid>> = list
            .into_iter()
            .enumerate()
            .map(|(index, item)| {
                let path = vec![name.into(), index.into()];
                let text = self.checked_text(path.clone(), item, &(0..=usize::MAX))?;
                self.checked_uuid(path, &text)
            })
            .collect();
        ids.into_iter().collect()
    }

    /// A list of objects, each read by `read`; what is wrong with one names its place.
    pub fn objects<T>(
        &mut self,
        name: &str,
        items: RangeInclusive<usize>,
        read: impl Fn(&mut Fields<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let list = self.list(name, &items)?;
        let objects: Vec<Option<T>> = list
            .into_iter()
            .enumerate()
            .map(|(index, item)| self.object(vec![name.into(), index.into()], item, &read))
            .collect();
        objects.into_iter().collect()
    }

    fn object<T>(
        &mut self,
        path: Vec<Value>,
        item: Value,
        read: impl Fn(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        let Value::Object(object) = item else {
            let message = format!("Expected object, received {}", type_name(&item));
            return self.note(path, code::INVALID_TYPE, message);
        };
        let mut fields = Fields {
            object: Cow::Owned(object),
            from_text: self.from_text,
            details: Vec::new(),
        };
        let value = read(&mut fields);
        let is_faultless = fields.details.is_empty();
        for detail in fields.details {
            let place = path.iter().cloned().chain(detail.path).collect();
            self.note::<T>(place, &detail.code, detail.message);
        }
        value.filter(|_| is_faultless)
    }

    /// A field that may be absent or null: `Some(None)` then, and `None` when it is there and
    /// wrong. `fields.optional("limit", |fields, name| fields.integer(name, 1..=100))`.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.object.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(_) => read(self, name).map(Some),
        }
    }

    /// A field of a change: absent, it leaves what is there; null removes it.
    pub fn change<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<MaybeUndefined<T>> {
        match self.object.get(name) {
            None => Some(MaybeUndefined::Undefined),
            Some(Value::Null) => Some(MaybeUndefined::Null),
            Some(_) => read(self, name).map(MaybeUndefined::Value),
        }
    }

    fn required(&mut self, name: &str) -> Option<Value> {
        match self.object.get(name) {
            Some(value) => Some(value.clone()),
            None => self.reject(name, code::REQUIRED, "Required"),
        }
    }

    fn list(&mut self, name: &str, items: &RangeInclusive<usize>) -> Option<Vec<Value>> {
        let value = self.required(name)?;
        let Value::Array(list) = value else {
            let message = format!("Expected array, received {}", type_name(&value));
            return self.reject(name, code::INVALID_TYPE, message);
        };
        self.check_size(vec![name.into()], list.len(), items, "item")?;
        Some(list)
    }

    fn checked_uuid(&mut self, path: Vec<Value>, text: &str) -> Option<Uuid> {
        // The other forms that the parser takes (simple, braced, URN) have other lengths.
        match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 => Some(uuid),
            _ => self.note(
                path,
                code::INVALID_UUID,
                "Expected a UUID in its hyphenated form",
            ),
        }
    }

    fn checked_text(
        &mut self,
        path: Vec<Value>,
        value: Value,
        length: &RangeInclusive<usize>,
    ) -> Option<String> {
        let Value::String(text) = value else {
            let message = format!("Expected string, received {}", type_name(&value));
            return self.note(path, code::INVALID_TYPE, message);
        };
        if text.contains('\0') {
            return self.note(
                path,
                code::INVALID_STRING,
                "The character U+0000 is not allowed",
            );
        }
        self.check_size(path, text.chars().count(), length, "character")?;
        Some(text)
    }

    fn check_size(
        &mut self,
        path: Vec<Value>,
        size: usize,
        allowed: &RangeInclusive<usize>,
        unit: &str,
    ) -> Option<()> {
        if size < *allowed.start() {
            let message = format!("Expected at least {} {unit}(s)", allowed.start());
            self.note(path, code::TOO_SHORT, message)
        } else if size > *allowed.end() {
            let message = format!("Expected at most {} {unit}(s)", allowed.end());
            self.note(path, code::TOO_LONG, message)
        } else {
            Some(())
        }
    }

    fn note<T>(&mut self, path: Vec<Value>, code: &str, message: impl Into<String>) -> Option<T> {
        if self.details.len() < MAX_DETAILS {
            self.details.push(Detail {
                path,
                code: code.to_owned(),
                message: message.into(),
            });
        }
        None
    }
}

/// Checks values of a query or of headers by the same rules as a body. An absent value is
/// `required`, and a number is read from its text.
pub fn check<T>(
    values: &[(&str, Option<&str>)],
    read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Result<T, Problem> {
    let object = values
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), Value::from((*value)?))))
        .collect();
    Fields {
        object: Cow::Owned(object),
        from_text: true,
        details: Vec::new(),
    }
    .check(read)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
