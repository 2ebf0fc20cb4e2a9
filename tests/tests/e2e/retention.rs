//! Retention: what goes after a run, told beforehand.

use holdfast_tests::installation::Host;
use holdfast_tests::{Installation, eventually, leftovers};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Runs the job's only schedule once more and answers the backup.
async fn next_slot(installation: &Installation, job: &str, by: SignedDuration) -> Value {
    let before = installation.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
    let newest = before[0]["id"].clone();
    installation.advance(by);
    let backup = installation.listed_when(job, |backup| backup["slot"].is_string() && backup["id"] != newest).await;
    installation.ended(backup["id"].as_str().unwrap()).await
}

async fn outlook(installation: &Installation, job: &str) -> Value {
    installation.api.get(&format!("/v1/jobs/{job}/retention")).await.expect(200).data()
}

async fn job_with(installation: &Installation, host: &Host, more: Value) -> String {
    let server = installation.add_server(host).await;
    let mut job = json!({"config": {"root_path": host.site()}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    installation.add_job_with(server, job).await
}

/// Retention follows the record of a run: waits for it.
async fn expired(installation: &Installation, backup: &Value) {
    let id = backup["id"].as_str().unwrap();
    let gone =
        installation.backup_when(id, |backup| backup["status"] == "expired" && backup["files"] == json!([])).await;
    assert_eq!(gone["files"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outlook_is_what_the_next_run_does() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let schedules = json!([{"cron": "* * * * *"}]);
    let job = job_with(&installation, &host, json!({"schedules": schedules})).await;
    let minute = SignedDuration::from_mins(1);
    let first = next_slot(&installation, &job, minute).await;
    let second = next_slot(&installation, &job, minute).await;
    let by_hand = installation.run(&job).await;
    let all = outlook(&installation, &job).await;
    assert_eq!((&all["goes"], &all["stays"]), (&json!(0), &json!(3)), "{all}");
    assert!(all["backups"].as_array().unwrap().iter().all(|one| one["kept_by"] == json!(["keeps_all"])), "{all}");

    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let schedule = shown["schedule"][0]["id"].clone();
    let path = format!("/v1/jobs/{job}/schedules/{schedule}");
    installation.api.patch(&path, json!({"retention_keep_last": 1})).await;
    let told = outlook(&installation, &job).await;
    assert_eq!((&told["goes"], &told["stays"]), (&json!(1), &json!(2)), "{told}");
    let going = &told["backups"][0];
    assert_eq!((&going["id"], &going["goes"], &going["kept_by"]), (&first["id"], &json!(true), &json!([])));
    assert_eq!(going["reasons"], json!(["the newest 1 are kept, and it is older"]));
    assert_eq!(going["schedule_id"], schedule);
    let of = |id: &Value| told["backups"].as_array().unwrap().iter().find(|one| one["id"] == *id).cloned().unwrap();
    assert_eq!(of(&second["id"])["kept_by"], json!(["keep_last", "last_good"]));
    assert_eq!(of(&by_hand["id"])["kept_by"], json!(["keeps_all"]), "a manual one goes by its own rule");
    assert_eq!(of(&by_hand["id"])["schedule_id"], Value::Null);
    let still =
        installation.api.get(&format!("/v1/backups/{}", first["id"].as_str().unwrap())).await.expect(200).data();
    assert_eq!(still["status"], "completed", "asking changes nothing");

    // The next run makes one more, so that the second goes with the first.
    let third = next_slot(&installation, &job, minute).await;
    assert_eq!(third["status"], "completed", "{third}");
    expired(&installation, &first).await;
    expired(&installation, &second).await;
    let told = outlook(&installation, &job).await;
    assert_eq!((&told["goes"], &told["stays"]), (&json!(0), &json!(2)), "{told}");
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual_ones_go_by_their_own_rule() {
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let job = job_with(&installation, &host, json!({"manual_retention": {"days": 2}})).await;
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    assert_eq!(shown["manual_retention"], json!({"keep_last": 0, "days": 2}));
    let first = installation.run(&job).await;
    installation.advance(SignedDuration::from_hours(24));
    let second = installation.run(&job).await;
    let told = outlook(&installation, &job).await;
    assert_eq!(told["goes"], 0, "{told}");

    installation.advance(SignedDuration::from_hours(25));
    let told = outlook(&installation, &job).await;
    assert_eq!(told["backups"][0]["id"], first["id"], "{told}");
    assert_eq!(told["backups"][0]["reasons"], json!(["it is older than 2 days"]));
    assert_eq!(told["backups"][1]["kept_by"], json!(["days", "last_good"]));
    // A run that fails takes nothing away: what is there is all that there is.
    std::fs::rename(host.site(), host.site().with_extension("away")).unwrap();
    assert_eq!(installation.run(&job).await["status"], "failed");
    std::fs::rename(host.site().with_extension("away"), host.site()).unwrap();
    let still =
        installation.api.get(&format!("/v1/backups/{}", first["id"].as_str().unwrap())).await.expect(200).data();
    assert_eq!(still["status"], "completed");

    let third = installation.run(&job).await;
    assert_eq!(third["status"], "completed");
    expired(&installation, &first).await;
    let left = eventually("two are left", || async {
        let told = outlook(&installation, &job).await;
        if told["stays"] == 2 { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!((&left["backups"][0]["id"], &left["backups"][1]["id"]), (&third["id"], &second["id"]));
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_checked_and_shown() {
    let host = Host::start().await;
    let installation = Installation::start().await;
    let schedules = json!([{"frequency": "h24", "retention": {"keep_last": 5, "days": 30}}]);
    let job = job_with(&installation, &host, json!({"schedules": schedules})).await;
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    let kept = json!({"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "keep_last": 5, "days": 30});
    assert_eq!(shown["schedule"][0]["retention"], kept);
    let bad = json!({
        "manual_retention": {"keep_last": -1, "days": 10_000, "daily": 1},
        "schedules": [{"retention_days": "x", "retention_keep_last": 10_000}],
    });
    let refused = installation.api.patch(&format!("/v1/jobs/{job}"), bad).await.expect(422).json();
    let fields: Vec<_> = refused["errors"].as_object().unwrap().keys().cloned().collect();
    let expected = [
        "manual_retention.daily",
        "manual_retention.days",
        "manual_retention.keep_last",
        "schedules.0.retention_days",
        "schedules.0.retention_keep_last",
    ];
    assert_eq!(fields, expected, "{refused}");
}
