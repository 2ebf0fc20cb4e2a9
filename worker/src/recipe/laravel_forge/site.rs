//! Sites: where they are on a server, and what of them lies elsewhere.

use std::time::Duration;

use holdfast_shared::domain::recipe::{FilesConfig, LaravelForgeConfig};

use crate::recipe::SourceError;
use crate::remote::{Machine, RemoteCommand};

/// How long a look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(120);
/// The most of a file that a look reads, bytes; what is as long may be cut.
const MAX_LOOK_BYTES: usize = 64 << 10;

/// Prints three lines for each site: its folder, its `.env`, and its storage folder, each where it really is, or empty. Of
/// a deployment without downtime the site is a folder with `current` in it. `$1` is a site, or else `$2` holds them all.
const LOOK: &str = r#"real() { if [ -e "$1" ]; then readlink -f -- "$1"; else echo; fi; }
look() {
    cd -P -- "$1" || exit 1
    site=$(pwd -P)
    env=$site/.env; [ -e "$env" ] || env=$site/current/.env
    printf '%s\n' "$site"; real "$env"; real "$site/storage"
}
if [ -n "$1" ]; then look "$1"; exit; fi
cd -- "$2" || exit 1
for name in *; do
    if [ -e "$name/.env" ] || [ -e "$name/artisan" ] || [ -e "$name/current" ] || [ -d "$name/public" ]; then
        (look "$2/$name") || exit 1
    fi
done"#;

/// A site.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// Its folder.
    pub folder: String,
    /// Its `.env`, if it has one.
    pub env: Option<String>,
    /// Its storage folder, if it has one.
    storage: Option<String>,
}

/// Finds the sites that a job means; at least one.
pub(super) async fn find(machine: &Machine, config: &LaravelForgeConfig) -> Result<Vec<Site>, SourceError> {
    let home = look(machine, RemoteCommand::new("sh").args(["-c", r#"printf '%s' "$HOME""#])).await?;
    let path = config.site_path.as_deref().unwrap_or_default();
    let found = look(machine, as_asked(config, "sh").args(["-c", LOOK, "sh", path, &home])).await?;
    let sites = read(&found);
    match sites.is_empty() {
        true => Err(SourceError::Refused(format!("there is no site in {home}; name one with site_path"))),
        false => Ok(sites),
    }
}

/// The text of a site's `.env`.
pub(super) async fn read_env(
    machine: &Machine,
    config: &LaravelForgeConfig,
    path: &str,
) -> Result<String, SourceError> {
    let text = look(machine, as_asked(config, "cat").args(["--", path])).await?;
    match text.len() < MAX_LOOK_BYTES {
        true => Ok(text),
        false => Err(SourceError::Refused(format!("{path} is larger than {MAX_LOOK_BYTES} bytes"))),
    }
}

/// A program that reads what the site's user may read.
fn as_asked(config: &LaravelForgeConfig, program: &str) -> RemoteCommand {
    match config.use_sudo {
        true => RemoteCommand::new("sudo").args(["-n", "--", program]),
        false => RemoteCommand::new(program),
    }
}

async fn look(machine: &Machine, command: RemoteCommand) -> Result<String, SourceError> {
    let output = machine.output(command.limit(LOOK_LIMIT)).await?;
    let said = output.exit.stderr.trim();
    match output.exit.code {
        0 => Ok(output.stdout),
        _ if said.contains("sudo: ") => Err(SourceError::Refused(format!(
            "sudo does not let this user read the site: {said}; allow `NOPASSWD:` sh, cat and tar, or turn use_sudo off"
        ))),
        code => Err(SourceError::Refused(format!(
            "the site cannot be read (exit {code}): {said}; correct site_path or rights"
        ))),
    }
}

fn read(found: &str) -> Vec<Site> {
    let lines: Vec<&str> = found.lines().collect();
    let text = |line: &str| (!line.is_empty()).then(|| line.to_owned());
    let site = |lines: &[&str]| Site { folder: lines[0].to_owned(), env: text(lines[1]), storage: text(lines[2]) };
    lines.chunks_exact(3).map(site).collect()
}

impl Site {
    /// The last part of its folder's path, which Forge makes of its domain.
    pub(super) fn name(&self) -> &str {
        self.folder.rsplit('/').find(|part| !part.is_empty()).unwrap_or("site")
    }

    /// How its files are taken: its folder, and what of it lies elsewhere.
    pub(super) fn files(&self, config: &LaravelForgeConfig) -> FilesConfig {
        let is_elsewhere = |path: &&String| !is_below(path, &self.folder);
        let storage = self.storage.as_ref();
        let (taken, left_out) = if config.backup_storage_folder { (storage, None) } else { (None, storage) };
        let elsewhere = self.env.iter().chain(taken).filter(is_elsewhere).cloned();
        FilesConfig {
            root_paths: [self.folder.clone()].into_iter().chain(elsewhere).collect(),
            // A storage folder that lies elsewhere is only a link here.
            exclude: left_out.filter(|path| !is_elsewhere(path)).map(|path| literal(path)).into_iter().collect(),
            compression_level: config.compression_level,
            use_sudo: config.use_sudo,
            one_file_system: false,
        }
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// A pattern of tar's that means only this path.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for one in path.chars() {
        if "*?[]\\".contains(one) {
            pattern.push('\\');
        }
        pattern.push(one);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(storage: &str) -> Site {
        read(&format!("/home/forge/a[1]\n/home/forge/.env\n{storage}\n")).remove(0)
    }

    #[test]
    fn storage_is_taken_only_where_asked_for() {
        let mut config = LaravelForgeConfig::default();
        let below = site("/home/forge/a[1]/storage");
        assert_eq!(below.files(&config).exclude, ["/home/forge/a\\[1\\]/storage"]);
        assert_eq!(below.files(&config).root_paths, ["/home/forge/a[1]", "/home/forge/.env"]);
        let elsewhere = site("/mnt/storage");
        assert!(elsewhere.files(&config).exclude.is_empty());
        config.backup_storage_folder = true;
        assert!(below.files(&config).exclude.is_empty());
        assert_eq!(elsewhere.files(&config).root_paths, ["/home/forge/a[1]", "/home/forge/.env", "/mnt/storage"]);
    }

    #[test]
    fn sites_are_read_from_what_was_printed() {
        let sites = read("/home/forge/a\n/home/forge/a/.env\n\n/home/forge/b\n\n/home/forge/b/storage\n");
        assert_eq!(sites.len(), 2);
        assert_eq!((sites[0].name(), sites[0].storage.as_ref(), sites[1].env.as_ref()), ("a", None, None));
    }
}
