//! The contracts of the crate `jobs`, on both transports: each trap of apalis 1.0.0 has a
//! test that fails when it comes back.
//!
//! | what apalis 1.0.0 does | what shows that we do not suffer from it |
//! |---|---|
//! | Redis: a push goes to the scheduled set, and a fetch moves all due ids with one `unpack`: 8,000 of them stop the queue for good | `nine_thousand_due_jobs_do_not_stop_the_queue`, `a_push_needs_no_promotion`, `a_queue_takes_no_more_than_it_may_hold`, `options_that_would_lose_or_stop_jobs_are_refused` |
//! | Redis: `run_at` is never in the past, so nothing announces a job | `an_idle_worker_starts_a_pushed_job_soon` |
//! | Redis: an idempotency key does nothing; SQLite: it stays taken after its job is done | `a_job_may_be_pushed_twice_and_again_after_it_ended`, `the_same_job_twice_is_one_run` |
//! | Redis: `max_attempts` is ignored; SQLite: a failed job is fetched again | `a_failed_job_is_kept_and_not_run_again` |
//! | Redis: `vacuum` deletes jobs that wait | `a_purge_forgets_what_ended_and_leaves_what_waits` |
//! | Redis: `overview` fails with WRONGTYPE after the first finished job | `counts_are_true_from_the_push_to_after_the_purge` |
//! | Redis: done ids are never removed | `memory_does_not_grow` |
//! | Redis: a worker's name is refused for minutes after a restart | `a_worker_starts_again_at_once` |
//! | Redis: an id without data fails every fetch | `an_id_without_data_does_not_stop_the_queue` |
//! | SQLite: an acknowledgement scans all rows with the same `lock_by` | `acknowledging_does_not_scan` |
//! | SQLite: `setup()` takes over our migrations and sets `synchronous = OFF` | `the_migrations_and_pragmas_of_the_service_are_left_alone` |
//! | SQLite: an idle worker writes | `an_idle_worker_does_not_write` |
//! | no heartbeat while a fetched batch is buffered | `a_busy_worker_keeps_saying_that_it_lives`, `workers_never_share_a_job` |
//! | a fetch takes a whole batch, whatever can start | `shutdown_waits_for_what_runs_and_leaves_the_rest` |
//! | an idle worker looks every 30 s | `an_idle_worker_starts_a_pushed_job_soon` |
//! | any error of the backend ends the worker | `a_worker_outlives_its_redis`, `a_dropped_jobs_table_is_noticed_and_survived` |
//! | a job that does not decode ends the worker | `a_job_that_does_not_decode_dies_and_the_worker_lives` |
//! | a panic leaves its job running for ever | `a_panic_fails_its_job_and_no_other` |
//! | a fetch in flight at shutdown keeps its job until the orphan time-out | `a_shutdown_at_any_moment_leaves_no_job_behind` |
//! | a stopped worker reads no acknowledgements | `many_jobs_may_end_during_a_shutdown` |
//! | `persist_results(false)` stops acknowledgements | `every_pushed_job_runs_once` |
//! | a queue is named by the path of a Rust type | `queues_do_not_mix`, `jobs_keep_their_names_queues_identities_and_payloads` |
//! | the board has no routes for poem | `the_files_of_the_page_have_their_type_and_are_kept`, `every_path_that_is_no_file_is_the_page` |
//! | the board has no login | `a_password_is_demanded_for_everything` |
//! | the board's numbers are wrong on Redis | `counts_are_true_from_the_push_to_after_the_purge`, `queues_and_workers_have_the_shape_the_page_parses` |
//! | the board says "Unhealthy" | `the_page_shows_queues_tasks_workers_and_the_log` |
//! | cron: each replica fires | `every_replica_gets_every_tick_once`, `of_many_replicas_one_wins_a_tick`, `two_replicas_run_each_tick_once` |
//! | cron: a missed tick is skipped | `a_missed_tick_is_made_up_for_once`, `a_tick_that_apalis_cron_missed_is_made_up_for_once` |
//! | cron: a tick in the past ends the worker | `a_schedule_outlives_a_tick_in_the_past` |

use std::fs;
use std::path::Path;

mod lifecycle;
mod queue;
mod redis;
mod schedule;
mod sqlite;
mod worker;

/// The sources below a folder, one after the other.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| {
        if path.is_dir() {
            sources(&path)
        } else {
            fs::read_to_string(path).unwrap_or_default()
        }
    };
    entries.map(text).collect()
}

#[test]
fn every_trap_in_the_table_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = sources(&root.join("tests/it")) + &sources(&root.join("jobs/src"));
    let rows = include_str!("mod.rs").lines().filter_map(|line| {
        let row = line.strip_prefix("//! | ")?;
        row.trim_end_matches(" |").rsplit_once(" | ")
    });
    let mut count = 0;
    for (trap, tests) in rows.skip(1) {
        for test in tests.split(", ") {
            let name = test.trim_matches('`');
            assert!(code.contains(&format!("fn {name}(")), "{trap}: no {name}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}
