//! Money: whole minor units and a currency, never a float.
//!
//! Amounts travel as JSON numbers. They are read from the text of the number and written as
//! text, digit by digit, so `19.99` is 1999 cents and nothing else. [`super::amount`] is the
//! same amount as a field of an answer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The currency of an amount: up to ten characters of the marketplace's choice, most often an
/// ISO 4217 code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
pub struct Currency(String);

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// What is wrong with an amount or a currency that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a JSON number.
    #[error("read an amount that is not a JSON number")]
    NotANumber,
    /// Part of a cent.
    #[error("read an amount with more decimals than its currency has")]
    TooPrecise,
    /// Beyond 64 bits of minor units.
    #[error("read an amount beyond 64 bits of minor units")]
    OutOfRange,
    /// Empty, too long, or with a U+0000.
    #[error("read a currency that is not 1 to 10 characters long")]
    InvalidCurrency,
}

impl Currency {
    /// Checks the length; case is kept.
    pub fn parse(text: impl Into<String>) -> Result<Self, MoneyError> {
        let text = text.into();
        // U+0000 is text for SQLite and an error for PostgreSQL.
        if (1..=10).contains(&text.chars().count()) && !text.contains('\0') {
            Ok(Self(text))
        } else {
            Err(MoneyError::InvalidCurrency)
        }
    }

    /// The code as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many decimals its minor unit has (ISO 4217); a currency that is not listed has 2.
    pub fn exponent(&self) -> u32 {
        match self.0.to_ascii_uppercase().as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF"
            | "UGX" | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl Money {
    /// So many minor units (cents, yen, fils) of a currency.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// The amount in minor units, as it is stored.
    pub const fn minor(&self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(&self) -> &Currency {
        &self.currency
    }

    /// Reads the text of a JSON number in major units, exactly.
    pub fn from_json_number(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (negative, digits, scale) = decimal(text).ok_or(MoneyError::NotANumber)?;
        if digits.is_empty() {
            return Ok(Self::new(0, currency));
        }
        let shift = scale.saturating_add(i64::from(currency.exponent()));
        let Ok(zeros) = u32::try_from(shift) else {
            return Err(if shift < 0 {
                MoneyError::TooPrecise
            } else {
                MoneyError::OutOfRange
            });
        };
        let minor = 10_i128
            .checked_pow(zeros)
            .zip(digits.parse::<i128>().ok())
            .and_then(|(factor, digits)| digits.checked_mul(factor))
            .map(|minor| if negative { -minor } else { minor })
            .and_then(|minor| i64::try_from(minor).ok())
            .ok_or(MoneyError::OutOfRange)?;
        Ok(Self::new(minor, currency))
    }

    /// The amount in major units as the text of a JSON number: `507`, `19.99`, `-0.5`.
    pub fn to_json_number(&self) -> String {
        let exponent = self.currency.exponent() as usize;
        let digits = format!(
            "{:0>width$}",
            self.minor.unsigned_abs(),
            width = exponent + 1
        );
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.minor < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.to_json_number(), self.currency)
    }
}

/// Splits a JSON number into sign, significant digits (none for zero) and the power of ten that
/// they are to be multiplied with. `None` for anything that is not a JSON number.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, power_of_ten(power)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || leading_zero || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let scale = power
        .saturating_sub(i64::try_from(fraction.len()).ok()?)
        .saturating_add(i64::try_from(dropped).ok()?);
    Some((negative, significant.trim_start_matches('0').into(), scale))
}

/// The digits after `e`. What does not fit 64 bits is as good as infinite.
fn power_of_ten(text: &str) -> Option<i64> {
    let (limit, digits) = match text.strip_prefix('-') {
        Some(digits) => (i64::MIN, digits),
        None => (i64::MAX, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !is_digits(digits) {
        return None;
    }
    Some(text.parse().unwrap_or(limit))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, currency: &str) -> Result<i64, MoneyError> {
        let currency = Currency::parse(currency).unwrap();
        Money::from_json_number(text, currency).map(|money| money.minor())
    }

    fn written(minor: i64, currency: &str) -> String {
        Money::new(minor, Currency::parse(currency).unwrap()).to_json_number()
    }

    #[test]
    fn an_amount_is_read_exactly() {
        for (text, currency, minor) in [
            ("19.99", "USD", 1999),
            ("0.29", "EUR", 29),
            ("507", "USD", 50_700),
            ("507.0", "JPY", 507),
            ("1e2", "JPY", 100),
            ("1E+2", "USD", 10_000),
            ("1999e-2", "USD", 1999),
            ("1.500", "USD", 150),
            ("1.500", "KWD", 1500),
            ("0.0001", "CLF", 1),
            ("-0.5", "USD", -50),
            ("0", "USD", 0),
            ("-0.000", "JPY", 0),
            ("0e99999999999999999999", "USD", 0),
            ("92233720368547758.07", "USD", i64::MAX),
            ("-92233720368547758.08", "USD", i64::MIN),
            ("7", "XYZ", 700),
            ("507", "jpy", 507),
        ] {
            assert_eq!(read(text, currency), Ok(minor), "{text} {currency}");
        }
    }

    #[test]
    fn a_part_of_a_minor_unit_is_refused() {
        for (text, currency) in [
            ("19.999", "USD"),
            ("0.5", "JPY"),
            ("1e-3", "USD"),
            ("1.2345", "KWD"),
            ("1e-99999999999999999999", "USD"),
        ] {
            assert_eq!(read(text, currency), Err(MoneyError::TooPrecise), "{text}");
        }
    }

    #[test]
    fn an_amount_beyond_64_bits_is_refused() {
        let long = "9".repeat(5000);
        for text in [
            "92233720368547758.08",
            "-92233720368547758.09",
            "1e17",
            "1e400",
            "1e99999999999999999999",
            &long,
        ] {
            assert_eq!(read(text, "USD"), Err(MoneyError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_number_is_refused() {
        for text in [
            "", "-", "+1", ".5", "1.", "01", "1e", "1e+", "1e1.5", "NaN", "Infinity", "\"1\"",
            "null", "1 ", "0x1", "١", "1,5", "--1", "1e--1", "1e+-1",
        ] {
            assert_eq!(read(text, "USD"), Err(MoneyError::NotANumber), "{text}");
        }
    }

    #[test]
    fn an_amount_is_written_without_needless_digits() {
        assert_eq!(written(50_700, "USD"), "507");
        assert_eq!(written(1999, "USD"), "19.99");
        assert_eq!(written(1990, "USD"), "19.9");
        assert_eq!(written(5, "USD"), "0.05");
        assert_eq!(written(-5, "KWD"), "-0.005");
        assert_eq!(written(0, "USD"), "0");
        assert_eq!(written(507, "JPY"), "507");
        assert_eq!(written(i64::MIN, "USD"), "-92233720368547758.08");
    }

    #[test]
    fn a_currency_has_1_to_10_characters() {
        for good in ["USD", "x", "ÄÄÄÄÄÄÄÄÄÄ"] {
            assert_eq!(Currency::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "12345678901", "US\0"] {
            assert_eq!(Currency::parse(bad), Err(MoneyError::InvalidCurrency));
            assert!(serde_json::from_value::<Currency>(bad.into()).is_err());
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_the_wire(
            minor in any::<i64>(),
            currency in prop::sample::select(vec!["USD", "JPY", "KWD", "UYW", "???"]),
        ) {
            let text = written(minor, currency);
            prop_assert_eq!(read(&text, currency), Ok(minor));
            prop_assert!(serde_json::from_str::<serde_json::Number>(&text).is_ok());
        }

        #[test]
        fn zeros_and_exponents_change_nothing(minor in -9_999_999_i64..9_999_999, zeros in 0_usize..30) {
            let padding = "0".repeat(zeros);
            let shifted = format!("{minor}{padding}e-{}", zeros + 2);
            let sign = if minor < 0 { "-" } else { "" };
            let plain = minor.unsigned_abs();
            let padded = format!("{sign}{}.{:02}{padding}", plain / 100, plain % 100);
            prop_assert_eq!(read(&shifted, "USD"), Ok(minor));
            prop_assert_eq!(read(&padded, "USD"), Ok(minor));
        }

        #[test]
        fn no_text_panics_and_only_json_numbers_are_read(text in "[-+0-9.eE]{0,12}|.*") {
            let is_number = serde_json::from_str::<serde_json::Value>(&text)
                .is_ok_and(|value| value.is_number() && text.trim() == text);
            if read(&text, "USD").is_ok() {
                prop_assert!(is_number, "{text}");
            }
        }
    }
}
