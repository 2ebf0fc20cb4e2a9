//! Digests that a server tells of its answer: each that we can compute has to fit.
//!
//! `Content-Digest` and `Repr-Digest` ([RFC 9530](https://www.rfc-editor.org/rfc/rfc9530)), `Digest` (RFC 3230, before it)
//! and `Content-MD5` (RFC 1864). All of them are of the bytes as they are sent, with their content coding, which is what is
//! stored; so of a whole answer they all are of the same.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use md5::{Digest, Md5};

use crate::recipe::SourceError;

/// What is being computed, each with what it has to be in the end.
#[derive(Default)]
pub(super) struct Digests(Vec<(Hash, Vec<u8>)>);

enum Hash {
    Sha256(Context),
    Sha512(Context),
    Md5(Md5),
}

impl Hash {
    /// By its name in any of the headers; `None` for one that we do not compute.
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "sha-256" => Some(Self::Sha256(Context::new(&SHA256))),
            "sha-512" => Some(Self::Sha512(Context::new(&SHA512))),
            "md5" => Some(Self::Md5(Md5::new())),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Sha512(_) => "SHA-512",
            Self::Md5(_) => "MD5",
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(context) | Self::Sha512(context) => context.update(bytes),
            Self::Md5(context) => context.update(bytes),
        }
    }

    fn is(&self, told: &[u8]) -> bool {
        match self {
            Self::Sha256(context) | Self::Sha512(context) => context.clone().finish().as_ref() == told,
            Self::Md5(context) => context.clone().finalize()[..] == *told,
        }
    }
}

impl Digests {
    /// Those that the headers of a whole answer tell; an error where one cannot be read.
    pub(super) fn told_by(headers: &HeaderMap) -> Result<Self, SourceError> {
        let mut digests = Self::default();
        for header in ["content-digest", "repr-digest", "digest"] {
            for line in headers.get_all(header) {
                let unreadable = || SourceError::Broken(format!("the server's {header} cannot be read"));
                for entry in line.to_str().map_err(|_| unreadable())?.split(',') {
                    let (name, value) = entry.split_once('=').ok_or_else(unreadable)?;
                    let value = value.trim().trim_matches(':');
                    digests.add(name.trim(), value).ok_or_else(unreadable)?;
                }
            }
        }
        for line in headers.get_all("content-md5") {
            let added = line.to_str().ok().and_then(|value| digests.add("md5", value.trim()));
            added.ok_or_else(|| SourceError::Broken("the server's content-md5 cannot be read".to_owned()))?;
        }
        Ok(digests)
    }

    /// `None` where the value is no base64; a name that we do not compute is passed over.
    fn add(&mut self, name: &str, value: &str) -> Option<()> {
        if let Some(hash) = Hash::named(name) {
            self.0.push((hash, STANDARD.decode(value).ok()?));
        }
        Some(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|(hash, _)| hash.update(bytes));
    }

    /// Whether all of them fit; the error names the first that does not.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.0.iter().find(|(hash, told)| !hash.is(told)) {
            None => Ok(()),
            Some((hash, _)) => Err(format!("what came does not have the {} that the server told", hash.name())),
        }
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(hash, _)| hash.name())).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    // `printf hello | openssl dgst -sha256 -binary | base64`, and so on.
    const SHA256_OF_HELLO: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    const SHA512_OF_HELLO: &str =
        "m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==";
    const MD5_OF_HELLO: &str = "XUFAKrxLKna5cZ2REBfFkg==";

    fn told(header: &str, value: &str) -> Result<Digests, SourceError> {
        let mut headers = HeaderMap::new();
        headers.insert(header.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        Digests::told_by(&headers)
    }

    #[test]
    fn every_header_is_honoured() {
        let cases = [
            ("repr-digest", format!("sha-256=:{SHA256_OF_HELLO}:"), 1),
            ("content-digest", format!("sha-512=:{SHA512_OF_HELLO}:, sha-256=:{SHA256_OF_HELLO}:"), 2),
            ("digest", format!("SHA-256={SHA256_OF_HELLO},unixsum=30637"), 1),
            ("digest", format!("md5={MD5_OF_HELLO}"), 1),
            ("content-md5", MD5_OF_HELLO.to_owned(), 1),
            ("digest", "crc32c=AAAAAA==".to_owned(), 0),
        ];
        for (header, value, count) in cases {
            let mut right = told(header, &value).unwrap();
            assert_eq!(right.0.len(), count, "{header}: {value}");
            right.update(b"hel");
            right.update(b"lo");
            assert_eq!(right.check(), Ok(()), "{header}: {value}");
            let mut wrong = told(header, &value).unwrap();
            wrong.update(b"hullo");
            assert_eq!(wrong.check().is_err(), count > 0, "{header}: {value}");
        }
    }

    #[test]
    fn one_that_cannot_be_read_is_no_digest_to_pass_over() {
        for (header, value) in [("digest", "sha-256"), ("repr-digest", "sha-256=:%%:"), ("content-md5", "x")] {
            assert!(matches!(told(header, value), Err(SourceError::Broken(_))), "{header}: {value}");
        }
    }
}
