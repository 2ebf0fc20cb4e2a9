//! Seals secrets: AES-256-GCM under a key derived from the installation's master key, bound to its context.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::SealingKey;
use crate::domain::account::AccountId;
use crate::domain::sealed::{Sealed, Secret};
use crate::error::{Error, Result};

/// Seals and opens secrets. A sealed text opens only with the same key, account and name.
#[derive(Debug)]
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    /// A sealer under a key derived from the master key, which itself encrypts nothing.
    pub fn new(master: &SealingKey) -> Result<Self> {
        let mut derived = [0; 32];
        derive(master, b"holdfast sealing v1", &mut derived)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &derived).map_err(Error::internal)?;
        Ok(Self { key })
    }

    /// Seals a secret for the record that `name` names, such as `ssh_key/7`: it opens nowhere else.
    pub fn seal(&self, account: &AccountId, name: &str, secret: &Secret) -> Result<Sealed> {
        let mut bytes = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(context(account, name));
        let nonce = self.key.seal_in_place_append_tag(aad, &mut bytes).map_err(Error::internal)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut bytes);
        Ok(Sealed(STANDARD.encode(whole)))
    }

    /// Opens what was sealed for that account and name; an internal error if it was altered or is another's.
    pub fn open(&self, account: &AccountId, name: &str, sealed: &Sealed) -> Result<Secret> {
        let whole = STANDARD.decode(&sealed.0).map_err(Error::internal)?;
        let (nonce, bytes) = whole.split_at_checked(NONCE_LEN).ok_or_else(|| Error::internal("sealed text is cut"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(Error::internal)?;
        let mut bytes = bytes.to_vec();
        let aad = Aad::from(context(account, name));
        let plain = self.key.open_in_place(nonce, aad, &mut bytes).map_err(Error::internal)?;
        let text = std::str::from_utf8(plain).map_err(Error::internal)?;
        Ok(Secret::new(text))
    }
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

    #[test]
    fn opens_only_with_the_same_key_account_and_name() {
        let sealer = Sealer::new(&SealingKey([7; 32])).unwrap();
        let sealed = sealer.seal(&account("a"), "ssh_key/1", &Secret::new("private")).unwrap();
        assert!(!sealed.0.contains("private"));
        assert_eq!(sealer.open(&account("a"), "ssh_key/1", &sealed).unwrap().expose(), "private");
        assert!(sealer.open(&account("b"), "ssh_key/1", &sealed).is_err());
        assert!(sealer.open(&account("a"), "ssh_key/2", &sealed).is_err());
        let other = Sealer::new(&SealingKey([8; 32])).unwrap();
        assert!(other.open(&account("a"), "ssh_key/1", &sealed).is_err());
    }
}
