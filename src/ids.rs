//! Identifiers: UUID version 7, made by the application and never by a database.
//!
//! [`Ids::new_id`] makes the ids of rows. Those made one after another in the same millisecond
//! grow, so "by creation time, then by id" is the order of creation within a process; and a test
//! may seed them, to get the same ids again.
//!
//! [`Ids::sync_token`] makes bearer credentials. All 74 bits that are not the timestamp come
//! from the operating system each time: no counter, no seed, nothing one token tells of the next.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The bits of a version 7 UUID that are neither timestamp, version nor variant.
const FREE_BITS: u32 = 74;

/// Makes identifiers; one a process.
#[derive(Debug)]
pub struct Ids {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    randomness: Randomness,
    millis: u64,
    /// The free bits of the last id made in `millis`.
    free: u128,
}

#[derive(Debug)]
enum Randomness {
    System(Drawn),
    Seeded(u64),
}

/// Random bytes of the operating system, drawn many at a time: asking for them costs more than
/// all the rest of an id.
#[derive(Debug)]
struct Drawn {
    bytes: Box<[[u8; 16]; 64]>,
    left: usize,
}

impl Ids {
    /// Ids whose random bits come from the operating system.
    pub fn system() -> Self {
        Self::with(Randomness::System(Drawn::none()))
    }

    /// For tests: the same seed gives the same row ids. Sync tokens stay random.
    pub fn seeded(seed: u64) -> Self {
        Self::with(Randomness::Seeded(seed))
    }

    fn with(randomness: Randomness) -> Self {
        Self {
            state: Mutex::new(State {
                randomness,
                millis: 0,
                free: 0,
            }),
        }
    }

    /// The id of a new row.
    pub fn new_id(&self, now: DateTime<Utc>) -> Uuid {
        let millis = unix_millis(now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let random = state.randomness.next();
        state.free = if state.millis == millis {
            // A random step of at most 32 bits; the top bit was left free to make room for it.
            state.free + 1 + (random & u128::from(u32::MAX))
        } else {
            random >> 1
        };
        state.millis = millis;
        version_7(millis, state.free)
    }

    /// A store's bearer credential, in the layout of a version 7 UUID.
    pub fn sync_token(&self, now: DateTime<Utc>) -> Uuid {
        let mut bytes = [0; 16];
        fill(&mut bytes);
        version_7(unix_millis(now), free_bits(bytes))
    }
}

impl Randomness {
    /// As many random bits as are free.
    fn next(&mut self) -> u128 {
        free_bits(match self {
            Self::System(drawn) => drawn.next(),
            Self::Seeded(state) => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&split_mix(state).to_be_bytes());
                bytes[8..].copy_from_slice(&split_mix(state).to_be_bytes());
                bytes
            }
        })
    }
}

impl Drawn {
    fn none() -> Self {
        Self {
            bytes: Box::new([[0; 16]; 64]),
            left: 0,
        }
    }

    fn next(&mut self) -> [u8; 16] {
        if self.left == 0 {
            fill(self.bytes.as_flattened_mut());
            self.left = self.bytes.len();
        }
        self.left -= 1;
        self.bytes[self.left]
    }
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bits once it has started");
}

fn free_bits(bytes: [u8; 16]) -> u128 {
    u128::from_be_bytes(bytes) >> (u128::BITS - FREE_BITS)
}

/// `SplitMix64`: repeatable, and spread well enough for delays, and for ids in a test.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Instants before 1970 have no place in the layout and count as 1970.
fn unix_millis(now: DateTime<Utc>) -> u64 {
    u64::try_from(now.timestamp_millis()).unwrap_or(0)
}

/// The first 13 hexadecimal digits of the ids of an instant. Only for a statement that inserts it
/// knows not how many rows: it adds 18 random ones of the database, and the variant between them.
pub(crate) fn id_prefix(now: DateTime<Utc>) -> String {
    format!("{:012x}7", unix_millis(now) & 0xffff_ffff_ffff)
}

/// RFC 9562, section 5.7: 48 bits of milliseconds, version, 12 bits, variant, 62 bits.
fn version_7(millis: u64, free: u128) -> Uuid {
    let millis = u128::from(millis & 0xffff_ffff_ffff);
    let high = (free >> 62) & 0xfff;
    let low = free & ((1 << 62) - 1);
    Uuid::from_u128(millis << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00.123Z".parse().unwrap()
    }

    fn assert_version_7(id: Uuid, at: DateTime<Utc>) {
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        let millis = i64::try_from(seconds * 1000 + u64::from(nanos / 1_000_000)).unwrap();
        assert_eq!(millis, at.timestamp_millis());
    }

    #[test]
    fn ids_and_tokens_are_version_7_of_the_given_instant() {
        for ids in [Ids::system(), Ids::seeded(7)] {
            for _ in 0..1000 {
                assert_version_7(ids.new_id(noon()), noon());
                assert_version_7(ids.sync_token(noon()), noon());
            }
        }
    }

    #[test]
    fn ids_of_one_millisecond_grow_in_the_order_of_their_making() {
        let ids = Ids::system();
        let made: Vec<_> = (0..10_000).map(|_| ids.new_id(noon())).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn threads_never_make_the_same_id() {
        let ids = Ids::system();
        let made: Vec<Uuid> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..2000).map(|_| ids.new_id(noon())).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), 8000);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let make = |seed| {
            let ids = Ids::seeded(seed);
            [ids.new_id(noon()), ids.new_id(noon())]
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn no_seed_reaches_a_sync_token() {
        let token = || Ids::seeded(1).sync_token(noon());
        assert_ne!(token(), token());
    }

    #[test]
    fn every_free_bit_of_a_sync_token_varies_and_none_counts() {
        let ids = Ids::system();
        let tokens: Vec<u128> = (0..512).map(|_| ids.sync_token(noon()).as_u128()).collect();
        let ones = tokens.iter().fold(0, |all, token| all | token);
        let always = tokens.iter().fold(u128::MAX, |all, token| all & token);
        assert_eq!((ones & !always).count_ones(), FREE_BITS);
        assert!(
            !tokens.is_sorted(),
            "tokens of one millisecond must not be ordered"
        );
    }

    #[test]
    fn an_instant_before_1970_is_no_trap() {
        let id = Ids::system().new_id("1960-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(id.get_version_num(), 7);
    }

    proptest! {
        #[test]
        fn ids_grow_with_the_clock_whatever_the_seed(
            seed: u64,
            steps in prop::collection::vec(0..3_i64, 1..50),
        ) {
            let ids = Ids::seeded(seed);
            let mut now = noon();
            let mut made = Vec::new();
            for step in steps {
                now += chrono::TimeDelta::milliseconds(step);
                made.push(ids.new_id(now));
            }
            prop_assert!(made.is_sorted_by(|a, b| a < b), "{:?}", made);
        }
    }
}
