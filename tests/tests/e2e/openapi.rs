//! The OpenAPI document: what it says holds for every answer.
//!
//! `schemathesis` (<https://schemathesis.readthedocs.io>) makes requests from it, sound and unsound, and compares each
//! answer with what is documented. `tests/run` installs it into `target/schemathesis`.

use std::path::Path;
use std::process::Command;

use holdfast_tests::installation::Host;
use holdfast_tests::{Installation, Setup};
use serde_json::json;

/// What an answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,unsupported_method,ignored_auth";

/// The token is in its environment: what is on a command line every process can read.
const CONFIG: &str = "headers = { Authorization = \"Bearer ${TOKEN}\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_is_there_for_everyone() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let stranger = installation.api.with_token("");
    let document = stranger.get("/v1/openapi.json").await.expect(200).json();
    assert!(document["paths"]["/v1/crontabs/{id}/snapshots/{number}"]["get"].is_object());
    assert!(stranger.get("/docs").await.expect(200).text().contains("/v1/notification-streams"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_documented() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let host = Host::start().await;
    // One of each, so that what reads has something to show.
    let job = installation.add_job(&host).await;
    installation.api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(202);
    let described = holdfast_functions::api::operations().len();
    run_schemathesis(&installation, "/v1/openapi.json", described).await;
}

/// Holds an installation to the document at that path, which describes so many operations.
pub async fn run_schemathesis(installation: &Installation, document: &str, described: usize) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/schemathesis/bin/schemathesis");
    if !program.exists() {
        eprintln!("SKIPPED: schemathesis is not installed in target/schemathesis; tests/run does that");
        return;
    }
    let mut schemathesis = Command::new(program);
    schemathesis.current_dir(installation.dir());
    schemathesis.args(["run", &format!("{}{document}", installation.api.base_url())]);
    schemathesis.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "5"]);
    schemathesis.args(["--seed", "1", "--no-color", "--continue-on-failure", "--max-failures", "20"]);
    schemathesis.args(["--rate-limit", "auto", "--generation-database", "none"]);
    schemathesis.env("TOKEN", installation.api.token());
    std::fs::write(installation.dir().join("schemathesis.toml"), CONFIG).unwrap();
    let output = tokio::task::spawn_blocking(move || schemathesis.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    // It counts in its own way (one operation less than the document describes), so it is held to its own count.
    let count = |word: &str| told.split(word).nth(1)?.trim().split(['/', '\n', ' ']).next()?.parse::<usize>().ok();
    let (selected, tested) = (count("Selected:"), count("Tested:"));
    assert!(tested == selected && tested.is_some_and(|tested| tested + 1 >= described), "{tested:?}: {told}");
}
