//! Encryption on the worker: what is stored opens with the owner's keys and stock tools, and nothing is ever stored in the
//! clear that should be encrypted.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

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

/// `age -d` as a person runs it, who types the passphrase when it is asked for: it reads from the terminal alone. Whether it
/// opened, and what it said.
fn typed_in(folder: &Path, command: &str, passphrase: &str) -> (bool, String) {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", command, "/dev/null"]).current_dir(folder);
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    let mut terminal = child.stdout.take().unwrap();
    let mut byte = [0];
    while !said.ends_with(b"passphrase:") && terminal.read(&mut byte).unwrap() == 1 {
        said.push(byte[0]);
    }
    let mut keyboard = child.stdin.take().unwrap();
    let _ = writeln!(keyboard, "{passphrase}");
    terminal.read_to_end(&mut said).unwrap();
    drop(keyboard);
    (child.wait().unwrap().success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_with_its_passphrase_and_stock_tools() {
    let (host, installation, folder) = (Host::start().await, Installation::start().await, TempDir::new().unwrap());
    host.write("secret.txt", CANARY);
    let job = installation.add_job(&host).await;
    let path = format!("/v1/jobs/{job}");
    let shown = || async { installation.api.get(&path).await.expect(200).data() };
    assert_eq!(shown().await["encryption_password"], "**not set**");
    let passphrase = "Größe 'und' \"$(id)\" \\ #1";
    installation.api.patch(&path, json!({"encryption_password": passphrase})).await.expect(204);
    assert_eq!(shown().await["encryption_password"], "**set**");
    // What answers show can be sent back.
    installation.api.patch(&path, json!({"name": "other", "encryption_password": "**set**"})).await.expect(204);

    let backup = installation.run(&job).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(backup["files"][0]["name"], "file-backups.tar.zst.age");
    assert_eq!(
        (&backup["encryption_key"], &backup["encryption_keys"]),
        (&json!("a passphrase"), &json!(["a passphrase"]))
    );
    let stored = installation.download(&backup).await;
    assert!(!stored.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "it is in the clear");
    std::fs::write(folder.path().join("file-backups.tar.zst.age"), &stored).unwrap();
    let restore = "bash -c 'set -o pipefail; age -d file-backups.tar.zst.age | zstd -d > plain.tar'";
    let (opened, said) = typed_in(folder.path(), restore, passphrase);
    assert!(opened, "{said}");
    assert_same_tar(&std::fs::read(folder.path().join("plain.tar")).unwrap(), &host.site());
    let (opened, said) = typed_in(folder.path(), restore, "another passphrase");
    assert!(!opened && said.contains("incorrect passphrase"), "{said}");

    // A bucket alone is enough: its manifest tells how, and nothing of the passphrase is anywhere.
    let service = installation.service();
    let storage = service.storage(&installation.account(), 1).await.unwrap();
    let bucket = service.objects(&installation.account(), &storage).unwrap();
    let key = format!("{}/0001/manifest.json", backup["s3_directory"].as_str().unwrap());
    let manifest: Value = serde_json::from_slice(&bucket.get(&key).await.unwrap()).unwrap();
    assert_eq!(manifest["encrypted_to"], json!(["a passphrase"]));
    let restore = manifest["files"][0]["restore"].as_str().unwrap().to_owned();
    let below = folder.path().join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("file-backups.tar.zst.age"), &stored).unwrap();
    let (opened, said) = typed_in(&below, &restore, passphrase);
    assert!(opened, "{restore}: {said}");
    assert!(below.join(host.site().strip_prefix("/").unwrap()).join("secret.txt").exists());

    // A copy of the job has it too, sealed for itself.
    let copy = installation.api.post(&format!("{path}/clone"), json!({})).await.expect(201).data();
    assert_eq!(copy["encryption_password"], "**set**");
    let backup = installation.run(copy["id"].as_str().unwrap()).await;
    std::fs::write(folder.path().join("file-backups.tar.zst.age"), installation.download(&backup).await).unwrap();
    let (opened, said) = typed_in(folder.path(), "age -d -o plain.zst file-backups.tar.zst.age", passphrase);
    assert!(opened, "{said}");

    installation.api.patch(&path, json!({"encryption_password": null})).await.expect(204);
    assert_eq!(shown().await["encryption_password"], "**not set**");
    assert_eq!(installation.run(&job).await["files"][0]["name"], "file-backups.tar.zst");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passphrase_and_a_key_exclude_each_other() {
    let (host, installation, folder) = (Host::start().await, Installation::start().await, TempDir::new().unwrap());
    let job = installation.add_job(&host).await;
    add_key(&installation, &make_pair(folder.path(), "age")).await;
    let path = format!("/v1/jobs/{job}");
    let refused = async |body: Value, field: &str| {
        let refused = installation.api.patch(&path, body).await.expect(422).json();
        let told = refused["errors"][field][0].as_str().unwrap_or_else(|| panic!("{refused}")).to_owned();
        assert!(told.contains("alone"), "{told}");
    };
    refused(json!({"encryption_key_id": 1, "encryption_password": "passphrase"}), "encryption_password").await;
    installation.api.patch(&path, json!({"encryption_password": "passphrase"})).await.expect(204);
    refused(json!({"encryption_key_id": 1}), "encryption_key_id").await;
    let link = installation.api.post(&format!("{path}/encryption-key"), json!({"encryption_key_id": 1})).await;
    assert!(link.expect(422).json()["errors"]["encryption_key_id"].is_array());
    let instead = json!({"encryption_key_id": 1, "encryption_password": null});
    installation.api.patch(&path, instead).await.expect(204);
    refused(json!({"encryption_password": "passphrase"}), "encryption_password").await;
    let instead = json!({"encryption_key_ids": null, "encryption_password": "passphrase"});
    installation.api.patch(&path, instead).await.expect(204);

    // In the clear from now on, whatever it was encrypted with.
    installation.api.delete(&format!("{path}/encryption-key")).await.expect(204);
    let shown = installation.api.get(&path).await.expect(200).data();
    assert_eq!((&shown["encryption_password"], &shown["encryption_key_ids"]), (&json!("**not set**"), &json!([])));
    let short = installation.api.patch(&path, json!({"encryption_password": "short"})).await.expect(422).json();
    assert!(short["errors"]["encryption_password"][0].as_str().unwrap().contains("8 to 512"), "{short}");
}
