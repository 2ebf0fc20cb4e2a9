//! CPU time of API requests: that of the API's own process and, apart, that of the process with the table.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use http::Method;
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::front::Front;
use crate::machine;
use crate::rig::Rig;

/// How many requests are under way at once.
const AT_ONCE: u64 = 8;
/// Jobs that are there, one schedule each.
const JOBS: u64 = 20;
/// What is asked before anything is measured: connections, caches, lazily made parts.
const WARM_UP: u64 = 50;

/// One call, asked again and again.
struct Call {
    name: String,
    method: Method,
    /// Taken in turn.
    paths: Vec<String>,
    body: Value,
    status: u16,
}

/// Prints the table, each line as soon as it is known. `history` backups are there before, besides the few of the run.
pub async fn measure(runs: u64, requests: u64, history: u64) -> anyhow::Result<()> {
    // A backup takes some 6 KB with its rows and their indexes, and as much again until the store tidies up.
    let mut rig = Rig::start(1 + history / 80_000).await?;
    let mut jobs = Vec::new();
    for number in 1..=JOBS {
        jobs.push(rig.add_job(&format!("job {number}")).await?);
    }
    let started = Instant::now();
    rig.add_history(&jobs[0], history).await?;
    eprintln!("api: wrote {history} backups in {:.0} s", started.elapsed().as_secs_f64());
    let backup = completed_backup(&rig, &jobs[0]).await?;
    let front = Front::start(&rig.reached).await?;
    println!("\n`tests/bench/run api --runs {runs} --backups {history}`: {}.", machine::description());
    println!("{requests} requests a run, {AT_ONCE} at once; {history} backups beside the one that is shown.\n");
    println!("| request | CPU of the API, µs | CPU of table and queue, µs | requests per second |");
    println!("|---|---|---|---|");
    for call in calls(&jobs, &backup) {
        call.measure(&rig, &front, runs, requests).await?;
    }
    Ok(())
}

/// A backup that a worker made, so that it has files to show.
async fn completed_backup(rig: &Rig, job: &str) -> anyhow::Result<String> {
    std::fs::create_dir(rig.tree())?;
    std::fs::write(rig.tree().join("file"), "content")?;
    let _worker = rig.start_worker().await?;
    let started = rig.api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(202).json();
    let path = format!("/v1/backups/{}", started["backup_id"].as_str().unwrap_or_default());
    while rig.api.get(&path).await.expect(200).data()["status"] != "completed" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(path)
}

fn calls(jobs: &[String], backup: &str) -> Vec<Call> {
    let get = |name: &str, path: String| Call {
        name: name.to_owned(),
        method: Method::GET,
        paths: vec![path],
        body: Value::Null,
        status: 200,
    };
    let start = Call {
        name: "`POST /v1/jobs/{id}/backups/start`".to_owned(),
        method: Method::POST,
        paths: jobs.iter().map(|job| format!("/v1/jobs/{job}/backups/start")).collect(),
        body: json!({}),
        status: 202,
    };
    let create = Call {
        name: "`POST /v1/jobs`".to_owned(),
        method: Method::POST,
        paths: vec!["/v1/jobs".to_owned()],
        body: json!({
            "name": "made", "recipe": "file-backups", "config": {"root_path": "/srv"},
            "compute": {"type": "server", "server_id": 1}, "storage": [{"storage_id": 1}], "schedules": [],
        }),
        status: 201,
    };
    vec![
        get("`GET /healthz`", "/healthz".to_owned()),
        get("`GET /v1/backups/{id}`", backup.to_owned()),
        get("`GET /v1/jobs/{id}`", format!("/v1/jobs/{}", jobs[0])),
        get("`GET /v1/jobs`, 15 a page", "/v1/jobs".to_owned()),
        get("`GET /v1/jobs/{id}/backups`, 15 a page", format!("/v1/jobs/{}/backups", jobs[0])),
        get("the same, `status=completed`", format!("/v1/jobs/{}/backups?status=completed", jobs[0])),
        start,
        create,
    ]
}

impl Call {
    async fn measure(&self, rig: &Rig, front: &Front, runs: u64, requests: u64) -> anyhow::Result<()> {
        self.ask(rig, front, WARM_UP).await?;
        let (mut own, mut store, mut per_second) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let before = (front.cpu()?, rig.cpu_of_store()?, Instant::now());
            self.ask(rig, front, requests).await?;
            let micros = |seconds: f64| seconds * 1e6 / requests as f64;
            own.push(micros(front.cpu()? - before.0));
            store.push(micros(rig.cpu_of_store()? - before.1));
            per_second.push(requests as f64 / before.2.elapsed().as_secs_f64());
        }
        let [own, store, per_second] = [own, store, per_second].map(Figures::of);
        println!("| {} | {own:.0} | {store:.0} | {per_second:.0} |", self.name);
        Ok(std::io::stdout().flush()?)
    }

    /// Asks so many times, with all tokens in turn; every answer must be the one that is expected.
    async fn ask(&self, rig: &Rig, front: &Front, requests: u64) -> anyhow::Result<()> {
        let tokens: Arc<[String]> = rig.reached.tokens.clone().into();
        let paths: Arc<[String]> = self.paths.clone().into();
        let asked = Arc::new(AtomicU64::new(0));
        let asking = (0..AT_ONCE).map(|_| {
            let (api, tokens, paths, asked) = (front.api.clone(), tokens.clone(), paths.clone(), asked.clone());
            let (method, body, status) = (self.method.clone(), self.body.clone(), self.status);
            tokio::spawn(async move {
                loop {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        break;
                    }
                    let of = |count: usize| usize::try_from(number).unwrap_or(0) % count;
                    let (api, path) = (api.with_token(&tokens[of(tokens.len())]), &paths[of(paths.len())]);
                    let answer = match method {
                        Method::GET => api.get(path).await,
                        _ => api.json(method.clone(), path, body.clone()).await,
                    };
                    answer.expect(status);
                }
            })
        });
        try_join_all(asking).await?;
        Ok(())
    }
}
