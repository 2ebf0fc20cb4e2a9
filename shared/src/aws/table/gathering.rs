//! Records and those that they lead to, in as few requests as can be foreseen.
//!
//! What a job shows stands in several records, and each tells only when it is read which ones come next. A process
//! remembers which led to which when they were last read, and asks for those along with the first. Never what they held:
//! a memory that is out of date costs a request or an item in vain, and changes no answer.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;

use super::{Key, Records, Table};
use crate::error::Result;

/// How many records' ways are remembered before all are forgotten.
const MAX_TRAILS: usize = 10_000;

/// Which records led to which others when they were last read.
#[derive(Debug, Default)]
pub(super) struct Trails(Mutex<HashMap<Key, Vec<Key>>>);

impl Trails {
    /// The same keys and all that they led to, each once.
    fn along(&self, mut keys: Vec<Key>) -> Vec<Key> {
        let trails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen: HashSet<Key> = keys.iter().cloned().collect();
        let mut next = 0;
        while let Some(ways) = keys.get(next).map(|key| trails.get(key)) {
            let new = ways.into_iter().flatten().filter(|key| seen.insert((*key).clone())).cloned();
            keys.extend(new.collect::<Vec<_>>());
            next += 1;
        }
        keys
    }

    fn remember(&self, from: &Key, to: &[Key]) {
        let mut trails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if trails.get(from).is_some_and(|known| known == to) {
            return;
        }
        if trails.len() >= MAX_TRAILS {
            trails.clear();
        }
        trails.insert(from.clone(), to.to_vec());
    }
}

/// Records that are read step by step.
#[derive(Debug)]
pub(crate) struct Gathering<'a> {
    table: &'a Table,
    asked: HashSet<Key>,
    found: Records,
}

impl Table {
    /// Begins to read records and those that they lead to.
    pub(crate) fn gather(&self) -> Gathering<'_> {
        Gathering { table: self, asked: HashSet::new(), found: Records::default() }
    }
}

impl Gathering<'_> {
    /// Reads those of `keys` that were not read yet, strongly consistent, with what they led to last time. No request
    /// where all were.
    pub async fn read(&mut self, keys: impl IntoIterator<Item = Key>) -> Result<()> {
        let wanted: Vec<_> = keys.into_iter().filter(|key| !self.asked.contains(key)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut wanted = self.table.trails.along(wanted);
        wanted.retain(|key| self.asked.insert(key.clone()));
        self.found.extend(self.table.records(wanted).await?);
        Ok(())
    }

    /// Takes it that there is nothing under a key, without a request.
    pub fn assume_absent(&mut self, key: Key) {
        self.asked.insert(key);
    }

    /// Reads where a record leads to, and remembers the way.
    pub async fn follow(&mut self, from: &Key, to: Vec<Key>) -> Result<()> {
        self.table.trails.remember(from, &to);
        self.read(to).await
    }

    /// Remembers where a record leads to.
    pub fn remember(&self, from: &Key, to: &[Key]) {
        self.table.trails.remember(from, to);
    }

    /// What was found so far.
    pub fn found(&self) -> &Records {
        &self.found
    }

    /// A record that was found, which cannot be asked for again.
    pub fn take<T: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<T>> {
        self.found.take(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("A#a#THINGS".to_owned(), name)
    }

    fn along(trails: &Trails, from: &str) -> Vec<String> {
        trails.along(vec![key(from)]).into_iter().map(|key| key.sk).collect()
    }

    #[test]
    fn what_was_followed_is_foreseen() {
        let trails = Trails::default();
        assert_eq!(along(&trails, "job"), ["job"]);
        trails.remember(&key("job"), &[key("server"), key("storage")]);
        trails.remember(&key("server"), &[key("ssh key"), key("job")]);
        assert_eq!(along(&trails, "job"), ["job", "server", "storage", "ssh key"], "each once, in circles too");
        trails.remember(&key("job"), &[key("storage")]);
        assert_eq!(along(&trails, "job"), ["job", "storage"], "the last time counts");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let trails = Trails::default();
        for number in 0..MAX_TRAILS + 10 {
            trails.remember(&key(&number.to_string()), &[key("x")]);
        }
        assert!(trails.0.lock().unwrap().len() <= MAX_TRAILS);
    }
}
