//! Watching a backup until it ended.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::client::{Client, megabytes};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long one backup of the small site may take.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// How long until a slot of each minute has run, queue and schedule included.
const SLOT_LIMIT: Duration = Duration::from_secs(90);

/// Follows a backup with a line of progress until it is completed; any other end is an error that tells why.
pub async fn backup(client: &Client, id: &str) -> Result<Value> {
    let (started, path) = (Instant::now(), format!("/v1/backups/{id}"));
    let mut line = Line::default();
    while started.elapsed() < RUN_LIMIT {
        let backup = client.look(&path).await?["data"].take();
        line.show(&progress(&backup));
        match backup["status"].as_str().unwrap_or_default() {
            "pending" | "running" => tokio::time::sleep(LOOK_EVERY).await,
            "completed" => {
                line.end();
                return Ok(backup);
            }
            status => {
                line.end();
                bail!("backup {id} ended as {status}: {}", backup["failure"]);
            }
        }
    }
    line.end();
    bail!("backup {id} has not ended within {} s", RUN_LIMIT.as_secs())
}

/// Waits until a slot of the job's schedule is taken up, and answers its backup's id. A slot that came while another
/// backup ran is skipped by design; the next one counts.
pub async fn slot(client: &Client, job: &str) -> Result<String> {
    let (started, path) = (Instant::now(), format!("/v1/jobs/{job}/backups"));
    let mut line = Line::default();
    while started.elapsed() < SLOT_LIMIT {
        let list = client.look(&path).await?;
        let backups = list["data"].as_array().context("a list of backups without data")?;
        let of_slot = |backup: &&Value| !backup["slot"].is_null() && backup["status"] != "skipped";
        if let Some(id) = backups.iter().find(of_slot).and_then(|backup| backup["id"].as_str()) {
            line.end();
            return Ok(id.to_owned());
        }
        line.show(&format!("waiting for the next full minute, {} s", started.elapsed().as_secs()));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    line.end();
    bail!("no slot ran within {} s", SLOT_LIMIT.as_secs())
}

/// Waits until a check of a server ended and answers what it found.
pub async fn check(client: &Client, server: u64) -> Result<Value> {
    let (started, path) = (Instant::now(), format!("/v1/servers/{server}"));
    while started.elapsed() < RUN_LIMIT {
        let check = client.look(&path).await?["data"]["check"].take();
        match check["status"].as_str() {
            Some("success") => return Ok(check["found"].clone()),
            Some("failed") => bail!("the server's check failed at {}: {}", check["failed_step"], check["message"]),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    bail!("the server's check has not ended within {} s", RUN_LIMIT.as_secs())
}

fn progress(backup: &Value) -> String {
    let status = backup["status"].as_str().unwrap_or("unknown");
    let bytes = |name: &str| backup["progress"][name].as_u64().unwrap_or(0);
    match (status, bytes("bytes_read")) {
        ("running", 1..) => {
            let [read, stored, rate] = ["bytes_read", "bytes_stored", "bytes_per_second"].map(bytes).map(megabytes);
            format!("running: {read} read, {stored} stored, {rate}/s")
        }
        _ => status.to_owned(),
    }
}

/// One line that is written over again, or each new text on a line of its own where nobody watches.
#[derive(Default)]
struct Line {
    shown: String,
}

impl Line {
    fn show(&mut self, text: &str) {
        if text == self.shown {
            return;
        }
        if stdout().is_terminal() {
            print!("\r  {text:<78}");
            // A line that is not shown at once is shown with the next.
            let _ = stdout().flush();
        } else if text.split(',').next() != self.shown.split(',').next() {
            println!("  {text}");
        }
        text.clone_into(&mut self.shown);
    }

    fn end(&mut self) {
        if stdout().is_terminal() && !self.shown.is_empty() {
            println!();
        }
    }
}
