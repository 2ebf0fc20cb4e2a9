//! The one error that crosses from the use cases to the surfaces.
//!
//! A surface turns [`ErrorKind`] into its own status and envelope with one exhaustive match; the public message is
//! safe to show to a client, the source is for the log only. Display never repeats the source.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

/// What a use case answers.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as far as the caller is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is understood, but fields in it cannot be accepted; every offending field is named.
    Invalid(FieldErrors),
    /// The request cannot be read at all: not JSON, a broken form, a bad query.
    Malformed,
    /// No token, or one that is not known.
    Unauthenticated,
    /// A known token that lacks an ability.
    Forbidden,
    /// Nothing there, or nothing that this account may know of.
    NotFound,
    /// It stands against the state of things: still in use, already running, changed in between.
    Conflict,
    /// It was changed since the caller read it, and the caller asked to be told.
    Outdated,
    /// Too many requests; try again after so many seconds.
    Throttled {
        /// Seconds to wait before trying again.
        retry_after_secs: u32,
    },
    /// A part that Holdfast needs did not answer; trying again later can help.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// An error with a message for the client and a source for the log.
#[derive(Debug)]
pub struct Error {
    /// The class that surfaces match on.
    pub kind: ErrorKind,
    /// Safe to show: holds no secret and nothing of another account.
    pub message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a source.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error with what caused it, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// One offending field.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let mut fields = FieldErrors::default();
        fields.push(field, message);
        fields.into()
    }

    /// A resource that this account does not have.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("{what} not found"))
    }

    /// A conflict with the present state.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// A record that is no longer what the caller said it would be.
    pub fn outdated() -> Self {
        Self::new(ErrorKind::Outdated, "it was changed since you read it; read it again and repeat the change")
    }

    /// A dependency that did not answer; `what` names it in words that a client may read.
    pub fn unavailable(what: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Unavailable, format!("{what} is not available right now; try again shortly"))
            .with_source(source)
    }

    /// A fault of ours; the message stays general, the source tells the log.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Internal, "something went wrong on our side; the request id finds it in the log")
            .with_source(source)
    }

    /// A stored record of a layout that this program does not know. It is left as it is.
    pub fn unknown_version(version: &str) -> Self {
        let message = "this was stored by another version of Holdfast; nothing was changed; update this one";
        Self::new(ErrorKind::Internal, message).with_source(format!("a record has the unknown version {version}"))
    }

    /// The fields of an `Invalid` error; `None` for every other kind.
    pub fn fields(&self) -> Option<&FieldErrors> {
        match &self.kind {
            ErrorKind::Invalid(fields) => Some(fields),
            _ => None,
        }
    }

    /// Display of this error and of each source below it, joined by `: `, for one log line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Stands for what was sent in the place of a field's name and cannot be one.
const UNREADABLE: &str = "(unreadable name)";
/// How long the path of a field can be.
const MAX_NAME_BYTES: usize = 128;

/// Whether it can be the path of a field.
fn can_be_a_name(path: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]* ".contains(&byte);
    path.len() <= MAX_NAME_BYTES && path.bytes().all(is_part)
}

/// Messages by field name, in the field's own words: what was wrong and what to do.
///
/// Field names are paths as a client writes them: `name`, `schedules.0.cron`, `config.root_path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldErrors(BTreeMap<String, Vec<String>>);

impl FieldErrors {
    /// Adds a message under a field. What cannot be a field's name is not repeated: a body that is read as another type
    /// than it has, as JSON sent as a form, is one long name with all of its secrets.
    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let field = Some(field.into()).filter(|field| can_be_a_name(field));
        self.0.entry(field.unwrap_or_else(|| UNREADABLE.to_owned())).or_default().push(message.into());
    }

    /// Adds all of `other`, each field below `prefix` (`schedules.0` + `cron`).
    pub fn extend(&mut self, prefix: &str, other: FieldErrors) {
        for (field, messages) in other.0 {
            let path = if prefix.is_empty() { field } else { format!("{prefix}.{field}") };
            self.0.entry(path).or_default().extend(messages);
        }
    }

    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything was found wrong with a field.
    pub fn contains(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Field names with their messages, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(field, messages)| (field.as_str(), messages.as_slice()))
    }

    /// `Ok` with `value` when nothing was found wrong, otherwise all that was.
    pub fn check<T>(self, value: T) -> std::result::Result<T, FieldErrors> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<FieldErrors> for Error {
    fn from(fields: FieldErrors) -> Self {
        Self::new(ErrorKind::Invalid(fields), "the given data was invalid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_field_is_not_repeated() {
        let mut errors = FieldErrors::default();
        for name in ["schedules.0.cron", "page[size]", "Idempotency-Key", "config.root_path", "a b"] {
            errors.push(name, "x");
            assert!(errors.contains(name), "{name}");
        }
        for odd in ["{\"password\":\"p\"}", "a:b", "a=b", "https://a", "pässword", &"x".repeat(129)] {
            errors.push(odd, "x");
            assert!(!errors.contains(odd), "{odd}");
        }
        assert!(errors.contains(UNREADABLE));
    }
}
