//! What is sent, and the hash that tells the same quantities of the same items again.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Body;

/// A body of these lines, one an item: its text as it is sent, and the hash of the lines in an
/// order that does not depend on the one they are sent in.
pub(super) fn body(text: String, lines: &[impl Serialize]) -> Body {
    let mut lines: Vec<String> = lines.iter().map(json).collect();
    lines.sort_unstable();
    let canonical = format!("[{}]", lines.join(","));
    let sha256 = sha256(&canonical);
    Body { text, sha256 }
}

/// A hash, in hex.
pub(super) fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The text of something that always has one.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers have a JSON form")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    type Line = (String, i64);

    fn hash(lines: &[Line]) -> String {
        body(String::new(), lines).sha256
    }

    fn lines() -> impl Strategy<Value = Vec<Line>> {
        prop::collection::vec(("[0-9A-Z.\"-]{1,6}", 0..50_i64), 1..40)
    }

    proptest! {
        /// P8
        #[test]
        fn the_hash_does_not_depend_on_the_order(
            (lines, mixed) in lines().prop_flat_map(|lines| {
                (Just(lines.clone()), Just(lines).prop_shuffle())
            })
        ) {
            prop_assert_eq!(hash(&lines), hash(&mixed));
        }

        /// P8
        #[test]
        fn the_hash_depends_on_every_quantity_and_every_name(
            lines in lines(),
            place in any::<Index>(),
            more in 1..1000_i64,
        ) {
            let place = place.index(lines.len());
            let mut other = lines.clone();
            other[place].1 += more;
            prop_assert_ne!(hash(&lines), hash(&other));
            let mut other = lines.clone();
            other[place].0.push('x');
            prop_assert_ne!(hash(&lines), hash(&other));
            prop_assert_ne!(hash(&lines), hash(&lines[1..]));
        }
    }

    #[test]
    fn a_hash_is_wire_format() {
        let lines = [("b".to_owned(), 2), ("a".to_owned(), 1)];
        // printf '[["a",1],["b",2]]' | sha256sum
        let expected = "cda25b5537fd16060f51eb839e5891c35559f199e9b4bd755b916dd61da60d71";
        assert_eq!(hash(&lines), expected);
    }
}
