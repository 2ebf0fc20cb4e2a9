use holdfast_shared::domain::account::AccountId;
use jiff::Timestamp;

use super::*;
use crate::http::Tree;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn backup() -> Backup {
    Backup {
        id: Uuid::from_u128(2),
        number: 7,
        account: AccountId::parse("acme").unwrap(),
        job: Uuid::from_u128(1),
        name: "Demo Job".into(),
        path: None,
        schedule: Some(15),
        slot: Some(at("2022-06-14T14:53:00Z")),
        tags: Tags { manual: false, hourly: false, daily: true, weekly: true, monthly: true },
        status: Status::Completed,
        attempt: 1,
        lease_until: None,
        heartbeat_at: Some(at("2022-06-14T14:53:44Z")),
        retry_at: None,
        cancel_requested: false,
        deletion_requested_at: None,
        created_at: at("2022-06-14T14:53:14Z"),
        started_at: Some(at("2022-06-14T14:53:15Z")),
        completed_at: Some(at("2022-06-14T14:54:00Z")),
        files: vec![File {
            id: 1,
            name: "file-backups.tar.zst".into(),
            plain_bytes: 40_000,
            stored_bytes: 19_023,
            plain_sha256: "aa".into(),
            stored_sha256: "bb".into(),
        }],
        copies: vec![Copy::stored(1, vec!["key".into()]), Copy::missing(2, vec!["key".into()], "down".into())],
        encrypted_to: vec!["SHA256:one".into(), "SHA256:two".into()],
        source_errors: Vec::new(),
        failure: None,
        skip_reason: None,
    }
}

#[test]
fn a_backup_shows_all_that_is_known_of_it() {
    let progress = Progress {
        attempt: 1,
        bytes_read: 40_000,
        bytes_stored: 19_023,
        bytes_per_second: 1_000,
        at: at("2022-06-14T14:53:59Z"),
    };
    let detail = BackupDetail { backup: backup(), progress: Some(progress) };
    let directory =
        "holdfast/acme/00000000-0000-0000-0000-000000000001/2022/06/14/00000000-0000-0000-0000-000000000002";
    let expected = json!({
        "id": "00000000-0000-0000-0000-000000000002",
        "job_id": "00000000-0000-0000-0000-000000000001",
        "number": 7,
        "name": "Demo Job",
        "status": "completed",
        "tags": {"manual": false, "hourly": false, "daily": true, "weekly": true, "monthly": true},
        "schedule_id": 15,
        "slot": "2022-06-14T14:53:00.000000Z",
        "s3_directory": directory,
        "created_at": "2022-06-14T14:53:14.000000Z",
        "started_at": "2022-06-14T14:53:15.000000Z",
        "completed_at": "2022-06-14T14:54:00.000000Z",
        "heartbeat_at": "2022-06-14T14:53:44.000000Z",
        "cancel_requested": false,
        "deletion_requested_at": null,
        "attempt": 1,
        "progress": {
            "attempt": 1, "bytes_read": 40_000, "bytes_stored": 19_023, "bytes_per_second": 1_000,
            "at": "2022-06-14T14:53:59.000000Z",
        },
        "failure": null,
        "skip_reason": null,
        "source_errors": [],
        "monitoring_available": true,
        "encryption_key": "SHA256:one",
        "encryption_keys": ["SHA256:one", "SHA256:two"],
        "copies": [
            {"storage_id": 1, "status": "stored", "error": null},
            {"storage_id": 2, "status": "missing", "error": "down"},
        ],
        "files": [{
            "id": "1", "name": "file-backups.tar.zst", "size": "19023 bytes", "url": "https://holdfast.example/1",
            "plain_bytes": 40_000, "stored_bytes": 19_023, "plain_sha256": "aa", "stored_sha256": "bb",
        }],
    });
    let url_of = |_: &Backup, file: &File| Ok(Some(format!("https://holdfast.example/{}", file.id)));
    assert_eq!(view(&detail, url_of).unwrap(), expected);
}

#[test]
fn a_job_s_last_backups_have_tags_of_0_and_1() {
    let backup = backup();
    let summary = summary(&backup.account, backup.job, &BackupSummary::of(&backup));
    assert_eq!(summary["tags"], json!({"manual": 0, "hourly": 0, "daily": 1, "weekly": 1, "monthly": 1}));
    let names: Vec<_> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "completed_at",
        "created_at",
        "id",
        "job_id",
        "monitoring_available",
        "s3_directory",
        "started_at",
        "status",
        "tags",
    ];
    assert_eq!(names, documented);
}

#[test]
fn a_start_answers_what_is_documented() {
    let expected = json!({
        "status": "starting",
        "backup_id": "00000000-0000-0000-0000-000000000002",
        "url": "https://holdfast.example/v1/backups/00000000-0000-0000-0000-000000000002",
        "config": [],
        "tags": {"is_manual": false, "is_hourly": false, "is_daily": true, "is_weekly": true, "is_monthly": true},
    });
    assert_eq!(started(&backup(), "https://holdfast.example"), expected);
}

fn filtered(query: &str) -> Result<BackupFilter> {
    let tree = Tree::from_urlencoded(query.as_bytes()).unwrap();
    let mut fields = Fields::new(&tree);
    let filter = filter(&mut fields);
    fields.finish(|| Some(filter))
}

#[test]
fn lists_filter_by_what_is_documented() {
    let filter = filtered("status=completed&tags[daily]=1&tags[manual]=false&started_since=2022-06-14").unwrap();
    let expected = BackupFilter {
        status: Some(Status::Completed),
        tags: vec![("manual".to_owned(), false), ("daily".to_owned(), true)],
        started_since: Some("2022-06-14T00:00:00Z".parse().unwrap()),
        completed_since: None,
    };
    assert_eq!(filter, expected);
    assert_eq!(filtered("").unwrap(), BackupFilter::default());
    let error = filtered("status=done&tags[daily]=perhaps&started_since=x").unwrap_err();
    let told: Vec<_> = error.fields().unwrap().iter().map(|(field, _)| field.to_owned()).collect();
    assert_eq!(told, ["started_since", "status", "tags.daily"]);
}
