//! Encrypting: to public keys whose private halves only their owner has, in the format of age, which stock `age -d` opens.
//! <https://age-encryption.org/v1>

use std::fmt;

use age::{EncryptError, Encryptor, Recipient};
use holdfast_shared::domain::public_key::{PublicKey, PublicKeyKind};

/// Who can open what is encrypted: any of them alone.
pub struct Recipients(Vec<Box<dyn Recipient + Send + Sync>>);

impl Recipients {
    /// The owners of `keys`; `None` where there are no keys, and an error where any of them cannot be encrypted to.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Result<Option<Self>, String> {
        let recipients = keys.into_iter().map(recipient).collect::<Result<Vec<_>, _>>()?;
        Ok((!recipients.is_empty()).then_some(Self(recipients)))
    }

    /// What encrypts one stream: with a key of its own, wrapped for each recipient.
    pub fn encryptor(&self) -> Result<Encryptor, EncryptError> {
        Encryptor::with_recipients(self.0.iter().map(|one| one.as_ref() as &dyn Recipient))
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipients({})", self.0.len())
    }
}

fn recipient(key: &PublicKey) -> Result<Box<dyn Recipient + Send + Sync>, String> {
    let unusable = |why: &str| format!("the encryption key {} cannot be used: {why}", key.fingerprint);
    let ssh = |line: &str| -> Result<Box<dyn Recipient + Send + Sync>, String> {
        let read = line.parse::<age::ssh::Recipient>();
        Ok(Box::new(read.map_err(|error| unusable(&format!("{error:?}")))?))
    };
    match key.kind {
        PublicKeyKind::Age => {
            let read = key.public_key.parse::<age::x25519::Recipient>();
            Ok(Box::new(read.map_err(unusable)?))
        }
        PublicKeyKind::SshEd25519 | PublicKeyKind::SshRsa => ssh(&key.public_key),
        PublicKeyKind::RsaPem => ssh(&key.to_ssh_line().map_err(unusable)?),
    }
}
