//! Reading a config: each field that is given replaces what was there, and what is wrong with any is noted.
//!
//! A field that is left out, or null, keeps what it was. Empty text empties a text or a list and takes a secret away;
//! numbers, flags and choices cannot be empty and keep what they were, as forms send what nobody filled in.

use serde_json::{Map, Value};

use super::RecipeDefinition;
use super::field::{NOT_SET, SET};
use crate::domain::field::{FieldReader, present};
use crate::domain::sealed::{Sealed, Secret};
use crate::error::FieldErrors;

/// zstd's highest level that needs no more memory than the worker has.
const MAX_COMPRESSION_LEVEL: u64 = 19;
/// The longest path or pattern, bytes: Linux's `PATH_MAX`.
pub(super) const MAX_LINE_BYTES: usize = 4_096;
/// The longest list, bytes: a job with all of its lists must fit in one item of the table.
pub(super) const MAX_LIST_BYTES: usize = 64 * 1024;
/// How long a password may be.
const MAX_PASSWORD_CHARS: usize = 1_024;
/// How long the name of a database may be: MySQL takes 64 characters, PostgreSQL and MongoDB 63 bytes.
const MAX_DATABASE_CHARS: usize = 64;
/// How many databases a job can name.
const MAX_DATABASES: usize = 100;
/// How long the name of a table may be, with that of its database or schema before it.
const MAX_TABLE_CHARS: usize = 129;
/// How many tables a job can leave out.
const MAX_TABLES: usize = 1_000;

/// Reads the fields of one config.
pub(super) struct ConfigReader<'a> {
    config: &'a Map<String, Value>,
    /// What was found wrong so far.
    pub fields: FieldReader,
    secrets: Vec<(&'static str, Secret)>,
}

impl<'a> ConfigReader<'a> {
    /// A reader of `config` that has refused what `recipe` does not know.
    pub fn new(recipe: &RecipeDefinition, config: &'a Map<String, Value>) -> Self {
        let mut fields = FieldReader::default();
        let keys: Vec<_> = recipe.fields.iter().map(|field| field.key).collect();
        for key in config.keys().filter(|key| !keys.contains(&key.as_str())) {
            fields.refuse::<()>(key, format!("is not a field of {}; it has {}", recipe.slug, keys.join(", ")));
        }
        Self { config, fields, secrets: Vec::new() }
    }

    /// What was found wrong, and the secrets that were given, in the open.
    pub fn finish(self) -> (FieldErrors, Vec<(&'static str, Secret)>) {
        (self.fields.faults, self.secrets)
    }

    /// What was sent for a field, with empty text but without null.
    fn given(&self, key: &str) -> Option<&'a Value> {
        self.config.get(key).filter(|value| !value.is_null())
    }

    /// Text as it was sent; it may be empty.
    fn given_text(&mut self, key: &str) -> Option<&'a str> {
        match self.given(key)? {
            Value::String(text) => Some(text),
            _ => self.fields.refuse(key, "must be text"),
        }
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &str, value: &mut bool) {
        if let Some(flag) = self.fields.flag(key, self.config.get(key)) {
            *value = flag;
        }
    }

    /// zstd's level; 0 is none.
    pub fn compression_level(&mut self, value: &mut u8) {
        let given = self.config.get("compression_level");
        let level = self.fields.integer("compression_level", given, 0..=MAX_COMPRESSION_LEVEL);
        if let Some(level) = level.and_then(|level| u8::try_from(level).ok()) {
            *value = level;
        }
    }

    /// A TCP port.
    pub fn port(&mut self, key: &str, value: &mut u16) {
        let port = self.fields.integer(key, self.config.get(key), 1..=u64::from(u16::MAX));
        if let Some(port) = port.and_then(|port| u16::try_from(port).ok()) {
            *value = port;
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], value: &mut T) {
        let Some(given) = present(self.config.get(key)) else { return };
        match choices.iter().find(|(word, _)| given.as_str() == Some(word)) {
            Some((_, chosen)) => *value = *chosen,
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                self.refuse(key, format!("must be one of {}", words.join(", ")));
            }
        }
    }

    /// Text without blanks around it, taken as `take` says; empty text is none.
    pub fn text<T, E: Into<String>>(&mut self, key: &str, take: impl Fn(&str) -> Result<T, E>, value: &mut Option<T>) {
        match self.given_text(key).map(str::trim) {
            None => {}
            Some("") => *value = None,
            Some(text) => match take(text) {
                Ok(taken) => *value = Some(taken),
                Err(message) => self.refuse(key, message.into()),
            },
        }
    }

    /// A secret, taken as `take` says. What answers show in place of it changes nothing.
    pub fn secret<E: Into<String>>(
        &mut self,
        key: &'static str,
        take: impl Fn(&str) -> Result<Secret, E>,
        value: &mut Option<Sealed>,
    ) {
        match self.given_text(key) {
            None | Some(SET | NOT_SET) => {}
            Some("") => *value = None,
            Some(text) => match take(text) {
                Ok(secret) => self.secrets.push((key, secret)),
                Err(message) => self.refuse(key, message.into()),
            },
        }
    }

    /// The lines of a text that hold anything, without their line ends; `None` where none are given.
    pub fn lines(&mut self, key: &str, max: usize) -> Option<Vec<String>> {
        let Value::String(text) = self.given(key)? else {
            return self.fields.refuse(key, "must be text, one entry per line");
        };
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.len() > max || text.len() > MAX_LIST_BYTES {
            return self.fields.refuse(key, format!("must not have more than {max} lines or {MAX_LIST_BYTES} bytes"));
        }
        for (index, line) in lines.iter().enumerate() {
            if line.len() > MAX_LINE_BYTES {
                let message = format!("line {} must not be longer than {MAX_LINE_BYTES} bytes", index + 1);
                return self.fields.refuse(key, message);
            }
            if line.contains(char::is_control) {
                return self.fields.refuse(key, format!("line {} must not hold control characters", index + 1));
            }
        }
        Some(lines.into_iter().map(str::to_owned).collect())
    }

    /// Names of databases.
    pub fn databases(&mut self, key: &str, value: &mut Vec<String>) {
        self.names(key, MAX_DATABASES, MAX_DATABASE_CHARS, value);
    }

    /// Names of tables, each with or without its database or schema before a dot.
    pub fn tables(&mut self, key: &str, value: &mut Vec<String>) {
        self.names(key, MAX_TABLES, MAX_TABLE_CHARS, value);
    }

    /// Names with commas or line ends between them.
    fn names(&mut self, key: &str, max: usize, max_chars: usize, value: &mut Vec<String>) {
        let Some(text) = self.given_text(key) else { return };
        if text.len() > MAX_LIST_BYTES {
            return self.refuse(key, format!("must not be longer than {MAX_LIST_BYTES} bytes"));
        }
        let mut names: Vec<String> = Vec::new();
        for name in text.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty()) {
            if let Err(message) = check_name(name, max_chars) {
                return self.refuse(key, format!("entry {} {message}", names.len() + 1));
            }
            if names.iter().any(|earlier| earlier == name) {
                return self.refuse(key, format!("entry {} stands there twice", names.len() + 1));
            }
            if names.len() == max {
                return self.refuse(key, format!("must not have more than {max} entries"));
            }
            names.push(name.to_owned());
        }
        *value = names;
    }

    fn refuse(&mut self, key: &str, message: String) {
        self.fields.faults.push(key, message);
    }
}

/// A name that means itself wherever it ends up: no pattern, no path, no option, nothing that ends a quotation.
fn check_name(name: &str, max_chars: usize) -> Result<(), String> {
    if name.chars().count() > max_chars {
        return Err(format!("must not be longer than {max_chars} characters"));
    }
    let begins = name.starts_with(|first: char| first.is_alphanumeric() || first == '_');
    let clean = name.chars().all(|one| one.is_alphanumeric() || " _-$.@#+".contains(one));
    match begins && clean {
        true => Ok(()),
        false => Err("must hold letters, digits, spaces and _-$.@#+ only, and begin with a letter, digit or _".into()),
    }
}

/// Takes the name of one database.
pub(super) fn database(text: &str) -> Result<String, String> {
    check_name(text, MAX_DATABASE_CHARS).map(|()| text.to_owned())
}

/// Takes a password: up to 1,024 characters, blanks included.
pub(super) fn password(text: &str) -> Result<Secret, String> {
    if text.chars().count() > MAX_PASSWORD_CHARS {
        return Err(format!("must not be longer than {MAX_PASSWORD_CHARS} characters"));
    }
    match text.contains(char::is_control) {
        true => Err("must not hold line breaks or other control characters".to_owned()),
        false => Ok(Secret::new(text)),
    }
}

/// Takes an absolute path of up to 4,096 bytes.
pub(super) fn path(text: &str) -> Result<String, String> {
    match text {
        _ if !text.starts_with('/') => Err("must be absolute: begin it with /".to_owned()),
        _ if text.len() > MAX_LINE_BYTES => Err(format!("must not be longer than {MAX_LINE_BYTES} bytes")),
        _ if text.contains(char::is_control) => Err("must not hold line breaks or other control characters".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_that_is_taken_can_be_no_option_path_pattern_or_quotation(name in "\\PC{0,20}|[-a./*\"'`;$(){}\\[\\]\n ]{0,8}") {
            if check_name(&name, MAX_TABLE_CHARS).is_ok() {
                prop_assert!(!name.starts_with(['-', '.', ' ']) && !name.is_empty());
                prop_assert!(!name.contains(['/', '\\', '\'', '"', '`', '*', '?', '[', ';', '=', '&', '|', '<', '>', '(']));
                prop_assert!(!name.contains(char::is_control));
            }
        }

        #[test]
        fn names_that_were_taken_are_taken_again_as_they_print(names in proptest::collection::hash_set("[a-z_0-9ä][a-z0-9_$.@#+-]{0,20}", 0..20)) {
            let names: Vec<String> = names.into_iter().collect();
            for separator in [",", "\n", " , "] {
                let config = Map::from_iter([("sqlite_path".to_owned(), Value::from(names.join(separator)))]);
                let mut reader = ConfigReader { config: &config, fields: FieldReader::default(), secrets: Vec::new() };
                let mut read = vec!["before".to_owned()];
                reader.tables("sqlite_path", &mut read);
                prop_assert!(reader.finish().0.is_empty());
                prop_assert_eq!(&read, &names);
            }
        }
    }

    #[test]
    fn paths_are_absolute_and_bounded() {
        assert_eq!(path("/srv/a b").unwrap(), "/srv/a b");
        let long = format!("/{}", "x".repeat(MAX_LINE_BYTES));
        for text in ["relative", "-rf", "~/x", "/a\nb", "/a\u{1b}[2J", long.as_str()] {
            assert!(path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn passwords_keep_their_blanks_and_say_nothing_of_themselves() {
        assert_eq!(password(" p w ").unwrap().expose(), " p w ");
        assert!(password(&"ü".repeat(MAX_PASSWORD_CHARS)).is_ok());
        for text in ["hunter2\n", "hunter2\0", &"hunter2".repeat(200)] {
            assert!(!password(text).unwrap_err().contains("hunter2"), "{text:?}");
        }
    }
}
