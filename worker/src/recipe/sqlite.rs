//! SQLite: one database file, copied by SQLite's own backup while others use it, never as a file.
//!
//! The copy lies on the host for as long as it is sent: SQLite writes to no pipe. All of it is of one moment.

use holdfast_shared::domain::backup::MAX_SOURCE_ERRORS;
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::SqliteConfig;

use super::complaints::{Complaints, Meaning};
use super::{Dump, Judge, SourceError, SourceErrors};
use crate::remote::RemoteCommand;

const MAGIC: &[u8] = b"SQLite format 3\0";
/// The database header ([format](https://www.sqlite.org/fileformat2.html#the_database_header)).
const HEAD_BYTES: usize = 100;
/// What stands before a line of the check.
const CHECK_SAID: &str = "quick_check: ";

/// Copies the database `$1` and prints the copy; the rest are the words that stand before `sqlite3`.
///
/// The transaction makes the copy one of one moment, which no writer can force to begin anew: in WAL mode none notices,
/// otherwise writers wait. The copy exists before, so that it belongs to the user also where `sqlite3` runs under sudo.
/// A check that cannot even be made has found something, too. A name that SQLite would take for an option cannot come:
/// the path is absolute. `-readonly` makes no new database of a
/// path that is wrong.
const COPY: &str = r#"
database=$1
shift
command -v sqlite3 >/dev/null || { echo "sqlite3: not found" >&2; exit 127; }
umask 077
folder=$(mktemp -d -p "${TMPDIR:-/var/tmp}") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
cd "$folder" && : >copy || exit 1
"$@" sqlite3 -batch -bail -init /dev/null -readonly "$database" '.timeout 60000' 'BEGIN' \
    'SELECT count(*) FROM sqlite_master' '.backup main copy' >/dev/null || exit
"$@" sqlite3 -batch -bail -init /dev/null copy 'PRAGMA quick_check(40)' >check 2>&1 || echo "it ended with exit $?" >>check
[ "$(cat check)" = ok ] || sed 's/^/quick_check: /' check >&2
cat copy
"#;

/// One dump, called like the file.
pub fn plan(config: &SqliteConfig) -> Result<Vec<Dump>, SourceError> {
    let Some(path) = &config.path else {
        return Err(SourceError::Refused("the job names no database; set sqlite_path".to_owned()));
    };
    let file = path.rsplit('/').next().unwrap_or_default();
    let stem = [".sqlite", ".sqlite3", ".db"].into_iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(file);
    Ok(vec![Dump::of_command(FileName::of(stem, "sqlite"), command(path, config.use_sudo), Report::new())])
}

fn command(path: &str, use_sudo: bool) -> RemoteCommand {
    let before: &[&str] = if use_sudo { &["sudo", "-n", "--"] } else { &[] };
    RemoteCommand::new("sh").args(["-c", COPY, "sh", path]).args(before.iter().copied())
}

/// The judge of a copy.
#[derive(Debug)]
struct Report {
    complaints: Complaints,
    head: Vec<u8>,
    bytes: u64,
    /// What SQLite's own check found.
    found: Vec<String>,
}

impl Report {
    fn new() -> Self {
        Self {
            complaints: Complaints::new(|line| Meaning::lasting(refusal(line))),
            head: Vec::new(),
            bytes: 0,
            found: Vec::new(),
        }
    }

    /// Bytes that the header promises: those of a page times the pages.
    fn promised(&self) -> Option<u64> {
        if self.head.len() < HEAD_BYTES || !self.head.starts_with(MAGIC) {
            return None;
        }
        let page_bytes = match u64::from(self.head[16]) << 8 | u64::from(self.head[17]) {
            1 => 65_536,
            bytes => bytes,
        };
        let pages = self.head[28..32].iter().fold(0, |pages, byte| pages << 8 | u64::from(*byte));
        Some(page_bytes * pages)
    }
}

impl Judge for Report {
    fn hear(&mut self, line: &str) {
        match line.strip_prefix(CHECK_SAID) {
            Some(found) if self.found.len() < MAX_SOURCE_ERRORS => self.found.push(found.trim().to_owned()),
            Some(_) => {}
            None => self.complaints.hear(line),
        }
    }

    fn see(&mut self, bytes: &[u8]) {
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.bytes += bytes.len() as u64;
    }

    /// A database that SQLite's check finds fault with is stored as it is, since it may be all that there is.
    fn judge(&self, code: i32, _tail: &[u8]) -> Result<SourceErrors, SourceError> {
        self.complaints.check("sqlite3", code)?;
        let Some(promised) = self.promised() else {
            let said = self.complaints.said();
            return Err(SourceError::Broken(format!("what came is no SQLite database; sqlite3 said: {said}")));
        };
        if self.bytes != promised || promised == 0 {
            let bytes = self.bytes;
            let message = format!("the copy was cut off: {bytes} bytes came, and its header promises {promised}");
            return Err(SourceError::Broken(message));
        }
        Ok(self.found.iter().map(|found| format!("the database is damaged: {found}")).collect())
    }
}

/// Complaints of `sqlite3` and sudo that stay until somebody acts.
fn refusal(line: &str) -> Option<String> {
    let says = |words: &str| line.contains(words);
    let advice = if says("sqlite3: not found") || says("sqlite3: command not found") {
        "install the package sqlite3 on the server"
    } else if says("unable to open database") {
        "correct sqlite_path, or let the user of the server read the file and write to its folder"
    } else if says("file is not a database") {
        "correct sqlite_path; an encrypted database cannot be copied either"
    } else if says("disk is full") || says("No space left on device") {
        "the copy needs room in the server's TMPDIR, or /var/tmp"
    } else if says("readonly database") {
        "open the database once with what writes to it: it was left in the middle of a change"
    } else if says("sudo: ") || says("is not in the sudoers file") || says("is not allowed to execute") {
        "allow this user `NOPASSWD: sqlite3`, or turn use_sudo off"
    } else {
        return None;
    };
    Some(format!("{line}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database of two pages.
    fn database(page_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; 2 * page_bytes];
        bytes[..16].copy_from_slice(MAGIC);
        let field = if page_bytes == 65_536 { 1 } else { u16::try_from(page_bytes).unwrap() };
        bytes[16..18].copy_from_slice(&field.to_be_bytes());
        bytes[28..32].copy_from_slice(&2_u32.to_be_bytes());
        bytes
    }

    fn judged(bytes: &[u8], step: usize, lines: &[&str], code: i32) -> Result<SourceErrors, SourceError> {
        let mut report = Report::new();
        lines.iter().for_each(|line| report.hear(line));
        bytes.chunks(step).for_each(|piece| report.see(piece));
        report.judge(code, &[])
    }

    #[test]
    fn a_copy_is_as_long_as_its_header_says() {
        for page_bytes in [512, 4_096, 65_536] {
            let whole = database(page_bytes);
            for step in [1, 99, 100, whole.len()] {
                assert_eq!(judged(&whole, step, &[], 0).unwrap(), Vec::<String>::new());
            }
            for length in [0, 1, 15, 16, 99, 100, page_bytes, whole.len() - 1] {
                assert!(matches!(judged(&whole[..length], 64, &[], 0), Err(SourceError::Broken(_))), "{length}");
            }
            assert!(judged(&[&whole[..], b"x"].concat(), 64, &[], 0).is_err());
        }
        assert!(judged(&[b'x'; 8_192], 64, &[], 0).is_err());
    }

    #[test]
    fn what_the_check_finds_is_told() {
        let lines =
            ["quick_check: *** in database main ***", "quick_check: Tree 2 page 2: btreeInitPage() returns error"];
        let errors = judged(&database(512), 512, &lines, 0).unwrap();
        assert_eq!(errors.len(), 2);
        assert!(errors[1].contains("btreeInitPage"), "{errors:?}");
    }

    #[test]
    fn complaints_say_what_to_do() {
        let cases = [
            ("sqlite3: not found", "install"),
            ("Error: unable to open database \"/x\": unable to open database file", "sqlite_path"),
            ("Error: in prepare, file is not a database (26)", "sqlite_path"),
            ("Error: database or disk is full", "/var/tmp"),
            ("mktemp: failed to create directory: No space left on device", "/var/tmp"),
            ("sudo: a password is required", "NOPASSWD"),
        ];
        for (line, advice) in cases {
            let Err(SourceError::Refused(message)) = judged(&[], 1, &[line], 1) else { panic!("{line}") };
            assert!(message.contains(advice), "{message}");
        }
    }

    #[test]
    fn the_path_is_one_word() {
        let command = format!("{:?}", command("/srv/a 'b\".db", true));
        assert!(command.contains(r#""/srv/a 'b\".db", "sudo", "-n", "--"]"#), "{command}");
    }
}
