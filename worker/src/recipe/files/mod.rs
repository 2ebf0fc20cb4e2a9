//! Files: folders and files of a server as one tar, made by the server's own GNU tar.
//!
//! Names are stored as tar users expect: without their leading `/`, so that they unpack below where one stands. A root
//! path that is missing when the dump begins, or that cannot be entered, fails the backup for good, since a job that names
//! it relies on it. Whatever else cannot be read, or goes away meanwhile, is named in a backup that completes with errors.

mod listing;
mod report;

use std::time::Duration;

use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::FilesConfig;

use super::{Dump, SourceError};
use crate::remote::{Machine, RemoteCommand};
pub use listing::list;
use report::Report;

/// How long tar may take to look at the root paths alone.
const LOOK_LIMIT: Duration = Duration::from_secs(120);

/// Looks at the root paths: one tar holds them all.
pub async fn plan(machine: &Machine, config: &FilesConfig) -> Result<Vec<Dump>, SourceError> {
    look(machine, config).await?;
    let name = FileName::of("file-backups", "tar");
    Ok(vec![Dump::of_command(name, command(config), Report::new(&config.root_paths))])
}

/// Has tar take the root paths alone, without what is below them: what is missing now was never there, while what is
/// missing later was taken away. It also tells whether tar can be run at all. To `/dev/null` tar reads no content.
async fn look(machine: &Machine, config: &FilesConfig) -> Result<(), SourceError> {
    let options = ["--create", "--file=/dev/null", "--no-recursion", ONE_LINE];
    let words = options.into_iter().chain(NAMES).map(str::to_owned);
    let output = machine.output(tar(config).args(words).stdin(roots(config)).limit(LOOK_LIMIT)).await?;
    let mut report = Report::default();
    output.exit.stderr.lines().for_each(|line| report.take_in(line));
    report.check_look(output.exit.code)
}

/// Makes tar read the paths that it takes from its input, each ended by a NUL, and nothing of them as an option.
const NAMES: [&str; 3] = ["--null", "--verbatim-files-from", "--files-from=-"];

/// One line per message, whatever a file is called.
const ONE_LINE: &str = "--quoting-style=escape";

/// What is kept of each file beside its content. An ACL is kept twice: with the names of its users and groups, and as an
/// attribute, by their numbers.
const KEPT: [&str; 5] = ["--numeric-owner", "--sparse", "--acls", "--xattrs", "--xattrs-include=*"];

fn roots(config: &FilesConfig) -> Vec<u8> {
    config.root_paths.iter().flat_map(|path| path.bytes().chain([0])).collect()
}

fn tar(config: &FilesConfig) -> RemoteCommand {
    match config.use_sudo {
        true => RemoteCommand::new("sudo").args(["-n", "--", "tar"]),
        false => RemoteCommand::new("tar"),
    }
}

fn command(config: &FilesConfig) -> RemoteCommand {
    let options = [
        "--create",
        "--file=-",
        // Keeps names, sizes and times of any length; two times that change with each reading are left out.
        "--format=posix",
        "--pax-option=delete=atime,delete=ctime",
        ONE_LINE,
    ];
    taking(config, options.into_iter().chain(KEPT))
}

/// tar with these options, over what a job wants to be taken. The root paths go over its input. A pattern is one word with
/// its option, so that it cannot become one either.
fn taking<'a>(config: &FilesConfig, options: impl IntoIterator<Item = &'a str>) -> RemoteCommand {
    let stay = config.one_file_system.then(|| "--one-file-system".to_owned());
    let excludes = config.exclude.iter().map(|pattern| format!("--exclude={pattern}"));
    let words = options.into_iter().map(str::to_owned).chain(stay).chain(excludes).chain(NAMES.map(str::to_owned));
    tar(config).args(words).stdin(roots(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_left_out_only_where_that_is_asked_for() {
        let mut config = FilesConfig { root_paths: vec!["/".to_owned()], ..FilesConfig::default() };
        let asked = |config: &FilesConfig| format!("{:?}", command(config)).contains("\"--one-file-system\"");
        assert!(!asked(&config));
        config.one_file_system = true;
        assert!(asked(&config));
    }
}
