//! What a command says to people and scripts.

use std::io::Write;

/// Prints a line of the result on stdout. Whoever closed the pipe does not want to hear more.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line on stderr.
pub(super) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
