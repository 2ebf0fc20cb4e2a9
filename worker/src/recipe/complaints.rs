//! What a tool complained of: the words that tell why it failed, and the last ones it said. Bounded.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::SourceError;

/// How many lines are kept, and how much of each.
const MAX_LINES: usize = 3;
pub(super) const MAX_LINE_CHARS: usize = 500;
/// The exit code of shells, `env` and `timeout` for a program that is not there.
pub(super) const EXIT_NOT_FOUND: i32 = 127;

/// What a line that a tool printed as an error tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing: it comes beside a whole dump, too.
    Noise,
    /// Nothing that is known.
    Unknown,
    /// Why it fails, with what somebody has to do before trying again can help.
    Lasting(String),
    /// Why it fails; it can pass by itself.
    Passing(String),
}

impl Meaning {
    /// Why it fails until somebody acts, if that is known.
    pub(super) fn lasting(refusal: Option<String>) -> Self {
        refusal.map_or(Self::Unknown, Self::Lasting)
    }
}

/// What a tool printed as errors.
#[derive(Clone)]
pub(super) struct Complaints {
    read: Arc<dyn Fn(&str) -> Meaning + Send + Sync>,
    cause: Option<Meaning>,
    last: VecDeque<String>,
}

impl Complaints {
    /// Of a tool whose lines `read` knows.
    pub(super) fn new(read: impl Fn(&str) -> Meaning + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), cause: None, last: VecDeque::new() }
    }

    /// Takes in a line. The first cause counts: others follow from it.
    pub(super) fn hear(&mut self, line: &str) {
        let line: String = line.trim().chars().take(MAX_LINE_CHARS).collect();
        if line.is_empty() || line.contains("setlocale: ") {
            return;
        }
        match (self.read)(&line) {
            Meaning::Noise => return,
            Meaning::Unknown => {}
            cause => drop(self.cause.get_or_insert(cause)),
        }
        if self.last.len() == MAX_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Takes in everything that a tool printed.
    pub(super) fn hear_all(mut self, text: &str) -> Self {
        text.lines().for_each(|line| self.hear(line));
        self
    }

    /// The last that was said.
    pub(super) fn said(&self) -> String {
        match self.last.is_empty() {
            true => "nothing".to_owned(),
            false => self.last.iter().map(String::as_str).collect::<Vec<_>>().join("; "),
        }
    }

    /// Fails unless `tool` ended well; for good where somebody has to act first.
    pub(super) fn check(&self, tool: &str, code: i32) -> Result<(), SourceError> {
        match (code, &self.cause) {
            (0, _) => Ok(()),
            (_, Some(Meaning::Lasting(why))) => Err(SourceError::Refused(why.clone())),
            (_, Some(Meaning::Passing(why))) => Err(SourceError::Broken(why.clone())),
            (EXIT_NOT_FOUND, _) => {
                Err(SourceError::Refused(format!("{tool} is missing where it should run; install it: {}", self.said())))
            }
            _ => Err(SourceError::Broken(format!("{tool} failed with exit {code}: {}", self.said()))),
        }
    }
}

impl fmt::Debug for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Complaints").field("cause", &self.cause).field("last", &self.last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_shared::domain::retry::Retry;

    use super::*;

    fn read(line: &str) -> Meaning {
        match line {
            _ if line.contains("denied") => Meaning::Lasting("grant it".to_owned()),
            _ if line.contains("lost") => Meaning::Passing("it was lost".to_owned()),
            _ if line.contains("warning") => Meaning::Noise,
            _ => Meaning::Unknown,
        }
    }

    fn checked(text: &str, code: i32) -> (String, Option<Retry>) {
        match Complaints::new(read).hear_all(text).check("tool", code) {
            Ok(()) => ("ok".to_owned(), None),
            Err(error) => (error.to_string(), Some(error.retry())),
        }
    }

    #[test]
    fn the_first_cause_counts() {
        let told = |text: &str, code, says: &str, retry| assert_eq!(checked(text, code), (says.to_owned(), retry));
        told("x\ndenied: x\nlost", 1, "grant it", Some(Retry::Never));
        told("lost\ndenied: x", 1, "it was lost", Some(Retry::Later));
        told("denied: x", 0, "ok", None);
        told("a\n\nb\nwarning\nc\nd\n", 3, "tool failed with exit 3: b; c; d", Some(Retry::Later));
        told("", 3, "tool failed with exit 3: nothing", Some(Retry::Later));
        let (missing, retry) = checked("sh: 1: exec: tool: not found", 127);
        assert!(missing.contains("install it") && retry == Some(Retry::Never), "{missing}");
    }

    #[test]
    fn a_flood_is_bounded() {
        let line = "x".repeat(10_000);
        let mut complaints = Complaints::new(read);
        (0..10_000).for_each(|_| complaints.hear(&line));
        assert!(complaints.said().len() < 2_000);
    }
}
