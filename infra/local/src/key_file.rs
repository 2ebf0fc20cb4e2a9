//! `DATA/key`: the installation's keys. Without it nothing that was sealed opens again.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use aws_lc_rs::rand;
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::domain::sealing_key::{SealingKey, SealingKeys};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::data::{DataError, write_whole};

/// The file's name in the data folder.
pub(crate) const NAME: &str = "key";

/// What the file holds. Debug prints no secret.
#[derive(Debug)]
pub struct Keys {
    /// The installation's master keys.
    pub sealing: SealingKeys,
    /// The public half of the embedded services' one key pair.
    pub access_key: String,
    /// Its secret half.
    pub secret_key: Secret,
    /// The first account, named here so that a start that was broken off goes on with the same one.
    pub account: AccountId,
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    v: u32,
    /// The newest first.
    sealing_keys: Vec<NumberedKey>,
    access_key: String,
    secret_key: String,
    account: AccountId,
}

#[derive(Serialize, Deserialize)]
struct NumberedKey {
    number: u32,
    key: String,
}

impl Keys {
    /// Makes the file with new keys.
    pub(crate) fn create(dir: &Path) -> Result<(), DataError> {
        KeyFile::generate().map_err(|source| DataError::Unusable { path: dir.join(NAME), source })?.write(dir)
    }

    /// What the file in a data folder holds.
    pub fn read(dir: &Path) -> Result<Self, DataError> {
        let file = KeyFile::read(dir)?;
        let key = |numbered: &NumberedKey| Some((numbered.number, SealingKey::from_base64(&numbered.key)?));
        let sealing: Option<Vec<_>> = file.sealing_keys.iter().map(key).collect();
        Ok(Self {
            sealing: sealing.and_then(SealingKeys::new).ok_or_else(|| DataError::Key(dir.join(NAME)))?,
            access_key: file.access_key,
            secret_key: Secret::new(file.secret_key),
            account: file.account,
        })
    }

    /// Adds a sealing key, which is the newest from now on; answers its number.
    pub fn rotate(dir: &Path) -> Result<u32, DataError> {
        let unusable = |source| DataError::Unusable { path: dir.join(NAME), source };
        KeyFile::change(dir, |file| {
            let last = file.sealing_keys.iter().map(|key| key.number).max().unwrap_or_default();
            let number = last.checked_add(1).ok_or_else(|| DataError::Key(dir.join(NAME)))?;
            file.sealing_keys.insert(0, NumberedKey { number, key: random_key().map_err(unusable)?.to_base64() });
            Ok(number)
        })
    }

    /// Takes an older sealing key away: what is sealed under it never opens again.
    pub fn remove(dir: &Path, number: u32) -> Result<(), DataError> {
        KeyFile::change(dir, |file| {
            let newest = file.sealing_keys.first().map(|key| key.number);
            file.sealing_keys.retain(|key| key.number != number || Some(number) == newest);
            Ok(())
        })
    }
}

impl KeyFile {
    fn generate() -> io::Result<Self> {
        let mut random = Zeroizing::new([0; 10 + 30 + 8]);
        rand::fill(&mut *random).map_err(|_| no_random_bytes())?;
        let account = AccountId::try_from(hex::encode(&random[40..])).map_err(io::Error::other)?;
        Ok(Self {
            v: 1,
            sealing_keys: vec![NumberedKey { number: 1, key: random_key()?.to_base64() }],
            access_key: hex::encode_upper(&random[..10]),
            secret_key: hex::encode(&random[10..40]),
            account,
        })
    }

    fn read(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(NAME);
        let bytes = fs::read(&path).map_err(|source| DataError::Unusable { path: path.clone(), source })?;
        serde_json::from_slice(&Zeroizing::new(bytes)).map_err(|_| DataError::Key(path))
    }

    fn write(&self, dir: &Path) -> Result<(), DataError> {
        let unusable = |source: serde_json::Error| DataError::Unusable { path: dir.join(NAME), source: source.into() };
        write_whole(dir, NAME, &Zeroizing::new(serde_json::to_vec_pretty(self).map_err(unusable)?))
    }

    /// Changes the file; of two who change it at once, the second one sees what the first one wrote. The folder itself is
    /// what they lock: the file is another one after each change.
    fn change<T>(dir: &Path, change: impl FnOnce(&mut Self) -> Result<T, DataError>) -> Result<T, DataError> {
        let unusable = |source| DataError::Unusable { path: dir.to_owned(), source };
        let folder = File::open(dir).map_err(unusable)?;
        flock(&folder, FlockOperation::LockExclusive).map_err(|error| unusable(error.into()))?;
        let mut file = Self::read(dir)?;
        let done = change(&mut file)?;
        file.write(dir)?;
        Ok(done)
    }
}

fn random_key() -> io::Result<SealingKey> {
    let mut key = SealingKey([0; 32]);
    rand::fill(&mut key.0).map_err(|_| no_random_bytes())?;
    Ok(key)
}

fn no_random_bytes() -> io::Error {
    io::Error::other("the system gave no random bytes")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_rotation_adds_a_key_and_keeps_all_else() {
        let dir = tempfile::tempdir().unwrap();
        Keys::create(dir.path()).unwrap();
        let before = Keys::read(dir.path()).unwrap();
        assert_eq!(Keys::rotate(dir.path()).unwrap(), 2);
        let after = Keys::read(dir.path()).unwrap();
        assert_eq!(after.sealing.numbers(), [2, 1]);
        assert_eq!((&after.account, &after.access_key), (&before.account, &before.access_key));
        assert_eq!(after.secret_key, before.secret_key);
        let [new, old]: [_; 2] = after.sealing.iter().map(|(_, key)| key.0).collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(Some(old), before.sealing.iter().next().map(|(_, key)| key.0));
        assert!(new != old && new != [0; 32]);
        assert_eq!(fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode() & 0o7777, 0o600);

        Keys::remove(dir.path(), 1).unwrap();
        assert_eq!(Keys::read(dir.path()).unwrap().sealing.numbers(), [2]);
        Keys::remove(dir.path(), 2).unwrap();
        assert_eq!(Keys::read(dir.path()).unwrap().sealing.numbers(), [2], "the newest one stays");
        assert_eq!(Keys::rotate(dir.path()).unwrap(), 3);
    }

    #[test]
    fn no_rotation_is_lost_to_another() {
        let dir = tempfile::tempdir().unwrap();
        Keys::create(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Keys::rotate(dir.path()).unwrap());
            }
        });
        assert_eq!(Keys::read(dir.path()).unwrap().sealing.numbers(), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_damaged_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "{").unwrap();
        assert!(matches!(Keys::rotate(dir.path()), Err(DataError::Key(_))));
        assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), b"{");
    }
}
