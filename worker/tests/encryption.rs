//! What the pipeline encrypts is opened by stock `age` and unpacked by stock tools, with a key of each kind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use holdfast_shared::aws::objects::Part;
use holdfast_shared::domain::compression::Compression;
use holdfast_shared::domain::part_size::PartSizes;
use holdfast_shared::domain::public_key::PublicKey;
use holdfast_worker::pipeline::{Form, Meter, Recipients, pipe};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Public keys as their owner sends them, each with the file that opens what is encrypted to it.
fn key_pairs(folder: &Path) -> Vec<(String, PathBuf)> {
    let path = |name: &str| folder.join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    run("age-keygen", &["-o", &text("age")]);
    let recipient = String::from_utf8(run("age-keygen", &["-y", &text("age")]).stdout).unwrap();
    for (kind, bits, name) in [("ed25519", "256", "ed25519"), ("rsa", "2048", "rsa"), ("rsa", "4096", "large")] {
        run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-C", "me@host", "-f", &text(name)]);
    }
    // As people make a pair in PEM, which the README has them turn into OpenSSH's form once they restore.
    run("openssl", &["genrsa", "-out", &text("pem"), "2048"]);
    let pem = run("openssl", &["rsa", "-in", &text("pem"), "-pubout"]).stdout;
    run("ssh-keygen", &["-p", "-N", "", "-f", &text("pem")]);
    let line = |name: &str| std::fs::read_to_string(path(&format!("{name}.pub"))).unwrap();
    vec![
        (recipient, path("age")),
        (line("ed25519"), path("ed25519")),
        (line("rsa"), path("rsa")),
        (line("large"), path("large")),
        (String::from_utf8(pem).unwrap(), path("pem")),
    ]
}

/// `plain` as it would be stored.
async fn stored(plain: &[u8], keys: &[PublicKey], compression: Compression) -> Vec<u8> {
    let recipients = Recipients::of(keys).unwrap().unwrap();
    let form = Form { compression, encryptor: Some(recipients.encryptor().unwrap()), parts: PartSizes::Growing };
    let stored = Mutex::new(Vec::new());
    let put = async |part: Part| -> Result<(), ()> {
        stored.lock().unwrap().extend_from_slice(&part.bytes);
        Ok(())
    };
    pipe(plain, form, &Meter::default(), &CancellationToken::new(), put).await.unwrap();
    stored.into_inner().unwrap()
}

/// What `age -d -i KEY | UNPACK` makes of it.
fn restored(folder: &Path, stored: &[u8], key: &Path, unpack: &str) -> Vec<u8> {
    let file = folder.join("stored");
    std::fs::write(&file, stored).unwrap();
    let script = format!("set -o pipefail; age -d -i \"$1\" \"$2\" | {unpack}");
    run("bash", &["-c", &script, "bash", key.to_str().unwrap(), file.to_str().unwrap()]).stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_tools_restore_with_a_key_of_each_kind() {
    let folder = TempDir::new().unwrap();
    let pairs = key_pairs(folder.path());
    let plain: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
    let forms = [(Compression::Zstd(3), "zstd -d"), (Compression::Gzip(6), "gunzip"), (Compression::None, "cat")];
    for (public, private) in &pairs {
        let key = PublicKey::parse(public).unwrap();
        for (compression, unpack) in forms {
            let stored = stored(&plain, std::slice::from_ref(&key), compression).await;
            assert!(restored(folder.path(), &stored, private, unpack) == plain, "{public} {compression:?}");
        }
    }
    let all: Vec<_> = pairs.iter().map(|(public, _)| PublicKey::parse(public).unwrap()).collect();
    let stored = stored(&plain, &all, Compression::Zstd(3)).await;
    for (public, private) in &pairs {
        assert!(restored(folder.path(), &stored, private, "zstd -d") == plain, "{public} of several");
    }
}
