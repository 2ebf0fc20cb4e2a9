//! Path templates: people read the keys, and nothing else depends on what they say. Whatever a job is called, its objects lie
//! below their account's prefix, and everything that looks for them finds them.

use holdfast_shared::domain::object_key::{ObjectKey, prefix_of_account};
use holdfast_tests::installation::Host;
use holdfast_tests::tree::assert_same;
use holdfast_tests::{Installation, eventually, leftovers};
use serde_json::{Value, json};

async fn patch(installation: &Installation, job: &str, change: Value) {
    installation.api.patch(&format!("/v1/jobs/{job}"), change).await.expect(204);
}

async fn gone(installation: &Installation, what: &str) {
    eventually(what, || async {
        let left = leftovers::all_objects(installation).await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_lies_where_its_template_says_and_is_found_there() {
    let (host, installation) = (Host::start().await, Installation::start().await);
    host.write("text", "one line\n".repeat(1_000));
    let job = installation.add_job(&host).await;
    let path = format!("/v1/jobs/{job}");
    assert_eq!(installation.api.get(&path).await.expect(200).data()["path_template"], Value::Null);
    patch(&installation, &job, json!({"name": "My Shop", "path_template": "eu/{job}/{yyyy}-{mm}/{recipe}"})).await;
    let shown = installation.api.get(&path).await.expect(200).data();
    assert_eq!(shown["path_template"], "eu/{job}/{yyyy}-{mm}/{recipe}");

    let first = installation.run(&job).await;
    assert_eq!(first["status"], "completed", "{first}");
    let (id, month) = (first["id"].as_str().unwrap(), &first["created_at"].as_str().unwrap()[..7]);
    let account = prefix_of_account(&installation.account());
    let directory = format!("{account}eu/My_Shop/{month}/file-backups/{job}/{id}");
    assert_eq!(first["s3_directory"], directory);
    let expected = ["file-backups.tar.zst", "manifest.json"].map(|name| format!("{directory}/0001/{name}"));
    assert_eq!(leftovers::objects(&installation).await, expected);
    assert_same(&installation.download(&first).await, &host.site());

    // Renamed, with another template and with none: each backup stays where it is, and the sweeper lets it be.
    patch(&installation, &job, json!({"name": "../../etc", "path_template": "{job}"})).await;
    let second = installation.run(&job).await;
    assert_eq!(
        second["s3_directory"].as_str().unwrap().strip_prefix(&account).unwrap().split('/').next(),
        Some("x.._.._etc")
    );
    patch(&installation, &job, json!({"path_template": null})).await;
    let third = installation.run(&job).await;
    assert!(third["s3_directory"].as_str().unwrap().starts_with(&format!("{account}{job}/")), "{third}");
    for backup in [&first, &second, &third] {
        assert_same(&installation.download(backup).await, &host.site());
    }
    // One that nobody knows of, beside those of a backup.
    let service = installation.service();
    let storage = service.storage(&installation.account(), 1).await.unwrap();
    let bucket = service.objects(&installation.account(), &storage).unwrap();
    bucket.put(&format!("{directory}/0002/file-backups.tar.zst"), "stray".into()).await.unwrap();
    installation.advance(jiff::SignedDuration::from_hours(25));
    installation.maintain().await;
    leftovers::assert_none(&installation).await;

    // Deleted one by one, and with their job.
    installation.api.delete(&format!("/v1/backups/{id}")).await.expect(204);
    eventually("the first backup's objects to go", || async {
        let left = leftovers::objects(&installation).await;
        if left.iter().any(|key| key.contains(id)) { Err(left) } else { Ok(()) }
    })
    .await;
    assert_eq!(leftovers::objects(&installation).await.len(), 4, "only those of the first");
    installation.api.delete(&path).await.expect(204);
    gone(&installation, "an empty bucket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_of_a_job_leads_out_of_its_account() {
    let (host, installation) = (Host::start().await, Installation::start().await);
    host.write("text", "one line");
    let job = installation.add_job(&host).await;
    let long = "é".repeat(255);
    let names = [
        "..",
        "../../..",
        "/etc/passwd",
        "a/../../b",
        "%2e%2e%2f",
        ".",
        "-rf",
        "\u{202e}txt",
        "‥/․",
        "a\\..\\b",
        &long,
    ];
    let account = prefix_of_account(&installation.account());
    let mut seen = Vec::new();
    for name in names {
        patch(&installation, &job, json!({"name": name, "path_template": "{job}/{yyyy}/{mm}/{dd}/{hh}{min}"})).await;
        let backup = installation.run(&job).await;
        assert_eq!(backup["status"], "completed", "{name}: {backup}");
        seen.push(backup["s3_directory"].as_str().unwrap().to_owned());
    }
    let objects = leftovers::all_objects(&installation).await;
    assert_eq!(objects.len(), 2 * names.len());
    for key in objects {
        assert!(key.starts_with(&account), "{key}");
        assert!(ObjectKey::parse(&key).is_some(), "{key}");
        assert_eq!(seen.iter().filter(|directory| key.starts_with(&format!("{directory}/"))).count(), 1, "{key}");
    }
    installation.api.delete(&format!("/v1/jobs/{job}/backups")).await.expect(200);
    gone(&installation, "an empty bucket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_leads_elsewhere_is_refused() {
    let (host, installation) = (Host::start().await, Installation::start().await);
    let job = installation.add_job(&host).await;
    for template in ["../{job}", "/{job}", "{job}/", "{job}//a", "{name}", "{job", "a b", "a%2f", "."] {
        let body = json!({"path_template": template});
        let refused = installation.api.patch(&format!("/v1/jobs/{job}"), body).await.expect(422).json();
        assert_eq!(refused["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["path_template"], "{template}");
    }
}
