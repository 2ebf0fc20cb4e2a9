//! Object key: where a backup's files lie in a storage. Nothing else spells or reads keys.
//!
//! `holdfast/{account}/{job}/{yyyy}/{mm}/{dd}/{backup}/{attempt}/{file}`, or, where a job has a path template,
//! `holdfast/{account}/{path…}/{job}/{backup}/{attempt}/{file}`
//!
//! Every piece is ours or checked, so a key needs no escaping anywhere. The attempt is in it so that a worker that lost
//! its lease cannot overwrite its successor's objects; every prefix ends in `/`, so that sweeping one never touches
//! another's.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::AccountId;

/// The first segment of every key, so that a bucket can hold other things too.
const ROOT: &str = "holdfast";

/// The name of the file that tells of a backup's files; no file of a backup has it.
pub const MANIFEST: &str = "manifest.json";

/// The longest file name, in characters.
const MAX_FILE_NAME_CHARS: usize = 128;

/// The prefix below which everything of an account lies.
pub fn prefix_of_account(account: &AccountId) -> String {
    format!("{ROOT}/{account}/")
}

/// How long the readable part of a key may be, in characters.
pub const MAX_READABLE_CHARS: usize = 120;

/// The readable part of a key: one or more folders of `A–Z a–z 0–9 . _ -`, each beginning with a letter or digit, at most
/// 120 characters. Nothing depends on it but people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReadablePath(String);

impl ReadablePath {
    /// Takes a path that keeps to the rule.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = text.len() <= MAX_READABLE_CHARS && text.split('/').all(|folder| FileName::new(folder).is_some());
        fits.then_some(Self(text))
    }
}

impl fmt::Display for ReadablePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ReadablePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(text).ok_or_else(|| "a readable path has folders of letters, digits, `.`, `_` and `-`".into())
    }
}

impl From<ReadablePath> for String {
    fn from(path: ReadablePath) -> Self {
        path.0
    }
}

/// Below what in its account a backup lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// The UTC day on which the backup was due or asked for, below its job.
    Day(Date),
    /// What its job's path template made.
    Path(ReadablePath),
}

/// Where all attempts of one backup put their files. Displays as the directory, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BackupDirectory {
    /// Whose backup it is.
    pub account: AccountId,
    /// The job that it is a backup of.
    pub job: Uuid,
    /// Below what it lies.
    pub place: Place,
    /// The backup.
    pub backup: Uuid,
}

impl BackupDirectory {
    /// The prefix of every object that any attempt of this backup made.
    pub fn prefix_of_backup(&self) -> String {
        format!("{self}/")
    }

    /// The prefix of every object that one attempt made.
    pub fn prefix_of_attempt(&self, attempt: u32) -> String {
        format!("{self}/{attempt:04}/")
    }

    /// The key of a file that an attempt makes.
    pub fn object(&self, attempt: u32, file: FileName) -> ObjectKey {
        ObjectKey { directory: self.clone(), attempt, file }
    }
}

impl fmt::Display for BackupDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, job, place, backup } = self;
        let (job, backup) = (job.hyphenated(), backup.hyphenated());
        match place {
            Place::Day(date) => {
                let (year, month, day) = (date.year(), date.month(), date.day());
                write!(f, "{ROOT}/{account}/{job}/{year:04}/{month:02}/{day:02}/{backup}")
            }
            Place::Path(path) => write!(f, "{ROOT}/{account}/{path}/{job}/{backup}"),
        }
    }
}

/// Job, place and backup of what stands between an account and an attempt below a day. Where a day has its number, a path
/// has its job, which is no number: no text can be read as both.
fn below_day(middle: &[&str]) -> Option<(Uuid, Place, Uuid)> {
    let [job, year, month, day, backup] = middle else { return None };
    let date = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
    Some((job.parse().ok()?, Place::Day(date), backup.parse().ok()?))
}

/// The same below a path.
fn below_path(middle: &[&str]) -> Option<(Uuid, Place, Uuid)> {
    let [path @ .., job, backup] = middle else { return None };
    Some((job.parse().ok()?, Place::Path(ReadablePath::new(path.join("/"))?), backup.parse().ok()?))
}

/// The key of one object. Two keys are equal exactly when their texts are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey {
    directory: BackupDirectory,
    attempt: u32,
    file: FileName,
}

impl ObjectKey {
    /// Reads a key that Display wrote; `None` for every other text, also for one that merely looks alike.
    pub fn parse(text: &str) -> Option<Self> {
        let segments: Vec<&str> = text.split('/').collect();
        let [ROOT, account, middle @ .., attempt, file] = &segments[..] else { return None };
        let (job, place, backup) = below_day(middle).or_else(|| below_path(middle))?;
        let directory = BackupDirectory { account: AccountId::parse(account)?, job, place, backup };
        let key = directory.object(attempt.parse().ok()?, FileName::new(*file)?);
        // Only one spelling of each piece is ours: not `+1` for `0001`, no uppercase UUID.
        (key.to_string() == text).then_some(key)
    }

    /// The directory of the backup that the object belongs to.
    pub fn directory(&self) -> &BackupDirectory {
        &self.directory
    }

    /// The attempt that made the object.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The last segment.
    pub fn file_name(&self) -> &FileName {
        &self.file
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.directory.prefix_of_attempt(self.attempt), self.file)
    }
}

impl FromStr for ObjectKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| "this is not the key of a backup's object".into())
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.to_string()
    }
}

/// A file name of ours, such as `file-backups.tar.zst`: 1 to 128 of `A–Z a–z 0–9 . _ -`, the first a letter or digit.
///
/// It is therefore never `.`, `..`, hidden or an option, on any system that it is downloaded to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl FileName {
    /// Takes a name that keeps to the rule.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        (begins_well && text.len() <= MAX_FILE_NAME_CHARS && text.bytes().all(allowed)).then_some(Self(text))
    }

    /// The name `stem.ending` of something that users name as they like: `ending` as it is, and of `stem` at most 80
    /// characters, each that is not allowed replaced by `_`. Two stems can therefore have one name.
    pub fn of(stem: &str, ending: &str) -> Self {
        const MAX_STEM_CHARS: usize = 80;
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let stem: String = stem.chars().take(MAX_STEM_CHARS).map(allowed).collect();
        let text = format!("{stem}.{ending}");
        if text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            Self(text)
        } else {
            Self(format!("x{text}"))
        }
    }

    /// This name with another ending behind it, such as `zst`.
    #[must_use]
    pub fn and(&self, ending: &str) -> Self {
        Self(format!("{}.{ending}", self.0))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for FileName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(text).ok_or_else(|| "a file name has letters, digits, `.`, `_` and `-`, at most 128".into())
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_stem_makes_a_file_name(stem in ".*") {
            let name = FileName::of(&stem, "sql").and("zst").and("age");
            prop_assert_eq!(FileName::new(name.as_str()), Some(name));
        }
    }

    fn directory() -> BackupDirectory {
        BackupDirectory {
            account: AccountId::parse("acme").unwrap(),
            job: Uuid::from_u128(1),
            place: Place::Day(Date::constant(2026, 3, 9)),
            backup: Uuid::from_u128(2),
        }
    }

    #[test]
    fn keys_and_their_prefixes() {
        let key = directory().object(3, FileName::new("file-backups.tar.zst").unwrap());
        let folder =
            "holdfast/acme/00000000-0000-0000-0000-000000000001/2026/03/09/00000000-0000-0000-0000-000000000002";
        assert_eq!(key.to_string(), format!("{folder}/0003/file-backups.tar.zst"));
        assert_eq!(key.directory().to_string(), folder);
        assert_eq!(directory().prefix_of_backup(), format!("{folder}/"));
        assert_eq!(directory().prefix_of_attempt(3), format!("{folder}/0003/"));
        assert!(folder.starts_with(&prefix_of_account(&directory().account)));
    }

    #[test]
    fn a_readable_path_stands_before_what_makes_the_key() {
        let path = ReadablePath::new("shop/2026-03").unwrap();
        let named = BackupDirectory { place: Place::Path(path), ..directory() };
        let key = named.object(3, FileName::new("file-backups.tar.zst").unwrap());
        let ids = "00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000002";
        assert_eq!(key.to_string(), format!("holdfast/acme/shop/2026-03/{ids}/0003/file-backups.tar.zst"));
        assert_eq!(ObjectKey::parse(&key.to_string()), Some(key));
        for path in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", ".a", "a b", "a%2f", "ä", &"a".repeat(121)] {
            assert!(ReadablePath::new(path).is_none(), "{path:?}");
        }
        // What looks like the other kind of key is that kind, and no path.
        let ids = "00000000-0000-0000-0000-000000000001";
        let dated = ObjectKey::parse(&format!("holdfast/acme/{ids}/2026/03/09/{ids}/0001/a.tar")).unwrap();
        assert!(matches!(dated.directory().place, Place::Day(_)));
        let named = ObjectKey::parse(&format!("holdfast/acme/2026/03/09/{ids}/{ids}/0001/a.tar")).unwrap();
        assert!(matches!(named.directory().place, Place::Path(_)));
    }

    #[test]
    fn only_our_own_spelling_is_a_key() {
        let text = directory().object(1, FileName::new("a.tar").unwrap()).to_string();
        assert!(ObjectKey::parse(&text).is_some());
        let others = [
            text.replace("/0001/", "/1/"),
            text.replace("/0001/", "/+001/"),
            text.replace("/03/09/", "/3/9/"),
            text.replace("/03/09/", "/13/09/"),
            text.replace("00000000-0000", "000000000000"),
            text.replace("acme", ".."),
            text.replace("a.tar", ".."),
            text.replace("a.tar", ""),
            text.replace("a.tar", "a/b"),
            text.replace("holdfast", "other"),
            format!("/{text}"),
            format!("{text}/"),
            String::new(),
        ];
        for other in others {
            assert!(ObjectKey::parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn file_names_are_safe_everywhere() {
        for name in ["a", "url-backups.bin", "7z.zst", "A_b-c.d"] {
            assert!(FileName::new(name).is_some(), "{name}");
        }
        for name in ["", ".", "..", ".env", "-rf", "a b", "a/b", "a\\b", "a\n", "ä", "a%25", &"a".repeat(129)] {
            assert!(FileName::new(name).is_none(), "{name:?}");
        }
    }

    fn any_place() -> impl Strategy<Value = Place> {
        let day = (1970_i16..=9999, 1_i8..=12, 1_i8..=28).prop_map(|(y, m, d)| Place::Day(Date::new(y, m, d).unwrap()));
        let folder = prop_oneof!["[A-Za-z0-9][A-Za-z0-9._-]{0,12}", "[0-9]{2,4}", Just(Uuid::nil().to_string())];
        let path = proptest::collection::vec(folder, 1..=3);
        let path = path.prop_map(|folders| Place::Path(ReadablePath::new(folders.join("/")).unwrap()));
        prop_oneof![day, path]
    }

    prop_compose! {
        fn any_key()(
            account in "[a-z0-9]{1,32}",
            (job, backup) in (any::<u128>(), any::<u128>()),
            place in any_place(),
            attempt in any::<u32>(),
            file in "[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
        ) -> ObjectKey {
            BackupDirectory {
                account: AccountId::parse(&account).unwrap(),
                job: Uuid::from_u128(job),
                place,
                backup: Uuid::from_u128(backup),
            }
            .object(attempt, FileName::new(file).unwrap())
        }
    }

    /// What somebody could try to have in a key: ways out, encoded ones, look-alikes, and some of our own pieces.
    fn hostile_piece() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("..".to_owned()),
            "[.%/\\\\]{1,6}",
            "(%2e|%2E|%252e|%2f|%5c|%00|\\.|/){1,6}",
            "[a-z0-9]{1,8}",
            "[․‥．／∕⁄\u{200b}\u{2028}\0 ]{1,4}",
            "\\PC{0,12}",
        ]
    }

    /// A key of ours in which some segments, or parts of them, are something else.
    fn hostile_text() -> impl Strategy<Value = String> {
        let pieces = proptest::collection::vec((any::<proptest::sample::Index>(), hostile_piece(), 0..4_u8), 0..3);
        (any_key(), pieces).prop_map(|(key, pieces)| {
            let mut segments: Vec<String> = key.to_string().split('/').map(str::to_owned).collect();
            for (place, piece, way) in pieces {
                let place = place.index(segments.len());
                match way {
                    0 => segments[place] = piece,
                    1 => segments[place].push_str(&piece),
                    2 => segments[place].insert_str(0, &piece),
                    _ => segments.insert(place, piece),
                }
            }
            segments.join("/")
        })
    }

    /// Asserts that nothing in a key leads out of its account's prefix, however often it is decoded on its way.
    fn assert_below_prefix(key: &ObjectKey) -> Result<(), TestCaseError> {
        let prefix = prefix_of_account(&key.directory.account);
        let mut text = key.to_string();
        for _ in 0..4 {
            prop_assert!(text.starts_with(&prefix), "{}", text);
            let is_step = |segment: &str| ["", ".", ".."].contains(&segment);
            prop_assert!(!text.split(['/', '\\']).any(is_step), "{}", text);
            prop_assert!(!text.contains(|one: char| one.is_control() || !one.is_ascii()), "{}", text);
            text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        }
        prop_assert_eq!(text, key.to_string());
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(key in any_key()) {
            prop_assert_eq!(ObjectKey::parse(&key.to_string()), Some(key.clone()));
            prop_assert!(key.to_string().len() <= 1024, "S3's limit on a key");
        }

        #[test]
        fn no_attempt_lies_below_another(key in any_key(), other in any::<u32>()) {
            let below = key.to_string().starts_with(&key.directory().prefix_of_attempt(other));
            prop_assert_eq!(below, other == key.attempt());
        }

        #[test]
        fn whatever_is_read_lies_below_its_account_also_for_who_decodes_it_again(text in hostile_text()) {
            if let Some(key) = ObjectKey::parse(&text) {
                assert_below_prefix(&key)?;
                prop_assert_eq!(key.to_string(), text);
            }
        }

        #[test]
        fn whatever_is_made_lies_below_its_account(
            key in any_key(),
            account in hostile_piece(),
            file in hostile_piece(),
            attempt in any::<u32>(),
        ) {
            // What is no id or no name makes no key.
            let account = AccountId::parse(&account).unwrap_or(key.directory.account.clone());
            let file = FileName::new(file).unwrap_or(key.file.clone());
            let made = BackupDirectory { account, ..key.directory }.object(attempt, file);
            assert_below_prefix(&made)?;
        }

        #[test]
        fn reading_never_panics(text in "(holdfast/)?[ -~äß/]{0,80}") {
            let _ = ObjectKey::parse(&text);
        }
    }
}
