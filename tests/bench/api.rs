//! API requests per CPU second of the process that answers them: authentication, table and all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::future::try_join_all;
use serde_json::json;

use crate::figures::Figures;
use crate::machine;
use crate::rig::Rig;

/// Requests of one measurement.
const REQUESTS: usize = 5_000;
/// How many are under way at once.
const AT_ONCE: usize = 8;
/// Jobs that are there, one schedule each.
const JOBS: u64 = 20;

/// Prints the table.
pub async fn measure(runs: u64) -> anyhow::Result<()> {
    let rig = Rig::start(1).await?;
    std::fs::create_dir(rig.tree())?;
    std::fs::write(rig.tree().join("file"), "content")?;
    let mut jobs = Vec::new();
    for number in 1..=JOBS {
        jobs.push(rig.add_job(&format!("job {number}")).await?);
    }
    let worker = rig.start_worker().await?;
    let started = rig.api.post(&format!("/v1/jobs/{}/backups/start", jobs[0]), json!({})).await.expect(202).json();
    let backup = format!("/v1/backups/{}", started["backup_id"].as_str().unwrap_or_default());
    while rig.api.get(&backup).await.expect(200).data()["status"] != "completed" {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    drop(worker);
    println!("\n`tests/bench/run api --runs {runs}`: {}.", machine::description());
    println!("{REQUESTS} requests a run, {AT_ONCE} at once; CPU of the whole serving process, its store included.\n");
    println!("| request | requests per CPU second | requests per second |");
    println!("|---|---|---|");
    for (name, path) in [
        (format!("`GET /v1/jobs` ({} of {JOBS} jobs a page)", page_of(&rig).await), "/v1/jobs"),
        ("`GET /v1/backups/{id}`".to_owned(), backup.as_str()),
        ("`GET /healthz`".to_owned(), "/healthz"),
    ] {
        let (mut per_cpu, mut per_second) = (Vec::new(), Vec::new());
        for run in 0..runs {
            eprintln!("api: {path}, run {} of {runs}; {}", run + 1, machine::description());
            let (cpu, started) = (rig.cpu_of_store()?, Instant::now());
            ask(&rig, path).await?;
            per_second.push(REQUESTS as f64 / started.elapsed().as_secs_f64());
            per_cpu.push(REQUESTS as f64 / (rig.cpu_of_store()? - cpu));
        }
        println!("| {name} | {:.0} | {:.0} |", Figures::of(per_cpu), Figures::of(per_second));
    }
    Ok(())
}

/// Jobs of one page.
async fn page_of(rig: &Rig) -> usize {
    rig.api.get("/v1/jobs").await.expect(200).data().as_array().map_or(0, Vec::len)
}

/// Asks [`REQUESTS`] times, with all tokens in turn; every answer must be a 200.
async fn ask(rig: &Rig, path: &str) -> anyhow::Result<()> {
    let tokens: Arc<[String]> = rig.reached.tokens.clone().into();
    let asked = Arc::new(AtomicUsize::new(0));
    let asking = (0..AT_ONCE).map(|_| {
        let (api, path, tokens, asked) = (rig.api.clone(), path.to_owned(), tokens.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                if number >= REQUESTS {
                    break;
                }
                api.with_token(&tokens[number % tokens.len()]).get(&path).await.expect(200);
            }
        })
    });
    try_join_all(asking).await?;
    Ok(())
}
