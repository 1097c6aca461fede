//! How an instant looks on the wire: ISO 8601 in UTC, exactly three fractional digits, `Z`.
//!
//! [`Timestamp`] is the type of a field in a request or an answer; [`format()`] and [`truncate`]
//! are for everyone else. (poem-openapi and serde would print chrono's `DateTime` with `+00:00`
//! and as many digits as it happens to have.)

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{
    ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// The instant without what is smaller than a millisecond.
pub fn truncate(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}

/// `2024-01-01T12:00:00.000Z`
pub fn format(at: DateTime<Utc>) -> String {
    truncate(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads any RFC 3339 instant and cuts it to milliseconds.
pub fn parse(text: &str) -> chrono::ParseResult<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).map(|at| truncate(at.to_utc()))
}

/// An instant in a request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The instant itself, in whole milliseconds.
    pub fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(truncate(at))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&format(self.0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        parse(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Type for Timestamp {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            example: Some("2024-01-01T12:00:00.000Z".into()),
            ..MetaSchema::new_with_format("string", "date-time")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Timestamp {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.to_string()))
    }
}

impl ParseFromJSON for Timestamp {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value.unwrap_or_default() {
            Value::String(text) => Self::parse_from_parameter(&text),
            other => Err(ParseError::expected_type(other)),
        }
    }
}

impl ParseFromParameter for Timestamp {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Ok(Self(parse(text)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instant_has_three_digits_and_a_z() {
        for (given, printed) in [
            ("2024-01-01T12:00:00Z", "2024-01-01T12:00:00.000Z"),
            (
                "2024-01-01T12:00:00.9999999+02:00",
                "2024-01-01T10:00:00.999Z",
            ),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
            ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500Z"),
        ] {
            let timestamp = Timestamp(parse(given).unwrap());
            assert_eq!(timestamp.to_string(), printed);
            assert_eq!(serde_json::to_value(timestamp).unwrap(), printed);
            assert_eq!(timestamp.to_json_string(), format!("\"{printed}\""));
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "2024-01-01", "2024-01-01T12:00:00", "yesterday", "0"] {
            assert!(parse(text).is_err(), "{text}");
            assert!(serde_json::from_value::<Timestamp>(text.into()).is_err());
            assert!(Timestamp::parse_from_json(Some(text.into())).is_err());
        }
    }

    proptest! {
        #[test]
        fn an_instant_survives_the_wire(millis in -62_135_596_800_000_i64..253_402_300_799_999) {
            let timestamp = Timestamp::from(DateTime::from_timestamp_millis(millis).unwrap());
            let json = serde_json::to_string(&timestamp).unwrap();
            prop_assert_eq!(json.len(), "\"2024-01-01T12:00:00.000Z\"".len());
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), timestamp);
        }
    }
}
