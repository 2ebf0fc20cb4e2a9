//! What can be done with one backup: cancel it, list its files, get links to them; and what starts one once.

use bytes::Bytes;
use holdfast_tests::installation::Host;
use holdfast_tests::proxy::{Harm, Proxy};
use holdfast_tests::tree::assert_same;
use holdfast_tests::{Answer, Client, Installation, Setup, leftovers};
use http::Method;
use serde_json::{Value, json};

/// A client whose token has only these abilities.
async fn with_abilities(installation: &Installation, abilities: &[&str]) -> Client {
    let abilities = abilities.iter().map(|ability| (*ability).to_owned()).collect();
    let service = installation.service();
    let (_, token) = service.create_token(&installation.account(), "narrow", abilities).await.unwrap();
    installation.api.with_token(token.expose())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_links_are_those_of_the_backup() {
    let host = Host::start().await;
    host.write("index.html", "hello");
    let installation = Installation::start().await;
    let job = installation.add_job(&host).await;
    let backup = installation.run(&job).await;
    let id = backup["id"].as_str().unwrap();
    let api = &installation.api;

    let files = api.get(&format!("/v1/backups/{id}/files")).await.expect(200).data();
    let without_links = |files: &Value| -> Vec<Value> {
        let each = files.as_array().unwrap().iter().cloned();
        each.map(|mut file| {
            assert!(file["url"].take().is_string(), "{files}");
            file
        })
        .collect()
    };
    assert_eq!(without_links(&files), without_links(&backup["files"]));
    let links = api.post(&format!("/v1/backups/{id}/download"), json!({})).await.expect(200).data();
    let name = files[0]["name"].as_str().unwrap();
    assert_eq!(links.as_object().unwrap().keys().collect::<Vec<_>>(), [name]);
    assert_same(&api.download(links[name].as_str().unwrap()).await.expect(200).body, &host.site());

    let reader = with_abilities(&installation, &["read-backups"]).await;
    let refused = reader.post(&format!("/v1/backups/{id}/download"), json!({})).await.expect(403);
    assert!(refused.text().contains("download"), "{}", refused.text());
    let files = reader.get(&format!("/v1/backups/{id}/files")).await.expect(200).data();
    assert_eq!(files[0]["url"], Value::Null);
    reader.post(&format!("/v1/backups/{id}/cancel"), json!({})).await.expect(403);
    reader.delete(&format!("/v1/backups/{id}")).await.expect(403);
    reader.delete(&format!("/v1/jobs/{job}/backups")).await.expect(403);

    let shown = api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    assert_eq!(shown["storage"][0]["estimated_size"], backup["files"][0]["stored_bytes"], "{shown}");
    api.patch(&format!("/v1/jobs/{job}"), json!({"name": "renamed"})).await.expect(204);
    let again = api.get(&format!("/v1/jobs/{job}")).await.expect(200).data();
    assert_eq!(again["storage"], shown["storage"], "an edit took the size away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_waits_is_cancelled_at_once() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let host = Host::start().await;
    let job = installation.add_job(&host).await;
    let backup = installation.start_backup(&job).await;
    let (path, api) = (format!("/v1/backups/{backup}"), &installation.api);
    let refused = api.delete(&path).await.expect(409);
    assert!(refused.text().contains("pending; cancel it first"), "{}", refused.text());

    let cancelled = api.post(&format!("/v1/backups/{backup}/cancel"), json!({})).await.expect(200).data();

    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    let again = api.post(&format!("/v1/backups/{backup}/cancel"), json!({})).await.expect(409);
    assert!(again.text().contains("it is cancelled"), "{}", again.text());
    let no_files = api.post(&format!("/v1/backups/{backup}/download"), json!({})).await.expect(409);
    assert!(no_files.text().contains("the backup is cancelled"), "{}", no_files.text());
    assert_eq!(api.get(&format!("/v1/backups/{backup}/files")).await.expect(200).data(), json!([]));
    api.delete(&path).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_runs_is_stopped_by_its_worker() {
    let proxy = Proxy::start(|request, _| {
        let is_part =
            request.method() == Method::PUT && request.uri().query().is_some_and(|q| q.contains("partNumber"));
        if is_part { Harm::Hold } else { Harm::None }
    })
    .await;
    let host = Host::start().await;
    host.write("a", "a");
    let installation = Installation::start_behind(&proxy).await;
    let job = installation.add_job(&host).await;
    let backup = installation.start_backup(&job).await;
    installation.log_when(&backup, |log| log.contains("dump of file-backups")).await;

    let path = format!("/v1/backups/{backup}/cancel");
    let asked = installation.api.post(&path, json!({})).await.expect(202).data();

    assert_eq!((&asked["status"], &asked["cancel_requested"]), (&json!("running"), &json!(true)), "{asked}");
    assert_eq!(installation.ended(&backup).await["status"], "cancelled");
    leftovers::assert_none(&installation).await;
    assert_eq!(leftovers::objects(&installation).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_is_good_for_one_body() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let host = Host::start().await;
    let job = installation.add_job(&host).await;
    let start = async |body: &str| -> Answer {
        let request = installation.api.request(Method::POST, &format!("/v1/jobs/{job}/backups/start"));
        let request = request.header("idempotency-key", "nightly").header("content-type", "application/json");
        installation.api.send(request, Bytes::copy_from_slice(body.as_bytes())).await
    };
    let first = start(r#"{"is_daily":true,"is_weekly":false}"#).await.expect(202).json();
    let same = start(r#"{ "is_weekly": false, "is_daily": true }"#).await.expect(202).json();
    assert_eq!(same["backup_id"], first["backup_id"], "how it is written does not count");
    for other in [r#"{"is_daily":true}"#, r#"{"is_weekly":true}"#, ""] {
        let refused = start(other).await.expect(422).json();
        assert!(refused["errors"]["Idempotency-Key"].is_array(), "{refused}");
    }
    let listed = installation.api.get(&format!("/v1/jobs/{job}/backups")).await.expect(200).data();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
}
