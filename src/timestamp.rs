//! How an instant looks on the wire: ISO 8601 in UTC, exactly three fractional digits, `Z`.
//!
//! [`Timestamp`] is the type of a field in a request or an answer; [`format()`] and [`truncate`]
//! are for everyone else. (poem-openapi and serde would print chrono's `DateTime` with `+00:00`
//! and as many digits as it happens to have.)

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
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

/// The text is no instant, or one that the wire has no form for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Expected an instant in RFC 3339, in UTC of the years 0000 to 9999")]
pub struct NoInstant;

/// Reads any RFC 3339 instant and cuts it to milliseconds. By its offset it may be of a year
/// that has no four digits in UTC: that one is refused, for it could not be written again.
pub fn parse(text: &str) -> Result<DateTime<Utc>, NoInstant> {
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| NoInstant)?;
    let at = truncate(at.to_utc());
    let is_written = (0..=9999).contains(&at.year());
    is_written.then_some(at).ok_or(NoInstant)
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
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T12:00:00",
            "yesterday",
            "0",
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+00:01",
        ] {
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

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    /// Days since 1970, by the rules of the calendar.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let leap_day = i64::from(is_leap && month > 2);
        let month = usize::try_from(month - 1).unwrap();
        365 * (year - 1970) + leaps(year - 1) - leaps(1969) + before[month] + leap_day + day - 1
    }

    #[test]
    fn an_instant_is_the_one_that_the_calendar_says() {
        fuzz!(|source| {
            let mut below = |end| i64::try_from(source.below(end)).unwrap();
            let year = match below(4) {
                0 => 0,
                1 => 9999,
                _ => below(10_000),
            };
            let (month, day) = (below(12) + 1, below(28) + 1);
            let (month, day) = if below(4) == 0 {
                (12, 31)
            } else {
                (month, day)
            };
            let (hour, minute, second, millis) = (below(24), below(60), below(60), below(1000));
            let offset = below(24) * 60 + below(60);
            let (sign, offset) = if below(2) == 0 {
                ('+', offset)
            } else {
                ('-', -offset)
            };
            let zone = format!("{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60);
            let text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}{zone}"
            );
            let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset;
            let expected = (minutes * 60 + second) * 1000 + millis;
            // The first and the last millisecond of the years with four digits.
            let is_written = (-62_167_219_200_000..=253_402_300_799_999).contains(&expected);
            let read = parse(&text).map(|at| at.timestamp_millis());
            assert_eq!(read.ok(), is_written.then_some(expected), "{text}");
        });
    }

    #[test]
    fn what_is_read_is_written_so_that_it_is_read_again() {
        fuzz!(|source| {
            let words = [
                "2024-02-29",
                "9999-12-31",
                "T",
                "t",
                "23:59:60",
                ".9999",
                "Z",
                "+23:59",
            ];
            let text = source.text(&words);
            if let Ok(at) = parse(&text) {
                let written = format(at);
                assert_eq!(written.len(), "2024-01-01T12:00:00.000Z".len(), "{text:?}");
                assert_eq!(parse(&written), Ok(at), "{text:?}");
            }
        });
    }
}
