//! The command line: one file a sub-command.
//!
//! A command's result goes to stdout, its logs to stderr; only `serve` logs to stdout. Exit codes:
//! 0 done, 1 failed, 2 a bad setting or argument, 3 the database or the queue is not usable
//! (unreachable, locked, read-only, full), 4 the database is newer than this release.

mod bench;
mod client;
mod dead_letters;
mod demo;
mod demo_stock;
mod export_schema;
mod flow;
mod keys;
mod memory;
mod migrate;
mod mock_stock;
pub mod mock_webhook;
mod openapi;
mod output;
mod reconcile;
mod schedule;
mod serve;
mod smoke;

use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use clap::{Parser, Subcommand};

use crate::admin::LogStream;
use crate::app::StartError;
use crate::config::Settings;
use crate::db::DbError;
use crate::logs::{self, LogOutput};
use crate::service::Roles;

/// A setting or an argument is wrong.
const BAD_SETTING: u8 = 2;
/// The database or the queue is not usable.
const UNAVAILABLE: u8 = 3;
/// The database is newer than this release.
const NEWER_DATABASE: u8 = 4;

/// Registers marketplace stores, imports orders exactly once, retries them in background jobs.
#[derive(Debug, Parser)]
#[command(name = "marketplace-sync", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and the board, run jobs and ticks (the default).
    Serve(serve::Serve),
    /// Show the whole thing at work, with nothing installed.
    Demo(demo::Demo),
    /// Bring the schema of the database up to date.
    Migrate,
    /// Run one pass of a scheduler and print what it did as JSON.
    Schedule(schedule::ScheduleArguments),
    /// Print the OpenAPI document.
    Openapi,
    /// Write the schema of the migrated database as SQL.
    ExportSchema(export_schema::ExportSchema),
    /// Compare the success counts of stores with their rows.
    Reconcile(reconcile::Reconcile),
    /// List what was given up, or give it another chance.
    DeadLetters(dead_letters::DeadLetters),
    /// Make, list and revoke API keys; encrypt stored secrets with another key.
    Keys(keys::Keys),
    /// Receive events and show them, for trying deliveries.
    MockWebhook(mock_webhook::MockWebhook),
    /// Play Trendyol's stock API, to try pushes of quantities with.
    ///
    /// Point the service at it with `TRENDYOL_BASE_URL=http://127.0.0.1:4101`. Made-up items have
    /// the barcodes 8680000000001, 8680000000002, …
    MockTrendyol(mock_stock::MockTrendyol),
    /// Play Hepsiburada's stock API, to try pushes of quantities with.
    ///
    /// Point the service at it with `HEPSIBURADA_BASE_URL=http://127.0.0.1:4102`. Made-up items
    /// have the merchant SKUs SKU-000001, SKU-000002, … and the names HBCV00000001, HBCV00000002, …
    /// of the marketplace.
    MockHepsiburada(mock_stock::MockHepsiburada),
    /// Show that the service works: 0 if it does, 1 if not.
    Smoke(smoke::Smoke),
    /// Measure the service.
    Bench(bench::Bench),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    memory::share();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::new(error).context("cannot start the runtime")),
    };
    let outcome = runtime.block_on(run(arguments));
    // A look-up of a name that hangs must not hold up the end.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| fail(&error))
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let command = arguments.command.unwrap_or(Command::Serve(serve::Serve {
        roles: Roles::all(),
    }));
    let logs = LogStream::new();
    match command {
        Command::Serve(command) => {
            let settings = settings()?;
            start_logs(&settings, LogOutput::Stdout, vec![Box::new(logs.layer())])?;
            command.run(settings, logs).await
        }
        Command::Demo(command) if command.is_client() => {
            start_logs(&tool()?, LogOutput::Stderr, Vec::new())?;
            command.send().await
        }
        Command::Demo(command) => {
            let folder = tempfile::tempdir().context("the demo has no temporary folder")?;
            let settings = Settings::for_demo(folder.path()).map_err(bad_setting)?;
            start_logs(&settings, LogOutput::Stderr, vec![Box::new(logs.layer())])?;
            command.run(settings, logs).await
        }
        // The one command that needs no settings.
        Command::Openapi => openapi::run(),
        Command::Migrate => migrate::run(&one_shot()?).await,
        Command::Schedule(command) => command.run(one_shot()?).await,
        Command::ExportSchema(command) => command.run(&one_shot()?).await,
        Command::Reconcile(command) => command.run(&one_shot()?).await,
        Command::DeadLetters(command) => command.run(one_shot()?).await,
        Command::Keys(command) => command.run(&one_shot()?).await,
        Command::MockWebhook(command) => started(command.run()).await,
        Command::MockTrendyol(command) => started(command.run()).await,
        Command::MockHepsiburada(command) => started(command.run()).await,
        Command::Smoke(command) => {
            let place = smoke::Place::new()?;
            let settings = Settings::for_smoke(place.folder()).map_err(bad_setting)?;
            let layers = vec![place.log_layer()?, Box::new(logs.layer())];
            start_logs(&settings, LogOutput::Stderr, layers)?;
            // On the heap: it is large, and in every command.
            Box::pin(command.run(settings, place, logs)).await
        }
        Command::Bench(command) => {
            let place = command.place()?;
            let settings = command.settings(&place).map_err(bad_setting)?;
            start_logs(&settings, LogOutput::Stderr, Vec::new())?;
            command.run(place).await
        }
    }
}

fn settings() -> Result<Settings> {
    Settings::from_environment().map_err(bad_setting)
}

/// Settings of a command that is no service.
fn tool() -> Result<Settings> {
    Settings::for_tool().map_err(bad_setting)
}

/// Runs a command that serves something, and logs to stdout.
async fn started(run: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    start_logs(&tool()?, LogOutput::Stdout, Vec::new())?;
    run.await
}

/// Settings of a command that prints its result on stdout.
fn one_shot() -> Result<Settings> {
    let settings = settings()?;
    start_logs(&settings, LogOutput::Stderr, Vec::new())?;
    Ok(settings)
}

fn bad_setting(error: Error) -> Error {
    error.context(BadSetting)
}

fn start_logs(settings: &Settings, output: LogOutput, extra: Vec<logs::ExtraLayer>) -> Result<()> {
    logs::init(
        settings.log_format,
        output,
        settings.log_filter.as_deref(),
        extra,
    )
    .context("`RUST_LOG` cannot be used")
    .map_err(bad_setting)
}

/// Marks an error as the fault of a setting.
#[derive(Debug)]
struct BadSetting;

impl std::fmt::Display for BadSetting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("bad setting")
    }
}

/// One line on stderr, and the exit code that fits.
fn fail(error: &Error) -> ExitCode {
    let line = format!("{error:#}").replace(['\n', '\r'], " ");
    output::complain(&format!("marketplace-sync: {line}"));
    ExitCode::from(exit_code(error))
}

fn exit_code(error: &Error) -> u8 {
    if error.downcast_ref::<BadSetting>().is_some() {
        return BAD_SETTING;
    }
    let db = |error: &DbError| match error {
        DbError::NewerThanBinary(_) => NEWER_DATABASE,
        DbError::Address(_) => BAD_SETTING,
        DbError::Migration(_) => 1,
        _ => UNAVAILABLE,
    };
    match error.downcast_ref::<StartError>() {
        Some(StartError::Db(error)) => db(error),
        Some(StartError::Queue(_)) => UNAVAILABLE,
        Some(StartError::Host(_) | StartError::NoKey(_) | StartError::MissingKey(_)) => BAD_SETTING,
        Some(StartError::Http(_)) => 1,
        None => error.downcast_ref::<DbError>().map_or(1, db),
    }
}
