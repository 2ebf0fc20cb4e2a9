//! Encryption on the worker: what is stored opens with the owner's keys and stock tools, and nothing is ever stored in the
//! clear that should be encrypted.

use std::path::Path;
use std::process::Command;

use holdfast_tests::installation::Host;
use holdfast_tests::table::RawTable;
use holdfast_tests::tree::{assert_same_tar, noise};
use holdfast_tests::{Installation, leftovers};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A line that is in the source and must not be in any storage.
const CANARY: &str = "canary: this line is for its owner only";

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A key pair below `folder`, made by stock tools; answers the public half.
fn make_pair(folder: &Path, kind: &str) -> String {
    let private = folder.join(kind);
    let private = private.to_str().unwrap();
    let public = match kind {
        "age" => {
            run("age-keygen", &["-o", private]);
            run("age-keygen", &["-y", private])
        }
        "pem" => {
            run("openssl", &["genrsa", "-out", private, "2048"]);
            let public = run("openssl", &["rsa", "-in", private, "-pubout"]);
            run("ssh-keygen", &["-p", "-N", "", "-f", private]);
            public
        }
        kind => {
            run("ssh-keygen", &["-q", "-t", kind, "-N", "", "-C", "me@host", "-f", private]);
            std::fs::read(format!("{private}.pub")).unwrap()
        }
    };
    String::from_utf8(public).unwrap()
}

async fn add_key(installation: &Installation, public: &str) -> Value {
    let body = json!({"name": "offline", "public_key": public});
    installation.api.post("/v1/encryption-keys", body).await.expect(201).data()
}

/// `age -d -i KEY | zstd -d` of the backup's only file, downloaded by its link.
async fn restored(installation: &Installation, backup: &Value, folder: &Path, kind: &str) -> Vec<u8> {
    let stored = installation.download(backup).await;
    assert!(!stored.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "it is in the clear");
    let file = folder.join("download");
    std::fs::write(&file, &stored).unwrap();
    let script = "set -o pipefail; age -d -i \"$1\" \"$2\" | zstd -d";
    run("bash", &["-c", script, "bash", folder.join(kind).to_str().unwrap(), file.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_with_a_key_of_each_kind_and_stock_tools() {
    let (host, installation, folder) = (Host::start().await, Installation::start().await, TempDir::new().unwrap());
    host.write("secret.txt", CANARY);
    host.write("noise", noise(6 << 20, 3));
    let job = installation.add_job(&host).await;
    let mut keys = Vec::new();
    for kind in ["age", "ed25519", "rsa", "pem"] {
        let key = add_key(&installation, &make_pair(folder.path(), kind)).await;
        let one = json!({"encryption_key_id": key["id"]});
        installation.api.post(&format!("/v1/jobs/{job}/encryption-key"), one).await.expect(204);
        let backup = installation.run(&job).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        assert_eq!(backup["files"][0]["name"], "file-backups.tar.zst.age");
        assert_eq!(backup["encryption_keys"], json!([key["fingerprint"]]), "{kind}");
        assert_eq!(backup["encryption_key"], key["fingerprint"]);
        let log = installation.log(backup["id"].as_str().unwrap()).await;
        assert!(log.contains(key["fingerprint"].as_str().unwrap()), "{log}");
        assert_same_tar(&restored(&installation, &backup, folder.path(), kind).await, &host.site());
        keys.push(key);
    }

    // All of them at once: any one opens it.
    let ids: Vec<&Value> = keys.iter().map(|key| &key["id"]).collect();
    let path = format!("/v1/jobs/{job}");
    installation.api.patch(&path, json!({"encryption_key_ids": ids})).await.expect(204);
    let shown = installation.api.get(&path).await.expect(200).data();
    assert_eq!((&shown["encryption_key_ids"], &shown["encryption_key_id"]), (&json!(ids), ids[0]));
    let backup = installation.run(&job).await;
    let fingerprints: Vec<&Value> = keys.iter().map(|key| &key["fingerprint"]).collect();
    assert_eq!(backup["encryption_keys"], json!(fingerprints), "{backup}");
    for kind in ["age", "ed25519", "rsa", "pem"] {
        assert_same_tar(&restored(&installation, &backup, folder.path(), kind).await, &host.site());
    }
    installation.api.delete("/v1/encryption-keys/2").await.expect(409);
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_in_a_list_is_asked_about() {
    let (host, installation, folder) = (Host::start().await, Installation::start().await, TempDir::new().unwrap());
    let job = installation.add_job(&host).await;
    add_key(&installation, &make_pair(folder.path(), "age")).await;
    let path = format!("/v1/jobs/{job}");
    let refused = installation.api.patch(&path, json!({"encryption_key_ids": [1]})).await.expect(422).json();
    assert!(refused["errors"]["accept_key_loss"][0].as_str().unwrap().contains("private half"), "{refused}");
    let accepted = json!({"encryption_key_ids": [1], "accept_key_loss": true});
    installation.api.patch(&path, accepted).await.expect(204);
    let unknown = json!({"encryption_key_ids": [1, 99]});
    let refused = installation.api.patch(&path, unknown).await.expect(422).json();
    assert!(refused["errors"]["encryption_key_ids.1"].is_array(), "{refused}");
    installation.api.delete(&format!("{path}/encryption-key")).await.expect(204);
    assert_eq!(installation.api.get(&path).await.expect(200).data()["encryption_key_ids"], json!([]));
    assert_eq!(installation.run(&job).await["encryption_keys"], json!([]));
}

/// Neither a key that is gone nor one that cannot be used leads to a backup in the clear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_key_a_job_stores_nothing() {
    let (host, installation, folder) = (Host::start().await, Installation::start().await, TempDir::new().unwrap());
    host.write("secret.txt", CANARY);
    let job = installation.add_job(&host).await;
    add_key(&installation, &make_pair(folder.path(), "age")).await;
    let one = json!({"encryption_key_id": 1});
    installation.api.post(&format!("/v1/jobs/{job}/encryption-key"), one).await.expect(204);

    // The API keeps a key that is used; whatever else may happen to it is done to the table.
    let table = RawTable::of(&installation);
    let whole =
        table.items().await.into_iter().find(|item| item.contains_key("public_key") && item.contains_key("kind"));
    let whole = whole.expect("the key's item");
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let mut damaged = whole.clone();
    damaged.insert("public_key".to_owned(), text("age1damaged"));
    for (words, item) in [("cannot be used", Some(damaged)), ("is gone", None)] {
        match item {
            Some(item) => table.put(item).await,
            None => table.delete(&whole).await,
        }
        let backup = installation.run(&job).await;
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        assert_eq!(backup["failure"]["kind"], "config", "{backup}");
        let message = backup["failure"]["message"].as_str().unwrap();
        assert!(message.contains(words) && message.contains("nothing was read or stored"), "{message}");
        assert_eq!(leftovers::objects(&installation).await, Vec::<String>::new());
    }
    leftovers::assert_none(&installation).await;
}
