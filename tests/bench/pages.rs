//! What a page of a list reads, with few and with many jobs and backups.

use std::io::Write;
use std::time::Instant;

use holdfast_local::table::Consumed;
use holdfast_tests::history::{add_server, import_backups, import_jobs, since_last};
use holdfast_tests::installation::id;
use holdfast_tests::{Installation, Setup};
use serde_json::json;

use crate::machine;

/// As many as a small account has.
const FEW: u64 = 50;
const OLD: &str = "2020-01-01T00:00:00Z";

/// Prints the table: each list by each sort and filter, first of few, then of `jobs` and `backups`.
pub async fn measure(jobs: u64, backups: u64) -> anyhow::Result<()> {
    let mut columns = Vec::new();
    for (jobs, backups) in [(FEW, FEW), (jobs, backups)] {
        let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
        let servers =
            [add_server(&installation.api, "127.0.0.1").await, add_server(&installation.api, "127.0.0.2").await];
        let job = installation.add_job_with(servers[0], json!({})).await;
        let model = installation.service().job(&installation.account(), id(&job)).await?;
        let started = Instant::now();
        import_jobs(&installation.stack, &model, &servers, jobs).await;
        import_backups(&installation.stack, id(&job), backups).await;
        eprintln!("pages: wrote {jobs} jobs and {backups} backups in {:.0} s", started.elapsed().as_secs_f64());
        columns.push((installation, job));
    }
    println!("\n`tests/bench/run pages --jobs {jobs} --backups {backups}`: {}.", machine::description());
    println!("Items and read units of a page of 15, everything that the answer needs included.\n");
    println!("| list | {FEW}: items, units, ms | many: items, units, ms |");
    println!("|---|---|---|");
    for (path, list) in lists() {
        let mut row = format!("| `{list}` |");
        for (installation, job) in &columns {
            let (consumed, millis) = page(installation, &path.replace("JOB", job)).await;
            row += &format!(" {}, {:.1}, {millis:.1} |", consumed.items, consumed.half_units as f64 / 2.0);
        }
        println!("{row}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn page(installation: &Installation, path: &str) -> (Consumed, f64) {
    let (before, started) = (installation.stack.aws().table_consumed(), Instant::now());
    installation.api.get(path).await.expect(200);
    let millis = started.elapsed().as_secs_f64() * 1e3;
    (installation.stack.aws().table_consumed() - before, millis)
}

/// Paths, and what they are called.
fn lists() -> Vec<(String, String)> {
    let recent = since_last(5);
    let jobs = [
        "".to_owned(),
        "host=127.0.0.1".to_owned(),
        format!("modified_since={OLD}"),
        format!("modified_since={recent}"),
    ];
    let backups = [
        "".to_owned(),
        "status=completed".to_owned(),
        "tags[daily]=1".to_owned(),
        "status=completed&tags[daily]=1".to_owned(),
        format!("started_since={OLD}"),
        format!("started_since={recent}"),
        format!("completed_since={recent}"),
    ];
    let mut all = Vec::new();
    for filter in jobs {
        for sort in ["id", "name", "last_ran_at", "created_at", "updated_at"] {
            all.push((format!("/v1/jobs?{filter}&sort=-{sort}"), format!("jobs {filter} sort={sort}")));
        }
    }
    for filter in backups {
        for sort in ["id", "name", "created_at", "started_at", "completed_at"] {
            all.push((format!("/v1/jobs/JOB/backups?{filter}&sort=-{sort}"), format!("backups {filter} sort={sort}")));
        }
    }
    all.push(("/v1/jobs?page=1000".to_owned(), "jobs page=1000".to_owned()));
    all.push(("/v1/jobs/JOB/backups?page=1000".to_owned(), "backups page=1000".to_owned()));
    all
}
