//! The limits of a run: its time, its standing still, its speed and its size.

use holdfast_tests::installation::Host;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::{assert_same, noise};
use holdfast_tests::{Installation, eventually, leftovers};
use serde_json::{Value, json};

async fn job_with(installation: &Installation, host: &Host, limits: Value) -> String {
    let server = installation.add_server(host).await;
    let config = json!({"root_path": host.site(), "compression_level": 0});
    installation.add_job_with(server, json!({"config": config, "limits": limits})).await
}

/// A named pipe does not stop tar; a FUSE mount or a dead NFS does. Here it is tar itself that stands still.
async fn stop_tar(host: &Host) -> i32 {
    let listener = host.sshd.pid().unwrap();
    eventually("tar", || async {
        let found = holdfast_tests::installation::processes_below(listener).into_iter().find(|pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.starts_with(b"tar\0") && words.windows(8).any(|word| word == b"--sparse")
        });
        found.ok_or("tar does not run")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_stands_still_is_named_and_killed() {
    let host = Host::start().await;
    // At this speed it reads for half a minute; it is stopped long before.
    host.write("large", noise(8 << 20, 1));
    let installation = Installation::start().await;
    let limits = json!({"stall_seconds": 2, "bandwidth_limit": 256 << 10});
    let job = job_with(&installation, &host, limits).await;
    let backup = installation.start_backup(&job).await;
    let tar = stop_tar(&host).await;
    let pid = rustix::process::Pid::from_raw(tar).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let waiting =
        installation.backup_when(&backup, |backup| backup["status"] == "pending" && backup["attempt"] == 1).await;
    assert_eq!(waiting["failure"]["kind"], "stall", "{waiting}");
    let message = waiting["failure"]["message"].as_str().unwrap();
    assert!(message.contains("2 s") && message.contains("waited for the source"), "{message}");
    eventually("the end of tar", || async {
        let stat = std::fs::read_to_string(format!("/proc/{tar}/stat"));
        if stat.is_ok_and(|stat| !stat.contains(") Z ")) { Err("it runs") } else { Ok(()) }
    })
    .await;
    leftovers::assert_only_named_objects(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_stands_still_is_named() {
    let host = Host::start().await;
    host.write("large", noise(64 << 20, 2));
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let installation = Installation::start_behind(&proxy).await;
    let storage = installation.api.get("/v1/storages/1").await.expect(200).data()["name"].as_str().unwrap().to_owned();
    // Longer than a busy machine takes to begin reading: it is the storage that has to be waited for.
    let job = job_with(&installation, &host, json!({"stall_seconds": 8})).await;
    let backup = installation.start_backup(&job).await;
    let waiting = installation.backup_when(&backup, |backup| !backup["failure"].is_null()).await;
    assert_eq!(waiting["failure"]["kind"], "stall", "{waiting}");
    let message = waiting["failure"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("waited for storage {storage}")), "{message}");
    proxy.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_takes_too_long_fails_for_good() {
    let host = Host::start().await;
    host.write("large", noise(8 << 20, 3));
    let installation = Installation::start().await;
    let job = job_with(&installation, &host, json!({"run_seconds": 2, "bandwidth_limit": 64 << 10})).await;
    let backup = installation.run(&job).await;
    assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
    assert_eq!(backup["failure"]["kind"], "limit");
    assert!(backup["failure"]["message"].as_str().unwrap().contains("limits.run_seconds"), "{backup}");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_too_large_fails_for_good() {
    let host = Host::start().await;
    host.write("large", noise(1 << 20, 4));
    let installation = Installation::start().await;
    let job = job_with(&installation, &host, json!({"max_bytes": 1 << 20})).await;
    let backup = installation.run(&job).await;
    assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
    let message = backup["failure"]["message"].as_str().unwrap();
    assert!(message.contains("1048576") && message.contains("limits.max_bytes"), "{message}");
    leftovers::assert_none(&installation).await;

    installation.api.patch(&format!("/v1/jobs/{job}"), json!({"limits": {"max_bytes": 2 << 20}})).await;
    assert_eq!(installation.run(&job).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_and_polite_run_is_whole() {
    let host = Host::start().await;
    host.write("large", noise(1 << 20, 5));
    let installation = Installation::start().await;
    // Slow enough that tar is still there to be looked at.
    let job = job_with(&installation, &host, json!({"nice": true, "bandwidth_limit": 512 << 10})).await;
    let started = std::time::Instant::now();
    let backup = installation.run(&job).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert!(started.elapsed().as_secs_f64() > 1.5, "2 s worth of bytes took {:?}", started.elapsed());
    let log = installation.log(backup["id"].as_str().unwrap()).await;
    assert!(log.contains("the dump runs by nice -n 10"), "{log}");
    let archive = installation.download(&backup).await;
    let packed = zstd::encode_all(&archive[..], 1).unwrap();
    assert_same(&packed, &host.site());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_checked_and_shown() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let job = job_with(&installation, &host, json!({"max_bytes": 5})).await;
    let path = format!("/v1/jobs/{job}");
    let shown = async || installation.api.get(&path).await.expect(200).data()["limits"].clone();
    let mut expected = json!({
        "run_seconds": 39_600, "stall_seconds": 900, "bandwidth_limit": null, "max_bytes": 5, "nice": false,
    });
    assert_eq!(shown().await, expected);
    installation.api.patch(&path, json!({"limits": {"stall_seconds": 60, "max_bytes": null}})).await.expect(204);
    expected["stall_seconds"] = json!(60);
    expected["max_bytes"] = Value::Null;
    assert_eq!(shown().await, expected);
    let bad = json!({"limits": {"run_seconds": 86_401, "stall_seconds": 0, "bandwidth_limit": 1, "size": 1}});
    let refused = installation.api.patch(&path, bad).await.expect(422).json();
    let fields: Vec<_> = refused["errors"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["limits.bandwidth_limit", "limits.run_seconds", "limits.size", "limits.stall_seconds"]);
}
