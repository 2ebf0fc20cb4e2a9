//! The invariants of the README, each checked against the source. A failure names the file, the line and the rule.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest that a non-test file may be.
const MAX_LINES: usize = 500;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Rust files below `folder`, as (path from the top, text).
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no source below {folder}");
    found
}

/// Files of the product: not tests, not benches.
fn product() -> Vec<(String, String)> {
    let crates = ["shared/src", "functions/src", "worker/src", "infra/local/src"];
    let all = crates.into_iter().flat_map(sources);
    all.filter(|(name, _)| !name.ends_with("/tests.rs") && !name.contains("/tests/")).collect()
}

/// The part of a file before its unit tests, and without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(number, line)| (number + 1, line))
}

/// Asserts that none of `words` stands in the code of `files`, but where `allowed` says.
fn forbid(rule: &str, files: Vec<(String, String)>, words: &[&str], allowed: impl Fn(&str) -> bool) {
    let mut broken = Vec::new();
    for (name, text) in files.iter().filter(|(name, _)| !allowed(name)) {
        for (number, line) in code(text) {
            if words.iter().any(|word| line.contains(word)) {
                broken.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{rule}\n{}", broken.join("\n"));
}

#[test]
fn the_top_level_holds_what_the_readme_says_and_nothing_else() {
    let expected = [
        ".ci",
        ".git",
        ".gitignore",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "clippy.toml",
        "deny.toml",
        "functions",
        "infra",
        "rustfmt.toml",
        "shared",
        "target",
        "tests",
        "worker",
    ];
    let entries = fs::read_dir(top()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let odd: Vec<_> = entries.filter(|name| !expected.contains(&name.as_str()) && name != "holdfast-data").collect();
    assert!(odd.is_empty(), "not of the layout: {odd:?}");
}

#[test]
fn sdk_types_stop_at_shared_aws() {
    let rule = "`aws_sdk_*` only in shared/src/aws";
    forbid(rule, product(), &["aws_sdk_", "aws_smithy_types"], |name| name.starts_with("shared/src/aws/"));
}

#[test]
fn the_domain_is_pure() {
    let words = [
        "tokio",
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "aws_config",
        "crate::aws",
        "crate::service",
        "crate::clock",
        "::now()",
    ];
    forbid("no IO, clock, environment or AWS in shared/src/domain", sources("shared/src/domain"), &words, |_| false);
}

#[test]
fn shared_points_one_way() {
    let rule = "in shared the arrows go service → aws → domain";
    forbid(rule, sources("shared/src/aws"), &["crate::service"], |_| false);
}

#[test]
fn the_environment_is_read_only_in_config() {
    let words = ["env::var", "env::vars", "env!(\"HOLDFAST"];
    forbid("the environment is read only in shared/src/config.rs", product(), &words, |name| {
        name == "shared/src/config.rs"
    });
}

#[test]
fn processes_are_spawned_only_by_remote_and_the_demo() {
    let rule = "processes are spawned only in worker/src/remote, and in the demo's throwaway host";
    forbid(rule, product(), &[" Command::new", "(Command::new", "process::Command"], |name| {
        name.starts_with("worker/src/remote") || name.starts_with("infra/local/src/demo")
    });
}

#[test]
fn the_clock_is_injected() {
    let rule = "only shared/src/clock.rs reads the system's clock";
    let words = ["Timestamp::now()", "Zoned::now()", "SystemTime::now()"];
    forbid(rule, product(), &words, |name| name == "shared/src/clock.rs");
}

#[test]
fn vendor_names_stand_only_in_their_dialects() {
    let vendors = ["vanguard", "cloud66", "cronly", "zomro", "snapshooter", "Vanguard", "Cloud 66", "Cronly", "Zomro"];
    forbid("vendor names only under functions/src/dialects and their bins", product(), &vendors, |name| {
        name.starts_with("functions/src/dialects/") || name.starts_with("functions/src/bin/")
    });
}

#[test]
fn files_are_short_enough_to_read() {
    let length = |text: &str| code(text).count();
    let long: Vec<_> = product().into_iter().filter(|(_, text)| length(text) > MAX_LINES).collect();
    let names: Vec<_> = long.iter().map(|(name, text)| format!("{name}: {} lines", length(text))).collect();
    assert!(names.is_empty(), "longer than {MAX_LINES} lines without comments and tests: {names:?}");
}

#[test]
fn nothing_is_left_over() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "FIXME", "XXX"];
    forbid("nothing half-done is committed", product(), &words, |_| false);
}
