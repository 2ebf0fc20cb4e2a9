//! The data folder: who has it open, its keys, the first token.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use holdfast_shared::domain::sealed::Secret;
use rustix::fs::{FlockOperation, flock};

use crate::key_file::{self, Keys};
use crate::running::Running;

/// What files that are being written are called until they are whole.
const UNFINISHED: &str = ".holdfast-";
/// Where a running installation says where its services are.
const RUNNING: &str = "endpoints";

/// Why the data folder cannot be used. Display says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process has it open.
    #[error("{} is in use by another holdfast; stop that one first, or name another folder with --data", .0.display())]
    InUse(PathBuf),
    /// It holds something else than Holdfast's data.
    #[error("{} is not empty and holds no holdfast data (no file `key`); name a new or empty folder", .0.display())]
    NotOurs(PathBuf),
    /// The key file is damaged.
    #[error("{} cannot be understood; put back the copy that you kept of it", .0.display())]
    Key(PathBuf),
    /// It cannot be read or written.
    #[error("{} cannot be used: {source}", .path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// An open data folder; nobody else opens it until this is dropped.
#[derive(Debug)]
pub struct Data {
    dir: PathBuf,
    keys: Keys,
    _lock: File,
}

impl Data {
    /// Opens `dir` for this process alone; makes it and its keys where they are missing. Only its owner can enter it.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let unusable = |source| DataError::Unusable { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
        let dir = fs::canonicalize(dir).map_err(unusable)?;
        let is_new = !Self::is_at(&dir);
        if is_new && holds_other_things(&dir).map_err(unusable)? {
            return Err(DataError::NotOurs(dir));
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(unusable)?;
        let lock = lock(&dir)?;
        // One that was killed could not take back what it said.
        remove(&dir.join(RUNNING))?;
        if !Self::is_at(&dir) {
            Keys::create(&dir)?;
        }
        let keys = Keys::read(&dir)?;
        Ok(Self { dir, keys, _lock: lock })
    }

    /// The folder, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `DATA/key` held when it was opened.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where the first token is.
    pub fn token_path(&self) -> PathBuf {
        self.dir.join("token")
    }

    /// The first token; `None` until the first start is complete.
    pub fn token(&self) -> Result<Option<Secret>, DataError> {
        let path = self.token_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Secret::new(text.trim()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataError::Unusable { path, source }),
        }
    }

    /// Keeps the first token; whole or not at all, readable by the owner only.
    pub fn keep_token(&self, token: &Secret) -> Result<(), DataError> {
        write_whole(&self.dir, "token", format!("{}\n", token.expose()).as_bytes())
    }

    /// Whether there is an installation in a folder.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(key_file::NAME).exists()
    }

    /// Whether a process has the folder open.
    pub fn is_in_use(dir: &Path) -> Result<bool, DataError> {
        match lock(dir) {
            Ok(_) => Ok(false),
            Err(DataError::InUse(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Says where the services are, for commands beside this process.
    pub fn announce(&self, running: &Running) -> Result<(), DataError> {
        announce(&self.dir, running)
    }

    /// Takes that back.
    pub fn withdraw(&self) -> Result<(), DataError> {
        remove(&self.dir.join(RUNNING))
    }

    /// Where the services of the process are that has `dir` open; `None` while it does not say.
    pub fn running(dir: &Path) -> Result<Option<Running>, DataError> {
        let path = dir.join(RUNNING);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataError::Unusable { path, source }),
        }
    }

    /// Makes a folder below this one, if it is not there, and answers where it is.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, DataError> {
        let path = self.dir.join(name);
        match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(DataError::Unusable { path, source }),
        }
    }
}

/// Whether anything is there that a first start, broken off at any point, does not leave behind.
fn holds_other_things(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name != "lock" && !name.starts_with(UNFINISHED) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(dir: &Path) -> Result<File, DataError> {
    let path = dir.join("lock");
    let unusable = |source| DataError::Unusable { path: path.clone(), source };
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = options.map_err(unusable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataError::InUse(dir.to_owned())),
        Err(error) => Err(unusable(error.into())),
    }
}

fn remove(path: &Path) -> Result<(), DataError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DataError::Unusable { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Says where the services of the process are that has `dir` open.
pub(crate) fn announce(dir: &Path, running: &Running) -> Result<(), DataError> {
    let unusable = |source: serde_json::Error| DataError::Unusable { path: dir.join(RUNNING), source: source.into() };
    write_whole(dir, RUNNING, &serde_json::to_vec_pretty(running).map_err(unusable)?)
}

/// Writes a file of mode 0600 that is there whole and on disk, or not at all.
pub(crate) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DataError> {
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(dir.join(name))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| DataError::Unusable { path: dir.join(name), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        let first = Data::open(&dir).unwrap();
        assert_eq!((mode(&dir), mode(&dir.join("key"))), (0o700, 0o600));
        let (account, key) = (first.keys().account.clone(), first.keys().access_key.clone());
        assert!(first.token().unwrap().is_none());
        first.keep_token(&Secret::new("hfst_x")).unwrap();
        assert_eq!(mode(&first.token_path()), 0o600);
        drop(first);
        let second = Data::open(&dir).unwrap();
        assert_eq!((&second.keys().account, &second.keys().access_key), (&account, &key));
        assert_eq!(second.token().unwrap().unwrap().expose(), "hfst_x");
    }

    #[test]
    fn a_folder_is_open_once() {
        let home = tempfile::tempdir().unwrap();
        let first = Data::open(home.path()).unwrap();
        assert!(matches!(Data::open(home.path()), Err(DataError::InUse(_))));
        drop(first);
        Data::open(home.path()).unwrap();
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(home.path().join("letter.txt"), "dear").unwrap();
        assert!(matches!(Data::open(home.path()), Err(DataError::NotOurs(_))));
        assert_eq!(mode(home.path()), 0o755);
    }

    #[test]
    fn a_first_start_that_was_broken_off_goes_on() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("lock"), "").unwrap();
        fs::write(home.path().join(".holdfast-x1"), "{").unwrap();
        Data::open(home.path()).unwrap();
    }

    #[test]
    fn a_damaged_key_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("key"), "{}").unwrap();
        let error = Data::open(home.path()).unwrap_err().to_string();
        assert!(error.contains("key cannot be understood"), "{error}");
    }
}
