//! Previews: what a job would take, told without taking it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use holdfast_tests::installation::{Host, processes_below};
use holdfast_tests::table::RawTable;
use holdfast_tests::tree::names;
use holdfast_tests::{Installation, Setup, eventually, leftovers};
use serde_json::{Value, json};

async fn preview(installation: &Installation, job: &str) -> Value {
    let api = &installation.api;
    let asked = api.post(&format!("/v1/jobs/{job}/preview"), json!({})).await.expect(202).data();
    assert_eq!((&asked["status"], &asked["entries"], &asked["totals"]), (&json!("pending"), &json!([]), &Value::Null));
    let answered = eventually("the preview", || async {
        let seen = api.get(&format!("/v1/jobs/{job}/preview")).await.expect(200).data();
        if seen["status"] == "pending" { Err(seen) } else { Ok(seen) }
    })
    .await;
    assert_eq!(answered["id"], asked["id"]);
    assert!(answered["finished_at"].is_string(), "{answered}");
    answered
}

async fn job_of(installation: &Installation, host: &Host, config: Value) -> String {
    let server = installation.add_server(host).await;
    installation.add_job_with(server, json!({"config": config})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_lists_what_a_run_takes() {
    let host = Host::start().await;
    let site = host.site();
    host.write("large", vec![7; 70_000]);
    host.write("a -> b", "12345");
    host.write("new\nline \"ü\"", "x");
    host.write("cache/left out", "x");
    host.write("deep/er/file", "abc");
    std::fs::hard_link(site.join("large"), site.join("deep/same")).unwrap();
    symlink("nowhere -> there", site.join("link")).unwrap();
    let _socket = UnixListener::bind(site.join("socket")).unwrap();
    let installation = Installation::start().await;
    let config = json!({"root_path": site, "exclude": "cache"});
    let job = job_of(&installation, &host, config).await;
    let path = format!("/v1/jobs/{job}/preview");
    assert_eq!(installation.api.get(&path).await.expect(200).json(), json!({"data": null}));

    let preview = preview(&installation, &job).await;
    assert_eq!((&preview["status"], &preview["message"]), (&json!("success"), &Value::Null), "{preview}");
    assert_eq!((&preview["complete"], &preview["truncated"]), (&json!(true), &json!(false)));
    let expected = json!({"files": 4, "folders": 3, "symlinks": 1, "hard_links": 1, "others": 0, "bytes": 70_009});
    assert_eq!(preview["totals"], expected, "{preview:#}");
    let entries = preview["entries"].as_array().unwrap();
    let entry = |name: &str| {
        let path = site.join(name).display().to_string();
        entries.iter().find(|entry| entry["path"] == path).unwrap_or_else(|| panic!("{name}: {preview:#}"))
    };
    assert_eq!((&entry("a -> b")["kind"], &entry("a -> b")["bytes"]), (&json!("file"), &json!(5)));
    assert_eq!(entry("new\nline \"ü\"")["bytes"], 1);
    assert_eq!((&entry("link")["kind"], &entry("link")["target"]), (&json!("symlink"), &json!("nowhere -> there")));
    assert_eq!(entry("deep/er")["kind"], "folder");
    let remarks = preview["remarks"].to_string();
    assert!(remarks.contains("socket ignored"), "{remarks}");

    // The very names, in the very order.
    let backup = installation.run(&job).await;
    let taken = names(&installation.download(&backup).await);
    let told: Vec<_> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    let is_plain = |name: &&String| !name.contains('\\');
    let taken: Vec<_> = taken.iter().filter(is_plain).map(|name| format!("/{}", name.trim_end_matches('/'))).collect();
    let told: Vec<_> = told.into_iter().filter(|name| !name.contains('\n')).collect();
    assert_eq!(told, taken);
    leftovers::assert_none(&installation).await;

    installation.api.delete(&format!("/v1/jobs/{job}")).await.expect(204);
    installation.api.get(&path).await.expect(404);
    let table = RawTable::of(&installation);
    eventually("no preview of a job that is gone", || async {
        let left = table.items().await.into_iter().filter(|item| item["pk"].as_s().unwrap().ends_with("#PREVIEWS"));
        if left.count() == 0 { Ok(()) } else { Err("it is there") }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_is_cut_and_its_totals_are_whole() {
    let host = Host::start().await;
    for number in 0..1_500 {
        std::fs::write(host.site().join(format!("{number:04}")), "xy").unwrap();
    }
    let installation = Installation::start().await;
    let job = job_of(&installation, &host, json!({"root_path": host.site()})).await;
    let preview = preview(&installation, &job).await;
    assert_eq!((&preview["truncated"], &preview["complete"]), (&json!(true), &json!(true)));
    assert_eq!(preview["entries"].as_array().unwrap().len(), 1_000);
    assert_eq!((&preview["totals"]["files"], &preview["totals"]["bytes"]), (&json!(1_500), &json!(3_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_does_not_end_is_ended() {
    let script = "#!/bin/sh\ncase \"$*\" in *no-recursion*) exec /usr/bin/tar \"$@\";; esac\n\
        while :; do echo '-rw-r--r-- 0/0  5 2026-01-01 00:00:00.0 \"/x\"'; done\n";
    let host = Host::start_with_programs(&[("tar", script)], false).await;
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let body = json!({"config": {"root_path": host.site()}, "limits": {"run_seconds": 2}});
    let job = installation.add_job_with(server, body).await;
    let preview = preview(&installation, &job).await;
    assert_eq!((&preview["status"], &preview["complete"]), (&json!("success"), &json!(false)), "{preview:#}");
    assert!(preview["totals"]["files"].as_u64() > Some(0) && preview["entries"][0]["path"] == "/x");
    let listener = host.sshd.pid().unwrap();
    eventually("the end of what lists", || async {
        let runs = processes_below(listener);
        if runs.is_empty() { Ok(()) } else { Err(runs) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_read_is_told() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED, as this does not run as root: a folder of another user's");
        return;
    }
    let host = Host::start_for_other_user().await;
    host.write("open/a", "a");
    host.write("closed/b", "b");
    std::fs::set_permissions(host.site().join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let installation = Installation::start().await;
    let job = job_of(&installation, &host, json!({"root_path": host.site()})).await;
    let preview = preview(&installation, &job).await;
    assert_eq!((&preview["status"], &preview["totals"]["files"]), (&json!("success"), &json!(1)), "{preview:#}");
    let remarks = preview["remarks"].to_string();
    assert!(remarks.contains("closed") && remarks.contains("Permission denied"), "{remarks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_there_is_no_preview_is_told() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let missing = host.site().join("nothing-here");
    let job = job_of(&installation, &host, json!({"root_path": missing})).await;
    let failed = preview(&installation, &job).await;
    assert_eq!((&failed["status"], &failed["failed_step"]), (&json!("failed"), &json!("source")), "{failed}");
    assert!(failed["message"].as_str().unwrap().contains("nothing-here"), "{failed}");
    assert_eq!((&failed["complete"], &failed["entries"]), (&json!(false), &json!([])));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    installation.api.patch("/v1/servers/1", json!({"port": closed})).await.expect(200);
    let failed = preview(&installation, &job).await;
    assert_eq!(failed["failed_step"], "connect", "{failed}");

    let other = json!({"recipe": "mysql-backups", "config": {}});
    let other = installation.add_job_with(1, other).await;
    let refused = installation.api.post(&format!("/v1/jobs/{other}/preview"), json!({})).await.expect(422).json();
    assert!(refused["errors"]["recipe"][0].as_str().unwrap().contains("mysql-backups"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_one_that_was_asked_for_is_shown() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let host = Host::start().await;
    let job = job_of(&installation, &host, json!({"root_path": host.site()})).await;
    let path = format!("/v1/jobs/{job}/preview");
    let ask = async || installation.api.post(&path, json!({})).await.expect(202).data();
    let (first, second) = (ask().await, ask().await);
    assert_ne!(first["id"], second["id"]);
    let service = installation.service();
    let (account, id) = (installation.account(), job.parse().unwrap());
    let shown = service.preview(&account, id).await.unwrap().unwrap();
    let late =
        holdfast_shared::domain::preview::Preview { id: first["id"].as_str().unwrap().parse().unwrap(), ..shown };
    let written = service.finish_preview(&account, id, late, Ok(Default::default())).await.unwrap();
    assert!(!written.is_yes());
    assert_eq!(installation.api.get(&path).await.expect(200).data(), second);
}
