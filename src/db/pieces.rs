//! Statements that are written once, but for what each dialect says in its own way.
//!
//! [`both!`] takes a text in pieces: literals, which both dialects share, and macros, which are
//! given the dialect and say the same in it. Most that differs is one of few things: where a list
//! that is bound as JSON becomes a table ([`ids!`], [`rows!`]) or a condition ([`is_listed!`],
//! [`is_locked!`], [`is_one_of!`]), and that PostgreSQL is told to look up each row by its key
//! ([`look_up!`], [`look_up_any!`]) and to lock it ([`only_postgres!`]), while SQLite, which has one
//! writer, is told which index to use ([`only_sqlite!`]).

/// The text of a statement in the dialect of a transaction, of literals and of macros that are
/// given the dialect first.
macro_rules! both {
    ($tx:expr, $($($text:literal)? $($piece:ident ! ($($argument:tt)*))?),+) => {
        $tx.pick(
            $crate::db::sql!(@once Postgres concat!(
                $($($text)? $($piece!(postgres $($argument)*))?),+
            )),
            $crate::db::sql!(@once Sqlite concat!(
                $($($text)? $($piece!(sqlite $($argument)*))?),+
            )),
        )
    };
}

/// The ids of a JSON argument as a table with the column `id`, or another.
macro_rules! ids {
    ($dialect:ident $list:literal) => {
        $crate::db::ids!($dialect $list as id)
    };
    (postgres $list:literal as $name:ident) => {
        concat!(
            "(SELECT CAST(value AS UUID) AS ",
            stringify!($name),
            " FROM jsonb_array_elements_text(",
            $list,
            ") AS list (value))"
        )
    };
    (sqlite $list:literal as $name:ident) => {
        concat!(
            "(SELECT unhex(value) AS ",
            stringify!($name),
            " FROM json_each(",
            $list,
            "))"
        )
    };
}

/// The texts of a JSON argument as a table with the column `value`.
macro_rules! texts {
    (postgres $list:literal) => {
        concat!(
            "(SELECT value FROM jsonb_array_elements_text(",
            $list,
            ") AS list (value))"
        )
    };
    (sqlite $list:literal) => {
        concat!("(SELECT value FROM json_each(", $list, "))")
    };
}

/// The objects of a JSON argument as a table with these of their members, which have PostgreSQL's
/// types.
macro_rules! rows {
    (postgres $list:literal, $first:ident $type:ident $(, $further:ident $types:ident)*) => {
        concat!(
            "(SELECT * FROM jsonb_to_recordset(", $list, ") AS list (",
            stringify!($first), " ", stringify!($type),
            $(", ", stringify!($further), " ", stringify!($types),)*
            "))"
        )
    };
    (sqlite $list:literal, $first:ident $type:ident $(, $further:ident $types:ident)*) => {
        concat!(
            "(SELECT ", $crate::db::rows!(@member $first $type),
            $(", ", $crate::db::rows!(@member $further $types),)*
            " FROM json_each(", $list, "))"
        )
    };
    (@member $name:ident UUID) => {
        concat!("unhex(value ->> '", stringify!($name), "') AS ", stringify!($name))
    };
    (@member $name:ident $type:ident) => {
        concat!("value ->> '", stringify!($name), "' AS ", stringify!($name))
    };
}

/// "Is one of the ids of a JSON argument".
macro_rules! is_listed {
    (postgres $list:literal) => {
        concat!(
            "= ANY (ARRAY (SELECT CAST(jsonb_array_elements_text(",
            $list,
            ") AS UUID)))"
        )
    };
    (sqlite $list:literal) => {
        concat!("IN (SELECT unhex(value) FROM json_each(", $list, "))")
    };
}

/// "Is one of what a query gives", which is in pieces itself. PostgreSQL looks each up by its key,
/// however many it believes there are.
macro_rules! is_one_of {
    (postgres $($($text:literal)? $($piece:ident ! ($($argument:tt)*))?),+) => {
        concat!("= ANY (ARRAY (", $($($text)? $($piece!(postgres $($argument)*))?),+, "))")
    };
    (sqlite $($($text:literal)? $($piece:ident ! ($($argument:tt)*))?),+) => {
        concat!("IN (", $($($text)? $($piece!(sqlite $($argument)*))?),+, ")")
    };
}

/// "Is one of the ids of the JSON argument $1 for which a condition holds in this table".
/// PostgreSQL locks their rows in the order of the key, so that two who do the same at once do not
/// wait for each other crosswise. An array rather than `IN`, which it joins by reading all of the
/// table.
macro_rules! is_locked {
    ($dialect:ident $lock:literal in $table:literal by $key:literal where $($condition:literal)+) => {
        $crate::db::is_locked!(@$dialect concat!(
            "SELECT ", $key, " FROM ", $table,
            " WHERE ", $key, " ", $crate::db::is_listed!($dialect "$1"),
            " AND ", $($condition,)+ " ORDER BY ", $key
        ), $lock)
    };
    (@postgres $rows:expr, $lock:literal) => { concat!("= ANY (ARRAY (", $rows, " ", $lock, "))") };
    (@sqlite $rows:expr, $lock:literal) => { concat!("IN (", $rows, ")") };
}

/// Joins the rows of a table that a condition names by a key, looking them up for each row that was
/// joined so far: PostgreSQL has no statistics of a list, and may read all of a table for it. It
/// locks them as well, if it is told how, in the order of the list.
macro_rules! look_up {
    (postgres $table:literal as $name:literal on $key:literal) => {
        $crate::db::look_up!(postgres $table as $name on $key, "OFFSET 0")
    };
    (postgres $table:literal as $name:literal on $key:literal, $lock:literal) => {
        concat!(
            "CROSS JOIN LATERAL (SELECT ", $name, ".* FROM ", $table, " AS ", $name,
            " WHERE ", $key, " ", $lock, ") AS ", $name
        )
    };
    (sqlite $table:literal as $name:literal on $key:literal $(, $lock:literal)?) => {
        concat!("CROSS JOIN ", $table, " AS ", $name, " ON ", $key)
    };
}

/// The same with a further condition, and a row for which the table has none stays, without one.
macro_rules! look_up_any {
    (postgres $table:literal as $name:literal on $key:literal where $condition:literal) => {
        concat!(
            "LEFT JOIN LATERAL (SELECT ",
            $name,
            ".* FROM ",
            $table,
            " AS ",
            $name,
            " WHERE ",
            $key,
            " OFFSET 0) AS ",
            $name,
            " ON ",
            $condition
        )
    };
    (sqlite $table:literal as $name:literal on $key:literal where $condition:literal) => {
        concat!(
            "LEFT JOIN ",
            $table,
            " AS ",
            $name,
            " ON ",
            $key,
            " AND (",
            $condition,
            ")"
        )
    };
}

/// What only PostgreSQL is told.
macro_rules! only_postgres {
    (postgres $text:literal) => {
        $text
    };
    (sqlite $text:literal) => {
        ""
    };
}

/// What only SQLite is told.
macro_rules! only_sqlite {
    (postgres $text:literal) => {
        ""
    };
    (sqlite $text:literal) => {
        $text
    };
}

pub(crate) use both;
pub(crate) use ids;
pub(crate) use is_listed;
pub(crate) use is_locked;
pub(crate) use is_one_of;
pub(crate) use look_up;
pub(crate) use look_up_any;
pub(crate) use only_postgres;
pub(crate) use only_sqlite;
pub(crate) use rows;
pub(crate) use texts;
