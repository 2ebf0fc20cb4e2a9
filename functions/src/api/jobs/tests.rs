use std::collections::BTreeMap;

use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::compression::CompressionMethod;
use holdfast_shared::domain::job::{Job, JobInput, Region};
use holdfast_shared::domain::login::{Host, Login, LoginName, LoginStatus};
use holdfast_shared::domain::recipe::{RecipeDefinition, RecipeDraft};
use holdfast_shared::domain::schedule::Schedule;
use holdfast_shared::domain::sealed::Sealed;
use holdfast_shared::domain::server::Server;
use holdfast_shared::domain::ssh_key::SshKey;
use holdfast_shared::domain::storage::Provider;

use super::*;
use crate::http::Tree;

const JOB: &str = "0319170e-2394-425c-a1c2-96be9810314c";

fn sealed(draft: RecipeDraft) -> Recipe {
    draft.seal(|_, _| Ok::<_, ()>(Sealed("sealed".into()))).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The job that the API's documentation prints as its answer to a create call.
fn documented() -> JobDetail {
    let input: JobInput = serde_json::from_value(json!({
        "recipe_id": 1, "name": "Demo Job",
        "config": {"root_path": "/", "exclude": "/etc\n/var\n/sys\n/proc"},
        "compute": {"type": "server", "server_id": 102},
        "storage": [{"priority": 1, "storage_id": 40}],
        "schedules": [{
            "frequency": "m30", "run_offset": 5,
            "retention_hourly": 7, "retention_daily": 7, "retention_weekly": 7, "retention_monthly": 7,
        }],
    }))
    .unwrap();
    let change = input.read_new();
    assert!(change.faults.is_empty(), "{:?}", change.faults);
    let created_at = at("2022-01-11T06:40:31Z");
    let key = SshKey {
        id: 102,
        name: "Staging Key".into(),
        public_key: "ssh-ed25519 AAAA bot".into(),
        fingerprint: "SHA256:x".into(),
        private_key: Sealed("sealed".into()),
        created_at: at("2022-01-11T06:40:29Z"),
        last_used_at: Some(at("2022-01-11T06:40:30Z")),
    };
    let server = Server {
        id: 102,
        name: "Demo SnapShooter".into(),
        login: Login {
            host: Host::parse("10.0.33.142").unwrap(),
            port: 22,
            user: LoginName::parse("simon").unwrap(),
            ssh_key_id: 102,
            host_key: None,
        },
        max_parallel: 2,
        status: LoginStatus::Success,
        created_at: at("2022-01-11T06:40:29Z"),
        updated_at: at("2022-01-11T06:40:29Z"),
        revision: 1,
        last_used_at: None,
        check: None,
    };
    let storage = Storage {
        id: 40,
        name: "main".into(),
        provider: Provider::Digitalocean,
        bucket: "snapshooter-test".into(),
        region: "fra1".into(),
        endpoint: None,
        credentials: None,
        options: Default::default(),
        created_at,
        updated_at: created_at,
        revision: 1,
        check: None,
    };
    let schedules = change.schedules.clone().unwrap().into_iter().map(|schedule| Schedule { id: 15, ..schedule });
    let job = Job {
        id: JOB.parse().unwrap(),
        number: 1,
        account: AccountId::parse("acme").unwrap(),
        name: change.name.clone().unwrap(),
        recipe: sealed(change.recipe.clone().unwrap()),
        compute: change.compute.clone().unwrap(),
        storages: change.storages_by_priority().unwrap(),
        schedules: schedules.collect(),
        compression: CompressionMethod::default(),
        encryption_key_ids: Vec::new(),
        encryption_password: None,
        path_template: None,
        proxy_id: None,
        manual_retention: Default::default(),
        limits: Default::default(),
        hooks: Default::default(),
        paused_at: None,
        last_ran_at: None,
        last_stored_bytes: None,
        created_at,
        updated_at: created_at,
        revision: 1,
    };
    JobDetail {
        job,
        server: Some((server.into(), key.into())),
        storages: vec![(storage.into(), 1)],
        last_backups: Vec::new(),
    }
}

/// Asserts that `actual` holds everything of `expected`; an object may hold more.
#[track_caller]
fn holds(actual: &Value, expected: &Value, path: &str) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            for (name, value) in expected {
                let path = format!("{path}.{name}");
                holds(actual.get(name).unwrap_or_else(|| panic!("{path} is missing")), value, &path);
            }
        }
        (Value::Array(actual), Value::Array(expected)) if actual.len() == expected.len() => {
            for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
                holds(actual, expected, &format!("{path}.{index}"));
            }
        }
        _ => assert_eq!(actual, expected, "{path}"),
    }
}

#[test]
fn prints_the_documented_answer_and_more() {
    let expected = json!({
        "id": JOB,
        "name": "Demo Job",
        "recipe": "file-backups",
        "compute": {
            "type": "server",
            "server_id": 102,
            "server": {
                "id": 102, "host": "10.0.33.142", "user": "simon", "port": 22, "name": "Demo SnapShooter",
                "created_at": "2022-01-11T06:40:29.000000Z", "last_used": null, "status": "success",
                "key": {
                    "id": 102, "public_key": "ssh-ed25519 AAAA bot", "name": "Staging Key",
                    "created_at": "2022-01-11T06:40:29.000000Z", "last_used": "2022-01-11T06:40:30.000000Z",
                },
            },
        },
        "config": {
            "root_path": {"value": "/", "label": "Root Paths", "type": "textarea"},
            "exclude": {"value": "/etc\n/var\n/sys\n/proc", "label": "Exclude List", "type": "textarea"},
            "compression_level": {"value": 6, "label": "Compression Level", "type": "number"},
            "use_sudo": {"value": "False", "label": "Run using Sudo?", "type": "checkbox"},
        },
        "last_ran_at": null,
        "created_at": "2022-01-11T06:40:31.000000Z",
        "updated_at": "2022-01-11T06:40:31.000000Z",
        "schedule": [{
            "id": 15, "schedule_name": "main", "schedule_order": 0, "status": "active",
            "frequency": 30, "frequency_mode": "minute", "cron": "0 * * * *", "timezone": "UTC", "run_offset": 5,
            "retention": {"hourly": 7, "daily": 7, "weekly": 7, "monthly": 7},
            "resource_type": "BackupJob", "resource_id": JOB,
        }],
        "storage": [{
            "id": 40, "name": "main", "provider": "digitalocean", "region": "fra1", "bucket": "snapshooter-test",
            "endpoint": null, "estimated_size": 0, "priority": 1,
        }],
        "last_backups": [],
    });
    let printed = view(&documented(), at("2022-01-11T06:40:31Z"));
    holds(&printed, &expected, "data");
    let ours =
        json!({"number": 1, "compute_type": "server", "paused_at": null, "compute": {"name": "Demo SnapShooter"}});
    holds(&printed, &ours, "data");
    assert!(!printed.to_string().contains("sealed"));
}

#[test]
fn a_job_without_a_server_shows_its_region_and_no_secret() {
    let mut detail = documented();
    let config = json!({
        "mysql_username": "snapshooter-demo", "mysql_password": "<Database Password>",
        "mysql_host": "demo-mysql.example.com", "mysql_port": 3306,
        "mysql_database": "my-popular-minecraft-server", "compression_level": 6,
    });
    let recipe = RecipeDefinition::find("28").unwrap().configure(config.as_object().unwrap(), true).unwrap();
    detail.job.recipe = sealed(recipe);
    detail.job.compute = Compute::Serverless { region: Region::parse("eu").unwrap() };
    detail.server = None;
    let expected = json!({
        "recipe": "mysql-backups",
        "compute_type": "ss_serverless",
        "compute": {"type": "ss_serverless", "name": "Serverless EU", "region": "eu"},
        "config": {
            "mysql_host": {"value": "demo-mysql.example.com", "label": "MySQL Host", "type": "text"},
            "mysql_port": {"value": 3306, "label": "MySQL Port", "type": "number"},
            "mysql_username": {"value": "snapshooter-demo", "label": "MySQL Username", "type": "text"},
            "mysql_password": {"value": "**set**", "label": "MySQL Password", "type": "password"},
            "mysql_database": {"value": "my-popular-minecraft-server", "label": "MySQL Database", "type": "text"},
        },
    });
    let printed = view(&detail, at("2022-01-11T06:40:31Z"));
    holds(&printed, &expected, "data");
    assert!(!printed.to_string().contains("sealed"));
    assert_eq!(printed["compute"].get("server"), None);
}

#[test]
fn a_schedule_shows_its_next_five_runs_unless_it_does_not_fire() {
    let mut detail = documented();
    let now = at("2022-01-11T06:40:31Z");
    let runs = view(&detail, now)["schedule"][0]["next_runs"].clone();
    let expected = ["07:05", "07:35", "08:05", "08:35", "09:05"];
    assert_eq!(runs, json!(expected.map(|time| format!("2022-01-11T{time}:00.000000Z"))));
    detail.job.paused_at = Some(now);
    assert_eq!(view(&detail, now)["schedule"][0]["next_runs"], json!([]));
}

fn filtered(query: &str) -> Result<(Paging, JobFilter)> {
    let tree = Tree::from_urlencoded(query.as_bytes()).unwrap();
    let mut fields = Fields::new(&tree);
    let read = (Paging::read(&mut fields, SORT_KEYS, OLDEST_FIRST), filter(&mut fields));
    fields.finish(|| Some(read))
}

#[test]
fn lists_sort_and_filter_by_what_is_documented() {
    for (word, by) in SORT_KEYS {
        let (paging, _) = filtered(&format!("sort=-{word}")).unwrap();
        assert_eq!(paging.order, Order { by: *by, descending: true });
    }
    let (_, filter) = filtered("host=10.0.33.142&modified_since=2022-01-11T06:40:31Z").unwrap();
    let modified_since = Some(at("2022-01-11T06:40:31Z"));
    assert_eq!(filter, JobFilter { server: None, host: Some("10.0.33.142".into()), modified_since });
    let error = filtered("sort=size&modified_since=never&page_size=14").unwrap_err();
    let told: BTreeMap<_, _> = error.fields().unwrap().iter().collect();
    assert_eq!(told.into_keys().collect::<Vec<_>>(), ["modified_since", "page_size", "sort"]);
}
