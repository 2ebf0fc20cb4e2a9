//! A recipe: the kind of source that a job backs up, and what it needs to know.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::field::{FieldReader, present};
use crate::error::FieldErrors;

/// How many root paths a job can have.
const MAX_ROOT_PATHS: usize = 100;
/// How many exclude patterns a job can have.
const MAX_EXCLUDES: usize = 1_000;
/// The longest path or pattern, bytes: Linux's `PATH_MAX`.
const MAX_LINE_BYTES: usize = 4_096;
/// The longest list of paths or patterns, bytes: a job with all of them must fit in one item of the table.
const MAX_LIST_BYTES: usize = 64 * 1024;
/// zstd's highest level that needs no more memory than the worker has.
const MAX_COMPRESSION_LEVEL: u64 = 19;
const DEFAULT_COMPRESSION_LEVEL: u8 = 6;

/// What a job backs up, with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "recipe", rename_all = "kebab-case")]
pub enum Recipe {
    /// Folders and files of a server, as one tar.
    FileBackups(FilesConfig),
}

/// A recipe as lists of recipes show it.
#[derive(Debug, PartialEq)]
pub struct RecipeDefinition {
    /// Its number on the wire.
    pub id: u64,
    /// Its name on the wire.
    pub slug: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// What its config holds, in the order of a form.
    pub fields: &'static [FieldDefinition],
}

/// One field of a recipe's config.
#[derive(Debug, PartialEq)]
pub struct FieldDefinition {
    /// Its name on the wire.
    pub key: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// How a form shows it.
    pub kind: FieldKind,
    /// Whether a job cannot do without.
    pub required: bool,
    /// What it is unless given; `None` where it has to be given.
    pub default: Option<Setting<'static>>,
}

/// How a form shows a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Lines of text.
    Textarea,
    /// A whole number.
    Number,
    /// Yes or no.
    Checkbox,
}

/// The value of a field, as answers print it: a checkbox is `"True"` or `"False"`.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting<'a> {
    /// Text, lines joined by line feeds.
    Text(Cow<'a, str>),
    /// A whole number.
    Number(u8),
    /// Yes or no.
    Flag(bool),
}

impl Setting<'_> {
    /// The value in JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_ref()),
            Self::Number(number) => Value::from(*number),
            Self::Flag(flag) => Value::from(if *flag { "True" } else { "False" }),
        }
    }
}

/// Every recipe that a job can have.
pub static RECIPES: [RecipeDefinition; 1] =
    [RecipeDefinition { id: 1, slug: "file-backups", label: "File Backups", fields: &FILES_FIELDS }];

static FILES_FIELDS: [FieldDefinition; 4] = [
    FieldDefinition { key: "root_path", label: "Root Paths", kind: FieldKind::Textarea, required: true, default: None },
    FieldDefinition {
        key: "exclude",
        label: "Exclude List",
        kind: FieldKind::Textarea,
        required: false,
        default: Some(Setting::Text(Cow::Borrowed(""))),
    },
    FieldDefinition {
        key: "compression_level",
        label: "Compression Level",
        kind: FieldKind::Number,
        required: false,
        default: Some(Setting::Number(DEFAULT_COMPRESSION_LEVEL)),
    },
    FieldDefinition {
        key: "use_sudo",
        label: "Run using Sudo?",
        kind: FieldKind::Checkbox,
        required: false,
        default: Some(Setting::Flag(false)),
    },
];

impl RecipeDefinition {
    /// The recipe of that number or name; `None` for one that does not exist.
    pub fn find(word: &str) -> Option<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.slug == word || recipe.id.to_string() == word)
    }

    /// Numbers and names of all recipes, for a message.
    pub fn choices() -> String {
        let all: Vec<_> = RECIPES.iter().map(|recipe| format!("{} ({})", recipe.id, recipe.slug)).collect();
        all.join(", ")
    }

    /// Reads a new job's config; fails with all offending fields at once.
    pub fn configure(&self, config: &Map<String, Value>) -> Result<Recipe, FieldErrors> {
        // There is one recipe; a second one makes this a match on the id.
        FilesConfig::read(config, None).map(Recipe::FileBackups)
    }
}

impl Recipe {
    /// What the recipe is.
    pub fn definition(&self) -> &'static RecipeDefinition {
        match self {
            Self::FileBackups(_) => &RECIPES[0],
        }
    }

    /// The recipe's number on the wire.
    pub fn id(&self) -> u64 {
        self.definition().id
    }

    /// The recipe's name on the wire.
    pub fn slug(&self) -> &'static str {
        self.definition().slug
    }

    /// This recipe with the given fields changed; fails with all offending fields at once.
    pub fn reconfigure(&self, config: &Map<String, Value>) -> Result<Self, FieldErrors> {
        match self {
            Self::FileBackups(files) => FilesConfig::read(config, Some(files)).map(Self::FileBackups),
        }
    }

    /// Each field with its value, in the order of the definition. No secret is among them.
    pub fn settings(&self) -> Vec<(&'static FieldDefinition, Setting<'_>)> {
        let values = match self {
            Self::FileBackups(files) => files.settings(),
        };
        self.definition().fields.iter().zip(values).collect()
    }
}

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
}

impl FilesConfig {
    /// In the order of [`FILES_FIELDS`].
    fn settings(&self) -> [Setting<'_>; 4] {
        [
            Setting::Text(self.root_paths.join("\n").into()),
            Setting::Text(self.exclude.join("\n").into()),
            Setting::Number(self.compression_level),
            Setting::Flag(self.use_sudo),
        ]
    }

    fn read(config: &Map<String, Value>, before: Option<&Self>) -> Result<Self, FieldErrors> {
        let mut fields = FieldReader::default();
        let root_paths =
            root_paths(&mut fields, config.get("root_path")).or(before.map(|files| files.root_paths.clone()));
        if root_paths.is_none() && fields.faults.is_empty() {
            fields.refuse::<()>("root_path", "is required: one absolute path per line");
        }
        let exclude = exclude(&mut fields, config.get("exclude"));
        let level = fields.integer("compression_level", config.get("compression_level"), 0..=MAX_COMPRESSION_LEVEL);
        let level = level.and_then(|level| u8::try_from(level).ok());
        let use_sudo = fields.flag("use_sudo", config.get("use_sudo"));
        fields.faults.check(Self {
            root_paths: root_paths.unwrap_or_default(),
            exclude: exclude.or(before.map(|files| files.exclude.clone())).unwrap_or_default(),
            compression_level: level
                .or(before.map(|files| files.compression_level))
                .unwrap_or(DEFAULT_COMPRESSION_LEVEL),
            use_sudo: use_sudo.or(before.map(|files| files.use_sudo)).unwrap_or(false),
        })
    }
}

fn root_paths(fields: &mut FieldReader, value: Option<&Value>) -> Option<Vec<String>> {
    let paths = lines(fields, "root_path", present(value), MAX_ROOT_PATHS)?;
    if paths.is_empty() {
        return fields.refuse("root_path", "must hold at least one absolute path");
    }
    for (index, path) in paths.iter().enumerate() {
        if !path.starts_with('/') {
            return fields.refuse("root_path", format!("line {} must be absolute: begin it with /", index + 1));
        }
        if paths[..index].contains(path) {
            return fields.refuse("root_path", format!("line {} stands there twice", index + 1));
        }
    }
    Some(paths)
}

/// Patterns. Here empty text is not a missing field: it empties the list.
fn exclude(fields: &mut FieldReader, value: Option<&Value>) -> Option<Vec<String>> {
    lines(fields, "exclude", value.filter(|value| !value.is_null()), MAX_EXCLUDES)
}

/// The lines of a text that hold anything, without their line ends.
fn lines(fields: &mut FieldReader, field: &str, value: Option<&Value>, max: usize) -> Option<Vec<String>> {
    let Value::String(text) = value? else { return fields.refuse(field, "must be text, one entry per line") };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() > max || text.len() > MAX_LIST_BYTES {
        return fields.refuse(field, format!("must not have more than {max} lines or {MAX_LIST_BYTES} bytes"));
    }
    if let Some(long) = lines.iter().position(|line| line.len() > MAX_LINE_BYTES) {
        return fields.refuse(field, format!("line {} must not be longer than {MAX_LINE_BYTES} bytes", long + 1));
    }
    if text.contains('\0') {
        return fields.refuse(field, "must not hold NUL characters");
    }
    Some(lines.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configure(config: Value) -> Result<Recipe, FieldErrors> {
        RECIPES[0].configure(config.as_object().unwrap())
    }

    fn faults(config: Value) -> Vec<(String, String)> {
        let errors = configure(config).unwrap_err();
        errors.iter().map(|(field, all)| (field.to_owned(), all.join("; "))).collect()
    }

    #[test]
    fn a_root_path_is_all_that_is_needed() {
        let Recipe::FileBackups(files) = configure(json!({"root_path": "/"})).unwrap();
        let expected =
            FilesConfig { root_paths: vec!["/".into()], exclude: vec![], compression_level: 6, use_sudo: false };
        assert_eq!(files, expected);
    }

    #[test]
    fn forms_send_text_and_line_ends_of_their_own() {
        let config = json!({"root_path": "/a b\r\n\r\n/c\r\n", "exclude": "*.log\n", "compression_level": "0", "use_sudo": "True"});
        let Recipe::FileBackups(files) = configure(config).unwrap();
        assert_eq!(files.root_paths, ["/a b", "/c"]);
        assert_eq!(files.exclude, ["*.log"]);
        assert_eq!((files.compression_level, files.use_sudo), (0, true));
    }

    #[test]
    fn every_offending_field_is_named() {
        let told = faults(json!({"root_path": "/a\nb", "exclude": 3, "compression_level": 20, "use_sudo": "perhaps"}));
        let expected = [
            ("compression_level", "must be a whole number from 0 to 19"),
            ("exclude", "must be text, one entry per line"),
            ("root_path", "line 2 must be absolute: begin it with /"),
            ("use_sudo", "must be true or false"),
        ];
        assert_eq!(told, expected.map(|(field, message)| (field.to_owned(), message.to_owned())));
    }

    #[test]
    fn root_paths_that_cannot_be() {
        let long = format!("/{}", "x".repeat(MAX_LINE_BYTES));
        let many = (0..=MAX_ROOT_PATHS).map(|n| format!("/{n}\n")).collect::<String>();
        for path in ["", "\n\n", "relative", "./a", "~", "/a\n/a", "/a\0", long.as_str(), many.as_str()] {
            assert_eq!(faults(json!({"root_path": path})).len(), 1, "{path:?}");
        }
        assert_eq!(faults(json!({}))[0].0, "root_path");
        assert_eq!(faults(json!({"root_path": ["/"]}))[0].1, "must be text, one entry per line");
    }

    #[test]
    fn changes_what_is_given_and_keeps_the_rest() {
        let before =
            configure(json!({"root_path": "/a", "exclude": "b", "compression_level": 3, "use_sudo": true})).unwrap();
        let change = |config: Value| match before.reconfigure(config.as_object().unwrap()).unwrap() {
            Recipe::FileBackups(files) => files,
        };
        assert_eq!(Recipe::FileBackups(change(json!({}))), before);
        assert_eq!(change(json!({"exclude": ""})).exclude, [""; 0]);
        let changed = change(json!({"root_path": "/c", "use_sudo": 0}));
        assert_eq!((changed.root_paths, changed.use_sudo, changed.compression_level), (vec!["/c".into()], false, 3));
    }

    #[test]
    fn settings_print_as_they_were_given() {
        let recipe = configure(json!({"root_path": "/a\n/b", "use_sudo": true})).unwrap();
        let printed: Vec<_> = recipe.settings().iter().map(|(field, value)| (field.key, value.to_json())).collect();
        let expected = [
            ("root_path", json!("/a\n/b")),
            ("exclude", json!("")),
            ("compression_level", json!(6)),
            ("use_sudo", json!("True")),
        ];
        assert_eq!(printed, expected);
    }
}
