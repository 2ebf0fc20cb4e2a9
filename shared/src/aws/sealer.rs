//! Seals secrets: AES-256-GCM under keys derived from the installation's master keys, bound to their context.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{SealingKey, SealingKeys};
use crate::domain::account::AccountId;
use crate::domain::sealed::{Sealed, Secret};
use crate::error::{Error, Result};

/// Seals and opens secrets. A sealed text opens only with the same key, account and name. It begins with the number of
/// its key, so that keys can be changed: the newest one seals, and all of them open.
#[derive(Debug)]
pub struct Sealer {
    newest: (u32, RandomizedNonceKey),
    older: Vec<(u32, RandomizedNonceKey)>,
}

impl Sealer {
    /// A sealer under keys derived from the master keys, which themselves encrypt nothing.
    pub fn new(masters: &SealingKeys) -> Result<Self> {
        let mut keys = masters.iter().map(|(number, master)| Ok((number, sealing_key(master)?)));
        let newest = keys.next().ok_or_else(|| Error::internal("there is no sealing key"))??;
        Ok(Self { newest, older: keys.collect::<Result<_>>()? })
    }

    /// Seals a secret for the record that `name` names, such as `ssh_key/7`: it opens nowhere else.
    pub fn seal(&self, account: &AccountId, name: &str, secret: &Secret) -> Result<Sealed> {
        let (number, key) = &self.newest;
        let mut bytes = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(context(account, name));
        let nonce = key.seal_in_place_append_tag(aad, &mut bytes).map_err(Error::internal)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut bytes);
        Ok(Sealed(format!("{number}.{}", STANDARD.encode(whole))))
    }

    /// Opens what was sealed for that account and name; an internal error if it was altered, is another's, or was
    /// sealed under a key that is not there.
    pub fn open(&self, account: &AccountId, name: &str, sealed: &Sealed) -> Result<Secret> {
        let (number, text) = numbered(sealed).ok_or_else(|| Error::internal("sealed text names no key"))?;
        let key = self.key(number).ok_or_else(|| Error::internal(format!("there is no sealing key {number}")))?;
        let whole = STANDARD.decode(text).map_err(Error::internal)?;
        let (nonce, bytes) = whole.split_at_checked(NONCE_LEN).ok_or_else(|| Error::internal("sealed text is cut"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(Error::internal)?;
        let mut bytes = bytes.to_vec();
        let aad = Aad::from(context(account, name));
        let plain = key.open_in_place(nonce, aad, &mut bytes).map_err(Error::internal)?;
        let text = std::str::from_utf8(plain).map_err(Error::internal)?;
        Ok(Secret::new(text))
    }

    /// What was sealed under an older key, sealed under the newest; `None` where it is already.
    pub fn renew(&self, account: &AccountId, name: &str, sealed: &Sealed) -> Result<Option<Sealed>> {
        if numbered(sealed).is_some_and(|(number, _)| number == self.newest.0) {
            return Ok(None);
        }
        self.seal(account, name, &self.open(account, name, sealed)?).map(Some)
    }

    fn key(&self, number: u32) -> Option<&RandomizedNonceKey> {
        let mut all = std::iter::once(&self.newest).chain(&self.older);
        all.find(|(own, _)| *own == number).map(|(_, key)| key)
    }
}

fn sealing_key(master: &SealingKey) -> Result<RandomizedNonceKey> {
    let mut derived = [0; 32];
    derive(master, b"holdfast sealing v1", &mut derived)?;
    RandomizedNonceKey::new(&AES_256_GCM, &derived).map_err(Error::internal)
}

/// The number of the key, and what it sealed in base64.
fn numbered(sealed: &Sealed) -> Option<(u32, &str)> {
    let (number, text) = sealed.0.split_once('.')?;
    Some((number.parse().ok()?, text))
}

/// Derives a key for one purpose from the master key (HKDF-SHA-256, RFC 5869).
pub(crate) fn derive(master: &SealingKey, purpose: &[u8], derived: &mut [u8; 32]) -> Result<()> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"holdfast");
    let pseudo_random = salt.extract(&master.0);
    let info = [purpose];
    let okm = pseudo_random.expand(&info, hkdf::HKDF_SHA256).map_err(Error::internal)?;
    okm.fill(derived).map_err(Error::internal)
}

fn context(account: &AccountId, name: &str) -> Vec<u8> {
    format!("{account}/{name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str) -> AccountId {
        AccountId::parse(id).unwrap()
    }

    fn sealer(keys: &[(u32, u8)]) -> Sealer {
        let keys = keys.iter().map(|(number, byte)| (*number, SealingKey([*byte; 32]))).collect();
        Sealer::new(&SealingKeys::new(keys).unwrap()).unwrap()
    }

    #[test]
    fn opens_only_with_the_same_key_account_and_name() {
        let own = sealer(&[(1, 7)]);
        let sealed = own.seal(&account("a"), "ssh_key/1", &Secret::new("private")).unwrap();
        assert!(!sealed.0.contains("private"));
        assert_eq!(own.open(&account("a"), "ssh_key/1", &sealed).unwrap().expose(), "private");
        assert!(own.open(&account("b"), "ssh_key/1", &sealed).is_err());
        assert!(own.open(&account("a"), "ssh_key/2", &sealed).is_err());
        assert!(sealer(&[(1, 8)]).open(&account("a"), "ssh_key/1", &sealed).is_err());
    }

    #[test]
    fn a_new_key_seals_and_old_ones_open() {
        let sealed = sealer(&[(1, 7)]).seal(&account("a"), "x", &Secret::new("private")).unwrap();
        let rotated = sealer(&[(2, 8), (1, 7)]);
        assert_eq!(rotated.open(&account("a"), "x", &sealed).unwrap().expose(), "private");
        let renewed = rotated.renew(&account("a"), "x", &sealed).unwrap().unwrap();
        assert_eq!(rotated.renew(&account("a"), "x", &renewed).unwrap(), None);
        let without_old = sealer(&[(2, 8)]);
        assert_eq!(without_old.open(&account("a"), "x", &renewed).unwrap().expose(), "private");
        assert!(without_old.open(&account("a"), "x", &sealed).is_err());
        assert!(rotated.renew(&account("b"), "x", &sealed).is_err());
    }

    #[test]
    fn keys_are_numbered_text() {
        let key = SealingKey([7; 32]).to_base64();
        let keys = SealingKeys::parse(&format!("2:{key},1:{key}")).unwrap();
        assert_eq!(keys.to_text(), format!("2:{key},1:{key}"));
        assert_eq!(keys.iter().map(|(number, _)| number).collect::<Vec<_>>(), [2, 1]);
        for text in ["", &key, &format!("1:{key},1:{key}"), "1:x", &format!("a:{key}")] {
            assert!(SealingKeys::parse(text).is_none(), "{text}");
        }
    }
}
