//! Jobs: made, listed, changed, paused and deleted, with Scheduler and the objects following.

use bytes::Bytes;
use holdfast_shared::aws::ScheduleEntry;
use holdfast_tests::installation::Host;
use holdfast_tests::{Installation, Setup, eventually, leftovers};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// An installation without a worker, that has a server with the number 1.
async fn with_server() -> Installation {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    installation.api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    add_server(&installation, "10.0.0.1").await;
    installation
}

async fn add_server(installation: &Installation, host: &str) -> u64 {
    let server = json!({"name": host, "host": host, "user": "root", "ssh_key": 1});
    installation.api.post("/v1/servers", server).await.expect(201).data()["id"].as_u64().unwrap()
}

async fn show(installation: &Installation, job: &str) -> Value {
    installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data()
}

/// What Scheduler has, by name.
async fn entries(installation: &Installation) -> Vec<ScheduleEntry> {
    let scheduler = &installation.service().aws.scheduler;
    let (names, next) = scheduler.list(None, None).await.unwrap();
    assert_eq!(next, None, "more than a page of entries");
    let mut entries = Vec::new();
    for name in names {
        entries.push(scheduler.get(&name).await.unwrap().expect("an entry that is listed"));
    }
    entries
}

async fn expressions(installation: &Installation) -> Vec<(String, String)> {
    entries(installation).await.into_iter().map(|entry| (entry.expression, entry.timezone)).collect()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap().to_owned()).collect()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_pages_in_every_order() {
    let installation = with_server().await;
    for number in 0..17 {
        installation.add_job_with(1, json!({"name": format!("job {number:02}")})).await;
        // Two jobs of one microsecond would sort by their ids.
        installation.advance(SignedDuration::from_millis(5));
    }
    let all: Vec<_> = (0..17).map(|number| format!("job {number:02}")).collect();
    let first = installation.api.get("/v1/jobs").await.expect(200).json();
    assert_eq!(names(&first["data"]), all[..15], "the oldest come first");
    assert_eq!(first["meta"]["total"], 17);
    assert_eq!((&first["meta"]["current_page"], &first["meta"]["last_page"]), (&json!(1), &json!(2)));
    assert_eq!(first["links"]["prev"], Value::Null);

    // The links are whole: followed as they are, with the token.
    let path = |link: &Value| link.as_str().unwrap().strip_prefix(installation.stack.base_url()).unwrap().to_owned();
    let second = installation.api.get(&path(&first["links"]["next"])).await.expect(200).json();
    assert_eq!(names(&second["data"]), all[15..]);
    assert_eq!((&second["meta"]["from"], &second["meta"]["to"]), (&json!(16), &json!(17)));
    assert_eq!(second["links"]["next"], Value::Null);
    let back = installation.api.get(&path(&second["links"]["prev"])).await.expect(200).json();
    assert_eq!(back["data"], first["data"]);
    let last = installation.api.get(&path(&first["links"]["last"])).await.expect(200).json();
    assert_eq!(last["data"], second["data"]);
    let beyond = installation.api.get("/v1/jobs?page=3").await.expect(200).json();
    assert_eq!(beyond["data"], json!([]));

    let mut backwards = all.clone();
    backwards.reverse();
    for (sort, expected) in [("name", &all), ("-name", &backwards), ("created_at", &all), ("-created_at", &backwards)] {
        let sorted = installation.api.get(&format!("/v1/jobs?page_size=100&sort={sort}")).await.expect(200).data();
        assert_eq!(names(&sorted), *expected, "{sort}");
    }
    for sort in ["id", "-id", "last_ran_at", "updated_at", "-updated_at"] {
        let mut sorted =
            names(&installation.api.get(&format!("/v1/jobs?page_size=100&sort={sort}")).await.expect(200).data());
        sorted.sort();
        assert_eq!(sorted, all, "{sort} leaves some out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_by_host_and_change() {
    let installation = with_server().await;
    let other = add_server(&installation, "shop.example.com").await;
    let (first, second) = (
        installation.add_job_with(1, json!({"name": "first"})).await,
        installation.add_job_with(other, json!({"name": "second"})).await,
    );
    let listed =
        async |query: &str| names(&installation.api.get(&format!("/v1/jobs?{query}")).await.expect(200).data());
    assert_eq!(listed("host=shop.example.com").await, ["second"]);
    assert_eq!(listed("host=10.0.0.1").await, ["first"]);
    assert_eq!(listed("host=nowhere").await, [""; 0]);

    installation.advance(SignedDuration::from_secs(10));
    let changed = show(&installation, &second).await["updated_at"].clone();
    installation.api.patch(&format!("/v1/jobs/{first}"), json!({"name": "first again"})).await.expect(204);
    let shown = show(&installation, &first).await;
    assert!(time(&shown["updated_at"]) > time(&changed), "{shown}");
    let since = shown["updated_at"].as_str().unwrap().to_owned();
    assert_eq!(listed(&format!("modified_since={since}")).await, ["first again"]);
    assert_eq!(listed(&format!("modified_since={since}&host=shop.example.com")).await, [""; 0]);
    assert_eq!(listed("sort=-updated_at").await, ["first again", "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_made_and_changed_by_forms_and_json_alike() {
    let installation = with_server().await;
    let form = "name=shop&recipe_id=1&config[root_path]=%2Fsrv%0A%2Fetc&config[compression_level]=0\
                &config[use_sudo]=1&compute[type]=server&compute[server_id]=1&storage[0][storage_id]=1\
                &schedules[0][cron]=0+3+*+*+*&schedules[0][timezone]=Europe%2FBerlin";
    let made = installation.api.form("/v1/jobs", form).await.expect(201).data();
    assert_eq!(made["config"]["root_path"]["value"], "/srv\n/etc");
    assert_eq!(made["config"]["use_sudo"]["value"], "True");
    assert_eq!(made["config"]["compression_level"]["value"], 0);
    assert_eq!((&made["schedule"][0]["cron"], &made["last_ran_at"]), (&json!("0 3 * * *"), &Value::Null));
    let job = made["id"].as_str().unwrap();
    assert_eq!(show(&installation, job).await, made);

    let path = format!("/v1/jobs/{job}");
    installation.api.form(&path, "name=store&config[exclude]=*.log").await.expect(204);
    installation.api.patch(&format!("/v1/jobs/{job}"), json!({"config": {"use_sudo": false}})).await.expect(204);
    let changed = show(&installation, job).await;
    assert_eq!((&changed["name"], &changed["config"]["exclude"]["value"]), (&json!("store"), &json!("*.log")));
    assert_eq!(changed["config"]["use_sudo"]["value"], "False");
    assert_eq!(changed["config"]["root_path"]["value"], "/srv\n/etc", "what is not named stays");
    assert_eq!(changed["schedule"], made["schedule"]);
    // An edit that says nothing changes nothing but the time of change.
    installation.api.send(installation.api.request(Method::PATCH, &path), Bytes::new()).await.expect(204);
    let mut same = show(&installation, job).await;
    same["updated_at"] = changed["updated_at"].clone();
    assert_eq!(same, changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_tell_their_next_runs_and_scheduler_has_the_same() {
    let installation = with_server().await;
    let schedules = json!([
        {"frequency": "h6", "run_offset": 3, "timezone": "UTC"},
        {"frequency": 30, "frequency_mode": "minute", "run_offset": 5},
        {"cron": "30 2 13 * FRI", "timezone": "America/New_York"},
    ]);
    let job = installation.add_job_with(1, json!({"schedules": schedules})).await;
    let shown = show(&installation, &job).await["schedule"].clone();
    for (index, minutes) in [(0, 360), (1, 30)] {
        let runs: Vec<_> = shown[index]["next_runs"].as_array().unwrap().iter().map(time).collect();
        assert_eq!(runs.len(), 5, "{shown}");
        assert!(runs[0] > installation_now(&installation), "the next run is over: {shown}");
        let steps: Vec<_> = runs.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_mins()).collect();
        assert_eq!(steps, [minutes; 4], "{shown}");
    }
    for run in shown[0]["next_runs"].as_array().unwrap() {
        assert!(["03:00", "09:00", "15:00", "21:00"].contains(&&run.as_str().unwrap()[11..16]), "{shown}");
    }

    let mut expressions = expressions(&installation).await;
    expressions.sort();
    let expected = [
        ("cron(0 3,9,15,21 * * ? *)", "UTC"),
        ("cron(30 2 13 * ? *)", "America/New_York"),
        ("cron(30 2 ? * FRI *)", "America/New_York"),
        ("cron(5,35 * * * ? *)", "UTC"),
    ];
    assert_eq!(expressions, expected.map(|(expression, zone)| (expression.to_owned(), zone.to_owned())));
    for entry in entries(&installation).await {
        assert!(entry.enabled && entry.input.contains("<aws.scheduler.scheduled-time>"), "{entry:?}");
        assert!(entry.input.contains(&job), "{entry:?}");
    }

    // The two of the third schedule become one, the others are left as they are.
    let (second, third) = (shown[1]["id"].as_u64().unwrap(), shown[2]["id"].as_u64().unwrap());
    installation.api.post(&format!("/v1/jobs/{job}/schedules/{third}"), json!({"cron": "0 4 * * *"})).await.expect(204);
    installation
        .api
        .form(&format!("/v1/jobs/{job}/schedules/{second}"), "frequency=h24&run_offset=1")
        .await
        .expect(204);
    let mut changed = self::expressions(&installation).await;
    changed.sort();
    let expected =
        [("cron(0 1 * * ? *)", "UTC"), ("cron(0 3,9,15,21 * * ? *)", "UTC"), ("cron(0 4 * * ? *)", "America/New_York")];
    assert_eq!(changed, expected.map(|(expression, zone)| (expression.to_owned(), zone.to_owned())));

    // A list without ids replaces all.
    installation.api.patch(&format!("/v1/jobs/{job}"), json!({"schedules": [{"cron": "1 1 * * *"}]})).await.expect(204);
    assert_eq!(self::expressions(&installation).await, [("cron(1 1 * * ? *)".to_owned(), "UTC".to_owned())]);
    installation.api.patch(&format!("/v1/jobs/{job}"), json!({"schedules": []})).await.expect(204);
    assert_eq!(entries(&installation).await, []);
}

fn installation_now(installation: &Installation) -> Timestamp {
    use holdfast_shared::clock::Clock;
    installation.clock.now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_job_is_disabled_in_scheduler_until_it_is_resumed() {
    let installation = with_server().await;
    let schedules = json!([{"cron": "30 2 13 * FRI"}, {"frequency": "h1"}]);
    let job = installation.add_job_with(1, json!({"schedules": schedules})).await;
    let states = async || entries(&installation).await.into_iter().map(|entry| entry.enabled).collect::<Vec<_>>();
    assert_eq!(states().await, [true; 3]);
    for _ in 0..2 {
        let paused = installation.api.post(&format!("/v1/jobs/{job}/pause"), json!({})).await.expect(200).data();
        assert!(paused["paused_at"].is_string(), "{paused}");
        assert_eq!(paused["schedule"][0]["next_runs"], json!([]), "a paused job has no next runs");
        assert_eq!(states().await, [false; 3]);
    }
    // An edit does not wake it.
    installation.api.patch(&format!("/v1/jobs/{job}"), json!({"schedules": [{"frequency": "h2"}]})).await.expect(204);
    assert_eq!(states().await, [false]);
    for _ in 0..2 {
        let resumed = installation.api.post(&format!("/v1/jobs/{job}/resume"), json!({})).await.expect(200).data();
        assert_eq!(resumed["paused_at"], Value::Null);
        assert_eq!(resumed["schedule"][0]["next_runs"].as_array().unwrap().len(), 5);
        assert_eq!(states().await, [true]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_job_takes_its_entries_backups_and_objects_along() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let server = installation.add_server(&host).await;
    let more =
        |name: &str| json!({"name": name, "config": {"root_path": host.site()}, "schedules": [{"frequency": "h24"}]});
    let gone = installation.add_job_with(server, more("gone")).await;
    let stays = installation.add_job_with(server, more("stays")).await;
    let mut backups = Vec::new();
    for job in [&gone, &gone, &stays] {
        let backup = installation.run(job).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        backups.push(backup);
    }
    // Each with its manifest.
    assert_eq!(leftovers::objects(&installation).await.len(), 6);

    installation.api.delete(&format!("/v1/jobs/{gone}")).await.expect(204);
    installation.api.get(&format!("/v1/jobs/{gone}")).await.expect(404);
    installation.api.get(&format!("/v1/jobs/{gone}/backups")).await.expect(404);
    installation.api.delete(&format!("/v1/jobs/{gone}")).await.expect(404);
    assert_eq!(names(&installation.api.get("/v1/jobs").await.expect(200).data()), ["stays"]);
    let left = entries(&installation).await;
    assert!(left.len() == 1 && left[0].input.contains(&stays), "{left:?}");

    installation.maintain().await;
    eventually("the objects to go", || async {
        let objects = leftovers::objects(&installation).await;
        if objects.len() == 2 { Ok(()) } else { Err(objects) }
    })
    .await;
    leftovers::assert_none(&installation).await;
    for (backup, status) in backups.iter().zip([404, 404, 200]) {
        let id = backup["id"].as_str().unwrap();
        installation.api.get(&format!("/v1/backups/{id}")).await.expect(status);
    }
    let link = backups[0]["files"][0]["url"].as_str().unwrap();
    installation.api.get(link).await.expect(404);
    // What it used is free.
    installation.api.delete(&format!("/v1/jobs/{stays}")).await.expect(204);
    installation.maintain().await;
    eventually("the server to be free", || async {
        let answer = installation.api.delete(&format!("/v1/servers/{server}")).await;
        if answer.status == 204 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_keeps_when_a_job_last_ran() {
    let installation = Installation::start().await;
    let host = Host::start().await;
    host.write("a", "a");
    let job = installation.add_job(&host).await;
    let never = show(&installation, &job).await;
    assert_eq!(never["last_ran_at"], Value::Null);
    // Edits race with the run: whichever is later must not undo the other.
    let backup = installation.start_backup(&job).await;
    for number in 0..20 {
        let name = json!({"name": format!("edit {number}")});
        let status = installation.api.patch(&format!("/v1/jobs/{job}"), name).await.status;
        assert!(status == 204 || status == 409, "{status}");
    }
    let backup = installation.ended(&backup).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    let ran = show(&installation, &job).await["last_ran_at"].clone();
    assert_eq!(ran, backup["started_at"]);
    installation.api.patch(&format!("/v1/jobs/{job}"), json!({"name": "once more"})).await.expect(204);
    installation.api.post(&format!("/v1/jobs/{job}/pause"), json!({})).await.expect(200);
    let shown = show(&installation, &job).await;
    assert_eq!((&shown["last_ran_at"], &shown["name"]), (&ran, &json!("once more")));
    assert_eq!(shown["last_backups"][0]["id"], backup["id"]);
    let by_last_run = installation.api.get("/v1/jobs?sort=-last_ran_at").await.expect(200).data();
    assert_eq!(by_last_run[0]["id"], json!(job));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_edits_at_once_each_is_whole_or_refused() {
    let installation = with_server().await;
    let job = installation.add_job_with(1, json!({"schedules": [{"frequency": "h24"}]})).await;
    let edits = (0..8).map(|number| {
        let (api, path) = (installation.api.clone(), format!("/v1/jobs/{job}"));
        let hour = number.to_string();
        let edit = json!({"name": format!("edit {number}"), "schedules": [{"cron": format!("0 {hour} * * *")}]});
        async move { (number, api.patch(&path, edit).await) }
    });
    let mut won = Vec::new();
    for (number, answer) in futures::future::join_all(edits).await {
        match answer.status.as_u16() {
            204 => won.push(number),
            409 => assert!(answer.text().contains("changed by someone else"), "{}", answer.text()),
            _ => panic!("{} {}", answer.status, answer.text()),
        }
    }
    assert!(!won.is_empty(), "nobody won");
    let shown = show(&installation, &job).await;
    let last = won.iter().find(|number| shown["name"] == format!("edit {number}"));
    let last = last.unwrap_or_else(|| panic!("{shown} is none of {won:?}"));
    assert_eq!(shown["schedule"][0]["cron"], format!("0 {last} * * *"), "two edits were mixed");
    installation.maintain().await;
    assert_eq!(expressions(&installation).await, [(format!("cron(0 {last} * * ? *)"), "UTC".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipes_tell_what_a_job_needs() {
    let installation = with_server().await;
    let recipes = installation.api.get("/v1/recipes").await.expect(200).data();
    assert_eq!((&recipes[0]["id"], &recipes[0]["recipe"]), (&json!(1), &json!("file-backups")));
    let required: Vec<_> =
        recipes[0]["fields"].as_array().unwrap().iter().filter(|field| field["required"] == true).collect();
    assert_eq!((required.len(), &required[0]["key"]), (1, &json!("root_path")));
}
