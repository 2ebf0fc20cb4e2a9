//! Storage options: how a storage is asked to keep what is written to it. They hold for objects that are written from then on.

use serde::{Deserialize, Serialize};

use crate::error::FieldErrors;

/// How long a retention may be, in days: S3's own limit.
pub const MAX_LOCK_DAYS: u32 = 36_500;
/// How long the name of a KMS key may be, in characters.
pub const MAX_KMS_KEY_CHARS: usize = 2_048;

/// The storage classes that are taken: those whose objects can be read at once, since a backup that has to be thawed first can
/// be neither downloaded nor copied. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html>
pub const STORAGE_CLASSES: [&str; 6] =
    ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"];

/// What encrypts objects at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerSideEncryption {
    /// A key of the store's own.
    #[serde(rename = "AES256")]
    Aes256,
    /// A key in AWS KMS.
    #[serde(rename = "aws:kms")]
    Kms,
}

impl ServerSideEncryption {
    /// The words on the wire.
    pub const NAMES: [&str; 2] = ["AES256", "aws:kms"];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
        }
    }

    /// The way that `word` names; the error lists them.
    pub fn parse(word: &str) -> Result<Self, String> {
        let all = [Self::Aes256, Self::Kms];
        let found = all.into_iter().find(|one| one.as_str() == word);
        found.ok_or_else(|| format!("must be one of {}", Self::NAMES.join(", ")))
    }
}

/// Who may end a lock early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LockMode {
    /// Whoever has the right to it at the store; never Holdfast.
    Governance,
    /// Nobody.
    Compliance,
}

impl LockMode {
    /// The words on the wire.
    pub const NAMES: [&str; 2] = ["GOVERNANCE", "COMPLIANCE"];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// The mode that `word` names; the error lists them.
    pub fn parse(word: &str) -> Result<Self, String> {
        let found = [Self::Governance, Self::Compliance].into_iter().find(|one| one.as_str() == word);
        found.ok_or_else(|| format!("must be one of {}", Self::NAMES.join(", ")))
    }
}

/// For how long nobody can delete or overwrite an object
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// Who may end it early.
    pub mode: LockMode,
    /// Days from the beginning of the run that writes the object.
    pub days: u32,
}

/// How a storage is asked to keep what is written to it; `None` leaves each to the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageOptions {
    /// One of [`STORAGE_CLASSES`].
    pub storage_class: Option<String>,
    /// What encrypts objects at the store.
    pub server_side_encryption: Option<ServerSideEncryption>,
    /// Which key in KMS; `None` is the account's default one there.
    pub kms_key_id: Option<String>,
    /// For how long nobody can delete them.
    pub object_lock: Option<ObjectLock>,
}

/// What its owner says of a storage's options; in each, `None` is no change and `Some(None)` leaves it to the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageOptionsEdit {
    /// See [`storage_class`].
    pub storage_class: Option<Option<String>>,
    /// See [`ServerSideEncryption::parse`].
    pub server_side_encryption: Option<Option<ServerSideEncryption>>,
    /// See [`kms_key_id`].
    pub kms_key_id: Option<Option<String>>,
    /// The lock.
    pub object_lock: Option<Option<ObjectLock>>,
}

impl StorageOptionsEdit {
    /// The fields that it names.
    pub fn named(&self) -> impl Iterator<Item = &'static str> {
        let named = [
            ("storage_class", self.storage_class.is_some()),
            ("server_side_encryption", self.server_side_encryption.is_some()),
            ("kms_key_id", self.kms_key_id.is_some()),
            ("object_lock", self.object_lock.is_some()),
        ];
        named.into_iter().filter(|(_, named)| *named).map(|(field, _)| field)
    }

    /// The options after it; `faults` gets what does not go together. A key goes with the encryption that it was for.
    pub fn apply(&self, before: &StorageOptions, faults: &mut FieldErrors) -> StorageOptions {
        let server_side_encryption = self.server_side_encryption.unwrap_or(before.server_side_encryption);
        let with_kms = server_side_encryption == Some(ServerSideEncryption::Kms);
        if matches!(self.kms_key_id, Some(Some(_))) && !with_kms {
            faults.push("kms_key_id", "belongs to server_side_encryption aws:kms; send both");
        }
        let kms_key_id = self.kms_key_id.clone().unwrap_or_else(|| before.kms_key_id.clone()).filter(|_| with_kms);
        StorageOptions {
            storage_class: self.storage_class.clone().unwrap_or_else(|| before.storage_class.clone()),
            server_side_encryption,
            kms_key_id,
            object_lock: self.object_lock.unwrap_or(before.object_lock),
        }
    }
}

/// Takes a storage class whose objects can be read at once.
pub fn storage_class(word: &str) -> Result<String, String> {
    match word {
        _ if STORAGE_CLASSES.contains(&word) => Ok(word.to_owned()),
        "GLACIER" | "DEEP_ARCHIVE" => Err(format!(
            "cannot be {word}: its objects cannot be read at once, so that nothing could be downloaded. Have a lifecycle rule of \
             the bucket move old ones there, or take GLACIER_IR"
        )),
        _ => Err(format!("must be one of {}", STORAGE_CLASSES.join(", "))),
    }
}

/// Takes the name of a key in KMS: its id, its ARN, or an alias.
pub fn kms_key_id(text: &str) -> Result<String, &'static str> {
    let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte));
    if !clean || !(1..=MAX_KMS_KEY_CHARS).contains(&text.len()) {
        return Err("must be the id, the ARN or an alias of a key in KMS");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_s3() {
        for word in ServerSideEncryption::NAMES {
            let read = ServerSideEncryption::parse(word).unwrap();
            assert_eq!((read.as_str(), serde_json::to_value(read).unwrap()), (word, word.into()));
        }
        for word in LockMode::NAMES {
            let read = LockMode::parse(word).unwrap();
            assert_eq!((read.as_str(), serde_json::to_value(read).unwrap()), (word, word.into()));
        }
        assert!(storage_class("STANDARD_IA").is_ok());
        assert!(storage_class("DEEP_ARCHIVE").unwrap_err().contains("at once"));
        assert!(storage_class("standard").unwrap_err().contains("STANDARD, STANDARD_IA"));
        for key in ["1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:eu-west-1:111122223333:key/1", "alias/backup"]
        {
            assert!(kms_key_id(key).is_ok(), "{key}");
        }
        for key in ["", "a b", "a\n", "ä", &"k".repeat(2_049)] {
            assert!(kms_key_id(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_key_goes_with_its_encryption() {
        let (kms, key) = (Some(Some(ServerSideEncryption::Kms)), Some(Some("alias/a".to_owned())));
        let mut faults = FieldErrors::default();
        let edit = StorageOptionsEdit { server_side_encryption: kms, kms_key_id: key.clone(), ..Default::default() };
        let before = edit.apply(&StorageOptions::default(), &mut faults);
        assert_eq!(before.kms_key_id.as_deref(), Some("alias/a"));
        let edit = StorageOptionsEdit { server_side_encryption: Some(None), ..Default::default() };
        assert_eq!(edit.apply(&before, &mut faults), StorageOptions::default());
        assert_eq!(faults.iter().count(), 0);
        let edit = StorageOptionsEdit { kms_key_id: key, ..Default::default() };
        edit.apply(&StorageOptions::default(), &mut faults);
        assert_eq!(faults.iter().map(|(field, _)| field).collect::<Vec<_>>(), ["kms_key_id"]);
    }
}
