//! Files: folders and files of a server, as one tar.

use serde::{Deserialize, Serialize};

use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, FieldKind, Need, Setting, USE_SUDO};
use super::reader::ConfigReader;
use super::{Config, Recipe, RecipeDefinition};

/// How many root paths a job can have.
pub(super) const MAX_ROOT_PATHS: usize = 100;
/// How many exclude patterns a job can have.
const MAX_EXCLUDES: usize = 1_000;

/// Settings of a file backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesConfig {
    /// Absolute paths to take; at least one, no NUL.
    pub root_paths: Vec<String>,
    /// Patterns to leave out, as `tar --exclude` reads them.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// zstd level 1 to 19; 0 stores the tar as it is.
    pub compression_level: u8,
    /// Whether tar runs under `sudo -n`.
    #[serde(default)]
    pub use_sudo: bool,
    /// Whether what is mounted below a root path is left out.
    #[serde(default)]
    pub one_file_system: bool,
}

/// What is no part of a server that is taken whole: what the kernel shows, what goes with a restart, and other disks. The
/// folders themselves are kept.
pub const BESIDE_A_WHOLE_SERVER: [&str; 11] = [
    "/proc/*",
    "/sys/*",
    "/dev/*",
    "/run/*",
    "/tmp/*",
    "/var/tmp/*",
    "/mnt/*",
    "/media/*",
    "/lost+found",
    "/swapfile",
    "/swap.img",
];

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 1,
    slug: "file-backups",
    label: "File Backups",
    serverless: false,
    fields: &[
        FieldDefinition::new(FieldKind::Textarea, "root_path", "Root Paths", "one absolute path per line")
            .needed(Need::Always),
        FieldDefinition::new(FieldKind::Textarea, "exclude", "Exclude List", "one pattern per line, as tar reads it"),
        COMPRESSION_LEVEL,
        USE_SUDO,
        FieldDefinition::checkbox("one_file_system", "Stay on one File System?", "leaves out what is mounted below"),
    ],
    blank: || Recipe::FileBackups(FilesConfig::default()),
};

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            root_paths: Vec::new(),
            exclude: Vec::new(),
            compression_level: DEFAULT_COMPRESSION_LEVEL,
            use_sudo: false,
            one_file_system: false,
        }
    }
}

impl Config for FilesConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        if let Some(paths) = root_paths(reader) {
            self.root_paths = paths;
        }
        if let Some(patterns) = reader.lines("exclude", MAX_EXCLUDES) {
            self.exclude = patterns;
        }
        reader.compression_level(&mut self.compression_level);
        reader.flag("use_sudo", &mut self.use_sudo);
        reader.flag("one_file_system", &mut self.one_file_system);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        vec![
            Setting::list(&self.root_paths, "\n"),
            Setting::list(&self.exclude, "\n"),
            Setting::Number(self.compression_level.into()),
            Setting::Flag(self.use_sudo),
            Setting::Flag(self.one_file_system),
        ]
    }

    fn compression_level(&self) -> u8 {
        self.compression_level
    }
}

fn root_paths(reader: &mut ConfigReader<'_>) -> Option<Vec<String>> {
    let paths = reader.lines("root_path", MAX_ROOT_PATHS)?;
    for (index, path) in paths.iter().enumerate() {
        if !path.starts_with('/') {
            let message = format!("line {} must be absolute: begin it with /", index + 1);
            return reader.fields.refuse("root_path", message);
        }
        if paths[..index].contains(path) {
            return reader.fields.refuse("root_path", format!("line {} stands there twice", index + 1));
        }
    }
    Some(paths)
}
