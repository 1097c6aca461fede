//! Pages of a list: `?limit=&cursor=` in, `{"items": […], "nextCursor": …}` out.
//!
//! A list is ordered by an instant and an id, and a page begins behind the last item of the one
//! before (keyset), so that it costs the same however far one reads. A [`Cursor`] is opaque: clients
//! hand it back as it came.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use poem_openapi::Object;
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};
use uuid::Uuid;

use super::fields::Fields;
use super::nullable::Nullable;

/// How many items a page may have.
const LIMITS: RangeInclusive<i64> = 1..=100;
/// The same of a list whose items are small.
const LONG_LIMITS: RangeInclusive<i64> = 1..=500;
/// How many it has unless the caller says otherwise.
const DEFAULT_LIMIT: u32 = 50;
/// No cursor is longer.
const CURSOR_LENGTH: usize = 64;

/// The place of an item in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The instant that orders the list.
    pub at: DateTime<Utc>,
    /// Orders what is of the same instant.
    pub id: Uuid,
}

/// The end of the year 9999: later instants are none that a database can compare.
const END_OF_TIME: DateTime<Utc> =
    DateTime::from_timestamp_millis(253_402_300_799_999).expect("chrono knows the year 9999");

impl Cursor {
    /// Before every item, for lists that begin with the oldest.
    pub const BEGINNING: Self = Self {
        at: DateTime::UNIX_EPOCH,
        id: Uuid::nil(),
    };
    /// Behind every item, for lists that begin with the newest.
    pub const END: Self = Self {
        at: END_OF_TIME,
        id: Uuid::max(),
    };
}

/// The text is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Expected the nextCursor of the page before")]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.at.timestamp_millis().to_be_bytes().to_vec();
        bytes.extend(self.id.as_bytes());
        formatter.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoCursor)?;
        let (millis, id) = bytes.split_first_chunk::<8>().ok_or(NoCursor)?;
        let at = DateTime::from_timestamp_millis(i64::from_be_bytes(*millis)).ok_or(NoCursor)?;
        let id = Uuid::from_slice(id).map_err(|_| NoCursor)?;
        if !(DateTime::UNIX_EPOCH..=END_OF_TIME).contains(&at) {
            return Err(NoCursor);
        }
        Ok(Self { at, id })
    }
}

/// Which page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items.
    pub limit: u32,
    /// Behind which; none for the first page.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// Reads `limit` and `cursor`.
    pub fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Self::within(LIMITS, fields)
    }

    /// The same for a list with longer pages.
    pub fn from_fields_of_long_list(fields: &mut Fields<'_>) -> Option<Self> {
        Self::within(LONG_LIMITS, fields)
    }

    fn within(limits: RangeInclusive<i64>, fields: &mut Fields<'_>) -> Option<Self> {
        let limit = fields.optional("limit", |fields, name| fields.integer(name, limits));
        let after = fields.optional("cursor", |fields, name| {
            fields.parsed(name, 1..=CURSOR_LENGTH, Cursor::from_str)
        });
        let limit = limit?.map_or(Some(DEFAULT_LIMIT), |limit| limit.try_into().ok());
        Some(Self {
            limit: limit?,
            after: after?,
        })
    }

    /// How many items to ask for: one more tells whether there is a next page.
    pub fn look_ahead(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Cuts what was found with [`Self::look_ahead`] to a page; tells behind which place the next
    /// one begins, if there is more.
    pub fn cut<R>(&self, found: &mut Vec<R>, place: impl Fn(&R) -> Cursor) -> Option<Cursor> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        found.last().filter(|_| has_more).map(place)
    }
}

/// A page of a list.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub struct Page<T: Type + ParseFromJSON + ToJSON> {
    /// At most `limit` of them.
    pub items: Vec<T>,
    /// Send it as `cursor` to get the next page; null on the last one.
    pub next_cursor: Nullable<String>,
}

impl<T: Type + ParseFromJSON + ToJSON> Page<T> {
    /// Makes a page of what was found with [`PageRequest::look_ahead`].
    pub fn of<R>(mut found: Vec<R>, page: PageRequest, place: impl Fn(&R) -> Cursor) -> Self
    where
        T: From<R>,
    {
        let next = page.cut(&mut found, place);
        Self {
            next_cursor: next.map(|next| next.to_string()).into(),
            items: found.into_iter().map(T::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::fields::check;

    fn read(limit: Option<&str>, cursor: Option<&str>) -> Option<PageRequest> {
        let values = [("limit", limit), ("cursor", cursor)];
        check(&values, PageRequest::from_fields).ok()
    }

    #[test]
    fn a_page_has_fifty_items_unless_the_caller_says_otherwise_and_never_more_than_a_hundred() {
        assert_eq!(read(None, None).unwrap().limit, 50);
        assert_eq!(read(Some("100"), None).unwrap().limit, 100);
        for bad in ["0", "101", "-1", "many", ""] {
            assert_eq!(read(Some(bad), None), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_cursor_of_ours_is_refused() {
        let far = Cursor {
            at: DateTime::<Utc>::MAX_UTC,
            id: Uuid::nil(),
        };
        for bad in ["", "AAAA", "no cursor", &"A".repeat(65), &far.to_string()] {
            assert_eq!(read(None, Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let request = PageRequest {
            limit: 2,
            after: None,
        };
        let place = |number: &i32| Cursor {
            at: DateTime::UNIX_EPOCH,
            id: Uuid::from_u128(u128::from(number.unsigned_abs())),
        };
        let full = Page::<i32>::of(vec![1, 2, 3], request, place);
        assert_eq!(full.items, [1, 2]);
        assert_eq!(full.next_cursor.0, Some(place(&2).to_string()));
        assert_eq!(
            Page::<i32>::of(vec![1, 2], request, place).next_cursor.0,
            None
        );
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went(millis in 0..253_402_300_799_999_i64, id: u128) {
            let at = DateTime::from_timestamp_millis(millis).unwrap();
            let cursor = Cursor { at, id: Uuid::from_u128(id) };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        /// A walk from page to page sees each item once, in order.
        #[test]
        fn the_pages_of_a_list_are_the_list(length in 0..40_u32, limit in 1..12_u32) {
            let place = |number: &i32| Cursor {
                at: DateTime::UNIX_EPOCH,
                id: Uuid::from_u128(u128::from(number.unsigned_abs())),
            };
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let request = PageRequest { limit, after };
                let start = after.map_or(0, |cursor| cursor.id.as_u128() + 1);
                let found: Vec<i32> = (0..length.cast_signed())
                    .skip(usize::try_from(start).unwrap())
                    .take(usize::try_from(request.look_ahead()).unwrap())
                    .collect();
                let page = Page::<i32>::of(found, request, place);
                prop_assert!(page.items.len() <= usize::try_from(limit).unwrap());
                seen.extend(page.items);
                let Some(cursor) = page.next_cursor.0 else { break };
                after = Some(cursor.parse().unwrap());
            }
            prop_assert_eq!(seen, (0..length.cast_signed()).collect::<Vec<_>>());
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    #[test]
    fn a_text_is_a_cursor_only_if_it_is_the_one_that_would_be_written() {
        fuzz!(|source| {
            let text = match source.below(3) {
                0 => URL_SAFE_NO_PAD.encode(source.bytes::<24>()),
                1 => {
                    let millis = source.number() % 253_402_300_800_500;
                    let at = DateTime::from_timestamp_millis(millis.cast_signed()).unwrap();
                    let id = Uuid::from_bytes(source.bytes());
                    let text = Cursor { at, id }.to_string();
                    source.nearly(&text)
                }
                _ => source.text(&["AAAA", "AAABjM0eZA", "_", "-", "==", "+/"]),
            };
            // 24 bytes: 32 letters without padding, each of six bits.
            let is_letter = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
            let has_form = text.len() == 32 && text.bytes().all(is_letter);
            if let Ok(cursor) = text.parse::<Cursor>() {
                assert!(has_form, "{text:?}");
                assert_eq!(cursor.to_string(), text);
                return;
            }
            let bytes = URL_SAFE_NO_PAD.decode(&text).ok().filter(|_| has_form);
            let millis = bytes.map(|bytes| i64::from_be_bytes(bytes[..8].try_into().unwrap()));
            let is_ours = |millis| (0..=253_402_300_799_999).contains(&millis);
            assert!(!millis.is_some_and(is_ours), "{text:?}");
        });
    }
}
