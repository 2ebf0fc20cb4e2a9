//! Hooks: scripts of a job's owner that run on its server before and after each run.
//!
//! Whoever may set one may run anything there, so that it takes an ability of its own. A script can hold secrets: it is
//! sealed, and shown only to those who may set it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::{FieldReader, present};
use super::sealed::{MARKS, Sealed, Secret};

/// How long a script may be, bytes.
pub const MAX_SCRIPT_BYTES: usize = 16 << 10;

/// One of a job's two scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Runs before anything is read; the run fails where it fails.
    Pre,
    /// Runs at the end, whatever came of the run.
    Post,
}

impl Hook {
    /// Both, in the order in which they run.
    pub const ALL: [Self; 2] = [Self::Pre, Self::Post];

    /// The job's field that holds it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Pre => "pre_script",
            Self::Post => "post_script",
        }
    }
}

/// The scripts of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks<T = Sealed> {
    /// See [`Hook::Pre`].
    #[serde(default = "nothing", skip_serializing_if = "Option::is_none")]
    pub pre_script: Option<T>,
    /// See [`Hook::Post`].
    #[serde(default = "nothing", skip_serializing_if = "Option::is_none")]
    pub post_script: Option<T>,
}

impl<T> Default for Hooks<T> {
    fn default() -> Self {
        Self { pre_script: None, post_script: None }
    }
}

fn nothing<T>() -> Option<T> {
    None
}

impl<T> Hooks<T> {
    /// One of the two.
    pub fn get(&self, hook: Hook) -> Option<&T> {
        match hook {
            Hook::Pre => self.pre_script.as_ref(),
            Hook::Post => self.post_script.as_ref(),
        }
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.pre_script.is_some() || self.post_script.is_some()
    }

    /// The same with each script turned into something else.
    pub fn try_map<U, E>(&self, mut turn: impl FnMut(Hook, &T) -> Result<U, E>) -> Result<Hooks<U>, E> {
        let mut turned = |hook| self.get(hook).map(|script| turn(hook, script)).transpose();
        Ok(Hooks { pre_script: turned(Hook::Pre)?, post_script: turned(Hook::Post)? })
    }
}

/// What an input says of the scripts; in each, `None` is no change and `Some(None)` takes the script away.
pub type HooksChange = Hooks<Option<Secret>>;

impl HooksChange {
    /// Reads the two fields of a job; null takes a script away, and the mark that answers show changes nothing.
    pub(super) fn read(fields: &mut FieldReader, pre: Option<&Value>, post: Option<&Value>) -> Self {
        Self {
            pre_script: script(fields, Hook::Pre.field(), pre),
            post_script: script(fields, Hook::Post.field(), post),
        }
    }

    /// Whether there is a script once this change is made.
    pub fn leaves(&self, hook: Hook, before: &Hooks) -> bool {
        match self.get(hook) {
            None => before.get(hook).is_some(),
            Some(script) => script.is_some(),
        }
    }
}

fn script(fields: &mut FieldReader, field: &str, value: Option<&Value>) -> Option<Option<Secret>> {
    if value == Some(&Value::Null) {
        return Some(None);
    }
    let text = fields.text(field, present(value))?;
    if MARKS.contains(&text) {
        return None;
    }
    // Text areas of browsers end their lines so, and no shell understands it.
    let text = text.replace("\r\n", "\n");
    if text.len() > MAX_SCRIPT_BYTES {
        return fields
            .refuse(field, format!("must not have more than {MAX_SCRIPT_BYTES} bytes; call a file of the host"));
    }
    if text.chars().any(|one| one.is_control() && !matches!(one, '\n' | '\t')) {
        return fields.refuse(field, "must not hold control characters other than line feeds and tabs");
    }
    if text.trim().is_empty() {
        return fields.refuse(field, "must not be blank; send null to take the script away");
    }
    Some(Some(Secret::new(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Option<Option<String>>, String> {
        let mut fields = FieldReader::default();
        let change = HooksChange::read(&mut fields, Some(&value), None);
        match fields.faults.iter().next() {
            Some((field, messages)) => Err(format!("{field}: {}", messages[0])),
            None => Ok(change.pre_script.map(|script| script.map(|script| script.expose().to_owned()))),
        }
    }

    #[test]
    fn scripts_are_taken_as_they_are_but_for_line_ends() {
        assert_eq!(read(json!("echo 'ä'\n\ttrue")), Ok(Some(Some("echo 'ä'\n\ttrue".to_owned()))));
        assert_eq!(read(json!("a\r\nb\r\n")), Ok(Some(Some("a\nb\n".to_owned()))));
        assert_eq!(read(Value::Null), Ok(Some(None)));
        for no_change in [json!(""), json!("**set**"), json!("**not set**")] {
            assert_eq!(read(no_change), Ok(None));
        }
    }

    #[test]
    fn what_no_shell_could_read_is_refused() {
        let bad = [json!("a\0b"), json!("a\rb"), json!("\x1b[1m"), json!(" \n"), json!(5), json!("x".repeat(16_385))];
        for value in bad {
            assert!(read(value.clone()).is_err_and(|told| told.starts_with("pre_script: ")), "{value}");
        }
        assert!(read(json!("x".repeat(16_384))).is_ok());
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before = Hooks { pre_script: Some(Sealed("sealed".into())), post_script: None };
        let change = HooksChange { pre_script: None, post_script: Some(None) };
        assert_eq!(Hook::ALL.map(|hook| change.leaves(hook, &before)), [true, false]);
        let change = HooksChange { pre_script: Some(None), post_script: Some(Some(Secret::new("true"))) };
        assert_eq!(Hook::ALL.map(|hook| change.leaves(hook, &before)), [false, true]);
    }
}
