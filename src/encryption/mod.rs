//! Stored secrets, encrypted: whoever has the database alone cannot read them.
//!
//! A secret is sealed with the first key of the [`Keyring`] for its [`Place`] (table, column and
//! row), and opened with whichever key it names. A value from before there was a key is plain
//! text and read as it is. What cannot be opened (an unknown key, a changed value, one of another
//! row) is an [`OpenError`] and never an empty secret.
//!
//! The table `encryption_keys` lists the keys that values are sealed with. It is what lets a
//! start be refused that could not read everything ([`check_keys`]): every transaction that seals
//! holds the row of its key ([`hold_key`]), and [`rotate_secrets`] frees a key only while nobody
//! does and nothing is sealed with it.
//!
//! Which columns are sealed is said by their domains ([`SealedColumn`]).

mod column;
mod keyring;
mod queries;
mod registry;
mod rotate;
mod seal;

pub(crate) use column::{SealedColumn, StoredSecret};
pub use keyring::{KeyId, Keyring, NoKey};
pub(crate) use registry::hold_key;
pub use registry::{MissingKey, check_keys};
pub use rotate::{NothingToRotateTo, Rotation, rotate_secrets};
pub use seal::{Column, OpenError, Place, Sealed};
