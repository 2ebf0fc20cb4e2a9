//! Fields of a recipe's config: what they are called, how a form shows them, and how answers print their values.

use std::borrow::Cow;

use serde_json::Value;

/// One field of a recipe's config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldDefinition {
    /// Its name on the wire.
    pub key: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// What to write there.
    pub help: &'static str,
    /// How a form shows it.
    pub kind: FieldKind,
    /// Which jobs cannot do without.
    pub need: Need,
    /// Whether its value is sealed and never shown.
    pub secret: bool,
    /// Whether a job without a server connects to what it names.
    pub reached: bool,
}

/// How a form shows a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// One line of text.
    Text,
    /// Lines of text.
    Textarea,
    /// One line of text that is not shown while it is written.
    Password,
    /// A whole number.
    Number,
    /// Yes or no.
    Checkbox,
    /// One of these words.
    Select(&'static [&'static str]),
}

/// Which jobs cannot do without a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// None.
    Never,
    /// Those without a server: there is no host whose defaults could stand in.
    Serverless,
    /// All.
    Always,
}

/// The value of a field, as answers print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting<'a> {
    /// Text, lines joined by line feeds.
    Text(Cow<'a, str>),
    /// A whole number.
    Number(u64),
    /// Yes or no: `"True"` or `"False"`.
    Flag(bool),
    /// Whether a secret is there: `"**set**"` or `"**not set**"`.
    Secret(bool),
}

/// What stands for a secret that is there.
pub(super) const SET: &str = "**set**";
/// What stands for a secret that is not.
pub(super) const NOT_SET: &str = "**not set**";

impl FieldKind {
    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Textarea => "textarea",
            Self::Password => "password",
            Self::Number => "number",
            Self::Checkbox => "checkbox",
            Self::Select(_) => "select",
        }
    }

    /// The words to choose from; none where anything may be written.
    pub fn choices(self) -> &'static [&'static str] {
        match self {
            Self::Select(words) => words,
            _ => &[],
        }
    }
}

impl<'a> Setting<'a> {
    /// Text, or nothing where there is none.
    pub(super) fn of(text: Option<&'a str>) -> Self {
        Self::Text(text.unwrap_or_default().into())
    }

    /// Entries, joined by `separator`.
    pub(super) fn list(entries: &[String], separator: &str) -> Self {
        Self::Text(entries.join(separator).into())
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Secret(set) => !set,
            Self::Number(_) | Self::Flag(_) => false,
        }
    }

    /// The value in JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_ref()),
            Self::Number(number) => Value::from(*number),
            Self::Flag(flag) => Value::from(if *flag { "True" } else { "False" }),
            Self::Secret(set) => Value::from(if *set { SET } else { NOT_SET }),
        }
    }
}

impl FieldDefinition {
    /// A field that a job can do without.
    pub(super) const fn new(kind: FieldKind, key: &'static str, label: &'static str, help: &'static str) -> Self {
        Self { key, label, help, kind, need: Need::Never, secret: false, reached: false }
    }

    /// The same field, for jobs that cannot do without.
    pub(super) const fn needed(self, need: Need) -> Self {
        Self { need, ..self }
    }

    /// The same field, sealed.
    pub(super) const fn sealed(self) -> Self {
        Self { secret: true, ..self }
    }

    /// The same field, for what a job without a server connects to.
    pub(super) const fn reached(self) -> Self {
        Self { reached: true, ..self }
    }

    /// A checkbox.
    pub(super) const fn checkbox(key: &'static str, label: &'static str, help: &'static str) -> Self {
        Self::new(FieldKind::Checkbox, key, label, help)
    }

    /// The host of a database.
    pub(super) const fn host(key: &'static str, label: &'static str) -> Self {
        let help = "a host name or address; empty: the server itself";
        Self::new(FieldKind::Text, key, label, help).needed(Need::Serverless).reached()
    }

    /// The port of a database.
    pub(super) const fn port(key: &'static str, label: &'static str) -> Self {
        Self::new(FieldKind::Number, key, label, "a port from 1 to 65535")
    }

    /// Who logs in to a database.
    pub(super) const fn username(key: &'static str, label: &'static str) -> Self {
        Self::new(FieldKind::Text, key, label, "who logs in; empty: whom the dump tool takes by itself")
    }

    /// What a database asks of who logs in.
    pub(super) const fn password(key: &'static str, label: &'static str) -> Self {
        Self::new(FieldKind::Password, key, label, "kept when an edit leaves it out; empty text takes it away").sealed()
    }

    /// Which databases are taken.
    pub(super) const fn databases(key: &'static str, label: &'static str) -> Self {
        Self::new(FieldKind::Text, key, label, "one name, several with commas between them, or empty for all")
    }
}

/// The level of compression, which every recipe has.
pub(super) const COMPRESSION_LEVEL: FieldDefinition = FieldDefinition::new(
    FieldKind::Number,
    "compression_level",
    "Compression Level",
    "1 (fastest) to 19 (smallest), for gzip to 9; 0 stores the dump as it is",
);

/// Whether the dump tool runs with all rights.
pub(super) const USE_SUDO: FieldDefinition =
    FieldDefinition::checkbox("use_sudo", "Run using Sudo?", "the login must be allowed to, without a password");

/// The level unless a job says otherwise.
pub(super) const DEFAULT_COMPRESSION_LEVEL: u8 = 6;
