//! Compression: each method stores what stock tools unpack, under a name that says what it is.

use std::io::Write;
use std::process::{Command, Stdio};

use holdfast_tests::Installation;
use holdfast_tests::installation::Host;
use holdfast_tests::tree::{assert_same_tar, noise};
use serde_json::json;

/// What a stock program prints when it is fed `bytes`.
fn piped_through(program: &str, args: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let feeding = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    output.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_method_is_unpacked_by_its_stock_tool() {
    let (host, installation) = (Host::start().await, Installation::start().await);
    host.write("text", "the same line again\n".repeat(50_000));
    host.write("noise", noise(40 << 20, 3));
    let job = installation.add_job(&host).await;
    let path = format!("/v1/jobs/{job}");
    assert_eq!(installation.api.get(&path).await.expect(200).data()["compression"], "zstd");
    let cases: [(_, _, _, &[&str]); 4] = [
        (json!({"compression": "gzip"}), "file-backups.tar.gz", "gunzip", &[]),
        (json!({"compression": "zstd"}), "file-backups.tar.zst", "zstd", &["-d"]),
        (json!({"compression": "none"}), "file-backups.tar", "cat", &[]),
        (json!({"compression": "gzip", "config": {"compression_level": 0}}), "file-backups.tar", "cat", &[]),
    ];
    for (change, name, program, args) in cases {
        installation.api.patch(&path, change.clone()).await.expect(204);
        let shown = installation.api.get(&path).await.expect(200).data();
        assert_eq!(shown["compression"], change["compression"]);
        let backup = installation.run(&job).await;
        assert_eq!((&backup["status"], &backup["files"][0]["name"]), (&json!("completed"), &json!(name)), "{backup}");
        let stored = installation.download(&backup).await;
        assert_same_tar(&piped_through(program, args, &stored), &host.site());
        // The text shrinks, the noise does not grow.
        let file = &backup["files"][0];
        let (plain, packed) = (file["plain_bytes"].as_u64().unwrap(), file["stored_bytes"].as_u64().unwrap());
        let expected = if program == "cat" { plain..=plain } else { 40 << 20..=(40 << 20) + (100 << 10) };
        assert!(expected.contains(&packed), "{name}: {plain} bytes became {packed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_does_not_exist_and_a_level_that_it_has_not_are_refused() {
    let (host, installation) = (Host::start().await, Installation::start().await);
    let job = installation.add_job(&host).await;
    let path = format!("/v1/jobs/{job}");
    let cases = [
        (json!({"compression": "bzip2"}), "compression"),
        (json!({"compression": 3}), "compression"),
        (json!({"compression": "gzip", "config": {"compression_level": 10}}), "config.compression_level"),
    ];
    for (change, field) in cases {
        let refused = installation.api.patch(&path, change.clone()).await.expect(422).json();
        assert_eq!(refused["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{change}");
    }
}
