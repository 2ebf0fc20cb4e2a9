//! `.env` files, read as the parser that Laravel uses reads them
//! ([phpdotenv 5](https://github.com/vlucas/phpdotenv/tree/master/src/Parser)), and nothing of this process's environment.

use std::collections::BTreeMap;

/// What a `.env` file sets. Its values are secrets: there is no Debug.
#[derive(Default)]
pub struct Dotenv(BTreeMap<String, String>);

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// A quotation that does not end.
    Open,
    Other(&'static str),
}

impl Dotenv {
    /// Reads a file; fails as Laravel would, with the line and nothing of what it holds.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<&str> = text.split('\n').collect();
        let mut set = Self::default();
        let mut at = 0;
        while at < lines.len() {
            let begin = at;
            at += 1;
            let line = lines[begin].trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {} {why}", begin + 1);
            // A name alone sets nothing.
            let Some((name, value)) = line.split_once('=') else { continue };
            let name =
                name_of(name).ok_or_else(|| wrong("has a name with other characters than letters, digits, _ and ."))?;
            let mut value = value.to_owned();
            let read = loop {
                match set.value(value.trim()) {
                    Ok(read) => break read,
                    // Only double quotation marks hold line breaks.
                    Err(Fault::Open) if value.trim_start().starts_with('"') && at < lines.len() => {
                        value.push('\n');
                        value.push_str(lines[at]);
                        at += 1;
                    }
                    Err(Fault::Open) => return Err(wrong("has a quotation that does not end")),
                    Err(Fault::Other(why)) => return Err(wrong(why)),
                }
            };
            set.0.insert(name.to_owned(), read);
        }
        Ok(set)
    }

    /// What a name is set to, as Laravel's `env()` sees it: `null` is nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name)?.as_str() {
            "null" | "(null)" | "NULL" => None,
            "empty" | "(empty)" => Some(""),
            value => Some(value),
        }
    }

    /// The same, where empty text is nothing too.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// What a value means, without its quotation marks, escapes, variables and comment.
    fn value(&self, text: &str) -> Result<String, Fault> {
        match text.chars().next() {
            Some('\'') => {
                let (value, rest) = text[1..].split_once('\'').ok_or(Fault::Open)?;
                nothing_more(rest)?;
                Ok(value.to_owned())
            }
            Some('"') => self.quoted(&text[1..]),
            _ => self.bare(text),
        }
    }

    /// Up to the closing double quotation mark.
    fn quoted(&self, text: &str) -> Result<String, Fault> {
        let mut value = String::new();
        let mut rest = text;
        while let Some(one) = rest.chars().next() {
            rest = &rest[one.len_utf8()..];
            match one {
                '"' => {
                    nothing_more(rest)?;
                    return Ok(value);
                }
                '\\' => {
                    let escaped = rest.chars().next().ok_or(Fault::Open)?;
                    rest = &rest[escaped.len_utf8()..];
                    value.push(unescaped(escaped).ok_or(Fault::Other("has an escape sequence that does not exist"))?);
                }
                '$' => rest = self.variable(rest, &mut value),
                _ => value.push(one),
            }
        }
        Err(Fault::Open)
    }

    /// Without quotation marks: up to a blank or a `#`.
    fn bare(&self, text: &str) -> Result<String, Fault> {
        let mut value = String::new();
        let mut rest = text;
        while let Some(one) = rest.chars().next() {
            if one == '#' || one.is_whitespace() {
                nothing_more(rest)?;
                break;
            }
            rest = &rest[one.len_utf8()..];
            match one {
                '$' => rest = self.variable(rest, &mut value),
                _ => value.push(one),
            }
        }
        Ok(value)
    }

    /// Takes in what stands behind a `$`; answers what follows it. Only `{NAME}` of a name that is set means something else
    /// than itself.
    fn variable<'a>(&self, rest: &'a str, value: &mut String) -> &'a str {
        let named = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        match named.and_then(|(name, after)| Some((self.0.get(name)?, after))) {
            Some((set, after)) => {
                value.push_str(set);
                after
            }
            None => {
                value.push('$');
                rest
            }
        }
    }
}

/// Behind a value: blanks, and a comment.
fn nothing_more(rest: &str) -> Result<(), Fault> {
    let rest = rest.trim_start();
    match rest.is_empty() || rest.starts_with('#') {
        true => Ok(()),
        false => Err(Fault::Other("has something behind its value; a value with blanks needs quotation marks")),
    }
}

fn unescaped(escaped: char) -> Option<char> {
    match escaped {
        '"' | '\\' | '$' => Some(escaped),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        _ => None,
    }
}

fn name_of(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(text).trim();
    let bare = |mark: char| text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    let name = bare('\'').or_else(|| bare('"')).unwrap_or(text);
    let allowed = |one: char| one.is_alphanumeric() || one == '_' || one == '.';
    (!name.is_empty() && name.chars().all(allowed)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        Dotenv::parse(text).unwrap().0.remove("A").unwrap()
    }

    #[test]
    fn quotes_escapes_and_comments() {
        for (text, expected) in [
            ("A=b", "b"),
            ("A = b  # c", "b"),
            ("A=b#c", "b"),
            ("A=", ""),
            ("A=#c", ""),
            ("A='b #c' # d", "b #c"),
            ("A='b\\n${X}$'", "b\\n${X}$"),
            ("A=\"b #c\" # d", "b #c"),
            ("A=\"b\\n\\t\\\\\\\"\\$\"", "b\n\t\\\"$"),
            ("A=b\\nc", "b\\nc"),
            ("A=a=b=", "a=b="),
            ("  export A=b", "b"),
            ("export\tA=b", "b"),
            ("'A'=b", "b"),
            ("\"A\"=b", "b"),
            ("A=pä$$w0rd!", "pä$$w0rd!"),
            ("A='it\"s'", "it\"s"),
            ("\u{feff}A=b\r\nB=c\r\n", "b"),
            ("# A=x\n\nA=y\nA=b", "b"),
            ("A=\"b\nc\nd\" # e\nB=f", "b\nc\nd"),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn variables_of_the_file_and_of_nothing_else() {
        for (text, expected) in [
            ("B=x\nA=${B}/y", "x/y"),
            ("B=x\nA=\"${B}-${B}\"", "x-x"),
            ("B=x\nA=$B", "$B"),
            ("A=${B}\nB=x", "${B}"),
            ("A=${PATH}", "${PATH}"),
            ("B='${C} #'\nC=y\nA=\"${B}\"", "${C} #"),
            ("B=x\nA=\"\\${B}\"", "${B}"),
            ("A=${", "${"),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_laravel_refuses_is_refused_without_its_text() {
        for text in
            ["A=hunter2 hunter2", "A=\"hunter2", "A='hunter2\n'", "A=\"hunter2\"x", "A=\"hunter2\\x\"", "A B=hunter2"]
        {
            let message = Dotenv::parse(&format!("# first\n{text}")).err().unwrap();
            assert!(message.starts_with("line 2 ") && !message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn nothing_is_set_by_names_alone_and_null_is_nothing() {
        let set = Dotenv::parse("A\nB=null\nC=(empty)\nD=").unwrap();
        assert_eq!((set.get("A"), set.get("B"), set.get("C"), set.filled("D")), (None, None, Some(""), None));
    }
}
