//! Part files: the bytes of objects, each file written once and never changed.
//!
//! A file counts only once a row of the catalog names it. It is on the disk (fsync of file and folder) before that row
//! is; whatever no row names is debris of a crash, and is removed when the store opens.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// The folder of part files.
#[derive(Clone)]
pub(super) struct Files(Arc<Folder>);

struct Folder {
    path: PathBuf,
    handle: File,
    readers: Mutex<Readers>,
}

/// Files that downloads are reading. A file deleted meanwhile goes when its last reader is done, as on S3.
#[derive(Default)]
struct Readers {
    counts: HashMap<String, usize>,
    doomed: HashSet<String>,
}

impl Files {
    /// Opens the folder, making it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let handle = File::open(path)?;
        Ok(Self(Arc::new(Folder { path: path.to_owned(), handle, readers: Mutex::default() })))
    }

    /// Starts a new file; nothing of it stays unless [`Draft::keep`] is called.
    pub(super) fn create(&self) -> io::Result<Draft> {
        let name = Uuid::new_v4().simple().to_string();
        let file = OpenOptions::new().write(true).create_new(true).open(self.0.path.join(&name))?;
        Ok(Draft { files: self.clone(), file, name, kept: false })
    }

    /// Opens a file for reading.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        File::open(self.0.path.join(name))
    }

    /// Keeps these files readable until the pin is dropped, whatever is deleted meanwhile. Call it inside the
    /// transaction that read their names: afterwards they may be gone.
    pub(super) fn pin(&self, names: Vec<String>) -> Pin {
        let mut readers = self.readers();
        for name in &names {
            *readers.counts.entry(name.clone()).or_default() += 1;
        }
        drop(readers);
        Pin { files: self.clone(), names }
    }

    /// Removes files that no row names any more. What cannot be removed now is left to the next opening.
    pub(super) fn discard(&self, names: Vec<String>) {
        for name in names {
            let mut readers = self.readers();
            if readers.counts.contains_key(&name) {
                readers.doomed.insert(name);
                continue;
            }
            drop(readers);
            self.remove(&name);
        }
    }

    /// Removes every file that is not in `named`; answers how many there were.
    pub(super) fn sweep(&self, named: &HashSet<String>) -> io::Result<usize> {
        let mut swept = 0;
        for entry in fs::read_dir(&self.0.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_none_or(|name| !named.contains(name)) {
                fs::remove_file(entry.path())?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.0.path.join(name)) {
            tracing::warn!(file = name, %error, "a part file could not be removed; the next start will try again");
        }
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.0.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file being written. Dropping it removes it.
pub(super) struct Draft {
    files: Files,
    file: File,
    name: String,
    kept: bool,
}

impl Draft {
    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Returns once the file and its name are on the disk.
    pub(super) fn seal(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.files.0.handle.sync_all()
    }

    /// The name by which the catalog knows the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Lets the file stay. Call it once the row that names it is committed.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            self.files.remove(&self.name);
        }
    }
}

/// Files held readable; see [`Files::pin`].
pub(super) struct Pin {
    files: Files,
    names: Vec<String>,
}

impl Pin {
    /// Opens one of the pinned files.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        self.files.read(name)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut readers = self.files.readers();
        for name in &self.names {
            let Some(count) = readers.counts.get_mut(name) else { continue };
            *count -= 1;
            if *count == 0 {
                readers.counts.remove(name);
                if readers.doomed.remove(name) {
                    self.files.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn only_a_kept_draft_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        drop(files.create().unwrap());
        let mut draft = files.create().unwrap();
        draft.write(b"bytes").unwrap();
        draft.seal().unwrap();
        let name = draft.name().to_owned();
        draft.keep();
        assert_eq!(names(dir.path()), [name]);
    }

    #[test]
    fn a_discarded_file_lives_as_long_as_its_readers() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let mut draft = files.create().unwrap();
        draft.write(b"bytes").unwrap();
        let name = draft.name().to_owned();
        draft.keep();

        let first = files.pin(vec![name.clone()]);
        let second = files.pin(vec![name.clone()]);
        files.discard(vec![name.clone()]);
        drop(first);
        let mut text = String::new();
        second.read(&name).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "bytes");
        drop(second);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn the_sweep_spares_what_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        fs::write(dir.path().join("named"), "").unwrap();
        fs::write(dir.path().join("orphan"), "").unwrap();
        assert_eq!(files.sweep(&HashSet::from(["named".to_owned()])).unwrap(), 1);
        assert_eq!(names(dir.path()), ["named"]);
    }
}
