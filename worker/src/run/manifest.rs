//! Manifest: beside each backup a small file that tells what is there and how to restore it, so that a bucket alone is
//! enough. It names no host, no login and no path of the source.

use holdfast_shared::domain::backup::{A_PASSPHRASE, Copy, File, Outcome};
use holdfast_shared::domain::object_key::{FileName, MANIFEST};
use holdfast_shared::service::Claim;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The form that this version writes.
const FORMAT: &str = "holdfast-manifest/1";

/// The key of an attempt's manifest; `None` never happens, as its name keeps to the rule.
pub(super) fn key(claim: &Claim) -> Option<String> {
    let name = FileName::new(MANIFEST)?;
    Some(claim.backup.directory().object(claim.backup.attempt, name).to_string())
}

/// The manifest of what a run stored, written at `now`.
pub(super) fn manifest(claim: &Claim, outcome: &Outcome, now: Timestamp) -> Value {
    let Claim { backup, job, .. } = claim;
    let keys = outcome.copies.first().map_or(&[][..], |Copy { keys, .. }| keys);
    // Without a key, age asks for the passphrase.
    let open = if outcome.encrypted_to == [A_PASSPHRASE] { "age -d" } else { "age -d -i KEY" };
    let files = outcome.files.iter().zip(keys).map(|(file, key)| file_view(file, key, open));
    json!({
        "format": FORMAT,
        "made_by": {
            "holdfast": env!("CARGO_PKG_VERSION"),
            "zstd": zstd::zstd_safe::version_string(),
            "age": "age-encryption.org/v1",
        },
        "job": {"id": job.id, "name": job.name, "recipe": job.recipe.slug()},
        "backup": {
            "id": backup.id, "attempt": backup.attempt, "schedule": backup.schedule, "slot": backup.slot,
            "created_at": backup.created_at, "started_at": backup.started_at, "written_at": now,
            "status": outcome.status, "source_errors": outcome.source_errors,
        },
        "encrypted_to": outcome.encrypted_to,
        "files": files.collect::<Vec<_>>(),
    })
}

fn file_view(file: &File, key: &str, open: &'static str) -> Value {
    json!({
        "name": file.name,
        "key": key,
        "plain_bytes": file.plain_bytes,
        "plain_sha256": file.plain_sha256,
        "stored_bytes": file.stored_bytes,
        "stored_sha256": file.stored_sha256,
        "restore": restore(&file.name, open),
    })
}

/// The command that restores a file of this name, in the folder that it was downloaded to. Its endings tell what was done
/// to it, the last one last; `open` undoes encryption.
fn restore(name: &str, open: &'static str) -> String {
    let (mut steps, mut rest) = (Vec::new(), name);
    if let Some(inner) = rest.strip_suffix(".age") {
        steps.push(open);
        rest = inner;
    }
    let unpack = [(".zst", "zstd -d"), (".gz", "gzip -d")];
    if let Some((inner, step)) = unpack.iter().find_map(|(end, step)| Some((rest.strip_suffix(end)?, step))) {
        steps.push(step);
        rest = inner;
    }
    let last = match rest.strip_suffix(".tar") {
        Some(_) => " | tar -x --numeric-owner".to_owned(),
        None if steps.is_empty() => return format!("{name} is the dump as it was taken"),
        None => format!(" > {rest}"),
    };
    let mut command = format!("cat {name}");
    for step in steps {
        command.push_str(" | ");
        command.push_str(step);
    }
    command + &last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_how_to_restore() {
        let cases = [
            ("a.tar.zst.age", "cat a.tar.zst.age | age -d -i KEY | zstd -d | tar -x --numeric-owner"),
            ("a.tar", "cat a.tar | tar -x --numeric-owner"),
            ("shop.sql.gz", "cat shop.sql.gz | gzip -d > shop.sql"),
            ("dump.rdb.age", "cat dump.rdb.age | age -d -i KEY > dump.rdb"),
            ("shop.dump", "shop.dump is the dump as it was taken"),
        ];
        for (name, expected) in cases {
            assert_eq!(restore(name, "age -d -i KEY"), expected);
        }
        assert_eq!(restore("a.sql.age", "age -d"), "cat a.sql.age | age -d > a.sql");
    }
}
