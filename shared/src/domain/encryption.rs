//! Encryption of a job's backups: to public keys, any of which opens them, or with a passphrase.
//!
//! Not both: in age's format a passphrase stands alone, so that whoever knows it knows that nobody else was meant
//! (<https://github.com/C2SP/C2SP/blob/main/age.md#scrypt-recipient-stanza>).

use serde_json::Value;

use super::field::{FieldReader, present};
use super::job::{Job, link};
use super::sealed::{MARKS, Secret};

/// How many public keys a job can encrypt to: each adds a stanza to every file.
const MAX_ENCRYPTION_KEYS: usize = 10;
/// How short a passphrase may be, in characters: each guess costs its guesser some 128 MiB and 0.4 s.
pub const MIN_PASSWORD_CHARS: usize = 8;
/// How long a passphrase may be, in characters.
pub const MAX_PASSWORD_CHARS: usize = 512;
/// The field of the passphrase.
const PASSWORD: &str = "encryption_password";

/// What an input says of public keys: `one` or `several`, and whether it is `accepted` that one alone can be lost. Each
/// is answered with the field that names it.
pub(super) fn read_keys(
    fields: &mut FieldReader,
    one: Option<&Value>,
    several: Option<&Value>,
    accepted: Option<&Value>,
) -> Option<Vec<(String, u64)>> {
    let accepted = fields.flag("accept_key_loss", accepted).unwrap_or(false);
    let one = link(fields, "encryption_key_id", one);
    let Some(several) = several else {
        return one.map(|id| id.map(|id| ("encryption_key_id".to_owned(), id)).into_iter().collect());
    };
    if several.is_null() {
        return Some(Vec::new());
    }
    let entries = fields.list("encryption_key_ids", Some(several), MAX_ENCRYPTION_KEYS)?;
    let mut keys: Vec<(String, u64)> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("encryption_key_ids.{index}");
        if present(Some(entry)).is_none() {
            fields.refuse::<()>(&field, "is required");
        }
        let Some(id) = fields.id(&field, Some(entry)) else { continue };
        if keys.iter().any(|(_, earlier)| *earlier == id) {
            fields.refuse::<()>(&field, "stands there twice");
        }
        keys.push((field, id));
    }
    if one.flatten().is_some_and(|one| !keys.iter().any(|(_, id)| *id == one)) {
        fields.refuse::<()>("encryption_key_id", "is not among encryption_key_ids; send one of the two");
    }
    if entries.len() == 1 && !accepted {
        let message = "is required to encrypt to one key alone: whoever loses its private half loses the backups. \
                       Name another key, or send true";
        fields.refuse::<()>("accept_key_loss", message);
    }
    Some(keys)
}

/// What an input says of the passphrase: null takes it away, and the mark that answers show changes nothing.
pub(super) fn read_password(fields: &mut FieldReader, value: Option<&Value>) -> Option<Option<Secret>> {
    if value == Some(&Value::Null) {
        return Some(None);
    }
    let text = fields.text(PASSWORD, present(value))?;
    if MARKS.contains(&text) {
        return None;
    }
    // It is typed in at a restore, as one line.
    if text.chars().any(char::is_control) {
        return fields.refuse(PASSWORD, "must not hold line breaks or other control characters");
    }
    if !(MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&text.chars().count()) {
        return fields.refuse(PASSWORD, format!("must have {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters"));
    }
    if text.trim().is_empty() {
        return fields.refuse(PASSWORD, "must not be blank; send null to take the passphrase away");
    }
    Some(Some(Secret::new(text)))
}

/// A job must not have both once it is changed; what was sent is told.
pub(super) fn refuse_both(
    fields: &mut FieldReader,
    keys: Option<&[(String, u64)]>,
    password: Option<&Option<Secret>>,
    before: Option<&Job>,
) {
    let has_keys = keys.map_or(before.is_some_and(|job| !job.encryption_key_ids.is_empty()), |keys| !keys.is_empty());
    let has_password =
        password.map_or(before.is_some_and(|job| job.encryption_password.is_some()), |password| password.is_some());
    if !(has_keys && has_password) {
        return;
    }
    let named = keys.and_then(|keys| keys.first()).and_then(|(field, _)| field.split('.').next());
    match (password, named) {
        (None, Some(field)) => fields.refuse::<()>(
            field,
            "cannot stand beside an encryption_password: in age's format a passphrase is alone. Send \
             encryption_password: null with it",
        ),
        _ => fields.refuse(
            PASSWORD,
            "cannot stand beside encryption keys: in age's format a passphrase is alone. Send encryption_key_ids: null \
             with it",
        ),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Option<Option<String>>, String> {
        let mut fields = FieldReader::default();
        let read = read_password(&mut fields, Some(&value));
        match fields.faults.iter().next() {
            Some((field, messages)) => Err(format!("{field} {}", messages[0])),
            None => Ok(read.map(|secret| secret.map(|secret| secret.expose().to_owned()))),
        }
    }

    #[test]
    fn a_passphrase_is_taken_as_it_is() {
        assert_eq!(read(json!(" pässphrase ")), Ok(Some(Some(" pässphrase ".to_owned()))));
        assert_eq!(read(Value::Null), Ok(Some(None)));
        for no_change in [json!(""), json!("**set**"), json!("**not set**")] {
            assert_eq!(read(no_change), Ok(None));
        }
        for bad in [json!("1234567"), json!("        "), json!("12345678\n"), json!(12_345_678), json!("x".repeat(513))]
        {
            assert!(read(bad.clone()).is_err_and(|told| told.starts_with("encryption_password ")), "{bad}");
        }
    }
}
