//! The host key that a server must show, and the forms in which an owner gives one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a host key came to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKeySource {
    /// Given by the owner when the server was made or changed.
    Given,
    /// Pinned from the first connection.
    FirstUse,
    /// Accepted by the owner after it changed.
    Accepted,
}

/// The host key that a server must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `ALGORITHM BASE64`, the key itself; absent while only its fingerprint is known.
    #[serde(default)]
    pub public_key: Option<String>,
    /// How it came to be trusted.
    pub source: HostKeySource,
    /// When it was pinned.
    pub pinned_at: Timestamp,
}

/// Algorithms of host keys that are read; certificates are not.
const ALGORITHMS: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

const FORMS: &str = "must be a known_hosts line (HOST ALGORITHM BASE64) or a fingerprint (SHA256:…), as ssh-keyscan and \
                     ssh-keygen -l print them";

impl HostKey {
    /// Reads a `known_hosts` line, the same without its hosts, or a `SHA256:` fingerprint. What the hosts of a line say
    /// is passed over: the key is for this server because its owner says so.
    pub fn parse(text: &str, source: HostKeySource, pinned_at: Timestamp) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.contains(['\n', '\r', '\0']) {
            return Err("must be a single line");
        }
        if let Some(hash) = text.strip_prefix("SHA256:") {
            let hash = STANDARD_NO_PAD.decode(hash.trim_end_matches('=')).map_err(|_| FORMS)?;
            let hash: [u8; 32] = hash.try_into().map_err(|_| FORMS)?;
            return Ok(Self { fingerprint: fingerprint(&hash), public_key: None, source, pinned_at });
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let place = words.iter().take(2).position(|word| ALGORITHMS.contains(word)).ok_or(FORMS)?;
        let (algorithm, encoded) = (words[place], words.get(place + 1).ok_or(FORMS)?);
        let blob = STANDARD.decode(encoded).map_err(|_| FORMS)?;
        if algorithm_of(&blob) != Some(algorithm.as_bytes()) {
            return Err("holds a key that was cut off, or of another algorithm than it says");
        }
        let fingerprint = fingerprint(digest(&SHA256, &blob).as_ref());
        Ok(Self { fingerprint, public_key: Some(format!("{algorithm} {encoded}")), source, pinned_at })
    }
}

fn fingerprint(hash: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(hash))
}

/// A key's bytes are strings behind their lengths, to the last byte; the first names the algorithm (RFC 4253 section 6.6).
/// `None` for what was cut off or holds nothing but the name.
fn algorithm_of(blob: &[u8]) -> Option<&[u8]> {
    let (algorithm, mut rest) = split_string(blob)?;
    let mut more = 0;
    while !rest.is_empty() {
        (_, rest) = split_string(rest)?;
        more += 1;
    }
    (more > 0).then_some(algorithm)
}

fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by `ssh-keygen -t ed25519` and `ssh-keygen -lf`.
    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINppOInPCElIWRWF6xIAgN1EUtA3tg9zAkN/UykgsdYW";
    const FINGERPRINT: &str = "SHA256:jCqC5VQl2yLgLgcFs7UzoqVisSiuEleFs0EvMvsUHn0";

    fn parse(text: &str) -> Result<HostKey, &'static str> {
        HostKey::parse(text, HostKeySource::Given, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn reads_lines_and_fingerprints() {
        let lines = [
            format!("ssh-ed25519 {KEY}"),
            format!("ssh-ed25519 {KEY} a comment"),
            format!("10.0.0.1 ssh-ed25519 {KEY}"),
            format!("[host]:2222,10.0.0.1 ssh-ed25519 {KEY} root@host\n"),
            format!("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 {KEY}"),
        ];
        for line in lines {
            let key = parse(&line).unwrap();
            assert_eq!(key.fingerprint, FINGERPRINT, "{line}");
            assert_eq!(key.public_key, Some(format!("ssh-ed25519 {KEY}")), "{line}");
        }
        let key = parse(FINGERPRINT).unwrap();
        assert_eq!((key.fingerprint.as_str(), key.public_key), (FINGERPRINT, None));
    }

    #[test]
    fn refuses_the_rest() {
        let short = &KEY[..20];
        let cases = [
            String::new(),
            "SHA256:".to_owned(),
            "SHA256:AAAA".to_owned(),
            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48".to_owned(),
            format!("ssh-ed25519 {short}"),
            format!("ssh-ed25519 {}", &KEY[..KEY.len() - 4]),
            format!("ssh-rsa {KEY}"),
            format!("@revoked host ssh-ed25519 {KEY}"),
            format!("ssh-ed25519 {KEY}\nhost ssh-ed25519 {KEY}"),
            "ssh-ed25519".to_owned(),
        ];
        for text in cases {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}
