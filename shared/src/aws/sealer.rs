//! Seals secrets: AES-256-GCM under keys derived from the installation's master keys, bound to their context.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::account::AccountId;
use crate::domain::sealed::{Sealed, Secret};
use crate::domain::sealing_key::{SealingKey, SealingKeys};
use crate::error::{Error, Result};

/// Seals and opens secrets. A sealed text opens only with the same key, account and name. It begins with the number of
/// its key, so that keys can be changed: the newest one seals, and all of them open.
#[derive(Debug)]
pub struct Sealer(RwLock<Arc<Ring>>);

/// The keys of one moment, the newest first.
#[derive(Debug)]
struct Ring {
    masters: SealingKeys,
    keys: Vec<(u32, RandomizedNonceKey)>,
}

impl Ring {
    fn of(masters: SealingKeys) -> Result<Arc<Self>> {
        let keys = masters.iter().map(|(number, master)| Ok((number, sealing_key(master)?))).collect::<Result<_>>()?;
        Ok(Arc::new(Self { masters, keys }))
    }

    fn newest(&self) -> Result<&(u32, RandomizedNonceKey)> {
        self.keys.first().ok_or_else(|| Error::internal("there is no sealing key"))
    }

    fn key(&self, number: u32) -> Result<&RandomizedNonceKey> {
        let found = self.keys.iter().find(|(own, _)| *own == number);
        found.map(|(_, key)| key).ok_or_else(|| Error::internal(format!("there is no sealing key {number}")))
    }
}

impl Sealer {
    /// A sealer under keys derived from the master keys, which themselves encrypt nothing.
    pub fn new(masters: SealingKeys) -> Result<Self> {
        Ok(Self(RwLock::new(Ring::of(masters)?)))
    }

    /// Goes on with these master keys instead. What is under way ends with those that it began with.
    pub fn replace(&self, masters: SealingKeys) -> Result<()> {
        let ring = Ring::of(masters)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    /// The numbers of its keys, the newest first.
    pub fn numbers(&self) -> Vec<u32> {
        self.ring().masters.numbers()
    }

    /// A key for one purpose from each master key, the newest first.
    pub(crate) fn derived(&self, purpose: &[u8]) -> Result<Vec<Zeroizing<[u8; 32]>>> {
        self.ring().masters.iter().map(|(_, master)| derive(master, purpose)).collect()
    }

    fn ring(&self) -> Arc<Ring> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seals a secret for the record that `name` names, such as `ssh_key/7`: it opens nowhere else.
    pub fn seal(&self, account: &AccountId, name: &str, secret: &Secret) -> Result<Sealed> {
        let ring = self.ring();
        let (number, key) = ring.newest()?;
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
        let ring = self.ring();
        let key = ring.key(number)?;
        let whole = STANDARD.decode(text).map_err(Error::internal)?;
        let (nonce, bytes) = whole.split_at_checked(NONCE_LEN).ok_or_else(|| Error::internal("sealed text is cut"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(Error::internal)?;
        let mut bytes = Zeroizing::new(bytes.to_vec());
        let aad = Aad::from(context(account, name));
        let plain = key.open_in_place(nonce, aad, &mut bytes).map_err(Error::internal)?;
        let text = std::str::from_utf8(plain).map_err(Error::internal)?;
        Ok(Secret::new(text))
    }

    /// What was sealed under an older key, sealed under the newest; `None` where it is already.
    pub fn renew(&self, account: &AccountId, name: &str, sealed: &Sealed) -> Result<Option<Sealed>> {
        let newest = self.ring().newest()?.0;
        if number_of(sealed) == Some(newest) {
            return Ok(None);
        }
        self.seal(account, name, &self.open(account, name, sealed)?).map(Some)
    }
}

/// The number of the key that sealed it.
pub(crate) fn number_of(sealed: &Sealed) -> Option<u32> {
    numbered(sealed).map(|(number, _)| number)
}

fn sealing_key(master: &SealingKey) -> Result<RandomizedNonceKey> {
    let derived = derive(master, b"holdfast sealing v1")?;
    RandomizedNonceKey::new(&AES_256_GCM, &*derived).map_err(Error::internal)
}

/// The number of the key, and what it sealed in base64.
fn numbered(sealed: &Sealed) -> Option<(u32, &str)> {
    let (number, text) = sealed.0.split_once('.')?;
    Some((number.parse().ok()?, text))
}

/// Derives a key for one purpose from the master key (HKDF-SHA-256, RFC 5869).
pub(crate) fn derive(master: &SealingKey, purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"holdfast");
    let pseudo_random = salt.extract(&master.0);
    let info = [purpose];
    let okm = pseudo_random.expand(&info, hkdf::HKDF_SHA256).map_err(Error::internal)?;
    let mut derived = Zeroizing::new([0; 32]);
    okm.fill(&mut *derived).map_err(Error::internal)?;
    Ok(derived)
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

    fn keys(keys: &[(u32, u8)]) -> SealingKeys {
        let keys = keys.iter().map(|(number, byte)| (*number, SealingKey([*byte; 32]))).collect();
        SealingKeys::new(keys).unwrap()
    }

    fn sealer(of: &[(u32, u8)]) -> Sealer {
        Sealer::new(keys(of)).unwrap()
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
    fn keys_are_replaced_while_it_is_used() {
        let one = sealer(&[(1, 7)]);
        let sealed = one.seal(&account("a"), "x", &Secret::new("private")).unwrap();
        one.replace(keys(&[(2, 8), (1, 7)])).unwrap();
        assert_eq!(one.numbers(), [2, 1]);
        let renewed = one.renew(&account("a"), "x", &sealed).unwrap().unwrap();
        assert_eq!((number_of(&sealed), number_of(&renewed)), (Some(1), Some(2)));
        one.replace(keys(&[(2, 8)])).unwrap();
        assert_eq!(one.open(&account("a"), "x", &renewed).unwrap().expose(), "private");
        assert!(one.open(&account("a"), "x", &sealed).is_err());
    }

    #[test]
    fn what_is_derived_from_a_key_has_one_purpose() {
        let derived = |purpose: &[u8]| sealer(&[(2, 8), (1, 7)]).derived(purpose).unwrap();
        assert_eq!(derived(b"a").len(), 2);
        assert_eq!(derived(b"a"), derived(b"a"));
        assert_ne!(derived(b"a")[0], derived(b"b")[0]);
        assert_ne!(derived(b"a")[0], derived(b"a")[1]);
    }
}
