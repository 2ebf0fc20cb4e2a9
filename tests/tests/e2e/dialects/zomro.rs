//! Zomro: what is printed, and what only it has.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_functions::dialects::Dialect;
use holdfast_functions::dialects::zomro::{DIALECT, functions};
use holdfast_functions::http::operation::Call;
use holdfast_shared::domain::message::{Message, Task};
use holdfast_tests::installation::{Host, id};
use holdfast_tests::table::RawTable;
use holdfast_tests::{Answer, Client, Installation, Setup};
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::generated::{Wire, generated};
use super::printed::{Values, fixtures};
use crate::world::{World, unique};

struct Zomro;

impl Wire for Zomro {
    const DIALECT: Dialect = DIALECT;
    const TAKEN: &'static [&'static str] = &[];

    fn calls() -> Vec<Call> {
        // Who logs in is asked for a password, not for a token: see below.
        functions().into_iter().map(|function| function.call).filter(|call| call.path != "/auth").collect()
    }

    fn kinds(call: &Call) -> Vec<&'static str> {
        match call.path {
            "/instances.fleio_bckps.schedule" => vec!["servers"],
            path if path.ends_with("delete") => vec!["schedules"],
            _ => vec!["servers"],
        }
    }

    fn path(call: &Call, names: &[String]) -> String {
        let name = if call.path.ends_with("delete") { "elid" } else { "plid" };
        format!("{name}={}", names[0])
    }

    fn request(call: &Call, path: &str, body: Option<&Value>) -> (Method, String, Option<Value>) {
        let (name, id) = path.split_once('=').unwrap();
        let mut body = body.cloned().unwrap_or_else(|| json!({}));
        body["func"] = json!(call.path.trim_start_matches('/'));
        if body.get(name).is_none() {
            body[name] = json!(id);
        }
        (Method::POST, "/".to_owned(), Some(body))
    }

    fn body(_: &World, call: &Call) -> Option<Value> {
        let schedule =
            json!({"sok": "ok", "name": unique("schedule"), "rotation_days": "1,2", "rotation_time": "02:01"});
        call.path.ends_with("edit").then_some(schedule)
    }

    async fn fresh_path(world: &World, call: &Call) -> String {
        let id = match call.path {
            path if path.ends_with("delete") => {
                let made = Self::body(world, &functions()[1].call).unwrap();
                let (_, _, made) =
                    Self::request(&functions()[1].call, &path_of("plid", world.id("servers")), Some(&made));
                world.api.post("/", made.unwrap()).await.json()["doc"]["id"]["$"].clone()
            }
            _ => return path_of("plid", world.id("servers")),
        };
        path_of("elid", &id)
    }

    fn assert_failure(answer: &Answer, status: u16, what: &str) {
        let kind = match status {
            401 => "auth",
            403 => "access",
            404 => "missed",
            422 => "value",
            429 => "limit",
            503 => "unavailable",
            _ => "request",
        };
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let answer = answer.json();
        let error = &answer["doc"]["error"];
        assert_eq!((&error["$type"], answer.as_object().unwrap().len()), (&json!(kind), 1), "{what}: {answer}");
        assert!(error["$object"].is_string() && error["msg"]["$"].as_str().is_some_and(|words| !words.is_empty()));
    }
}

fn path_of(name: &str, id: &Value) -> String {
    format!("{name}={}", crate::world::text(id))
}

generated!(Zomro);

/// An installation with a server that a schedule can be for.
struct Rig {
    installation: Installation,
    server: u64,
    host: Host,
}

impl Rig {
    async fn start() -> Self {
        let host = Host::start().await;
        let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
        let server = installation.add_server(&host).await;
        Self { installation, server, host }
    }

    async fn call(&self, func: &str, more: Value) -> Value {
        call(&self.installation.api, func, more).await
    }

    async fn create(&self, days: &str, time: &str) -> Value {
        let schedule =
            json!({"sok": "ok", "plid": self.server, "name": "s", "rotation_days": days, "rotation_time": time});
        self.call("instances.fleio_bckps.schedule.edit", schedule).await["doc"]["id"]["$"].clone()
    }

    async fn listed(&self) -> Value {
        self.call("instances.fleio_bckps.schedule", json!({"plid": self.server})).await["doc"]["elem"].clone()
    }

    /// The jobs of the account as the native surface shows them.
    async fn jobs(&self) -> Vec<Value> {
        self.installation.api.get("/v1/jobs").await.expect(200).data().as_array().unwrap().clone()
    }
}

async fn call(api: &Client, func: &str, mut more: Value) -> Value {
    more["func"] = json!(func);
    api.post("/", more).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_printed_exchange_is_answered_as_printed() {
    let rig = Rig::start().await;
    let mut values: Values = BTreeMap::from([
        ("{token}", json!(rig.installation.api.token())),
        ("{plid}", json!(rig.server.to_string())),
        ("{servername}", rig.installation.api.get("/v1/servers/1").await.expect(200).data()["name"].clone()),
    ]);
    let stranger = rig.installation.api.with_token("");
    for fixture in fixtures("zomro") {
        let answer = fixture.replay(&stranger, &values).await;
        if let Some(id) = answer.json()["doc"]["id"]["$"].as_str() {
            values.insert("{elid}", json!(id));
        }
    }
    assert_eq!(rig.jobs().await, [] as [Value; 0], "what was made is deleted again");
    stranger.get("/v1/openapi/zomro.json").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_a_job_of_the_whole_server() {
    let rig = Rig::start().await;
    rig.installation.api.patch("/v1/account", json!({"timezone": "Europe/Kyiv"})).await.expect(200);
    rig.create("5,1,1, 0", "2:01").await;
    let job = rig.jobs().await.remove(0);
    assert_eq!((&job["recipe"], &job["config"]["root_path"]["value"]), (&json!("file-backups"), &json!("/")));
    assert!(job["config"]["exclude"]["value"].as_str().unwrap().contains("/proc/*"), "{job}");
    let schedule = &job["schedule"][0];
    assert_eq!((&schedule["cron"], &schedule["timezone"]), (&json!("1 2 * * 0,1,5"), &json!("Europe/Kyiv")));
    assert_eq!(schedule["retention"]["keep_last"], 7);
    let listed = rig.listed().await;
    assert_eq!(listed[0]["rotation_days"]["$"], "Sunday Monday Friday ");
    assert_eq!(listed[0]["rotation_time"]["$"], "02:01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_leaves_what_it_has_no_words_for() {
    let rig = Rig::start().await;
    let elid = rig.create("1", "03:00").await;
    let job = rig.jobs().await.remove(0);
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let mut schedules = job["schedule"].as_array().unwrap().clone();
    schedules[0]["retention_monthly"] = json!(12);
    schedules.push(json!({"frequency": "h6", "retention_hourly": 3}));
    rig.installation.api.patch(&path, json!({"schedules": schedules, "compression": "gzip"})).await.expect(204);
    let edit = json!({"sok": "ok", "elid": elid, "rotation_days": "6", "name": "Saturdays"});
    rig.call("instances.fleio_bckps.edit", edit).await;

    let job = rig.jobs().await.remove(0);
    assert_eq!((&job["name"], &job["compression"]), (&json!("Saturdays"), &json!("gzip")));
    assert_eq!(job["schedule"][0]["cron"], "0 3 * * 6");
    assert_eq!(job["schedule"][0]["retention"]["monthly"], 12);
    assert_eq!((&job["schedule"][1]["frequency"], &job["schedule"][1]["retention"]["hourly"]), (&json!(6), &json!(3)));
    let listed = rig.listed().await;
    assert_eq!((&listed[1]["rotation_days"]["$"], &listed[1]["rotation_time"]["$"]), (&json!(""), &json!("")));

    // The other schedule stays, and the job with it.
    rig.call("image.delete", json!({"elid": elid})).await;
    let left = rig.listed().await;
    assert_eq!((left.as_array().unwrap().len(), rig.jobs().await.len()), (1, 1));
    rig.call("image.delete", json!({"elid": left[0]["id"]["$"]})).await;
    assert!(rig.jobs().await.is_empty());
    Zomro::assert_failure(
        &rig.installation.api.post("/", json!({"func": "image.delete", "elid": elid})).await,
        404,
        "",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_logs_in_has_an_idle_hour() {
    let rig = Rig::start().await;
    let (api, stranger) = (&rig.installation.api, rig.installation.api.with_token(""));
    let login = json!({"username": rig.installation.account().as_str(), "password": api.token()});
    let session = call(&stranger, "auth", login.clone()).await["doc"]["auth"]["$id"].clone();
    let list = json!({"auth": session, "plid": rig.server});
    let works =
        async || call(&stranger, "instances.fleio_bckps.schedule", list.clone()).await["doc"]["elem"].is_array();
    assert!(works().await);
    for _ in 0..3 {
        rig.installation.advance(SignedDuration::from_mins(50));
        assert!(works().await, "each use is an hour more");
    }
    rig.installation.advance(SignedDuration::from_mins(62));
    assert!(!works().await);
    let authinfo = format!("{}:{}", rig.installation.account(), api.token());
    let by_info = json!({"authinfo": authinfo, "plid": rig.server});
    assert!(call(&stranger, "instances.fleio_bckps.schedule", by_info).await["doc"]["elem"].is_array());
    for wrong in [
        json!({"username": "nobody", "password": api.token()}),
        json!({"username": login["username"], "password": "wrong"}),
        json!({"username": login["username"]}),
    ] {
        let refused = call(&stranger, "auth", wrong).await;
        assert_eq!(refused["doc"]["error"]["$type"], "auth", "{refused}");
    }
    // A session ends with its token.
    let made = json!({"name": "short", "abilities": ["read-jobs"]});
    let made = api.post("/v1/tokens", made).await.expect(201).data();
    let login = json!({"username": login["username"], "password": made["token"]});
    let session = call(&stranger, "auth", login).await["doc"]["auth"]["$id"].clone();
    api.delete(&format!("/v1/tokens/{}", made["id"])).await.expect(204);
    rig.installation.advance(SignedDuration::from_secs(5));
    let over = call(&stranger, "instances.fleio_bckps.schedule", json!({"auth": session, "plid": rig.server})).await;
    assert_eq!(over["doc"]["error"]["$type"], "auth", "{over}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_of_another_account_is_unknown() {
    let installation = crate::world::installation().await;
    let (first, second) = (World::first(&installation).await, World::second(&installation).await);
    let before = installation_records(&installation).await;
    let edit = |elid: &Value| json!({"sok": "ok", "elid": elid, "rotation_days": "1", "rotation_time": "01:00"});
    let theirs = call(&first.api, "instances.fleio_bckps.edit", edit(second.id("schedules"))).await;
    assert_eq!(theirs, call(&first.api, "instances.fleio_bckps.edit", edit(&json!(999_999))).await);
    assert_eq!(theirs["doc"]["error"]["$type"], "missed");
    assert_eq!(installation_records(&installation).await, before);
}

async fn installation_records(installation: &Installation) -> BTreeMap<(String, String), String> {
    crate::abilities::all_but_the_trail(&RawTable::of(installation)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_page_by_page_and_as_xml() {
    let rig = Rig::start().await;
    for day in ["1", "2", "3"] {
        rig.create(day, "01:00").await;
    }
    let page = |number: u32, column: &str| json!({"plid": rig.server, "p_num": number, "p_cnt": 2, "p_col": column});
    let days = async |asked: Value| {
        let answer = rig.call("instances.fleio_bckps.schedule", asked).await;
        assert_eq!(answer["doc"]["p_elems"]["$"], "3");
        let elements = answer["doc"]["elem"].as_array().unwrap().clone();
        elements.iter().map(|one| one["rotation_days"]["$"].as_str().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(days(page(1, "+id")).await, ["Monday", "Tuesday"]);
    assert_eq!(days(page(2, "+id")).await, ["Wednesday"]);
    assert_eq!(days(page(1, "-id")).await, ["Wednesday", "Tuesday"]);
    assert!(days(page(3, "+id")).await.is_empty());
    let query = format!("/?func=instances.fleio_bckps.schedule&out=xml&plid={}", rig.server);
    let answer = rig.installation.api.get(&query).await.expect(200);
    assert!(answer.header("content-type").starts_with("text/xml"));
    assert_eq!(answer.text().matches("<rotation_time>01:00</rotation_time>").count(), 3, "{}", answer.text());
    let failed = rig.installation.api.get("/?func=nothing&out=xml").await.expect(200).text();
    assert!(failed.contains("<error object=\"func\" type=\"value\">") || failed.contains("<error type"), "{failed}");
    let form = "func=instances.fleio_bckps.schedule&out=yaml";
    let answer = rig.installation.api.form("/", form).await;
    Zomro::assert_failure(&answer, 422, "out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_schedules_are_refused_by_their_field() {
    let rig = Rig::start().await;
    let sound = json!({"sok": "ok", "plid": rig.server, "name": "s", "rotation_days": "1", "rotation_time": "01:00"});
    for (field, value) in [
        ("rotation_days", json!("")),
        ("rotation_days", json!("7")),
        ("rotation_time", json!("24:00")),
        ("name", json!("x".repeat(101))),
        ("sok", json!("no")),
        ("plid", json!("x")),
    ] {
        let mut odd = sound.clone();
        odd[field] = value.clone();
        let refused = rig.call("instances.fleio_bckps.edit", odd).await;
        assert_eq!(refused["doc"]["error"]["$object"], field, "{value}: {refused}");
    }
    assert!(rig.jobs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_really_runs() {
    let host = Host::start().await;
    host.write("index.html", "kept");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let schedule =
        json!({"sok": "ok", "plid": server, "name": "s", "rotation_days": "0,1,2,3,4,5,6", "rotation_time": "01:00"});
    let made = call(&installation.api, "instances.fleio_bckps.schedule.edit", schedule).await;
    assert!(made["doc"]["id"]["$"].is_string(), "{made}");
    let job = installation.api.get("/v1/jobs").await.expect(200).data()[0]["id"].as_str().unwrap().to_owned();
    // The whole of this machine would take long, and the folders of tests are among those for temporary things.
    let config = json!({"config": {"root_path": host.site(), "exclude": "/proc/*"}});
    installation.api.patch(&format!("/v1/jobs/{job}"), config).await.expect(204);
    // As Scheduler sends it when it is due.
    let shown = installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data()["schedule"][0].clone();
    let slot = shown["next_runs"][0].as_str().unwrap().parse().unwrap();
    let schedule = shown["id"].as_u64().unwrap();
    let task = Task::Slot { account: installation.account(), job: id(&job), schedule, slot };
    installation.service().aws.queue.send(&Message::new(task), 0).await.unwrap();
    let listed = installation.listed_when(&job, |backup| backup["status"] == "completed").await;
    let backup = installation.api.get(&format!("/v1/backups/{}", listed["id"].as_str().unwrap())).await;
    let files = installation.unpacked(&backup.expect(200).data()).await;
    assert!(files[0].1.windows(4).any(|bytes| bytes == b"kept"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_can_be_quoted_or_multipart_and_the_query_counts_too() {
    let rig = Rig::start().await;
    let api = &rig.installation.api;
    let body = "func=\"instances.fleio_bckps.schedule\"&plid=\"1\"";
    assert!(api.form("/", body).await.json()["doc"]["elem"].is_array());
    let part =
        |name: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let parts = format!("{}--B--\r\n", part("func", "instances.fleio_bckps.schedule"));
    let request =
        api.request(Method::POST, "/?plid=1&lang=en").header("content-type", "multipart/form-data; boundary=B");
    assert!(api.send(request, Bytes::from(parts)).await.json()["doc"]["elem"].is_array());
    drop(rig.host);
}
