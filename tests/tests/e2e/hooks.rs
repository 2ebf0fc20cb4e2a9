//! Hooks: scripts before and after a run, and who may set them.

use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_tests::installation::Host;
use holdfast_tests::{Client, Installation, Setup, eventually, leftovers};
use serde_json::{Value, json};

async fn job_with(installation: &Installation, host: &Host, more: Value) -> String {
    let server = installation.add_server(host).await;
    let mut job = json!({"config": {"root_path": host.site()}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    installation.add_job_with(server, job).await
}

/// The log once it is whole: its end is written after the record.
async fn log_of(installation: &Installation, backup: &Value) -> String {
    let end = backup["status"].as_str().unwrap();
    installation
        .log_when(backup["id"].as_str().unwrap(), |log| log.lines().last().is_some_and(|line| line.contains(end)))
        .await
}

/// Everything that runs on this machine, as `ps` would show it.
fn command_lines() -> String {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let read = |path: std::path::PathBuf, file| std::fs::read(path.join(file)).unwrap_or_default();
    let lines = processes.flat_map(|path| [read(path.clone(), "cmdline"), read(path, "environ")]);
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_run_before_and_after_and_what_they_print_is_logged() {
    let host = Host::start().await;
    let state = host.site().with_file_name("state");
    let pre = format!(
        "cat\necho 'canary-4711' >/dev/null\necho prepared >'{0}/made'\nprintf 'out\\n'; echo err >&2\n\
         touch '{1}.waits'; until [ -e '{1}.go' ]; do sleep 0.05; done",
        host.site().display(),
        state.display()
    );
    let post =
        format!("echo \"after $HOLDFAST_STATUS $HOLDFAST_JOB $HOLDFAST_BACKUP\"; rm '{}/made'", host.site().display());
    let installation = Installation::start().await;
    let job = job_with(&installation, &host, json!({"pre_script": pre, "post_script": post})).await;
    let backup = installation.start_backup(&job).await;
    let waits = state.with_extension("waits");
    eventually("the script", || async { if waits.exists() { Ok(()) } else { Err("not there") } }).await;
    let seen = command_lines();
    assert!(seen.contains("HOLDFAST_STATUS=running"), "the script's shell is not among the processes");
    assert!(!seen.contains("canary-4711"), "a script stands in a command line or an environment");
    std::fs::write(state.with_extension("go"), "").unwrap();

    let backup = installation.ended(&backup).await;
    let log = log_of(&installation, &backup).await;
    assert_eq!(backup["status"], "completed", "{log}");
    for line in ["pre_script started", "pre_script: out", "pre_script: err", "post_script started"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let told = format!("post_script: after completed {job} {}", backup["id"].as_str().unwrap());
    assert!(log.contains(&told), "{log}");
    assert!(!log.contains("holdfast: group") && !log.contains("canary"), "{log}");
    let unpacked = holdfast_tests::tree::unpack(&installation.download(&backup).await);
    let made = unpacked.path().join(host.site().strip_prefix("/").unwrap()).join("made");
    assert_eq!(std::fs::read_to_string(made).unwrap(), "prepared\n");
    assert!(!host.site().join("made").exists());
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_first_script_fails_the_run_and_the_last_one_is_tried() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let scripts = json!({"pre_script": "echo 'no lock' >&2; exit 3", "post_script": "echo \"saw $HOLDFAST_STATUS\""});
    let job = job_with(&installation, &host, scripts).await;
    let backup = installation.run(&job).await;
    assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
    assert_eq!(backup["failure"]["kind"], "pre_script");
    let message = backup["failure"]["message"].as_str().unwrap();
    assert!(message.contains("exit code 3") && message.contains("no lock"), "{message}");
    let log = log_of(&installation, &backup).await;
    assert!(log.contains("post_script: saw failed") && !log.contains("dump of"), "{log}");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_last_script_is_told_of_a_backup_that_is_stored() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let job = job_with(&installation, &host, json!({"post_script": "false"})).await;
    let backup = installation.run(&job).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert_eq!(backup["source_errors"], json!(["post_script ended with exit code 1"]));
    holdfast_tests::tree::assert_same(&installation.download(&backup).await, &host.site());

    // After a dump that failed it changes nothing, but it did run.
    let missing = json!({"config": {"root_path": host.site().join("missing")}});
    installation.api.patch(&format!("/v1/jobs/{job}"), missing).await;
    let backup = installation.run(&job).await;
    assert_eq!(backup["failure"]["kind"], "source", "{backup}");
    assert!(log_of(&installation, &backup).await.contains("post_script ended with exit code 1"));
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_hangs_is_killed_with_its_children() {
    let host = Host::start().await;
    let pids = host.site().with_file_name("pids");
    // A child that cannot be asked to end, and the shell itself waiting for it.
    let script = format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >>\"{0}\"; while :; do sleep 1000; done' & echo $$ >>'{0}'; wait",
        pids.display()
    );
    let installation = Installation::start().await;
    let job = job_with(&installation, &host, json!({"pre_script": script, "limits": {"run_seconds": 2}})).await;
    let backup = installation.run(&job).await;
    assert_eq!(backup["failure"]["kind"], "pre_script", "{backup}");
    let message = backup["failure"]["message"].as_str().unwrap();
    assert!(message.contains("still running after 2 s"), "{message}");
    let told = std::fs::read_to_string(&pids).unwrap();
    assert_eq!(told.lines().count(), 2, "{told}");
    eventually("the end of both", || async {
        let alive: Vec<_> = told.lines().filter(|pid| runs(pid)).collect();
        if alive.is_empty() { Ok(()) } else { Err(alive) }
    })
    .await;
}

/// Whether a process is there that is more than an entry.
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_kills_the_first_script_and_runs_the_last() {
    let host = Host::start().await;
    let pid = host.site().with_file_name("pid");
    let pre = format!("echo $$ >'{0}.new'; mv '{0}.new' '{0}'; sleep 1000", pid.display());
    let installation = Installation::start().await;
    let scripts = json!({"pre_script": pre, "post_script": "echo \"saw $HOLDFAST_STATUS\""});
    let job = job_with(&installation, &host, scripts).await;
    let backup = installation.start_backup(&job).await;
    let number = eventually("the script", || async { std::fs::read_to_string(&pid) }).await;
    installation.api.post(&format!("/v1/backups/{backup}/cancel"), json!({})).await;
    let backup = installation.ended(&backup).await;
    assert_eq!(backup["status"], "cancelled", "{backup}");
    assert!(log_of(&installation, &backup).await.contains("post_script: saw stopped"));
    assert!(!runs(number.trim()), "the first script still runs");
}

async fn client(installation: &Installation, abilities: &[Ability]) -> Client {
    let abilities = abilities.iter().map(Ability::to_string).collect();
    let (_, text) = installation.service().create_token(&installation.account(), "some", abilities).await.unwrap();
    installation.api.with_token(text.expose())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_take_an_ability_of_their_own() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let host = Host::start().await;
    let server = installation.add_server(&host).await;
    let other = installation.add_server(&host).await;
    let job = installation.add_job_with(server, json!({"pre_script": "echo canary-4711"})).await;
    let plain = installation.add_job_with(server, json!({})).await;
    let jobs = [Ability::Read(Resource::Jobs), Ability::Write(Resource::Jobs)];
    let writer = client(&installation, &jobs).await;
    let scripter = client(&installation, &[jobs[0], jobs[1], Ability::Scripts]).await;
    let lacks = json!("this token lacks the ability scripts");

    // Setting, taking away, and leading elsewhere.
    let path = format!("/v1/jobs/{job}");
    for change in [
        json!({"pre_script": "true"}),
        json!({"post_script": "true", "name": ""}),
        json!({"pre_script": null}),
        json!({"compute": {"server_id": other}}),
    ] {
        assert_eq!(writer.patch(&path, change.clone()).await.expect(403).json()["message"], lacks, "{change}");
    }
    let body = json!({
        "name": "new", "recipe_id": 1, "config": {"root_path": "/"}, "compute": {"server_id": server},
        "storage": [{"storage_id": 1}], "post_script": "true",
    });
    assert_eq!(writer.post("/v1/jobs", body.clone()).await.expect(403).json()["message"], lacks);
    // Everything else stays theirs, and what an answer showed changes nothing.
    writer
        .patch(&path, json!({"name": "other", "pre_script": "**set**", "compute": {"server_id": server}}))
        .await
        .expect(204);
    writer.patch(&format!("/v1/jobs/{plain}"), json!({"compute": {"server_id": other}})).await.expect(204);

    let shown = writer.get(&path).await.expect(200);
    assert_eq!((&shown.data()["pre_script"], &shown.data()["post_script"]), (&json!("**set**"), &json!("**not set**")));
    let scripts = format!("/v1/jobs/{job}/scripts");
    assert_eq!(writer.get(&scripts).await.expect(403).json()["message"], lacks);
    let texts = scripter.get(&scripts).await.expect(200).data();
    assert_eq!(texts, json!({"pre_script": "echo canary-4711", "post_script": null}));
    let made = scripter.post("/v1/jobs", body).await.expect(201).data();
    assert_eq!(made["post_script"], "**set**");
    scripter.patch(&path, json!({"pre_script": null, "post_script": "a\r\nb"})).await.expect(204);
    let texts = scripter.get(&scripts).await.expect(200).data();
    assert_eq!(texts, json!({"pre_script": null, "post_script": "a\nb"}));

    // A copy has its own, sealed for it.
    let copy = scripter.post(&format!("/v1/jobs/{job}/clone"), json!({})).await.expect(201).data();
    let of_copy = format!("/v1/jobs/{}/scripts", copy["id"].as_str().unwrap());
    assert_eq!(scripter.get(&of_copy).await.expect(200).data(), texts);
    let events = installation.api.get("/v1/audit-events").await.expect(200).text();
    assert!(!events.contains("canary-4711"), "{events}");
    let sealed = installation.service().job(&installation.account(), job.parse().unwrap()).await.unwrap();
    assert!(!serde_json::to_string(&sealed).unwrap().contains("a\\nb"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_script_is_refused() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let body = |more: Value| {
        let mut body = json!({
            "name": "db", "recipe_id": 28, "compute": {"type": "ss_serverless", "region": "EU"},
            "config": {"mysql_host": "10.0.0.1", "mysql_username": "u", "mysql_password": "p"},
            "storage": [{"storage_id": 1}],
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let refused = async |more: Value| {
        let refused = installation.api.post("/v1/jobs", body(more)).await.expect(422).json();
        refused["errors"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(refused(json!({"pre_script": "true", "post_script": "true"})).await, ["post_script", "pre_script"]);
    for script in [json!("a\0b"), json!("x".repeat(16_385)), json!(["true"]), json!("\u{1b}")] {
        assert_eq!(refused(json!({"post_script": script})).await, ["post_script"]);
    }
}
