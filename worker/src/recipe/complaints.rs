//! What a dump tool complained of: the words that need somebody to act, and the last ones it said. Bounded.

use std::collections::VecDeque;

use super::SourceError;

/// How many lines are kept, and how much of each.
const MAX_LINES: usize = 3;
const MAX_LINE_CHARS: usize = 500;
/// The exit code of shells, `env` and `timeout` for a program that is not there.
pub(super) const EXIT_NOT_FOUND: i32 = 127;

/// Tells what has to be done about a line, where trying again does not help until somebody has done it.
pub(super) type Refusals = fn(&str) -> Option<String>;

/// What a tool printed as errors.
#[derive(Debug, Clone)]
pub(super) struct Complaints {
    refusals: Refusals,
    refusal: Option<String>,
    last: VecDeque<String>,
}

impl Complaints {
    /// Of a tool whose complaints `refusals` knows.
    pub(super) fn new(refusals: Refusals) -> Self {
        Self { refusals, refusal: None, last: VecDeque::new() }
    }

    /// Takes in a line. The first that somebody has to act on counts: others follow from it.
    pub(super) fn hear(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() || line.contains("setlocale: ") {
            return;
        }
        if self.refusal.is_none() {
            self.refusal = (self.refusals)(line);
        }
        if self.last.len() == MAX_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.chars().take(MAX_LINE_CHARS).collect());
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
        match (code, &self.refusal) {
            (0, _) => Ok(()),
            (_, Some(refusal)) => Err(SourceError::Refused(refusal.clone())),
            (EXIT_NOT_FOUND, None) => {
                Err(SourceError::Refused(format!("{tool} is missing where it should run; install it: {}", self.said())))
            }
            _ => Err(SourceError::Broken(format!("{tool} failed with exit {code}: {}", self.said()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Option<String> {
        line.contains("denied").then(|| "grant it".to_owned())
    }

    fn checked(text: &str, code: i32) -> String {
        Complaints::new(refusal)
            .hear_all(text)
            .check("tool", code)
            .map_or_else(|error| error.to_string(), |()| "ok".into())
    }

    #[test]
    fn the_first_complaint_that_needs_somebody_counts() {
        assert_eq!(checked("denied: x\nlost", 1), "grant it");
        assert_eq!(checked("denied: x", 0), "ok");
        assert_eq!(checked("a\n\nb\nc\nd\n", 3), "tool failed with exit 3: b; c; d");
        assert_eq!(checked("", 3), "tool failed with exit 3: nothing");
        assert!(checked("sh: 1: exec: tool: not found", 127).contains("install it"));
    }

    #[test]
    fn a_flood_is_bounded() {
        let line = "x".repeat(10_000);
        let mut complaints = Complaints::new(refusal);
        (0..10_000).for_each(|_| complaints.hear(&line));
        assert!(complaints.said().len() < 2_000);
    }
}
