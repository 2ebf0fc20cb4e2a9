//! The installation's master keys: as they are stored, some of them encrypted by KMS, and as they are used.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What stands before a stored key that KMS encrypted.
const KMS: &str = "kms:";

/// One master key. Debug prints nothing of it.
#[derive(Clone)]
pub struct SealingKey(pub [u8; 32]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

impl Drop for SealingKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl SealingKey {
    /// Reads 32 bytes in base64; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// The key in base64. It is a secret.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

/// Numbered master keys in the open, the newest first: that one seals, all of them open.
#[derive(Debug, Clone)]
pub struct SealingKeys(Vec<(u32, SealingKey)>);

impl SealingKeys {
    /// These keys; `None` when there is none, or two have one number.
    pub fn new(keys: Vec<(u32, SealingKey)>) -> Option<Self> {
        are_numbered(&keys).then_some(Self(keys))
    }

    /// All of them with their numbers, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &SealingKey)> {
        self.0.iter().map(|(number, key)| (*number, key))
    }

    /// Their numbers, the newest first.
    pub fn numbers(&self) -> Vec<u32> {
        self.0.iter().map(|(number, _)| *number).collect()
    }
}

/// A master key as it is stored.
#[derive(Clone)]
pub enum StoredKey {
    /// In the open, on one's own machine.
    Plain(SealingKey),
    /// What KMS made of it, to be decrypted by KMS.
    Kms(Vec<u8>),
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(…)",
            Self::Kms(_) => "Kms(…)",
        })
    }
}

impl StoredKey {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(KMS) {
            Some(blob) => STANDARD.decode(blob).ok().filter(|blob| !blob.is_empty()).map(Self::Kms),
            None => SealingKey::from_base64(text).map(Self::Plain),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Plain(key) => key.to_base64(),
            Self::Kms(blob) => format!("{KMS}{}", STANDARD.encode(blob)),
        }
    }
}

/// Numbered master keys as they are stored, the newest first. As text `3:kms:BASE64,2:BASE64`, each with the number that
/// what it sealed begins with. Debug prints nothing of them.
#[derive(Debug, Clone)]
pub struct StoredKeys(Vec<(u32, StoredKey)>);

impl StoredKeys {
    /// Reads them as [`StoredKeys::to_text`] writes them; `None` for anything else, for none, and for two of one number.
    pub fn parse(text: &str) -> Option<Self> {
        let key = |part: &str| {
            let (number, key) = part.trim().split_once(':')?;
            Some((number.parse().ok()?, StoredKey::parse(key)?))
        };
        let keys: Vec<_> = text.split(',').map(key).collect::<Option<_>>()?;
        are_numbered(&keys).then_some(Self(keys))
    }

    /// The keys as text. It is a secret.
    pub fn to_text(&self) -> String {
        let parts: Vec<_> = self.0.iter().map(|(number, key)| format!("{number}:{}", key.to_text())).collect();
        parts.join(",")
    }

    /// All of them with their numbers, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &StoredKey)> {
        self.0.iter().map(|(number, key)| (*number, key))
    }
}

impl From<SealingKeys> for StoredKeys {
    fn from(keys: SealingKeys) -> Self {
        Self(keys.0.into_iter().map(|(number, key)| (number, StoredKey::Plain(key))).collect())
    }
}

/// Whether there is a key, and no two have one number.
fn are_numbered<T>(keys: &[(u32, T)]) -> bool {
    let numbers: BTreeSet<_> = keys.iter().map(|(number, _)| *number).collect();
    !keys.is_empty() && numbers.len() == keys.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_text() {
        let key = SealingKey([7; 32]).to_base64();
        let text = format!("3:kms:AQID,2:{key},1:{key}");
        let keys = StoredKeys::parse(&text).unwrap();
        assert_eq!(keys.to_text(), text);
        assert_eq!(keys.iter().map(|(number, _)| number).collect::<Vec<_>>(), [3, 2, 1]);
        assert!(matches!(keys.iter().next(), Some((3, StoredKey::Kms(blob))) if blob == &[1, 2, 3]));
        let wrong = ["", &key, "1:x", "1:kms:", "1:kms:?", "kms:AQID", &format!("a:{key}"), &format!("1:KMS:{key}")];
        for text in wrong {
            assert!(StoredKeys::parse(text).is_none(), "{text}");
        }
        assert!(StoredKeys::parse(&format!("1:{key},1:kms:AQID")).is_none());
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let key = SealingKey([0xAB; 32]);
        let keys = StoredKeys::parse(&format!("2:kms:q6ur,1:{}", key.to_base64())).unwrap();
        let plain = SealingKeys::new(vec![(1, key)]).unwrap();
        for printed in [format!("{keys:?}"), format!("{plain:?}")] {
            assert!(!printed.contains("171") && !printed.contains("q6ur"), "{printed}");
        }
    }
}
