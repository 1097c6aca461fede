//! The binary: reads the command line and runs one command of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    marketplace_sync::cli::main()
}
