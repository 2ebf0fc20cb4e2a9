//! Compression: how the bytes of a backup are made smaller before they are encrypted and stored.

use serde::{Deserialize, Serialize};

/// A way to compress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionMethod {
    /// The bytes stay as they are.
    None,
    /// gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)): slower and larger than zstd, but unpacked everywhere.
    Gzip,
    /// Zstandard ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)).
    #[default]
    Zstd,
}

impl CompressionMethod {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];
    /// The words on the wire.
    pub const NAMES: [&str; 3] = ["none", "gzip", "zstd"];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The method that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }

    /// The highest level that it knows; of zstd the highest that needs no more memory than the worker has.
    pub fn max_level(self) -> u8 {
        match self {
            Self::None => u8::MAX,
            Self::Gzip => 9,
            Self::Zstd => 19,
        }
    }
}

/// A method with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The bytes stay as they are.
    None,
    /// gzip at a level from 1 to 9.
    Gzip(u8),
    /// zstd at a level from 1 to 19.
    Zstd(u8),
}

impl Compression {
    /// A method at a level. Level 0 compresses nothing, whatever the method; a level that is too high is the highest.
    pub fn new(method: CompressionMethod, level: u8) -> Self {
        let level = level.min(method.max_level());
        match method {
            _ if level == 0 => Self::None,
            CompressionMethod::None => Self::None,
            CompressionMethod::Gzip => Self::Gzip(level),
            CompressionMethod::Zstd => Self::Zstd(level),
        }
    }

    /// What it adds to a file's name.
    pub fn ending(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip(_) => Some("gz"),
            Self::Zstd(_) => Some("zst"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_methods() {
        assert_eq!(CompressionMethod::ALL.map(CompressionMethod::as_str), CompressionMethod::NAMES);
        for method in CompressionMethod::ALL {
            assert_eq!(CompressionMethod::parse(method.as_str()), Some(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
        assert_eq!(CompressionMethod::parse("bzip2"), None);
    }

    #[test]
    fn levels_keep_within_their_method() {
        use CompressionMethod::{Gzip, None, Zstd};
        let cases = [
            (None, 6, Compression::None),
            (Gzip, 0, Compression::None),
            (Zstd, 0, Compression::None),
            (Gzip, 12, Compression::Gzip(9)),
            (Zstd, 12, Compression::Zstd(12)),
        ];
        for (method, level, expected) in cases {
            assert_eq!(Compression::new(method, level), expected);
        }
        assert_eq!(Compression::Gzip(6).ending(), Some("gz"));
    }
}
