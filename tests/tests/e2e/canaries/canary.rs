//! Texts that can be told from all others, and the search for them in every spelling that they could leak in.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// How many characters of a secret are searched for. `str::contains` is fast for up to 32 bytes, and each of these can
/// become three.
const SEARCHED: usize = 10;
/// How long a canary is: what a Pushover key has to be.
const LENGTH: usize = 30;
/// How much around a find is told.
const AROUND: usize = 80;

/// What must be found nowhere.
pub struct Needle {
    name: String,
    spellings: Vec<String>,
}

impl Needle {
    /// The beginning of a secret: ten bytes that stand together nowhere by chance.
    pub fn new(name: &str, secret: impl AsRef<[u8]>) -> Self {
        let part = &secret.as_ref()[..SEARCHED];
        let text = std::str::from_utf8(part).ok().map(str::to_owned);
        let percent: String = part.iter().map(|byte| format!("%{byte:02X}")).collect();
        let hexes = [hex::encode(part), hex::encode_upper(part)];
        // Debug of bytes, as in a log of something that was not taken for text.
        let numbers = part.iter().take(8).map(u8::to_string).collect::<Vec<_>>().join(", ");
        let base64s = (0..3).flat_map(|before| [base64(&STANDARD, before, part), base64(&URL_SAFE, before, part)]);
        let spellings = hexes.into_iter().chain(text).chain([percent.to_lowercase(), percent, numbers]).chain(base64s);
        Self { name: name.to_owned(), spellings: spellings.collect() }
    }

    /// What stands around it in a haystack; `None` where it is not there.
    fn find(&self, haystack: &str) -> Option<String> {
        let spelling = self.spellings.iter().find(|spelling| haystack.contains(spelling.as_str()))?;
        let at = haystack.find(spelling.as_str())?;
        let line = haystack[..at].rfind('\n').map_or(0, |end| end + 1);
        let told = |from: usize, length: usize| -> Vec<u8> {
            haystack.as_bytes()[from..].iter().take(length).copied().collect()
        };
        let (begin, around) = (told(line, AROUND), told(at.saturating_sub(AROUND), 2 * AROUND));
        let [begin, around] = [begin, around].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Some(format!("{} as {spelling}: {begin}…{around}…", self.name))
    }
}

/// What is the same of a text in base64 wherever it begins: with `before` bytes in front of it, modulo 3.
fn base64(engine: &impl Engine, before: usize, part: &[u8]) -> String {
    let whole = engine.encode([&vec![0; before], part].concat());
    let (first, last) = ((before * 8).div_ceil(6), (before + part.len()) * 8 / 6);
    whole[first..last].to_owned()
}

/// Makes canaries that all begin alike.
pub struct Canaries {
    beginning: String,
    made: usize,
}

impl Canaries {
    pub fn new() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self { beginning: format!("Q{}", &random[..SEARCHED - 1]), made: 0 }
    }

    /// One more: letters and digits, another one each time.
    pub fn next(&mut self) -> String {
        self.made += 1;
        format!("{}{:0width$}", self.beginning, self.made, width = LENGTH - SEARCHED)
    }

    /// All of them.
    pub fn needle(&self, name: &str) -> Needle {
        Needle::new(name, &self.beginning)
    }
}

/// What of the needles is in a haystack, each told with its surroundings.
pub fn found<'a>(needles: impl IntoIterator<Item = &'a Needle>, place: &str, haystack: &[u8]) -> Vec<String> {
    let haystack = String::from_utf8_lossy(haystack);
    let finds = needles.into_iter().filter_map(|needle| needle.find(&haystack));
    finds.map(|find| format!("{place} holds {find}")).collect()
}

/// The same for a file of any size, which `grep` is fast to pass over where there is nothing.
pub fn found_in_file<'a>(needles: impl Iterator<Item = &'a Needle> + Clone, file: &Path) -> Vec<String> {
    let spellings = needles.clone().flat_map(|needle| needle.spellings.iter().map(String::as_str));
    let mut patterns = tempfile::NamedTempFile::new().unwrap();
    patterns.write_all(spellings.collect::<Vec<_>>().join("\n").as_bytes()).unwrap();
    let mut grep = Command::new("grep");
    grep.env("LC_ALL", "C").args(["-a", "-q", "-F", "-f"]).arg(patterns.path()).arg(file);
    match grep.status().unwrap().code() {
        Some(1) => Vec::new(),
        Some(0) => found(needles, &file.display().to_string(), &std::fs::read(file).unwrap()),
        code => panic!("grep ended with {code:?}"),
    }
}

#[test]
fn every_spelling_of_a_canary_is_found() {
    let mut canaries = Canaries::new();
    let canary = canaries.next();
    assert_eq!(canary.len(), LENGTH);
    assert_ne!(canary, canaries.next());
    let needle = [canaries.needle("canary")];
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}{canary}&more");
        let percent: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let spelt = [
            text.clone(),
            STANDARD.encode(&text),
            URL_SAFE.encode(&text),
            hex::encode(&text),
            hex::encode_upper(&text),
            percent,
            format!("{:?}", text.as_bytes()),
        ];
        for spelling in spelt {
            assert_eq!(found(&needle, "it", format!("… {spelling} …").as_bytes()).len(), 1, "{spelling}");
        }
    }
    assert!(found(&needle, "it", b"nothing of it").is_empty());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"\xFFnothing of it\0").unwrap();
    assert!(found_in_file(needle.iter(), file.path()).is_empty());
    file.write_all(STANDARD.encode(&canary).as_bytes()).unwrap();
    assert_eq!(found_in_file(needle.iter(), file.path()).len(), 1);
}
