//! What can be done with one job beside changing it: copy it, ask when it runs next, give it a key or a proxy.

use bytes::Bytes;
use holdfast_tests::{Installation, Setup};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

/// An installation without a worker, that has a server with the number 1.
async fn with_server() -> Installation {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    installation.api.post("/v1/ssh-keys", json!({"name": "key"})).await.expect(201);
    let server = json!({"name": "far", "host": "10.0.0.1", "user": "root", "ssh_key": 1});
    installation.api.post("/v1/servers", server).await.expect(201);
    installation
}

async fn show(installation: &Installation, job: &str) -> Value {
    installation.api.get(&format!("/v1/jobs/{job}")).await.expect(200).data()
}

/// Makes a public key to encrypt to and answers its id. The public half of a login key is one, too.
async fn add_key(installation: &Installation, name: &str) -> Value {
    let ssh_key = installation.api.post("/v1/ssh-keys", json!({"name": name})).await.expect(201).data();
    let key = json!({"name": name, "public_key": ssh_key["public_key"]});
    installation.api.post("/v1/encryption-keys", key).await.expect(201).data()["id"].clone()
}

async fn add_proxy(installation: &Installation, name: &str) -> Value {
    let proxy = json!({"name": name, "host": "10.0.0.2", "user": "jump", "ssh_key": 1});
    installation.api.post("/v1/proxies", proxy).await.expect(201).data()["id"].clone()
}

fn fields(errors: &Value) -> Vec<&String> {
    errors["errors"].as_object().unwrap_or_else(|| panic!("no fields: {errors}")).keys().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_paused_and_has_schedules_of_its_own() {
    let installation = with_server().await;
    let schedules = json!([{"cron": "30 2 * * *", "retention_daily": 7}, {"frequency": "h6", "run_offset": 3}]);
    let config = json!({"root_path": "/srv\n/etc", "exclude": "*.log", "use_sudo": true});
    let more = json!({"name": "shop", "config": config, "schedules": schedules});
    let job = installation.add_job_with(1, more).await;
    let original = show(&installation, &job).await;
    let entries = installation.service().aws.scheduler.list(None, None).await.unwrap().0.len();

    let copy = installation.api.post(&format!("/v1/jobs/{job}/clone"), json!({})).await.expect(201);

    assert!(!copy.header("etag").is_empty());
    let copy = copy.data();
    assert_eq!((&copy["name"], copy["paused_at"].is_string()), (&json!("Copy of shop"), true), "{copy}");
    assert_ne!((&copy["id"], &copy["number"]), (&original["id"], &original["number"]));
    for same in ["recipe", "compute", "config", "storage"] {
        assert_eq!(copy[same], original[same], "{same}");
    }
    let without_own = |job: &Value| -> Vec<Value> {
        let each = job["schedule"].as_array().unwrap().iter().cloned();
        each.map(|mut schedule| {
            for own in ["id", "resource_id", "next_runs"] {
                schedule[own] = Value::Null;
            }
            schedule
        })
        .collect()
    };
    assert_eq!(without_own(&copy), without_own(&original));
    let ids = |job: &Value| -> Vec<u64> {
        job["schedule"].as_array().unwrap().iter().map(|schedule| schedule["id"].as_u64().unwrap()).collect()
    };
    assert!(ids(&copy).iter().all(|id| !ids(&original).contains(id)), "{copy}");
    assert_eq!(copy["schedule"][0]["resource_id"], copy["id"]);
    assert_eq!((&copy["schedule"][0]["next_runs"], &copy["last_ran_at"]), (&json!([]), &Value::Null));
    assert_eq!(show(&installation, &job).await, original, "the other one changed");
    let (names, _) = installation.service().aws.scheduler.list(None, None).await.unwrap();
    assert_eq!(names.len(), 2 * entries);
    for name in names.iter().filter(|name| name.starts_with(copy["id"].as_str().unwrap())) {
        let entry = installation.service().aws.scheduler.get(name).await.unwrap().unwrap();
        assert!(!entry.enabled, "a copy runs unasked: {entry:?}");
    }

    let path = format!("/v1/jobs/{job}/clone");
    let named = installation.api.post(&path, json!({"name": "store"})).await.expect(201).data();
    assert_eq!(named["name"], "store");
    let long = "x".repeat(255);
    installation.api.patch(&format!("/v1/jobs/{job}"), json!({"name": long})).await.expect(204);
    let copy = installation.api.post(&path, json!({})).await.expect(201).data();
    assert_eq!(copy["name"].as_str().unwrap().len(), 255);
    for bad in [json!({"name": "x".repeat(256)}), json!({"name": ["x"]}), json!({"name": "a\nb"})] {
        assert_eq!(fields(&installation.api.post(&path, bad).await.expect(422).json()), ["name"]);
    }
    let keyed = async || {
        let request = installation.api.request(Method::POST, &path).header("idempotency-key", "once");
        installation.api.send(request, Bytes::new()).await.expect(201).data()["id"].clone()
    };
    assert_eq!(keyed().await, keyed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_runs_are_those_of_all_schedules() {
    let installation = with_server().await;
    let schedules = json!([
        {"cron": "0 * * * *", "schedule_name": "hourly"},
        {"cron": "30 */2 * * *", "schedule_name": "even"},
    ]);
    let job = installation.add_job_with(1, json!({"schedules": schedules})).await;
    let shown = show(&installation, &job).await["schedule"].clone();
    let runs = async |query: &str| -> Vec<Value> {
        installation
            .api
            .get(&format!("/v1/jobs/{job}/runs/next?{query}"))
            .await
            .expect(200)
            .data()
            .as_array()
            .unwrap()
            .clone()
    };
    let ten = runs("").await;
    assert_eq!(ten.len(), 10);
    let at = |run: &Value| run["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(ten.is_sorted_by_key(at), "{ten:?}");
    assert!(at(&ten[0]) > installation.service().clock.now());
    for schedule in shown.as_array().unwrap() {
        let own: Vec<_> = ten.iter().filter(|run| run["schedule_id"] == schedule["id"]).collect();
        let told = schedule["next_runs"].as_array().unwrap();
        assert!(own.iter().zip(told).all(|(run, next)| run["at"] == *next), "{ten:?} {schedule}");
        assert!(own.len() >= 3 && own.iter().all(|run| run["schedule_name"] == schedule["schedule_name"]), "{ten:?}");
    }
    assert_eq!((runs("count=1").await, runs("count=100").await.len()), (ten[..1].to_vec(), 100));
    for count in ["0", "101", "x", "-1"] {
        let refused = installation.api.get(&format!("/v1/jobs/{job}/runs/next?count={count}")).await.expect(422).json();
        assert_eq!(fields(&refused), ["count"]);
    }
    installation.api.post(&format!("/v1/jobs/{job}/pause"), json!({})).await.expect(200);
    assert_eq!(runs("").await, [Value::Null; 0], "a paused job does not run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_and_a_proxy_are_put_on_and_taken_off() {
    let installation = with_server().await;
    let api = &installation.api;
    let (key, proxy) = (add_key(&installation, "vault").await, add_proxy(&installation, "bastion").await);
    let job = installation.add_job_with(1, json!({"name": "shop"})).await;
    let links = async || {
        let shown = show(&installation, &job).await;
        (shown["encryption_key_id"].clone(), shown["proxy_id"].clone())
    };
    assert_eq!(links().await, (Value::Null, Value::Null));
    api.post(&format!("/v1/jobs/{job}/encryption-key"), json!({"encryption_key_id": key})).await.expect(204);
    api.form(&format!("/v1/jobs/{job}/proxy"), &format!("proxy_id={proxy}")).await.expect(204);
    assert_eq!(links().await, (key.clone(), proxy.clone()));
    api.patch(&format!("/v1/jobs/{job}"), json!({"name": "store"})).await.expect(204);
    assert_eq!(links().await, (key.clone(), proxy.clone()), "an edit that does not name them leaves them");

    // What is in use stays, and says who uses it.
    for path in [format!("/v1/encryption-keys/{key}"), format!("/v1/proxies/{proxy}")] {
        let refused = api.delete(&path).await.expect(409).text();
        assert!(refused.contains("store"), "{refused}");
    }
    for _ in 0..2 {
        api.delete(&format!("/v1/jobs/{job}/encryption-key")).await.expect(204);
        api.delete(&format!("/v1/jobs/{job}/proxy")).await.expect(204);
    }
    assert_eq!(links().await, (Value::Null, Value::Null));

    let both = json!({"encryption_key_id": key, "proxy_id": proxy});
    api.patch(&format!("/v1/jobs/{job}"), both.clone()).await.expect(204);
    assert_eq!(links().await, (key.clone(), proxy.clone()));
    let copy = api.post(&format!("/v1/jobs/{job}/clone"), json!({})).await.expect(201).data();
    assert_eq!((&copy["encryption_key_id"], &copy["proxy_id"]), (&key, &proxy));
    api.patch(&format!("/v1/jobs/{job}"), json!({"encryption_key_id": null, "proxy_id": null})).await.expect(204);
    assert_eq!(links().await, (Value::Null, Value::Null));
    api.delete(&format!("/v1/encryption-keys/{key}")).await.expect(409);
    let copy = copy["id"].as_str().unwrap();
    api.patch(&format!("/v1/jobs/{copy}"), json!({"encryption_key_id": null, "proxy_id": null})).await.expect(204);
    api.delete(&format!("/v1/encryption-keys/{key}")).await.expect(204);
    api.delete(&format!("/v1/proxies/{proxy}")).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_or_proxy_that_is_not_there_is_named() {
    let installation = with_server().await;
    let api = &installation.api;
    let job = installation.add_job_with(1, json!({})).await;
    let before = show(&installation, &job).await;
    let both = ["encryption_key_id", "proxy_id"];
    for bad in [json!(481), json!(0), json!("x"), json!(-1), json!([1]), json!(1.5)] {
        let body = json!({"encryption_key_id": bad, "proxy_id": bad});
        let refused = api.patch(&format!("/v1/jobs/{job}"), body.clone()).await.expect(422).json();
        assert_eq!(fields(&refused), both, "{bad}");
        let mut new = json!({
            "name": "new", "recipe_id": 1, "config": {"root_path": "/"}, "storage": [{"storage_id": 1}],
            "compute": {"type": "server", "server_id": 1},
        });
        new.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        assert_eq!(fields(&api.post("/v1/jobs", new).await.expect(422).json()), both, "{bad}");
        let only = json!({"encryption_key_id": bad});
        let refused = api.post(&format!("/v1/jobs/{job}/encryption-key"), only).await.expect(422).json();
        assert_eq!(fields(&refused), ["encryption_key_id"], "{bad}");
        let refused = api.post(&format!("/v1/jobs/{job}/proxy"), json!({"proxy_id": bad})).await.expect(422).json();
        assert_eq!(fields(&refused), ["proxy_id"], "{bad}");
    }
    let refused = api.post(&format!("/v1/jobs/{job}/proxy"), json!({})).await.expect(422).json();
    assert_eq!(fields(&refused), ["proxy_id"]);
    let stale = api.request(Method::DELETE, &format!("/v1/jobs/{job}/encryption-key")).header("if-match", "\"99\"");
    api.send(stale, Bytes::new()).await.expect(412);
    assert_eq!(show(&installation, &job).await, before, "something was written");
}
