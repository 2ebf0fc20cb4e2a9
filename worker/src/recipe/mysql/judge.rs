//! What the tools complain of, with what to do about it; and whether a dump is whole.

use holdfast_shared::domain::backup::MAX_SOURCE_ERRORS;

use super::login::Login;
use crate::recipe::complaints::{Complaints, MAX_LINE_CHARS, Meaning};
use crate::recipe::tls::NO_AUTHORITIES;
use crate::recipe::{Judge, SourceError, SourceErrors};

/// How the last line of a whole dump begins, with or without its time behind it (`write_footer` of `mysqldump.cc`).
const END_MARK: &[u8] = b"-- Dump completed";

/// What the tools of a login complain of. `grant` are the statements that it needs for everything that is asked for; empty
/// while that is not known.
pub(super) fn complaints(login: &Login, grant: String) -> Complaints {
    let reader = Reader { place: login.place(), corrected_by: login.corrected_by, grant };
    Complaints::new(move |line| if is_warning(line) { Meaning::Noise } else { reader.meaning_of(line) })
}

/// Tells what lines mean.
struct Reader {
    place: String,
    corrected_by: &'static str,
    grant: String,
}

impl Reader {
    /// What a line means, by its [error number](https://dev.mysql.com/doc/mysql-errors/8.4/en/).
    fn meaning_of(&self, line: &str) -> Meaning {
        let Self { place, corrected_by, .. } = self;
        let (can_pass, what) = match error_number(line) {
            Some(1045 | 1698) => {
                (false, format!("the database server at {place} refused the login; correct {corrected_by}"))
            }
            Some(1129 | 1130) => (
                false,
                format!("the database server at {place} lets nobody in from there; allow that host for the login"),
            ),
            Some(1044 | 1142 | 1143 | 1227 | 1345 | 1370) => (false, self.lacking()),
            None if line.contains("insufficent privileges") || line.contains("insufficient privileges") => {
                (false, self.lacking())
            }
            Some(1049) => (false, "there is no such database; correct the job's databases".to_owned()),
            Some(1251 | 2059 | 2049 | 2061) => (
                false,
                "client and server have no way to log in in common; install a client of the server's version".into(),
            ),
            Some(1356 | 1449) => {
                (false, "a view cannot be read; mend it, drop it, or leave it out as an excluded table".to_owned())
            }
            Some(2005) => {
                (false, format!("the name of the database server at {place} does not exist; correct its host"))
            }
            Some(2026) => (
                false,
                format!("there is no TLS with the database server at {place} as mysql_tls and mysql_tls_ca ask for it"),
            ),
            Some(1040 | 1203 | 1226 | 2002 | 2003) => (
                true,
                format!("no connection to the database server at {place}; does it run, and is there a place left?"),
            ),
            Some(1053 | 1317 | 1927 | 1969 | 2006 | 2013 | 2055 | 3024) => {
                (true, format!("the database server at {place} ended the connection"))
            }
            Some(1205 | 1213) => (true, "a lock was held for too long by somebody else".to_owned()),
            Some(1412) => (true, "a table was changed while it was dumped".to_owned()),
            None if line.contains(NO_AUTHORITIES) => {
                (false, "give the job the certificate of the server's authority: mysql_tls_ca".to_owned())
            }
            _ => return Meaning::Unknown,
        };
        let message = format!("{what}: {line}");
        if can_pass { Meaning::Passing(message) } else { Meaning::Lasting(message) }
    }

    fn lacking(&self) -> String {
        match self.grant.as_str() {
            "" => "the database login lacks a privilege; grant it".to_owned(),
            grant => format!("the database login lacks a privilege; have an administrator run: {grant}"),
        }
    }
}

/// Lines that tools print beside a whole dump.
fn is_warning(line: &str) -> bool {
    let says = |words: &str| line.contains(words);
    says("Warning") || says("WARNING") || says("Deprecated program name")
}

/// The number in `ERROR 1045 (28000): …`, `Got error: 1045: …` and `… (1044)`, the ways in which the tools print it.
fn error_number(line: &str) -> Option<u16> {
    let number = |text: &str| {
        let digits = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse::<u16>().ok()
    };
    let behind = |word: &str| line.find(word).and_then(|at| number(&line[at + word.len()..]));
    let in_the_end = || number(line.strip_suffix(')')?.rsplit_once('(')?.1);
    behind("ERROR ").or_else(|| behind("rror: ")).or_else(|| behind("Error ")).or_else(in_the_end)
}

/// Tells whether a dump is whole.
#[derive(Debug)]
pub(super) struct DumpJudge {
    tool: String,
    complaints: Complaints,
    /// What the tool complained of and went on; of each only the first ones.
    errors: SourceErrors,
}

impl DumpJudge {
    pub(super) fn new(tool: &str, complaints: Complaints) -> Self {
        Self { tool: tool.to_owned(), complaints, errors: Vec::new() }
    }
}

impl Judge for DumpJudge {
    fn hear(&mut self, line: &str) {
        let says = line.trim();
        let of_tool = says.strip_prefix(self.tool.as_str()).is_some_and(|rest| rest.starts_with(':'));
        if of_tool && !is_warning(says) && self.errors.len() < MAX_SOURCE_ERRORS {
            self.errors.push(says.chars().take(MAX_LINE_CHARS).collect());
        }
        self.complaints.hear(line);
    }

    fn judge(&self, code: i32, tail: &[u8]) -> Result<SourceErrors, SourceError> {
        self.complaints.check(&self.tool, code)?;
        if !has_end_mark(tail) {
            let said = self.complaints.said();
            return Err(SourceError::Broken(format!(
                "the dump was cut off: it does not end in `-- Dump completed`, though {0} ended with exit 0; {0} said: {said}",
                self.tool
            )));
        }
        Ok(self.errors.clone())
    }
}

/// Whether the last line is the end mark. Data cannot look like it: line breaks in it are written as `\n`.
fn has_end_mark(tail: &[u8]) -> bool {
    let tail = tail.trim_ascii_end();
    let last = tail.iter().rposition(|byte| *byte == b'\n').map_or(tail, |at| &tail[at + 1..]);
    last.starts_with(END_MARK)
}

#[cfg(test)]
mod tests {
    use holdfast_shared::domain::recipe::Tls;
    use holdfast_shared::domain::retry::Retry;

    use super::*;

    const WHOLE: &[u8] = b"/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n-- Dump completed on 2026-11-21  7:50:00\n";

    fn complaints() -> Complaints {
        let login = Login {
            host: Some("db.example".to_owned()),
            port: 3306,
            socket: None,
            username: None,
            password: None,
            tls: Tls::preferred(),
            shown: None,
            corrected_by: "mysql_username and mysql_password",
        };
        super::complaints(&login, "GRANT SELECT ON `shop`.* TO 'b'@'%'".to_owned())
    }

    fn judged(code: i32, lines: &[&str], tail: &[u8]) -> Result<SourceErrors, SourceError> {
        let mut judge = DumpJudge::new("mysqldump", complaints());
        lines.iter().for_each(|line| judge.hear(line));
        judge.judge(code, tail)
    }

    #[test]
    fn only_the_end_mark_on_the_last_line_makes_a_dump_whole() {
        assert!(judged(0, &[], WHOLE).unwrap().is_empty());
        assert!(judged(0, &[], b"x\n-- Dump completed").is_ok());
        for tail in
            [&b""[..], b"INSERT", b"-- Dump comple", b"INSERT INTO t VALUES ('-- Dump completed\\n", &WHOLE[..50]]
        {
            assert!(matches!(judged(0, &[], tail), Err(SourceError::Broken(_))), "{tail:?}");
        }
        let then_more = [WHOLE, b"INSERT INTO"].concat();
        assert!(judged(0, &[], &then_more).is_err());
        assert!(judged(2, &[], WHOLE).is_err());
    }

    #[test]
    fn warnings_are_passed_over_and_complaints_are_kept() {
        let lines = [
            "mysqldump: [Warning] Using a password on the command line interface can be insecure.",
            "Warning: A partial dump from a server that has GTIDs will by default include the GTIDs",
            "mysqldump: Deprecated program name. It will be removed in a future release, use '/usr/bin/mariadb-dump' instead",
            "bash: warning: setlocale: LC_ALL: cannot change locale (C.UTF-8)",
            "mysqldump: Error: 'Access denied; you need (at least one of) the PROCESS privilege(s)' when trying to dump tablespaces",
        ];
        let errors = judged(0, &lines, WHOLE).unwrap();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("PROCESS"));
    }

    #[test]
    fn what_the_tools_print_is_understood() {
        let cases = [
            (
                "mysqldump: Got error: 1045: \"Access denied for user 'b'@'localhost' (using password: YES)\" when trying to connect",
                "correct mysql_username and mysql_password",
                Retry::Never,
            ),
            (
                "mysqldump: Got error: 1044: \"Access denied for user 'c'@'localhost' to database 'shop'\" when using LOCK TABLES",
                "run: GRANT SELECT ON `shop`.*",
                Retry::Never,
            ),
            (
                "mysqldump: Couldn't execute 'show create table `v`': SHOW VIEW command denied to user 'd'@'localhost' for table `shop`.`v` (1142)",
                "run: GRANT",
                Retry::Never,
            ),
            ("mysqldump: b has insufficent privileges to SHOW CREATE PROCEDURE `p`!", "run: GRANT", Retry::Never),
            (
                "mysqldump: Got error: 1049: \"Unknown database 'nope'\" when selecting the database",
                "no such database",
                Retry::Never,
            ),
            (
                "ERROR 2002 (HY000): Can't connect to server on '127.0.0.1' (115)",
                "no connection to the database server at db.example port 3306",
                Retry::Later,
            ),
            ("ERROR 2005 (HY000): Unknown server host 'nohost.invalid' (-2)", "does not exist", Retry::Never),
            (
                "mysqldump: Error 2013: Lost connection to server during query when dumping table `t` at row: 7",
                "ended the connection",
                Retry::Later,
            ),
            (
                "mysqldump: Couldn't execute 'SHOW FIELDS FROM `v`': View 'shop.v' references invalid table(s) (1356)",
                "a view cannot be read",
                Retry::Never,
            ),
            ("mysqldump: Got errno 28 on write", "failed with exit 2: mysqldump: Got errno 28 on write", Retry::Later),
        ];
        for (line, says, retry) in cases {
            let error = judged(2, &[line], WHOLE).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.retry(), retry, "{line}");
        }
        let missing = judged(127, &["env: 'mysqldump': No such file or directory"], b"").unwrap_err();
        assert!(missing.retry() == Retry::Never && missing.to_string().contains("install it"), "{missing}");
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut judge = DumpJudge::new("mysqldump", complaints());
        for n in 0..10_000 {
            judge.hear(&format!("mysqldump: {n} {}", "x".repeat(10_000)));
        }
        assert_eq!(judge.judge(0, WHOLE).unwrap().len(), MAX_SOURCE_ERRORS);
        assert!(judge.judge(1, WHOLE).unwrap_err().to_string().len() < 4_000);
    }
}
