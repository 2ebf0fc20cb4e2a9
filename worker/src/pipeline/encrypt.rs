//! Encrypting: to public keys whose private halves only their owner has, or with a passphrase, in the format of age, which
//! stock `age -d` opens. <https://age-encryption.org/v1>

use std::fmt;
use std::iter::once;
use std::sync::{Mutex, PoisonError};

use age::secrecy::SecretString;
use age::{EncryptError, Encryptor, Recipient, scrypt};
use holdfast_shared::domain::public_key::{PublicKey, PublicKeyKind};
use holdfast_shared::domain::sealed::Secret;

/// How hard each guess at a passphrase is: scrypt with N = 2^17 and r = 8, which takes 128 MiB and 0.4 s. It is
/// the least that OWASP recommends; stock `age` itself takes 2^18 and opens up to 2^22.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
const WORK_FACTOR: u8 = 17;

/// Who can open what is encrypted.
pub struct Recipients(Who);

enum Who {
    /// The owners of these keys, any of them alone.
    Keys(Vec<Box<dyn Recipient + Send + Sync>>),
    /// Whoever knows it.
    Passphrase(Secret),
}

impl Recipients {
    /// The owners of `keys`; `None` where there are no keys, and an error where any of them cannot be encrypted to.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Result<Option<Self>, String> {
        let recipients = keys.into_iter().map(recipient).collect::<Result<Vec<_>, _>>()?;
        Ok((!recipients.is_empty()).then_some(Self(Who::Keys(recipients))))
    }

    /// Whoever knows the passphrase.
    pub fn knowing(passphrase: Secret) -> Self {
        Self(Who::Passphrase(passphrase))
    }

    /// What encrypts one stream: with a key of its own, wrapped for each recipient. With a passphrase it blocks for a
    /// third of a second.
    pub fn encryptor(&self) -> Result<Encryptor, EncryptError> {
        match &self.0 {
            Who::Keys(keys) => Encryptor::with_recipients(keys.iter().map(|one| one.as_ref() as &dyn Recipient)),
            Who::Passphrase(passphrase) => {
                // Runs take turns, as each needs so much memory.
                static TURN: Mutex<()> = Mutex::new(());
                let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
                let mut recipient = scrypt::Recipient::new(SecretString::from(passphrase.expose()));
                recipient.set_work_factor(WORK_FACTOR);
                Encryptor::with_recipients(once(&recipient as &dyn Recipient))
            }
        }
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Who::Keys(keys) => write!(f, "Recipients({})", keys.len()),
            Who::Passphrase(_) => f.write_str("Recipients(passphrase)"),
        }
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
