//! As much of Prometheus's query language as tells which metrics and labels are asked for.

use std::collections::BTreeSet;

const FUNCTIONS: [&str; 7] = [
    "sum",
    "max",
    "min",
    "count",
    "rate",
    "increase",
    "histogram_quantile",
];
const AGGREGATIONS: [&str; 4] = ["sum", "max", "min", "count"];
const OPERATORS: [&str; 3] = ["and", "or", "unless"];

/// What an expression asks for.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    pub(crate) selectors: Vec<Selector>,
    /// The labels that are kept.
    pub(crate) grouped_by: BTreeSet<String>,
    /// Whether labels are lost that are not in that list.
    pub(crate) aggregates: bool,
}

/// `metric{label="value"}`
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
}

/// `label="value"`
#[derive(Debug)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    is_pattern: bool,
    value: String,
}

impl Matcher {
    /// The values it asks for; a pattern with dots and stars asks for none by name.
    pub(crate) fn literals(&self) -> Vec<&str> {
        if !self.is_pattern {
            return vec![&self.value];
        }
        let alternatives = self.value.split('|');
        alternatives.filter(|value| !value.contains('.')).collect()
    }
}

impl Expression {
    /// Reads one; an error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut expression = Self::default();
        let mut depth = 0_usize;
        // The functions around, from the outside in; none for a plain parenthesis.
        let mut around: Vec<&str> = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            if first.is_ascii_alphabetic() || first == '_' {
                let (word, after) = split_word(rest);
                let next = after.trim_start();
                if word == "by" {
                    let (labels, after) = between(next, '(', ')')?;
                    expression.grouped_by.extend(list(labels));
                    rest = after.trim_start();
                    continue;
                }
                if OPERATORS.contains(&word) {
                    rest = next;
                    continue;
                }
                if next.starts_with('(') || next.starts_with("by ") {
                    if !FUNCTIONS.contains(&word) {
                        return Err(format!("no function {word}"));
                    }
                    expression.aggregates |= AGGREGATIONS.contains(&word);
                    around.push(word);
                    rest = next;
                    continue;
                }
                rest = expression.selector(word, next, around.last().copied())?;
                continue;
            }
            match first {
                '(' => depth += 1,
                ')' => {
                    depth = depth.checked_sub(1).ok_or("closed twice")?;
                    around.pop();
                }
                '+' | '-' | '*' | '/' | '>' | '<' | '=' | '!' | ',' | '.' | '0'..='9' => {}
                other => return Err(format!("`{other}` is not known")),
            }
            rest = rest[first.len_utf8()..].trim_start();
        }
        if depth > 0 {
            return Err("a parenthesis is not closed".to_owned());
        }
        Ok(expression)
    }

    /// A metric, its matchers and its range, which is there when and only when it must be.
    fn selector<'a>(
        &mut self,
        metric: &str,
        mut rest: &'a str,
        function: Option<&str>,
    ) -> Result<&'a str, String> {
        let mut matchers = Vec::new();
        if rest.starts_with('{') {
            let (inside, after) = between(rest, '{', '}')?;
            for matcher in list(inside) {
                let (label, value) = matcher.split_once('=').ok_or("a matcher has no value")?;
                let pattern = value.strip_prefix('~');
                let value = pattern.unwrap_or(value);
                let value = value
                    .strip_prefix('"')
                    .and_then(|value| value.strip_suffix('"'));
                matchers.push(Matcher {
                    label: label.trim_end_matches('!').to_owned(),
                    is_pattern: pattern.is_some(),
                    value: value.ok_or("a value is not quoted")?.to_owned(),
                });
            }
            rest = after.trim_start();
        }
        let has_range = rest.starts_with('[');
        if has_range {
            rest = between(rest, '[', ']')?.1.trim_start();
        }
        if has_range != matches!(function, Some("rate" | "increase")) {
            return Err(format!("{metric}: a range is for rate and increase"));
        }
        let metric = metric.to_owned();
        self.selectors.push(Selector { metric, matchers });
        Ok(rest)
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    text.split_at(end)
}

/// What is between two signs at the beginning of a text, and what comes after.
fn between(text: &str, open: char, close: char) -> Result<(&str, &str), String> {
    let inside = text
        .strip_prefix(open)
        .ok_or(format!("`{open}` is missing"))?;
    inside
        .split_once(close)
        .ok_or(format!("`{open}` is not closed"))
}

fn list(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|part| part.trim().to_owned())
}
