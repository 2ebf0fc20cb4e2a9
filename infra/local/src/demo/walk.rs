//! The steps of the demo.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};

use super::client::{Client, Fetched, megabytes};
use super::sshd::Sshd;
use super::{follow, site, tools};

/// Sets a job up, runs it by hand and by its schedule, and proves both backups. Answers the job's id.
pub async fn walk(client: &Client, sshd: &Sshd, site: &Path, folder: &Path) -> Result<String> {
    println!("The calls, as curl would make them");
    let server = add_server(client, sshd).await?;
    let job = add_job(client, server, site).await?;

    println!("\nA run by hand");
    let started = client.call(Method::POST, &format!("/v1/jobs/{job}/backups/start"), None).await?;
    let by_hand = follow::backup(client, text(&started, "backup_id")?).await?;
    describe(&by_hand)?;

    println!("\nA run of the schedule, each minute");
    let id = follow::slot(client, &job).await?;
    let scheduled = follow::backup(client, &id).await?;
    describe(&scheduled)?;

    println!("\nBoth downloaded by their links, unpacked with stock zstd and tar, and compared");
    prove(client, &by_hand, site, &folder.join("by-hand")).await.context("the run by hand")?;
    prove(client, &scheduled, site, &folder.join("scheduled")).await.context("the scheduled run")?;
    Ok(job)
}

/// Makes a key, lets it in, makes the server and has the worker look at it. Answers the server's id.
async fn add_server(client: &Client, sshd: &Sshd) -> Result<u64> {
    let key = client.call(Method::POST, "/v1/ssh-keys", Some(json!({"name": "demo"}))).await?["data"].take();
    sshd.authorize(text(&key, "public_key")?)?;
    let server = json!({
        "name": "shop", "host": "127.0.0.1", "port": sshd.port(), "user": sshd.user(), "ssh_key": key["id"],
        "host_key": sshd.host_key()?,
    });
    let server = client.call(Method::POST, "/v1/servers", Some(server)).await?["data"]["id"].take();
    let server = server.as_u64().context("a server without an id")?;
    client.call(Method::POST, &format!("/v1/servers/{server}/check"), None).await?;
    let found = follow::check(client, server).await?;
    println!("       the worker logged in and found {}", listed(&found));
    Ok(server)
}

/// Makes the job, due each minute. Answers its id.
async fn add_job(client: &Client, server: u64, site: &Path) -> Result<String> {
    let storages = client.call(Method::GET, "/v1/storages", None).await?;
    let job = json!({
        "name": "shop files",
        "recipe_id": 1,
        "config": {"root_path": site.to_string_lossy(), "compression_level": 3},
        "compute": {"type": "server", "server_id": server},
        "storage": [{"storage_id": storages["data"][0]["id"], "priority": 1}],
        "schedules": [{"cron": "* * * * *", "timezone": "UTC", "retention_daily": 7}],
    });
    let job = client.call(Method::POST, "/v1/jobs", Some(job)).await?["data"].take();
    println!("       next run {}", job["schedule"][0]["next_runs"][0].as_str().context("there is no next run")?);
    Ok(text(&job, "id")?.to_owned())
}

/// Prints what a person wants to know of a completed backup.
fn describe(backup: &Value) -> Result<()> {
    let file = &backup["files"][0];
    println!("  slot      {}", backup["slot"].as_str().unwrap_or("none: it was started by hand"));
    println!("  time      {} to {}", text(backup, "started_at")?, text(backup, "completed_at")?);
    println!("  size      {} of files, {} stored", size(file, "plain_bytes")?, size(file, "stored_bytes")?);
    println!("  sha256    {} as stored", text(file, "stored_sha256")?);
    Ok(())
}

/// Downloads a backup by its link and compares what is in it with its source.
async fn prove(client: &Client, backup: &Value, site: &Path, folder: &Path) -> Result<()> {
    let backup = client.look(&format!("/v1/backups/{}", text(backup, "id")?)).await?["data"].take();
    let file = &backup["files"][0];
    std::fs::create_dir_all(folder.join("unpacked"))?;
    let stored = folder.join("stored.tar.zst");
    let fetched = client.fetch(text(file, "url")?, &stored).await?;
    expect_same(file, &fetched)?;
    unpack(folder).await?;
    let restored = folder.join("unpacked").join(site.strip_prefix("/")?);
    let differences = site::differences(site, &restored)?;
    if !differences.is_empty() {
        bail!("{} entries differ: {}", differences.len(), differences.join("; "));
    }
    let entries = site::read(site)?.len();
    println!("       sha256 as recorded; {entries} entries equal their source: bytes, names, modes and links");
    Ok(())
}

fn expect_same(file: &Value, fetched: &Fetched) -> Result<()> {
    ensure!(fetched.sha256 == text(file, "stored_sha256")?, "the download's sha256 is {}", fetched.sha256);
    ensure!(Some(fetched.bytes) == file["stored_bytes"].as_u64(), "the download has {} bytes", fetched.bytes);
    Ok(())
}

async fn unpack(folder: &Path) -> Result<()> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (stored, tar, unpacked) = (path("stored.tar.zst"), path("plain.tar"), path("unpacked"));
    tools::output("zstd", &["-q", "-d", &stored, "-o", &tar]).await.map_err(anyhow::Error::msg)?;
    tools::output("tar", &["-x", "-p", "-f", &tar, "-C", &unpacked]).await.map_err(anyhow::Error::msg)?;
    Ok(())
}

/// `name value, name value`.
fn listed(found: &Value) -> String {
    let found = found.as_object().into_iter().flatten();
    found.map(|(name, value)| format!("{name} {}", value.as_str().unwrap_or("?"))).collect::<Vec<_>>().join(", ")
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value[name].as_str().with_context(|| format!("the answer has no {name}"))
}

fn size(file: &Value, name: &str) -> Result<String> {
    file[name].as_u64().map(megabytes).with_context(|| format!("the file has no {name}"))
}
