//! What can be wrong with a host or its files: each failure is told, and leaves nothing behind.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use holdfast_tests::installation::Host;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::{assert_same, entries, noise, unpack};
use holdfast_tests::{Installation, leftovers};
use serde_json::{Value, json};

async fn run_on(host: &Host, installation: &Installation) -> Value {
    let job = installation.add_job(host).await;
    installation.run(&job).await
}

/// A backup that failed for good at its first attempt, for this kind of reason.
async fn assert_failed(installation: &Installation, backup: &Value, kind: &str, says: &[&str]) {
    assert_eq!(backup["status"], "failed", "{backup}");
    assert_eq!(backup["attempt"], 1, "a permanent failure is not tried again: {backup}");
    assert_eq!(backup["failure"]["kind"], kind, "{backup}");
    let message = backup["failure"]["message"].as_str().unwrap();
    for word in says {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    assert_eq!(backup["files"], json!([]));
    leftovers::assert_none(installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_user_is_refused() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    installation.api.patch(&format!("/v1/servers/{server}"), json!({"user": "nosuchuser"})).await;
    let job = installation.add_job_with(server, json!({"config": {"root_path": host.site()}})).await;
    let backup = installation.run(&job).await;
    assert_failed(&installation, &backup, "login", &["nosuchuser"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_host_does_not_know_is_refused() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let other = installation.api.post("/v1/ssh-keys", json!({"name": "other"})).await.expect(201).data();
    installation.api.patch(&format!("/v1/servers/{server}"), json!({"ssh_key": other["id"]})).await;
    let job = installation.add_job_with(server, json!({"config": {"root_path": host.site()}})).await;
    let backup = installation.run(&job).await;
    assert_failed(&installation, &backup, "login", &["key"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_host_key_is_refused_and_both_fingerprints_are_told() {
    let (host, impostor) = (Host::start().await, Host::start().await);
    host.write("a", "a");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let job = installation.add_job_with(server, json!({"config": {"root_path": host.site()}})).await;
    assert_eq!(installation.run(&job).await["status"], "completed");
    let pinned = installation.api.get(&format!("/v1/servers/{server}")).await.expect(200).data();
    assert_eq!(pinned["host_key"]["source"], "first_use");

    // The same address shows another key: a given pin stays when the port changes.
    let pin = json!({"host_key": host.sshd.host_key().unwrap(), "port": impostor.sshd.port()});
    installation.api.patch(&format!("/v1/servers/{server}"), pin).await;
    let backup = installation.run(&job).await;
    assert_eq!(backup["status"], "failed", "{backup}");
    assert_eq!(backup["failure"]["kind"], "host_key", "{backup}");
    let message = backup["failure"]["message"].as_str().unwrap();
    assert_eq!(message.matches("SHA256:").count(), 2, "{message}");
    assert!(message.contains(pinned["host_key"]["fingerprint"].as_str().unwrap()), "{message}");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_where_nobody_listens_is_tried_again_later() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    installation.api.patch(&format!("/v1/servers/{server}"), json!({"port": closed})).await;
    let job = installation.add_job_with(server, json!({"config": {"root_path": host.site()}})).await;
    let backup = installation.start_backup(&job).await;
    for attempt in 1..=4 {
        let waiting = installation
            .backup_when(&backup, |backup| backup["status"] == "pending" && backup["attempt"] == attempt)
            .await;
        assert_eq!(waiting["failure"]["kind"], "connect", "{waiting}");
        // The message of the next attempt is delayed by the clock as it is when it is sent.
        let told = |log: &str| log.matches("the next attempt follows").count() == attempt;
        installation.log_when(&backup, told).await;
        installation.advance(jiff::SignedDuration::from_mins(10));
    }
    let ended = installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("failed"), &json!(5)));
    // A message that a worker was still deleting when the clock moved on may have come twice, and wait.
    installation.advance(jiff::SignedDuration::from_mins(10));
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_root_path_is_told() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let missing = host.site().join("nothing-here");
    let job = installation.add_job_with(server, json!({"config": {"root_path": missing}})).await;
    let backup = installation.run(&job).await;
    assert_failed(&installation, &backup, "source", &["nothing-here"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_file_is_named_and_the_rest_is_kept() {
    let host = Host::start_for_other_user().await;
    host.write("readable", "yes");
    host.write("secret", "no");
    std::fs::set_permissions(host.site().join("secret"), PermissionsExt::from_mode(0o000)).unwrap();
    let installation = Installation::start().await;
    let backup = run_on(&host, &installation).await;

    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    let errors = backup["source_errors"].as_array().unwrap();
    assert!(errors.iter().any(|line| line.as_str().unwrap().contains("secret")), "{errors:?}");
    let unpacked = unpack(&installation.download(&backup).await);
    let below = unpacked.path().join(host.site().strip_prefix("/").unwrap());
    assert_eq!(std::fs::read(below.join("readable")).unwrap(), b"yes");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_file_names_come_back_as_they_were() {
    let host = Host::start().await;
    let odd = [
        "new\nline",
        "-leading",
        "--checkpoint-action=exec=sh",
        "'",
        "\"",
        "`id`",
        "$(touch pwned)",
        "a b",
        " ",
        "\t",
        "*",
        "?",
        "[a]",
        "\\",
        "\\n",
        "#",
        "~",
        "!",
        "&",
        ";",
        "|",
        "<",
        ">",
        "(",
        ")",
        "{a,b}",
        "$HOME",
        "%s",
        "..a",
        "...",
        "ü",
        "日本",
        "🗄",
        "a\rb",
        "\u{7f}",
        "\x1b[31m",
        "-T",
        "-",
        "--",
        "@file",
        "=",
        ":",
        "a:b",
        ",",
        "^",
        "+",
        "ü\u{301}",
        ".hidden",
        "name.",
        "CON",
        "a'b\"c",
        "x;rm -rf y",
        "${IFS}",
        "\u{200b}",
        "\u{202e}abc",
        "tab\tinside",
    ];
    for name in odd {
        host.write(name, name);
    }
    for bytes in [&b"\xff\xfe"[..], b"lat\xe9", b"\xc3", &[b'n'; 255]] {
        std::fs::write(host.site().join(OsStr::from_bytes(bytes)), "x").unwrap();
    }
    assert_eq!(entries(&host.site()).len(), 60);
    let installation = Installation::start().await;
    let backup = run_on(&host, &installation).await;

    assert_eq!(backup["status"], "completed", "{backup}");
    assert_same(&installation.download(&backup).await, &host.site());
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_root_paths_are_only_paths() {
    let host = Host::start().await;
    let roots = ["-leading", "--version", "$(touch pwned)", "a b", "'", "\"", "*"];
    for root in roots {
        host.write(&format!("{root}/file"), root);
    }
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let lines: Vec<String> = roots.iter().map(|root| host.site().join(root).display().to_string()).collect();
    let job = installation.add_job_with(server, json!({"config": {"root_path": lines.join("\n")}})).await;
    let backup = installation.run(&job).await;

    assert_eq!(backup["status"], "completed", "{backup}");
    assert_same(&installation.download(&backup).await, &host.site());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_folder_is_a_backup() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let backup = run_on(&host, &installation).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_same(&installation.download(&backup).await, &host.site());
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_20_000_files_is_whole() {
    let host = Host::start().await;
    for number in 0..20_000 {
        std::fs::write(host.site().join(format!("{number:05}")), number.to_string()).unwrap();
    }
    let installation = Installation::start().await;
    let backup = run_on(&host, &installation).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_same(&installation.download(&backup).await, &host.site());
    leftovers::assert_none(&installation).await;
}

/// A run that stands still in the middle of `first/large`, because S3 takes no more parts until the proxy is released.
async fn standing_still(host: &Host) -> (Installation, Proxy, String) {
    host.write("first/large", noise(96 << 20, 7));
    host.write("second/late", "late");
    let proxy = Proxy::start(|request, _| if request.method() == "PUT" { Harm::Hold } else { Harm::None }).await;
    let installation = Installation::start_behind(&proxy).await;
    let server = installation.add_server(host).await;
    let roots = format!("{}\n{}", host.site().join("first").display(), host.site().join("second").display());
    let config = json!({"config": {"root_path": roots, "compression_level": 0}});
    let job = installation.add_job_with(server, config).await;
    let backup = installation.start_backup(&job).await;
    installation.backup_when(&backup, |backup| backup["progress"]["bytes_read"].as_u64() > Some(8 << 20)).await;
    (installation, proxy, backup)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_grows_while_it_is_read_is_told() {
    let host = Host::start().await;
    let (installation, proxy, backup) = standing_still(&host).await;
    let mut content = noise(96 << 20, 7);
    content.extend_from_slice(b"grown");
    std::fs::write(host.site().join("first/large"), content).unwrap();
    proxy.release();

    let backup = installation.ended(&backup).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert!(backup["source_errors"].to_string().contains("first/large"), "{backup}");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_is_removed_in_mid_run_is_told() {
    let host = Host::start().await;
    let (installation, proxy, backup) = standing_still(&host).await;
    std::fs::remove_dir_all(host.site().join("second")).unwrap();
    proxy.release();

    let backup = installation.ended(&backup).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert!(backup["source_errors"].to_string().contains("second"), "{backup}");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_killed_in_mid_stream_is_not_the_end_of_the_source() {
    let host = Host::start().await;
    let (installation, proxy, backup) = standing_still(&host).await;
    host.kill_sessions();
    proxy.release();

    let waiting =
        installation.backup_when(&backup, |backup| backup["status"] == "pending" && backup["attempt"] == 1).await;
    assert_eq!(waiting["failure"]["kind"], "connect", "{waiting}");
    leftovers::assert_only_named_objects(&installation).await;
    installation.advance(jiff::SignedDuration::from_secs(60));
    let ended = installation.ended(&backup).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(2)), "{ended}");
    leftovers::assert_none(&installation).await;
}
