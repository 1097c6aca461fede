//! What fuzz targets share: how long each runs, and how bytes become what a parser is given.
//!
//! A target is a test in a module `fuzz` beside the parser that it shakes. It has an oracle that
//! can fail: what was written is read again as it was, or another reader says the same. It turns
//! bytes into decisions ([`Source`]), so that one target serves chance and an engine that is
//! guided by coverage:
//!
//! - `cargo test --lib fuzz` gives each target a second; `FUZZ_SECONDS=600` gives each of them
//!   ten minutes, all side by side.
//! - `cargo bolero test --sanitizer NONE <target>` (of the crate `cargo-bolero`) drives one with
//!   libFuzzer.

use std::time::Duration;

use serde_json::{Value, json};

/// Bytes of an input.
pub(crate) const MAX_BYTES: usize = 192;

/// A fuzz target: runs its body again and again, with another [`Source`] each time.
macro_rules! fuzz {
    (|$source:ident| $body:block) => {
        bolero::check!()
            .with_test_time($crate::fuzz::budget())
            .with_iterations(usize::MAX)
            .with_max_len($crate::fuzz::MAX_BYTES)
            .for_each(|bytes: &[u8]| {
                let $source = &mut $crate::fuzz::Source::of(bytes);
                $body
            })
    };
}
pub(crate) use fuzz;

/// How long one target runs.
pub(crate) fn budget() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(1, |text| text.parse().expect("FUZZ_SECONDS is a number"));
    Duration::from_secs(seconds)
}

/// Letters that parsers get wrong, beside those that everybody has.
const ODD: [char; 16] = [
    '\0', '\n', '\r', '\t', ' ', '"', '\\', '%', '/', ':', '\u{a0}', 'ü', '①', '。', '\u{202e}',
    '🦀',
];

/// Decisions, made of bytes; when there are no more, all are the first choice.
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_be_bytes(self.bytes())) % end
    }

    /// A number of up to so many digits, small ones as often as large ones.
    pub(crate) fn number(&mut self) -> u64 {
        let bits = self.below(65);
        let value = u64::from_be_bytes(self.bytes());
        value
            .checked_shr(64 - u32::try_from(bits).unwrap())
            .unwrap_or(0)
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// One after the other: some of these words, and letters that everybody has, and odd ones.
    pub(crate) fn text(&mut self, words: &[&str]) -> String {
        let mut text = String::new();
        for _ in 0..self.below(12) {
            match self.below(8) {
                0 => text.push(self.pick(&ODD)),
                1 => text.push(char::from(self.byte() & 0x7f)),
                2 => text.extend(char::from_u32(u32::from_be_bytes([
                    0,
                    self.byte() & 0x0f,
                    self.byte(),
                    self.byte(),
                ]))),
                _ => text.push_str(self.pick(words)),
            }
        }
        text
    }

    /// One of these texts as it is, or with a letter more, less or changed.
    pub(crate) fn nearly(&mut self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        let place = self.below(letters.len() + 1);
        let other = if self.flag() {
            self.pick(&ODD)
        } else {
            char::from(self.byte() & 0x7f)
        };
        match self.below(4) {
            0 => {}
            1 => letters.insert(place, other),
            _ if place == letters.len() => {}
            2 => letters[place] = other,
            _ => {
                letters.remove(place);
            }
        }
        letters.into_iter().collect()
    }

    /// Any JSON value, not deep.
    pub(crate) fn json(&mut self, words: &[&str]) -> Value {
        match self.below(9) {
            0 => Value::Null,
            1 => json!(self.flag()),
            2 => json!(self.number()),
            3 => json!(self.number().cast_signed()),
            4 => json!(f64::from_bits(self.number())),
            5 => json!([self.text(words), self.number()]),
            6 => json!({ self.text(words): self.text(words) }),
            _ => json!(self.text(words)),
        }
    }
}
