//! Many accounts: `holdfast account` and `holdfast token` beside a running `serve` and without one, and the same commands
//! as events of the maintenance function.

use std::path::Path;
use std::process::Output;

use holdfast_functions::maintenance::handle;
use holdfast_tests::{Client, Installation, Setup};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serve::{Serve, run, text, words};

/// Runs `holdfast … --data DIR --json` and answers the exit code and what it printed.
async fn holdfast(data: &Path, arguments: &[&str]) -> Output {
    let mut command = words(arguments);
    command.arg("--data").arg(data).arg("--json").env_remove("RUST_LOG");
    run(command).await
}

/// The same; it must work.
async fn answer(data: &Path, arguments: &[&str]) -> Value {
    let output = holdfast(data, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strings(value: &Value) -> [String; 2] {
    ["account", "token"].map(|name| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_managed_beside_a_running_serve_and_without_one() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let serve = Serve::start(&data).await;
    let [account, token] = strings(&answer(&data, &["account", "create", "acme", "--timezone", "Europe/Berlin"]).await);
    let acme = Client::new(serve.base_url(), &token);
    let shown = acme.get("/v1/account").await.expect(200).data();
    assert_eq!((&shown["id"], &shown["timezone"]), (&json!(account), &json!("Europe/Berlin")));
    assert_eq!(acme.get("/v1/storages").await.json()["meta"]["total"], 1, "it can be used at once");
    let listed = answer(&data, &["account", "list"]).await["accounts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");

    let made = answer(&data, &["token", "create", "ci", "--account", &account, "--ability", "read-jobs"]).await;
    let ci = Client::new(serve.base_url(), made["token"].as_str().unwrap());
    ci.get("/v1/jobs").await.expect(200);
    ci.get("/v1/servers").await.expect(403);
    let id = made["id"].to_string();
    answer(&data, &["token", "revoke", &id, "--account", &account]).await;
    answer(&data, &["account", "disable", &account]).await;
    // Its process believes what it knows for three seconds at most.
    for client in [&ci, &acme] {
        holdfast_tests::eventually("the refusal", || async {
            let status = client.get("/v1/jobs").await.status.as_u16();
            if status == 401 { Ok(()) } else { Err(status) }
        })
        .await;
    }
    assert_eq!(serve.end().await, Some(0));
    assert!(!data.join("endpoints").exists(), "what no longer runs is not announced");

    // Nobody runs it now.
    answer(&data, &["account", "enable", &account]).await;
    let tokens = answer(&data, &["token", "list", "--account", &account]).await["tokens"].clone();
    assert_eq!(tokens.as_array().unwrap().len(), 1, "{tokens}");
    let first = answer(&data, &["token", "create", "more"]).await;
    let [_, second] = strings(&answer(&data, &["account", "create", "second"]).await);

    let serve = Serve::start(&data).await;
    for token in [&token, first["token"].as_str().unwrap(), &second] {
        Client::new(serve.base_url(), token).get("/v1/account").await.expect(200);
    }
    // A process that was killed leaves its announcement behind.
    serve.kill().await;
    assert!(data.join("endpoints").exists());
    let listed = answer(&data, &["account", "list"]).await["accounts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_told_with_its_status() {
    let dir = TempDir::new().unwrap();
    let empty = dir.path().join("nothing");
    let output = holdfast(&empty, &["account", "list"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("holds no holdfast data"), "{}", text(&output.stderr));
    assert!(!empty.exists(), "and nothing is made");

    let data = dir.path().join("data");
    let serve = Serve::start(&data).await;
    for (arguments, told) in [
        (&["account", "disable", "nobody"][..], "account not found"),
        (&["account", "create", ""], "name must be"),
        (&["account", "create", "x", "--timezone", "Mars/Olympus"], "timezone"),
        (&["token", "revoke", "99"], "token not found"),
        (&["token", "create", "x", "--ability", "read-job"], "abilities.0"),
        (&["token", "create", "x", "--expires-at", "2000-01-01T00:00:00Z"], "expires_at must be in the future"),
        (&["token", "list", "--account", "../x"], "account not found"),
    ] {
        let output = holdfast(&data, arguments).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(told) && error.lines().count() == 1, "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
    for arguments in [&["account"][..], &["token", "revoke", "x"], &["account", "disable"]] {
        assert_eq!(holdfast(&data, arguments).await.status.code(), Some(2), "{arguments:?}");
    }
    for arguments in [&["account", "--help"][..], &["token", "create", "--help"]] {
        let output = run(words(arguments)).await;
        assert!(output.status.success() && text(&output.stdout).contains("--data"), "{arguments:?}");
    }
    let mut plain = words(&["account", "list", "--data"]);
    plain.arg(&data);
    let plain = text(&run(plain).await.stdout);
    assert_eq!(plain.lines().count(), 2, "a heading and an account: {plain}");
    assert_eq!(serve.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_maintenance_function_takes_the_same_commands() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let service = installation.service();
    let command = async |event: Value| handle(service, event).await.map_err(|error| error.to_string());
    let [account, token] = strings(&command(json!({"command": "create_account", "name": "acme"})).await.unwrap());
    let acme = installation.api.with_token(&token);
    acme.get("/v1/account").await.expect(200);
    let listed = command(json!({"command": "list_accounts"})).await.unwrap();
    assert_eq!(listed["accounts"].as_array().unwrap().len(), 2);
    command(json!({"command": "disable_account", "account": account})).await.unwrap();
    installation.advance(jiff::SignedDuration::from_secs(4));
    acme.get("/v1/account").await.expect(401);
    command(json!({"command": "enable_account", "account": account})).await.unwrap();
    acme.get("/v1/account").await.expect(200);
    let new = json!({"command": "create_token", "account": account, "name": "ci", "abilities": ["read-jobs"]});
    let made = command(new).await.unwrap();
    let revoke = json!({"command": "revoke_token", "account": account, "token": made["id"]});
    command(revoke.clone()).await.unwrap();
    assert_eq!(command(revoke).await.unwrap_err(), "token not found");
    assert!(command(json!({"command": "drop_account"})).await.unwrap_err().contains("drop_account"));
    assert!(command(json!({"command": "disable_account", "name": "x"})).await.is_err());
    // As Scheduler's own events: a pass.
    let report = command(json!({"version": "0", "detail-type": "Scheduled Event"})).await.unwrap();
    assert_eq!(report["failed_steps"], 0);
}
