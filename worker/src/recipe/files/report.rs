//! Report: what tar printed as errors, sorted into what is harmless, what is the fault of single files, and what breaks it.

use holdfast_shared::domain::backup::MAX_SOURCE_ERRORS;

use crate::recipe::{Judge, SourceError, SourceErrors};

/// A tar ends in two blocks of 512 zeros ([format](https://www.gnu.org/software/tar/manual/html_node/Standard.html)).
const END_MARK_BYTES: usize = 1_024;

/// What tar printed, sorted. Bounded: of each kind the first lines are kept and the others counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// The root paths as tar prints them.
    roots: Vec<String>,
    /// Root paths that could not be read, with why.
    lost_roots: Vec<String>,
    /// Single files that could not be read or changed meanwhile.
    file_errors: Vec<String>,
    file_error_count: usize,
    /// Sockets and the like, which hold nothing that could be kept.
    ignored: Vec<String>,
    ignored_count: usize,
    /// What this tar was built without.
    lacks: Vec<&'static str>,
    /// Everything that is neither that nor harmless.
    other: Vec<String>,
    other_count: usize,
}

impl Report {
    /// Of a tar that takes these root paths.
    pub(super) fn new(roots: &[String]) -> Self {
        let roots = roots.iter().map(|root| escaped(trimmed(root))).collect();
        Self { roots, ..Self::default() }
    }

    /// The file errors, and how many more there were.
    fn source_errors(&self) -> SourceErrors {
        let mut errors = self.file_errors.clone();
        if self.file_error_count > errors.len() {
            errors.truncate(MAX_SOURCE_ERRORS - 1);
            errors.push(format!("and {} more; the log has what it has room for", self.file_error_count - errors.len()));
        }
        errors
    }

    /// Takes in a line.
    pub(super) fn take_in(&mut self, line: &str) {
        let line = line.trim();
        let message = line.strip_prefix("tar: ");
        match message.map_or(Kind::of_stranger(line), Kind::of) {
            Kind::Harmless => {}
            Kind::File(message) => {
                self.file_error_count += 1;
                if let Some(why) = self.roots.iter().find_map(|root| root_complaint(root, message)) {
                    keep(&mut self.lost_roots, why);
                }
                keep(&mut self.file_errors, message.to_owned());
            }
            Kind::Ignored(message) => {
                self.ignored_count += 1;
                keep(&mut self.ignored, message.to_owned());
            }
            Kind::Lacks(what) if self.lacks.contains(&what) => {}
            Kind::Lacks(what) => self.lacks.push(what),
            Kind::Other => {
                self.other_count += 1;
                keep(&mut self.other, line.to_owned());
            }
        }
    }

    /// Fails unless all root paths were found.
    pub(super) fn check_look(&self, code: i32) -> Result<(), SourceError> {
        refused(code, self)?;
        match self.file_errors.is_empty() {
            true => Ok(()),
            false => Err(lost_roots(&self.file_errors)),
        }
    }

    /// Fails unless tar came to its end.
    pub(super) fn check_listing(&self, code: i32) -> Result<(), SourceError> {
        refused(code, self)?;
        match code {
            0 => Ok(()),
            1 | 2 if self.is_of_files_alone() => Ok(()),
            _ => Err(SourceError::Broken(format!("tar failed with exit {code}: {}", said(self)))),
        }
    }

    /// What of it concerns whoever wants to know what is taken.
    pub(super) fn told(&self) -> Vec<String> {
        let lines = self.file_errors.iter().chain(&self.ignored).cloned();
        self.shortcomings().chain(lines).collect()
    }

    fn is_of_files_alone(&self) -> bool {
        self.other_count == 0 && self.file_error_count > 0
    }

    fn shortcomings(&self) -> impl Iterator<Item = String> {
        let told = |what: &&str| format!("the server's tar was built without {what}: none is kept");
        self.lacks.iter().map(told)
    }
}

impl Judge for Report {
    fn hear(&mut self, line: &str) {
        self.take_in(line);
    }

    fn remarks(&self) -> Vec<String> {
        let count = self.ignored_count;
        let ignored =
            (count > 0).then(|| format!("left out, as they hold nothing to keep: {count} sockets and the like"));
        ignored.into_iter().chain(self.shortcomings()).collect()
    }

    /// tar's exit codes: 0 all read, 1 files changed while they were read, 2 something could not be read, or worse
    /// ([list](https://www.gnu.org/software/tar/manual/html_section/Synopsis.html)).
    fn judge(&self, code: i32, tail: &[u8]) -> Result<SourceErrors, SourceError> {
        refused(code, self)?;
        if !self.lost_roots.is_empty() {
            return Err(lost_roots(&self.lost_roots));
        }
        let said = || said(self);
        if !has_end_mark(tail) {
            return Err(SourceError::Broken(format!("the tar was cut off (exit {code}); tar said: {}", said())));
        }
        match code {
            // Attributes that cannot be read do not show in it.
            0 => Ok(self.source_errors()),
            1 | 2 if self.is_of_files_alone() => Ok(self.source_errors()),
            _ => Err(SourceError::Broken(format!("tar failed with exit {code}: {}", said()))),
        }
    }
}

fn keep(lines: &mut Vec<String>, line: String) {
    if lines.len() < MAX_SOURCE_ERRORS {
        lines.push(line);
    }
}

/// The message, if it says that this root as a whole may not be read.
fn root_complaint(root: &str, message: &str) -> Option<String> {
    let is_refused = message.strip_prefix(root)? == ": Cannot open: Permission denied";
    is_refused.then(|| message.to_owned())
}

/// What a line of tar's says.
enum Kind<'a> {
    Harmless,
    File(&'a str),
    Ignored(&'a str),
    Lacks(&'static str),
    Other,
}

impl<'a> Kind<'a> {
    /// GNU tar's messages in English ([list](https://git.savannah.gnu.org/cgit/tar.git/tree/src/create.c), `misc.c` and
    /// gnulib's `openat` wrappers), without `tar: ` before them.
    fn of(message: &'a str) -> Self {
        const HARMLESS_ENDS: [&str; 3] = [
            ": file is unchanged; not dumped",
            ": file is on a different filesystem; not dumped",
            "Exiting with failure status due to previous errors",
        ];
        const IGNORED_ENDS: [&str; 3] = [": socket ignored", ": door ignored", ": Unknown file type; file ignored"];
        const LACKING: [(&str, &str); 2] =
            [("POSIX ACL support is not available", "ACLs"), ("XATTR support is not available", "extended attributes")];
        const FILE_ENDS: [&str; 2] = [": file changed as we read it", ": File removed before we read it"];
        const FILE_WORDS: [&str; 10] = [
            // Of extended attributes and ACLs.
            ": Warning: Cannot ",
            ": Cannot open: ",
            ": Cannot stat: ",
            ": Cannot read: ",
            ": Cannot readlink: ",
            ": Cannot savedir: ",
            ": Cannot opendir: ",
            ": Cannot close: ",
            ": Read error at byte ",
            ": File shrank by ",
        ];
        // A file system without attributes has none to lose.
        let has_none = message.contains(FILE_WORDS[0]) && message.ends_with(": Operation not supported");
        if message.starts_with("Removing leading `")
            || has_none
            || HARMLESS_ENDS.iter().any(|end| message.ends_with(end))
        {
            Self::Harmless
        } else if IGNORED_ENDS.iter().any(|end| message.ends_with(end)) {
            Self::Ignored(message)
        } else if let Some((_, what)) = LACKING.iter().find(|(words, _)| message == *words) {
            Self::Lacks(what)
        } else if FILE_ENDS.iter().any(|end| message.ends_with(end))
            || FILE_WORDS.iter().any(|word| message.contains(word))
        {
            Self::File(message)
        } else {
            Self::Other
        }
    }

    /// Lines of other programs: those of shells, sudo and sshd that are common and say nothing of the dump.
    fn of_stranger(line: &str) -> Self {
        let says = |start: &str| line.starts_with(start);
        let harmless = line.is_empty()
            || line.contains("setlocale: ")
            || says("sudo: unable to resolve host")
            || says("Could not chdir to home directory");
        if harmless { Self::Harmless } else { Self::Other }
    }
}

/// Fails for good where tar could not be run at all.
fn refused(code: i32, report: &Report) -> Result<(), SourceError> {
    if let Some(refusal) = report.other.iter().find_map(|line| refusal(line)) {
        return Err(SourceError::Refused(refusal));
    }
    match code {
        127 => Err(SourceError::Refused(format!("a program is missing on the server; tar said: {}", said(report)))),
        _ => Ok(()),
    }
}

fn lost_roots(why: &[String]) -> SourceError {
    SourceError::Refused(format!("root path cannot be read: {}; correct the job's paths or rights", why.join("; ")))
}

/// The first thing that tar complained of.
fn said(report: &Report) -> String {
    report.other.first().or(report.file_errors.first()).cloned().unwrap_or_else(|| "nothing".to_owned())
}

/// Complaints that stay until somebody does something about them, with what that is.
fn refusal(line: &str) -> Option<String> {
    let says = |words: &str| line.contains(words);
    if says("sudo: ") && (says("a password is required") || says("a terminal is required")) {
        return Some("sudo asks for a password; allow this user `NOPASSWD: tar`, or turn use_sudo off".to_owned());
    }
    if says("is not in the sudoers file") || says("is not allowed to execute") || says("is not allowed to run") {
        return Some("sudo does not let this user run tar; allow it in sudoers, or turn use_sudo off".to_owned());
    }
    if says("unrecognized option") || says("unknown option") || says("Option --") || says("illegal option") {
        return Some("the server's tar is not GNU tar 1.29 or newer; install it".to_owned());
    }
    let missing = says("failed to run command") || says("command not found") || says(": not found");
    missing.then(|| format!("a program is missing on the server; install it: {line}"))
}

fn has_end_mark(tail: &[u8]) -> bool {
    tail.len() >= END_MARK_BYTES && tail[tail.len() - END_MARK_BYTES..].iter().all(|byte| *byte == 0)
}

fn trimmed(root: &str) -> &str {
    match root.trim_end_matches('/') {
        "" => "/",
        root => root,
    }
}

/// A name as `--quoting-style=escape` prints it.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            0x0b => text.push_str("\\v"),
            0x0c => text.push_str("\\f"),
            b'\r' => text.push_str("\\r"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [u8; 4_096] = [0; 4_096];

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::new(&["/srv/site/".to_owned(), "/etc/ä\n".to_owned()]);
        lines.iter().for_each(|line| report.take_in(line));
        report
    }

    fn judged(code: i32, lines: &[&str]) -> Result<SourceErrors, SourceError> {
        report(lines).judge(code, &WHOLE)
    }

    #[test]
    fn a_clean_end_is_whole() {
        let lines = ["tar: Removing leading `/' from member names", "tar: /srv/site/s: socket ignored"];
        assert_eq!(judged(0, &lines).unwrap(), Vec::<String>::new());
        assert_eq!(report(&lines).remarks(), ["left out, as they hold nothing to keep: 1 sockets and the like"]);
    }

    #[test]
    fn attributes_that_are_not_kept_are_told() {
        let lost = "tar: /srv/site/a: Warning: Cannot fgetxattr: Permission denied";
        let none = "tar: /mnt/fat/a: Warning: Cannot llistxattrat: Operation not supported";
        assert_eq!(judged(0, &[lost, none]).unwrap(), ["/srv/site/a: Warning: Cannot fgetxattr: Permission denied"]);
        let lacking = ["tar: POSIX ACL support is not available", "tar: XATTR support is not available"];
        assert_eq!(judged(0, &lacking).unwrap(), Vec::<String>::new());
        let remarks = report(&lacking).remarks();
        assert!(remarks[0].contains("without ACLs") && remarks[1].contains("without extended"), "{remarks:?}");
        assert!(judged(2, &lacking).is_err());
    }

    #[test]
    fn files_that_changed_or_cannot_be_read_are_named() {
        let changed = ["tar: /srv/site/log: file changed as we read it"];
        assert_eq!(judged(1, &changed).unwrap(), ["/srv/site/log: file changed as we read it"]);
        let mixed = [
            "tar: Removing leading `/' from member names",
            "tar: /srv/site/a\\nb: Cannot open: Permission denied",
            "tar: /srv/site/c: File removed before we read it",
            "tar: /srv/site/d: File shrank by 17 bytes; padding with zeros",
            "tar: Exiting with failure status due to previous errors",
        ];
        assert_eq!(judged(2, &mixed).unwrap().len(), 3);
    }

    #[test]
    fn a_cut_tail_is_never_whole() {
        for code in [0, 1, 2] {
            let cut = report(&["tar: /srv/site/a: Cannot open: Permission denied"]).judge(code, b"not the end");
            assert!(matches!(cut, Err(SourceError::Broken(_))), "exit {code}");
        }
        let mut tail = WHOLE;
        tail[4_096 - END_MARK_BYTES] = 1;
        assert!(report(&[]).judge(0, &tail).is_err());
    }

    #[test]
    fn exit_2_with_anything_else_fails() {
        let odd = ["tar: /srv/site/a: Cannot open: Permission denied", "tar: -: Cannot write: No space left on device"];
        assert!(matches!(judged(2, &odd), Err(SourceError::Broken(_))));
        assert!(matches!(judged(2, &[]), Err(SourceError::Broken(_))));
        assert!(matches!(judged(64, &[]), Err(SourceError::Broken(_))));
    }

    #[test]
    fn a_root_that_cannot_be_entered_is_permanent_and_named() {
        let Err(error) = judged(2, &["tar: /etc/\\303\\244\\n: Cannot open: Permission denied"]) else { panic!() };
        assert_eq!(error.retry(), holdfast_shared::domain::retry::Retry::Never);
        assert!(error.to_string().contains("/etc/\\303\\244\\n: Cannot open"), "{error}");
        // One that was there at the beginning was taken away.
        assert!(judged(2, &["tar: /srv/site: Cannot stat: No such file or directory"]).is_ok());
        assert!(judged(2, &["tar: /srv/site/x: Cannot open: Permission denied"]).is_ok());
    }

    #[test]
    fn what_needs_its_owner_says_so() {
        let cases = [
            "sudo: a password is required",
            "tar: unrecognized option '--verbatim-files-from'",
            "timeout: failed to run command 'tar': No such file or directory",
            "sudo: tar: command not found",
            "bob is not in the sudoers file.",
        ];
        for line in cases {
            assert!(matches!(report(&[line]).judge(1, &[]), Err(SourceError::Refused(_))), "{line}");
        }
    }

    #[test]
    fn errors_are_bounded_and_counted() {
        let mut report = Report::default();
        for n in 0..500 {
            report.take_in(&format!("tar: /x/{n}: Cannot open: Permission denied"));
        }
        let errors = report.judge(2, &WHOLE).unwrap();
        assert_eq!(errors.len(), MAX_SOURCE_ERRORS);
        assert_eq!(errors.last().unwrap(), "and 451 more; the log has what it has room for");
    }
}
