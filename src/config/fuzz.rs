//! Settings as people write them by accident.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::Settings;
use crate::fuzz::{Source, fuzz};

/// Part of every secret that is given.
const SECRET: &str = "s3cr3t";
const FIELDS: [&str; 16] = [
    "*",
    "*/5",
    "*/0",
    "0",
    "59",
    "60",
    "1-5",
    "5-1",
    "1,2",
    "MON",
    "JAN",
    "L",
    "?",
    "31",
    "2030",
    "*/99999999999",
];

/// The settings that are read when nothing is set.
fn names() -> Vec<String> {
    let names = RefCell::new(BTreeSet::new());
    let look = |name: &str| {
        names.borrow_mut().insert(name.to_owned());
        None
    };
    Settings::from_lookup(&look).unwrap();
    names.into_inner().into_iter().collect()
}

fn is_secret(name: &str) -> bool {
    let ends = ["_PASS", "_PASSWORD", "_SECRET", "_KEY", "_KEYS", "_URL"];
    let is_none = name.ends_with("_BASE_URL") || name == "RATE_LIMIT_PER_KEY";
    ends.iter().any(|end| name.ends_with(end)) && !is_none
}

fn cron(source: &mut Source<'_>) -> String {
    let fields: Vec<&str> = (0..source.below(4) + 4)
        .map(|_| source.pick(&FIELDS))
        .collect();
    fields.join(source.pick(&[" ", "  ", "\t"]))
}

fn value(source: &mut Source<'_>, name: &str) -> String {
    let words = [
        "0",
        "1",
        "-1",
        "65535",
        "65536",
        "0.5",
        "1e9",
        "1e400",
        "NaN",
        "inf",
        "true",
        "off",
        ",",
        "json",
        "required",
        "anonymous",
        "postgres://",
        "sqlite:",
        "redis://",
        "http://",
        ":",
    ];
    match name {
        // Anything else would be looked up.
        _ if name.ends_with("HOST") => source
            .pick(&["127.0.0.1", "0.0.0.0", "::1", "[::]"])
            .to_owned(),
        _ if name.ends_with("CRON") => cron(source),
        _ if is_secret(name) => format!("{}{SECRET}", source.text(&words)),
        _ => source.text(&words),
    }
}

#[test]
fn settings_are_taken_or_refused_in_one_line_that_names_one_and_shows_no_secret() {
    let names = names();
    fuzz!(|source| {
        let mut given = HashMap::new();
        for _ in 0..=source.below(3) {
            let name = &*names[source.below(names.len())];
            given.insert(name, value(source, name));
        }
        match Settings::from_lookup(&|name| given.get(name).cloned()) {
            Ok(settings) => assert!(!format!("{settings:?}").contains(SECRET)),
            Err(error) => {
                let text = format!("{error:#}");
                assert!(names.iter().any(|name| text.contains(name)), "{text}");
                assert!(!text.contains(|it: char| it.is_control()), "{text:?}");
                assert!(!text.contains(SECRET), "{text}");
            }
        }
    });
}

#[test]
fn the_previous_tick_is_the_last_one_before_the_next() {
    fuzz!(|source| {
        let text = cron(source);
        let second = (source.number() % 4_000_000_000).cast_signed();
        let now = chrono::DateTime::from_timestamp(second, 999_000_000).unwrap();
        let Ok(schedule) = jobs::parse_cron(&text) else {
            assert_eq!(jobs::previous_tick(&text, now), None, "{text:?}");
            return;
        };
        let Some(tick) = jobs::previous_tick(&text, now) else {
            return;
        };
        assert!(
            tick <= now && schedule.includes(tick),
            "{text:?} at {now}: {tick}"
        );
        let next = schedule.after(&tick).next();
        assert!(
            next.is_none_or(|next| next > now),
            "{text:?} at {now}: {tick}, {next:?}"
        );
    });
}
