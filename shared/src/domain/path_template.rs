//! Path template: what the readable part of a job's keys says, such as `{job}/{yyyy}-{mm}`.
//!
//! It is for people who look into a bucket. What makes a key one of ours, and unique, stands behind it and is never left to
//! it; nothing that is in it, or in a job's name, leads out of the account's prefix.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::{FieldReader, present};
use super::object_key::{MAX_READABLE_CHARS, ReadablePath};

/// How long a template may be, in characters.
pub const MAX_TEMPLATE_CHARS: usize = 200;
/// How many folders deep it may go.
const MAX_FOLDERS: usize = 8;
/// How much of a job's name goes into a path, in characters.
const MAX_JOB_CHARS: usize = 40;
/// Names what a template belongs to in a body.
const FIELD: &str = "path_template";

/// What can stand in a template, in braces, each with how long it can become. Times are those at which the backup was due
/// or asked for, in UTC.
const PLACEHOLDERS: [(&str, usize); 7] =
    [("job", MAX_JOB_CHARS), ("recipe", 24), ("yyyy", 4), ("mm", 2), ("dd", 2), ("hh", 2), ("min", 2)];

/// A template that can be filled in for every job at every time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(String);

/// A piece of a template.
enum Piece<'a> {
    Text(&'a str),
    /// The name within the braces.
    Placeholder(&'a str),
}

impl PathTemplate {
    /// Takes a template: folders with a slash between them, of letters, digits, `.`, `_`, `-` and placeholders, each beginning
    /// with a letter, a digit or a placeholder. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !(1..=MAX_TEMPLATE_CHARS).contains(&text.chars().count()) {
            return Err(format!("must have 1 to {MAX_TEMPLATE_CHARS} characters"));
        }
        let folders: Vec<&str> = text.split('/').collect();
        if folders.len() > MAX_FOLDERS {
            return Err(format!("must not have more than {MAX_FOLDERS} folders"));
        }
        let mut longest = folders.len() - 1;
        for folder in folders {
            if !folder.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '{') {
                return Err("must have folders that begin with a letter, a digit or a placeholder".to_owned());
            }
            // What is filled in may need a letter in front of it.
            longest += 1;
            for piece in pieces(folder)? {
                longest += longest_of(&piece)?;
            }
        }
        if longest > MAX_READABLE_CHARS {
            return Err(format!("can become {longest} characters long, and {MAX_READABLE_CHARS} are the most"));
        }
        Ok(Self(text.to_owned()))
    }

    /// What a job's input says of it: null takes it away.
    pub(super) fn read(fields: &mut FieldReader, value: Option<&Value>) -> Option<Option<Self>> {
        if value == Some(&Value::Null) {
            return Some(None);
        }
        let text = fields.text(FIELD, present(value))?;
        match Self::parse(text) {
            Ok(template) => Some(Some(template)),
            Err(message) => fields.refuse(FIELD, message),
        }
    }

    /// The template as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of a backup of the job called `job` that was due, or asked for, at `due`. `None` never happens, as every
    /// template that was taken can be filled in.
    pub fn render(&self, job: &str, recipe: &str, due: Timestamp) -> Option<ReadablePath> {
        let due = due.to_zoned(TimeZone::UTC).datetime();
        let folders = self.0.split('/').map(|folder| {
            let filled: String = pieces(folder).ok()?.iter().map(|piece| filled(piece, job, recipe, due)).collect();
            Some(if filled.starts_with(|first: char| first.is_ascii_alphanumeric()) {
                filled
            } else {
                format!("x{filled}")
            })
        });
        ReadablePath::new(folders.collect::<Option<Vec<_>>>()?.join("/"))
    }
}

/// The pieces of a folder, in order; fails on braces without a pair.
fn pieces(folder: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), folder);
    while let Some((text, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else {
            return Err("has a { without its }".to_owned());
        };
        pieces.extend([Piece::Text(text), Piece::Placeholder(name)]);
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// How long a piece can become, in characters; the error says why it cannot be one.
fn longest_of(piece: &Piece<'_>) -> Result<usize, String> {
    match piece {
        Piece::Text(text) if text.chars().all(is_allowed) => Ok(text.len()),
        Piece::Text(_) => Err("must hold letters, digits, `.`, `_`, `-`, `/` and placeholders only".to_owned()),
        Piece::Placeholder(name) => {
            let known = PLACEHOLDERS.into_iter().find(|(known, _)| known == name);
            known.map(|(_, longest)| longest).ok_or_else(|| {
                let known: Vec<String> = PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                format!("knows no such placeholder; there are {}", known.join(", "))
            })
        }
    }
}

fn filled(piece: &Piece<'_>, job: &str, recipe: &str, due: DateTime) -> String {
    match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Placeholder("job") => safe(job),
        Piece::Placeholder("recipe") => safe(recipe),
        Piece::Placeholder("yyyy") => format!("{:04}", due.year()),
        Piece::Placeholder("mm") => format!("{:02}", due.month()),
        Piece::Placeholder("dd") => format!("{:02}", due.day()),
        Piece::Placeholder("hh") => format!("{:02}", due.hour()),
        Piece::Placeholder(_) => format!("{:02}", due.minute()),
    }
}

/// What a user named as they like, with `_` for what is not allowed.
fn safe(name: &str) -> String {
    name.chars().take(MAX_JOB_CHARS).map(|one| if is_allowed(one) { one } else { '_' }).collect()
}

fn is_allowed(one: char) -> bool {
    one.is_ascii_alphanumeric() || "._-".contains(one)
}

impl TryFrom<String> for PathTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<PathTemplate> for String {
    fn from(template: PathTemplate) -> Self {
        template.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::recipe::RECIPES;

    fn due() -> Timestamp {
        "2026-03-09T04:05:06Z".parse().unwrap()
    }

    fn rendered(template: &str, job: &str) -> String {
        PathTemplate::parse(template).unwrap().render(job, "file-backups", due()).unwrap().to_string()
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(rendered("{job}/{yyyy}/{mm}/{dd}", "shop"), "shop/2026/03/09");
        assert_eq!(rendered("eu/{recipe}/{job}_{hh}{min}", "My Shop"), "eu/file-backups/My_Shop_0405");
        assert_eq!(rendered("{job}", "../.."), "x.._..");
        assert_eq!(rendered("{job}.d", "Größe"), "Gr__e.d");
    }

    #[test]
    fn the_longest_values_are_those_that_are_reckoned_with() {
        assert!(RECIPES.iter().all(|recipe| recipe.slug.len() <= PLACEHOLDERS[1].1));
        let template = PathTemplate::parse("{job}/{job}/{recipe}").unwrap();
        let name = "\u{1F4BE}".repeat(255);
        assert!(template.render(&name, &"r".repeat(24), due()).is_some());
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let cases = [
            ("", "1 to 200"),
            ("/a", "begin with"),
            ("a/", "begin with"),
            ("a//b", "begin with"),
            ("../a", "begin with"),
            ("a/..", "begin with"),
            ("-a", "begin with"),
            ("a b", "letters"),
            ("a\\b", "letters"),
            ("a%2e", "letters"),
            ("ä", "begin with"),
            ("a}", "letters"),
            ("{job", "without its }"),
            ("{job}{", "without its }"),
            ("{name}", "{yyyy}"),
            ("{{job}}", "{yyyy}"),
            ("a/b/c/d/e/f/g/h/i", "folders"),
            ("{job}{job}{job}", "characters long"),
            (&"a".repeat(201), "1 to 200"),
        ];
        for (text, expected) in cases {
            let told = PathTemplate::parse(text).expect_err(text);
            assert!(told.contains(expected), "{text:?}: {told}");
        }
    }

    /// Templates, and much that is none.
    fn any_template() -> impl Strategy<Value = String> {
        let piece =
            prop_oneof!["\\{(job|recipe|yyyy|mm|dd|hh|min)\\}", "[a-z0-9._-]{0,6}", "[./\\\\%{}]{1,3}", "\\PC{0,3}",];
        proptest::collection::vec(proptest::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat()), 1..5)
            .prop_map(|folders| folders.join("/"))
    }

    proptest! {
        #[test]
        fn whatever_is_taken_can_be_filled_in(template in any_template(), job in "\\PC{1,60}", at in 0_i64..4_000_000_000) {
            let Ok(template) = PathTemplate::parse(&template) else { return Ok(()) };
            let path = template.render(&job, "laravel-forge-backups", Timestamp::from_second(at).unwrap());
            let path = path.expect("a template that was taken").to_string();
            prop_assert!(path.len() <= MAX_READABLE_CHARS);
            for folder in path.split('/') {
                prop_assert!(folder.starts_with(|first: char| first.is_ascii_alphanumeric()), "{}", path);
                prop_assert!(folder.chars().all(is_allowed), "{}", path);
            }
        }

        #[test]
        fn any_name_of_a_job_makes_one_folder(job in ".{1,300}") {
            let path = rendered("{job}", &job);
            prop_assert!(!path.contains('/') && path != "." && path != "..", "{}", path);
        }
    }
}
