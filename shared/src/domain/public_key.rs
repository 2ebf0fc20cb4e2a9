//! Public keys that something can be encrypted to, in the forms in which people have them.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bech32::Bech32;
use bech32::primitives::decode::CheckedHrpstring;
use pem_rfc7468::LineEnding;
use serde::{Deserialize, Serialize};
use ssh_key::Mpint;
use ssh_key::public::{KeyData, RsaPublicKey};

/// How long a key may be as text: an RSA key of 4096 bits, twice in base64, has less than a quarter of it.
pub const MAX_PUBLIC_KEY_CHARS: usize = 8_192;

/// In which form a key came, which decides what can decrypt what it encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublicKeyKind {
    /// An X25519 recipient of age, `age1…` (<https://age-encryption.org/v1>).
    Age,
    /// An `ssh-ed25519` line.
    #[serde(rename = "ssh-ed25519")]
    SshEd25519,
    /// An `ssh-rsa` line.
    SshRsa,
    /// An RSA key in PEM, as `openssl rsa -pubout` writes it.
    RsaPem,
}

impl PublicKeyKind {
    /// The words on the wire.
    pub const NAMES: [&str; 4] = ["age", "ssh-ed25519", "ssh-rsa", "rsa-pem"];
}

/// A public key. Flat, as part of the record that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// In which form it came.
    pub kind: PublicKeyKind,
    /// The key in that form, without blanks around it; one line, but for PEM.
    pub public_key: String,
    /// `SHA256:` and base64 over what `ssh-keygen -l` hashes; for PEM the SubjectPublicKeyInfo in DER, for age the point.
    pub fingerprint: String,
}

const FORMS: &str = "must be a public key: an age recipient (age1…), an ssh-ed25519 or ssh-rsa line, or an RSA key in PEM \
                     (BEGIN PUBLIC KEY)";
const PRIVATE: &str = "is a private key, which must never be sent; nothing of it was kept. Send its public half, and make a \
                       new key pair if others could read this request";
const RSA_SIZE: &str = "must be an RSA key of 2048 to 4096 bits";
const PEM_DAMAGED: &str = "is PEM that was cut off or damaged; paste the whole block with its BEGIN and END lines";

/// What gives a private key away, in lower case: PEM of every kind, age, PuTTY, and OpenSSH's without its frame.
const PRIVATE_MARKS: [&str; 5] =
    ["private key-----", "private key block-----", "age-secret-key-", "putty-user-key-file", "b3blbnnzac1rzxktdj"];

impl PublicKey {
    /// Reads a key in one of the forms of [`PublicKeyKind`]; PEM also as base64 of the whole text, as backups print it.
    /// The error says what is wrong and holds nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let unwrapped = unwrap_base64(text);
        let text = unwrapped.as_deref().unwrap_or(text).trim();
        if is_private(text) {
            return Err(PRIVATE);
        }
        if text.len() > MAX_PUBLIC_KEY_CHARS {
            return Err("is longer than any key that is taken");
        }
        if text.starts_with("-----BEGIN ") {
            return pem(text);
        }
        if text.chars().any(char::is_control) {
            return Err("must be a single line, unless it is PEM");
        }
        if text.starts_with("age1") {
            return age(text);
        }
        ssh(text)
    }

    /// An RSA key in PEM as an `ssh-rsa` line, which is how age takes one; any other key as it is.
    pub fn to_ssh_line(&self) -> Result<String, &'static str> {
        if self.kind != PublicKeyKind::RsaPem {
            return Ok(self.public_key.clone());
        }
        let (_, der) = pem_rfc7468::decode_vec(self.public_key.as_bytes()).map_err(|_| PEM_DAMAGED)?;
        let (in_pkcs1, _) = rsa_key(&der, PEM_DAMAGED)?;
        let parts = pkcs1::RsaPublicKey::try_from(in_pkcs1.as_slice()).map_err(|_| PEM_DAMAGED)?;
        let number =
            |number: pkcs1::UintRef<'_>| Mpint::from_positive_bytes(number.as_bytes()).map_err(|_| PEM_DAMAGED);
        let key = RsaPublicKey { e: number(parts.public_exponent)?, n: number(parts.modulus)? };
        ssh_key::PublicKey::from(KeyData::Rsa(key)).to_openssh().map_err(|_| PEM_DAMAGED)
    }
}

/// The largest RSA key that can be encrypted to, bits.
const MAX_RSA_BITS: usize = 4_096;

fn is_private(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    PRIVATE_MARKS.iter().any(|mark| text.contains(mark))
}

/// What stands in base64 that holds a key as text; `None` where it is none.
fn unwrap_base64(text: &str) -> Option<String> {
    let joined: String = text.split_ascii_whitespace().collect();
    let inner = String::from_utf8(STANDARD.decode(joined).ok()?).ok()?;
    (inner.contains("-----BEGIN ") || is_private(&inner)).then_some(inner)
}

fn fingerprint(bytes: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, bytes)))
}

fn age(text: &str) -> Result<PublicKey, &'static str> {
    let damaged = "is an age recipient that was cut off or mistyped: its checksum does not match";
    let read = CheckedHrpstring::new::<Bech32>(text).map_err(|_| damaged)?;
    let point: Vec<u8> = read.byte_iter().collect();
    // Written again it is the same only if nothing hides in its last, half used character.
    let same = bech32::encode::<Bech32>(read.hrp(), &point).is_ok_and(|again| again == text);
    if read.hrp().as_str() != "age" || point.len() != 32 || !same {
        return Err("is an age recipient of a kind that is not taken; send an X25519 one, as age-keygen makes it");
    }
    Ok(PublicKey { kind: PublicKeyKind::Age, public_key: text.to_owned(), fingerprint: fingerprint(&point) })
}

fn ssh(text: &str) -> Result<PublicKey, &'static str> {
    let (kind, damaged) = match text.split(' ').next() {
        Some("ssh-ed25519") => (PublicKeyKind::SshEd25519, "is an ssh-ed25519 line that was cut off or damaged"),
        Some("ssh-rsa") => (PublicKeyKind::SshRsa, "is an ssh-rsa line that was cut off or damaged"),
        _ => return Err(FORMS),
    };
    let key = ssh_key::PublicKey::from_openssh(text).map_err(|_| damaged)?;
    match key.key_data() {
        // Not every 32 bytes are a point, so a typo shows here and not when a backup is to be encrypted.
        KeyData::Ed25519(point) => {
            let point = ed25519_dalek::VerifyingKey::from_bytes(&point.0).map_err(|_| damaged)?;
            if point.is_weak() {
                return Err(damaged);
            }
        }
        KeyData::Rsa(key) => {
            let (n, e) = (key.n.as_positive_bytes().ok_or(damaged)?, key.e.as_positive_bytes().ok_or(damaged)?);
            let parts = rsa::PublicKeyComponents { n, e };
            rsa_key(AsDer::<PublicKeyX509Der>::as_der(&parts).map_err(|_| damaged)?.as_ref(), damaged)?;
        }
        _ => return Err(damaged),
    }
    let fingerprint = key.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    Ok(PublicKey { kind, public_key: key.to_openssh().map_err(|_| damaged)?, fingerprint })
}

fn pem(text: &str) -> Result<PublicKey, &'static str> {
    let (label, der) = pem_rfc7468::decode_vec(text.as_bytes()).map_err(|_| PEM_DAMAGED)?;
    let (in_pkcs1, in_spki) = rsa_key(&der, "must hold an RSA key")?;
    let same = match label {
        "PUBLIC KEY" => in_spki == der,
        "RSA PUBLIC KEY" => in_pkcs1 == der,
        _ => return Err(FORMS),
    };
    if !same {
        return Err("holds another kind of key than its BEGIN line says");
    }
    let public_key = pem_rfc7468::encode_string(label, LineEnding::LF, &der).map_err(|_| PEM_DAMAGED)?;
    let public_key = public_key.trim_end().to_owned();
    Ok(PublicKey { kind: PublicKeyKind::RsaPem, public_key, fingerprint: fingerprint(&in_spki) })
}

/// The RSA key that stands in `der`, as RSAPublicKey and as SubjectPublicKeyInfo.
fn rsa_key(der: &[u8], damaged: &'static str) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let key = rsa::PublicKey::from_der(der).map_err(|_| damaged)?;
    let info: PublicKeyX509Der = key.as_der().map_err(|_| damaged)?;
    let usable = rsa::PublicEncryptingKey::from_der(info.as_ref()).map_err(|_| RSA_SIZE)?;
    if usable.key_size_bits() > MAX_RSA_BITS {
        return Err(RSA_SIZE);
    }
    Ok((key.as_ref().to_vec(), info.as_ref().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by age-keygen (the test vector of age's own documentation), ssh-keygen and openssl; fingerprints by
    // `ssh-keygen -lf` and `openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64`.
    const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIH6x2MQO/zX/R7RhuKPSzOYEM0uxl1yrD+BrnHsVtvtX";
    const RSA: &str = "\
        AAAAB3NzaC1yc2EAAAADAQABAAABAQDXkq8xXmphPrP4uuSFDlRspAWnP3YwW7TOBPokMZR4oTUHi5KcELfVyhneSnRplzD2VcjrQpZl\
        guEn/gUNFvtLHK42gcamNVi7NbYcdIFalyjYSKuDdYN5wGrVZ2gs0yK/Q0wMfCi/Fm7FqLx2TaYJfI+jcNDEaxoC+CVOMKSbkCIvhtuL\
        DtW6QjENPJIXOKojMApBo0HPOCchHvEvHJmew05SdIYusb36HP7HTCzIqWML0T6xyl9rt7Ru3mk1P5dV3M/G8zFgC8K50mjFlen3BYyM\
        Ksflac0R58CLJwhBLmMuBxNFOru9hPXDEY//+DZgsV9Tmmu6MuO9swbm4E+Z";
    const SMALL_RSA: &str = "\
        AAAAB3NzaC1yc2EAAAADAQABAAAAgQC23Qea09hJ+mVXQf5I/0s9SWN3l+O2TTRNhE+kx92yHqtdm7bLXIgQJO4YihQteUycdACAjWwq\
        NmDrrXYMkRlpJjZ8gu3/HptGLCoaV+JMiZeSbd95eC4hd1XkVawmDkoBNEfY5VBJPeEoxO33i8/7Et1qIVYZVWFnIbsmkcdJpQ==";
    const SPKI: &str = "\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA15KvMV5qYT6z+LrkhQ5UbKQFpz92MFu0zgT6JDGUeKE1B4uSnBC31coZ3kp0\
        aZcw9lXI60KWZYLhJ/4FDRb7SxyuNoHGpjVYuzW2HHSBWpco2Eirg3WDecBq1WdoLNMiv0NMDHwovxZuxai8dk2mCXyPo3DQxGsaAvgl\
        TjCkm5AiL4bbiw7VukIxDTySFziqIzAKQaNBzzgnIR7xLxyZnsNOUnSGLrG9+hz+x0wsyKljC9E+scpfa7e0bt5pNT+XVdzPxvMxYAvC\
        udJoxZXp9wWMjCrH5WnNEefAiycIQS5jLgcTRTq7vYT1wxGP//g2YLFfU5prujLjvbMG5uBPmQIDAQAB";
    const PKCS1: &str = "\
        MIIBCgKCAQEA15KvMV5qYT6z+LrkhQ5UbKQFpz92MFu0zgT6JDGUeKE1B4uSnBC31coZ3kp0aZcw9lXI60KWZYLhJ/4FDRb7SxyuNoHG\
        pjVYuzW2HHSBWpco2Eirg3WDecBq1WdoLNMiv0NMDHwovxZuxai8dk2mCXyPo3DQxGsaAvglTjCkm5AiL4bbiw7VukIxDTySFziqIzAK\
        QaNBzzgnIR7xLxyZnsNOUnSGLrG9+hz+x0wsyKljC9E+scpfa7e0bt5pNT+XVdzPxvMxYAvCudJoxZXp9wWMjCrH5WnNEefAiycIQS5j\
        LgcTRTq7vYT1wxGP//g2YLFfU5prujLjvbMG5uBPmQIDAQAB";
    const EC: &str = "\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWGGEfujAoL0ECaU/Q6fgjl0KiV2LTonRJ9jVYnzXuOkMXrn77KdZBO2Hn+F/7CAE5UL8\
        4suxFpbgpSoVA6sRkQ==";

    fn pem(label: &str, body: &str) -> String {
        let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    fn read(text: &str) -> (PublicKeyKind, String, String) {
        let key = PublicKey::parse(text).unwrap_or_else(|told| panic!("{text}: {told}"));
        (key.kind, key.public_key, key.fingerprint)
    }

    #[test]
    fn reads_every_form() {
        let line = format!("ssh-ed25519 {ED25519} me@host");
        let fingerprint = "SHA256:XWyI5OWBBfpXJPtDpR8dpyKP8jOBbnRsDHRnZXNLNEE".to_owned();
        assert_eq!(read(&format!("  {line}\n")), (PublicKeyKind::SshEd25519, line, fingerprint));
        let line = format!("ssh-rsa {RSA}");
        let fingerprint = "SHA256:IMdi7y4715WV0F9hCuTD4Lf36BKqKLi7JRvwPKA7XwQ".to_owned();
        assert_eq!(read(&line), (PublicKeyKind::SshRsa, line.clone(), fingerprint));
        let (kind, text, fingerprint) = read(AGE);
        assert_eq!((kind, text.as_str()), (PublicKeyKind::Age, AGE));
        assert!(fingerprint.starts_with("SHA256:"));
    }

    #[test]
    fn the_forms_of_pem_are_one_key() {
        let fingerprint = "SHA256:bdG8XjpwrHaOAJZewhkLtntCPV2C9xxS+R+2QjlKJjk";
        for text in [pem("PUBLIC KEY", SPKI), pem("RSA PUBLIC KEY", PKCS1)] {
            let expected = (PublicKeyKind::RsaPem, text.trim_end().to_owned(), fingerprint.to_owned());
            assert_eq!(read(&text), expected);
            assert_eq!(read(&text.replace('\n', "\r\n")), expected);
            assert_eq!(read(&STANDARD.encode(&text)), expected, "as backups print it");
            assert_eq!(read(&STANDARD.encode(text.trim_end())), expected);
        }
    }

    #[test]
    fn pem_becomes_the_line_of_the_same_key() {
        for text in [pem("PUBLIC KEY", SPKI), pem("RSA PUBLIC KEY", PKCS1)] {
            assert_eq!(PublicKey::parse(&text).unwrap().to_ssh_line().unwrap(), format!("ssh-rsa {RSA}"));
        }
    }

    #[test]
    fn private_keys_are_known_by_any_of_their_faces() {
        let openssh = pem("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ");
        let cases = [
            openssh.clone(),
            STANDARD.encode(&openssh),
            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==".to_owned(),
            pem("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEIBftnHPp22SewYmmEoMcX8VwI4IHwaqd"),
            pem("RSA PRIVATE KEY", "MIIEpAIBAAKCAQEA"),
            pem("ENCRYPTED PRIVATE KEY", "MIIFHDBOBgkqhkiG9w0BBQ0w"),
            pem("PGP PRIVATE KEY BLOCK", "lFgEZ"),
            format!("# created: 2024\n# public key: {AGE}\nAGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZ\n"),
            "age-secret-key-1gfpyysjzgfpyysjz".to_owned(),
            STANDARD.encode("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZ"),
            "PuTTY-User-Key-File-3: ssh-ed25519".to_owned(),
            // Both halves in one: still one too many.
            format!("{}{openssh}", pem("PUBLIC KEY", SPKI)),
        ];
        for text in cases {
            assert_eq!(PublicKey::parse(&text), Err(PRIVATE), "{text}");
        }
        let commented = format!("ssh-ed25519 {ED25519} I keep the private key at home");
        assert!(PublicKey::parse(&commented).is_ok(), "a comment is no key");
    }

    #[test]
    fn refuses_the_rest() {
        let mistyped = AGE.replace("ql3z", "ql3y");
        let sound = format!("ssh-ed25519 {ED25519}");
        let long = format!("{sound} {}", "x".repeat(MAX_PUBLIC_KEY_CHARS));
        let cases = [
            "",
            " ",
            "x",
            "ssh-ed25519",
            "-----BEGIN ",
            "age1",
            &AGE[..40],
            &mistyped,
            &AGE.to_uppercase(),
            &long,
            &format!("ssh-ed25519 {}", &ED25519[..40]),
            &format!("ssh-rsa {ED25519}"),
            &format!("ssh-rsa {}", &RSA[..RSA.len() - 40]),
            &format!("restrict {sound}"),
            &format!("{sound}\n{sound}"),
            &format!("ecdsa-sha2-nistp256 {ED25519}"),
            &pem("PUBLIC KEY", &SPKI[..SPKI.len() - 40]),
            &pem("PUBLIC KEY", &SPKI.replace("MIIBIjANB", "MIIBIjBNB")),
            &pem("CERTIFICATE", SPKI),
            &pem("PUBLIC KEY", SPKI).replace("-----END", "----END"),
        ];
        for text in cases {
            let told = PublicKey::parse(text).expect_err(text);
            assert_ne!(told, PRIVATE, "{text}");
        }
        let told = |text: &str| PublicKey::parse(text).unwrap_err();
        assert_eq!(told(&format!("ssh-rsa {SMALL_RSA}")), RSA_SIZE);
        assert_eq!(told(&pem("PUBLIC KEY", EC)), "must hold an RSA key");
        for (label, body) in [("PUBLIC KEY", PKCS1), ("RSA PUBLIC KEY", SPKI)] {
            assert_eq!(told(&pem(label, body)), "holds another kind of key than its BEGIN line says");
        }
        // About half of all typos in an Ed25519 key make no point of the curve.
        let typos = ('a'..='z').map(|typo| format!("ssh-ed25519 {}", ED25519.replace("IH6x", &format!("IH6{typo}"))));
        let refused = typos.filter(|line| PublicKey::parse(line).is_err()).count();
        assert!((5..=20).contains(&refused), "{refused} of 26");
        // An age recipient of another kind: a plugin's.
        let plugin = bech32::encode::<Bech32>(bech32::Hrp::parse("age1yubikey").unwrap(), &[2; 33]).unwrap();
        assert!(told(&plugin).contains("X25519"), "{plugin}");
    }
}
