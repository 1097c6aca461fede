//! The rules by which the mock marketplace judges a receipt: pure, deterministic, for any text.
//!
//! The last two characters decide, so that a test can pick the outcome it wants by the name of
//! the receipt: `test1` is valid, `test2` is not, `test24` is rate-limited.

/// What the mock marketplace says about a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MockVerdict {
    /// Come back later.
    RateLimited,
    /// An order.
    Valid {
        /// In whole major units, 10 to 1009.
        amount: u32,
        /// Opaque; two receipts may share one.
        order_id: String,
    },
    /// No such order.
    Invalid,
}

/// Judges a receipt.
pub fn verdict(receipt: &str) -> MockVerdict {
    let mut from_the_end = receipt.chars().rev().map(ascii_digit);
    let last = from_the_end.next().flatten();
    let before = from_the_end.next().flatten();
    match (before, last) {
        (Some(before), Some(last)) if (before + last) % 6 == 0 => MockVerdict::RateLimited,
        (_, Some(last)) if last % 2 == 1 => MockVerdict::Valid {
            amount: amount(receipt),
            order_id: order_id(receipt),
        },
        _ => MockVerdict::Invalid,
    }
}

/// Other scripts' digits are no digits here.
fn ascii_digit(character: char) -> Option<u32> {
    character.to_digit(10)
}

fn amount(receipt: &str) -> u32 {
    let folded = receipt
        .encode_utf16()
        .fold(0, |sum, unit| (sum + u32::from(unit)) % 1000);
    folded + 10
}

/// The hash `h·31 + u` of the marketplace that is played, quirk included: only the shift wraps
/// to 32 bits, the sum stays wide. Its multiples make an id that looks like a UUID and is none.
fn order_id(receipt: &str) -> String {
    let hash = receipt.encode_utf16().fold(0_i64, |hash, unit| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the shift works on the low 32 bits"
        )]
        let shifted = (hash as i32).wrapping_shl(5);
        i64::from(shifted)
            .wrapping_sub(hash)
            .wrapping_add(i64::from(unit))
    });
    let number = u128::from(hash.unsigned_abs());
    format!(
        "{number:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        number * 2,
        number * 3,
        number * 4,
        number * 5
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The receipts whose amount and order id are given by the contract.
    const VECTORS: [(&str, u32, &str); 6] = [
        ("1", 59, "00000031-0062-0093-00c4-0000000000f5"),
        (
            "test1",
            507,
            "06924ddf-d249bbe-13b6e99d-1a49377c-000020db855b",
        ),
        (
            "test123",
            608,
            "ab365860-1566cb0c0-201a30920-2acd96180-0003580fb9e0",
        ),
        (
            "order-101",
            741,
            "e89662f3-1d12cc5e6-2b9c328d9-3a2598bcc-00048aefeebf",
        ),
        ("ü1", 311, "00001eb5-3d6a-5c1f-7ad4-000000009989"),
        ("😀1", 248, "03469f2e-68d3e5c-9d3dd8a-d1a7cb8-000010611be6"),
    ];

    /// MK-2: of the hundred two-digit endings, these are rate-limited.
    const RATE_LIMITED: &str = "00 06 15 24 33 39 42 48 51 57 60 66 75 84 93 99";

    #[test]
    fn the_vectors_of_mk_7_hold() {
        for (receipt, amount, order_id) in VECTORS {
            let order_id = order_id.to_owned();
            assert_eq!(verdict(receipt), MockVerdict::Valid { amount, order_id });
        }
    }

    #[test]
    fn sixteen_of_a_hundred_endings_are_rate_limited() {
        let limited: Vec<_> = (0..100)
            .map(|ending| format!("{ending:02}"))
            .filter(|ending| verdict(&format!("test{ending}")) == MockVerdict::RateLimited)
            .collect();
        assert_eq!(limited.join(" "), RATE_LIMITED);
    }

    #[test]
    fn the_last_characters_decide() {
        let is_valid = |receipt| matches!(verdict(receipt), MockVerdict::Valid { .. });
        for valid in ["1", "testa1", "test1", "test3", "a-9"] {
            assert!(is_valid(valid), "{valid}");
        }
        // U+0661 is a digit one, but not an ASCII one.
        for invalid in [
            "", "2", "test2", "test12", "testa", "0", "6", "test1 ", "1\u{661}",
        ] {
            assert_eq!(verdict(invalid), MockVerdict::Invalid, "{invalid}");
        }
        for limited in ["test15", "00", "24", "test00"] {
            assert_eq!(verdict(limited), MockVerdict::RateLimited, "{limited}");
        }
    }

    #[test]
    fn a_very_long_receipt_neither_panics_nor_overflows() {
        let receipt = "\u{ffff}".repeat(200_000) + "1";
        assert!(matches!(
            verdict(&receipt),
            MockVerdict::Valid {
                amount: 10..=1009,
                ..
            }
        ));
    }

    proptest! {
        #[test]
        fn any_text_has_one_verdict(receipt in ".{0,40}[0-9]{0,2}") {
            let first = verdict(&receipt);
            prop_assert_eq!(&first, &verdict(&receipt));
            if let MockVerdict::Valid { amount, order_id } = first {
                prop_assert!((10..=1009).contains(&amount));
                prop_assert!((32..=100).contains(&order_id.len()));
                prop_assert!(receipt.ends_with(['1', '3', '5', '7', '9']));
            }
        }
    }
}
