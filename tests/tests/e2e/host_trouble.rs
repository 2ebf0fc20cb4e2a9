//! Trouble on a host: no room, no tool, a flood of words, a script that hangs, and dumps that leave others precedence.

use std::path::Path;
use std::process::Command;

use holdfast_tests::installation::{Host, processes_below};
use holdfast_tests::mount::Mount;
use holdfast_tests::tree::{assert_same, noise};
use holdfast_tests::{Installation, eventually, leftovers};
use serde_json::{Value, json};

async fn run(host: &Host, more: Value) -> (Installation, Value) {
    let installation = Installation::start().await;
    let server = installation.add_server(host).await;
    let mut job = json!({"config": {"root_path": host.site()}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    let job = installation.add_job_with(server, job).await;
    let backup = installation.run(&job).await;
    (installation, backup)
}

/// A log that is longer than one answer.
async fn whole_log(installation: &Installation, backup: &str) -> String {
    let (mut log, mut after) = (String::new(), String::new());
    loop {
        let answer = installation.api.get(&format!("/v1/backups/{backup}/log?after={after}")).await.expect(200);
        if answer.text().is_empty() {
            return log;
        }
        log.push_str(&answer.text());
        after = answer.header("x-log-next").to_owned();
    }
}

fn assert_refused(backup: &Value, says: &[&str]) {
    assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
    let message = backup["failure"]["message"].as_str().unwrap();
    for word in says {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_of_errors_do_not_break_a_dump() {
    // What a run prints; the look at the root paths before it is left alone.
    let folder = "x".repeat(450);
    let script = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin; export PATH\ncase \"$*\" in *no-recursion*) exec tar \"$@\";; esac\n\
         seq 1 100000 | sed 's|.*|tar: /{folder}/&: Cannot open: Permission denied|' >&2\ntar \"$@\" || exit\nexit 2\n"
    );
    let host = Host::start_with_programs(&[("tar", script.as_str())], false).await;
    host.write("a", noise(300_000, 1));
    let (installation, backup) = run(&host, json!({})).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    let errors = backup["source_errors"].as_array().unwrap();
    assert_eq!(errors.len(), 50);
    assert_eq!(errors[0], format!("/{folder}/1: Cannot open: Permission denied"));
    assert!(errors[49].as_str().unwrap().starts_with("and 99951 more"), "{}", errors[49]);
    let log = eventually("the end of the log", || async {
        let log = whole_log(&installation, backup["id"].as_str().unwrap()).await;
        if log.contains("50 source errors") { Ok(log) } else { Err(log.len()) }
    })
    .await;
    assert!(log.len() < (1 << 20) + 10_000 && log.contains("the log is full"), "{} bytes", log.len());
    assert_same(&installation.download(&backup).await, &host.site());
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_tar_and_a_missing_sudo_are_told() {
    let pass = |name: &str| format!("#!/bin/sh\nexec /usr/bin/{name} \"$@\"\n");
    let tools: Vec<_> = ["env", "timeout", "sh"].map(|name| (name, pass(name))).into();
    let tools: Vec<_> = tools.iter().map(|(name, script)| (*name, script.as_str())).collect();
    let host = Host::start_with_programs(&tools, true).await;
    let (_, backup) = run(&host, json!({})).await;
    assert_refused(&backup, &["install it", "tar"]);
    let (_, backup) = run(&host, json!({"config": {"root_path": host.site(), "use_sudo": true}})).await;
    assert_refused(&backup, &["install it", "sudo"]);
}

fn sqlite(path: &Path, sql: &str) {
    let done = Command::new("sqlite3").arg(path).arg(sql).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_room_for_a_copy_says_so_and_keeps_none_of_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED, as this does not run as root: a full disk");
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let small = folder.path().join("small");
    let mount = Mount::at(&small, 256 << 10);
    let host = Host::start_with(&format!("SetEnv TMPDIR={}", small.display())).await;
    let path = host.site().join("app.db");
    sqlite(
        &path,
        "CREATE TABLE t (x); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000)
         INSERT INTO t SELECT hex(randomblob(100)) FROM c",
    );
    let job = json!({"recipe": "sqlite-backups", "config": {"sqlite_path": path}});
    let (installation, backup) = run(&host, job.clone()).await;
    assert_refused(&backup, &["room in the server's TMPDIR"]);
    let left: Vec<_> = std::fs::read_dir(&small).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    leftovers::assert_none(&installation).await;

    // Not even a folder fits.
    std::fs::write(small.join("full"), vec![1; 256 << 10]).unwrap_or_default();
    let (_, backup) = run(&host, job.clone()).await;
    assert_refused(&backup, &["room in the server's TMPDIR"]);
    drop(mount);
    let (_, backup) = run(&host, job).await;
    assert_eq!(backup["status"], "completed", "with room it is: {backup}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_script_that_hangs_is_killed_and_told_of_a_backup_that_is_stored() {
    let host = Host::start().await;
    host.write("a", "a");
    let more = json!({"post_script": "trap '' TERM; while :; do sleep 1000; done", "limits": {"run_seconds": 10}});
    let (installation, backup) = run(&host, more).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    let errors = backup["source_errors"].to_string();
    assert!(errors.contains("post_script was still running after 10 s and was killed"), "{errors}");
    assert_same(&installation.download(&backup).await, &host.site());
    let listener = host.sshd.pid().unwrap();
    eventually("the end of the script", || async {
        let runs = processes_below(listener);
        if runs.is_empty() { Ok(()) } else { Err(runs) }
    })
    .await;
}

/// A process's name, niceness and class of input and output.
fn politeness(pid: i32) -> Option<(String, i64, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let name = stat.split_once('(')?.1.split_once(')')?.0.to_owned();
    // The 19th field; the first behind the name is the third.
    let nice = stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok()?;
    let output = Command::new("ionice").args(["-p", &pid.to_string()]).output().ok()?;
    Some((name, nice, String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polite_dump_runs_with_least_precedence_and_another_one_does_not() {
    let host = Host::start().await;
    host.write("large", noise(4 << 20, 5));
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    for (nice, expected) in [(true, (10, "idle")), (false, (0, ""))] {
        let config = json!({"root_path": host.site(), "compression_level": 0});
        let limits = json!({"nice": nice, "bandwidth_limit": 1 << 20});
        let job = installation.add_job_with(server, json!({"config": config, "limits": limits})).await;
        let backup = installation.start_backup(&job).await;
        let listener = host.sshd.pid().unwrap();
        let (_, niceness, class) = eventually("tar", || async {
            let runs: Vec<_> = processes_below(listener).into_iter().filter_map(politeness).collect();
            runs.iter().find(|(name, ..)| name == "tar").cloned().ok_or(runs)
        })
        .await;
        assert_eq!(niceness, expected.0, "{class}");
        assert!(class.starts_with(expected.1), "{class}");
        assert_eq!(installation.ended(&backup).await["status"], "completed");
    }
}
