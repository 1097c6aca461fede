//! An amount of money as a field of an answer: a JSON number in major units.
//!
//! poem-openapi answers through `serde_json::Value`, whose fractional numbers are floats. They
//! print exactly what [`Money::to_json_number`] writes as long as it has at most 15 significant
//! digits (ten trillion dollars, to the cent); beyond that the last digits are rounded. Bodies
//! that must be exact at any size use the text itself.

use std::borrow::Cow;
use std::str::FromStr;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::money::Money;

/// A number in major units, without its currency; made from [`Money`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(Number);

impl From<&Money> for Amount {
    fn from(money: &Money) -> Self {
        let text = money.to_json_number();
        Self(Number::from_str(&text).expect("money is written as a JSON number"))
    }
}

impl Type for Amount {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "number_amount".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("In major units of the currency."),
            example: Some(Value::from(19.99)),
            ..MetaSchema::new("number")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Amount {
    fn to_json(&self) -> Option<Value> {
        Some(Value::Number(self.0.clone()))
    }
}

impl ParseFromJSON for Amount {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value.unwrap_or_default() {
            Value::Number(number) => Ok(Self(number)),
            other => Err(ParseError::expected_type(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::marketplace::money::Currency;

    fn printed(minor: i64, currency: &str) -> (String, String) {
        let money = Money::new(minor, Currency::parse(currency).unwrap());
        (
            Amount::from(&money).to_json_string(),
            money.to_json_number(),
        )
    }

    #[test]
    fn a_whole_amount_has_no_decimals() {
        assert_eq!(printed(50_700, "USD").0, "507");
        assert_eq!(printed(507, "JPY").0, "507");
        assert_eq!(printed(1999, "USD").0, "19.99");
    }

    #[test]
    fn only_a_number_is_an_amount() {
        assert!(Amount::parse_from_json(Some(Value::from(1.5))).is_ok());
        assert!(Amount::parse_from_json(Some(Value::from("1.5"))).is_err());
        assert!(Amount::parse_from_json(None).is_err());
    }

    proptest! {
        #[test]
        fn fifteen_digits_are_exact(
            minor in -999_999_999_999_999_i64..=999_999_999_999_999,
            currency in prop::sample::select(vec!["USD", "JPY", "KWD", "UYW"]),
        ) {
            let (amount, text) = printed(minor, currency);
            prop_assert_eq!(amount, text);
        }
    }
}
