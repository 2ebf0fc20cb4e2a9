//! TLS of a connection to a database: how much of it is asked for, and whose certificates count.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pem_rfc7468::LineEnding;
use serde::{Deserialize, Serialize};

use super::field::{FieldDefinition, FieldKind, Setting};
use super::reader::ConfigReader;

/// How long the certificates of authorities may be, bytes: some twenty.
const MAX_AUTHORITIES_BYTES: usize = 32 * 1024;

/// How a connection to a database server is protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// How much is asked for.
    pub mode: TlsMode,
    /// Certificates in PEM, one of which the server's has to come from; `None` for those that the machine of the dump tool
    /// trusts.
    #[serde(default)]
    pub authorities: Option<String>,
}

/// How much a connection has to be protected: each more than the one before, in [libpq's words].
///
/// [libpq's words]: https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// Encrypted where the server offers it.
    Prefer,
    /// Encrypted, whoever answers.
    Require,
    /// Encrypted, to somebody with a certificate of the authorities, whatever its name.
    VerifyCa,
    /// Encrypted, to somebody with a certificate of the authorities for the name that the job gives.
    VerifyFull,
}

const MODES: [(&str, TlsMode); 5] = [
    ("disable", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

/// What a server takes that speaks either TLS or none on a port, so that nothing can be preferred.
const FIRM_MODES: [(&str, TlsMode); 4] = [MODES[0], MODES[2], MODES[3], MODES[4]];

/// The keys of mode and authorities.
pub(super) type TlsKeys = [&'static str; 2];

impl TlsMode {
    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| *word)
    }

    /// Whether the server's certificate is looked at.
    pub fn verifies(self) -> bool {
        self >= Self::VerifyCa
    }
}

impl Tls {
    /// TLS where the server offers it: what tools do by themselves.
    pub fn preferred() -> Self {
        Self { mode: TlsMode::Prefer, authorities: None }
    }

    /// No TLS.
    pub fn disabled() -> Self {
        Self { mode: TlsMode::Disable, authorities: None }
    }

    /// Takes in what is given, of all modes.
    pub(super) fn read(&mut self, reader: &mut ConfigReader<'_>, keys: TlsKeys) {
        self.read_one_of(reader, keys, &MODES);
    }

    /// The same for a server that cannot offer TLS beside none.
    pub(super) fn read_firm(&mut self, reader: &mut ConfigReader<'_>, keys: TlsKeys) {
        self.read_one_of(reader, keys, &FIRM_MODES);
    }

    fn read_one_of(&mut self, reader: &mut ConfigReader<'_>, [mode, ca]: TlsKeys, modes: &[(&str, TlsMode)]) {
        reader.choice(mode, modes, &mut self.mode);
        reader.text(ca, authorities, &mut self.authorities);
    }

    /// In the order of [`TlsKeys`].
    pub(super) fn settings(&self) -> [Setting<'_>; 2] {
        [Setting::of(Some(self.mode.as_str())), Setting::of(self.authorities.as_deref())]
    }
}

impl FieldDefinition {
    /// How much TLS a connection to a database has to have.
    pub(super) const fn tls(key: &'static str, label: &'static str) -> Self {
        let words = &["disable", "prefer", "require", "verify-ca", "verify-full"];
        let help = "prefer: where the server offers it; require: always; verify-ca: with a certificate of the authorities; \
                    verify-full: with one for the host's name";
        Self::new(FieldKind::Select(words), key, label, help)
    }

    /// The same for a server that cannot offer TLS beside none.
    pub(super) const fn firm_tls(key: &'static str, label: &'static str) -> Self {
        let words = &["disable", "require", "verify-ca", "verify-full"];
        let help = "require: encrypted; verify-ca: with a certificate of the authorities; verify-full: with one for the \
                    host's name, only without a server";
        Self::new(FieldKind::Select(words), key, label, help)
    }

    /// Whose certificates count.
    pub(super) const fn authorities(key: &'static str, label: &'static str) -> Self {
        let help = "certificates in PEM for the verify modes; empty: those that the machine of the dump tool trusts";
        Self::new(FieldKind::Textarea, key, label, help)
    }
}

const BEGIN: &str = "-----BEGIN ";
const LABEL: &str = "CERTIFICATE";
const END: &str = "-----END CERTIFICATE-----";

/// Takes certificates in PEM, and nothing else that PEM can hold; what stands between them is left out.
fn authorities(text: &str) -> Result<String, String> {
    if text.len() > MAX_AUTHORITIES_BYTES {
        return Err(format!("must not be longer than {MAX_AUTHORITIES_BYTES} bytes"));
    }
    let form = || "must be certificates in PEM, each from -----BEGIN CERTIFICATE----- to its end".to_owned();
    let mut found = String::new();
    for piece in text.split(BEGIN).skip(1) {
        if piece.contains("PRIVATE KEY") {
            return Err("must hold certificates only, no private key; that one should now be replaced".to_owned());
        }
        let (content, _) = piece.split_once(END).ok_or_else(form)?;
        let content = content.strip_prefix(LABEL).and_then(|content| content.strip_prefix("-----")).ok_or_else(form)?;
        let der = STANDARD.decode(content.split_whitespace().collect::<String>()).map_err(|_| form())?;
        // A certificate is a sequence.
        if der.first() != Some(&0x30) {
            return Err(form());
        }
        found.push_str(&pem_rfc7468::encode_string(LABEL, LineEnding::LF, &der).map_err(|_| form())?);
    }
    if found.is_empty() { Err(form()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

    #[test]
    fn certificates_are_taken_however_they_come() {
        assert_eq!(authorities(ONE.trim()).unwrap(), ONE);
        let loose = format!("subject=CN = ca\r\n{}\n\n  issuer\n{ONE}", ONE.replace('\n', "\r\n  "));
        assert_eq!(authorities(&loose).unwrap(), ONE.repeat(2));
        assert_eq!(authorities(&authorities(&loose).unwrap()).unwrap(), ONE.repeat(2), "as it prints");
    }

    #[test]
    fn nothing_else_is() {
        let key = ONE.replace("CERTIFICATE", "PRIVATE KEY");
        for text in [&key, &format!("{ONE}{key}"), &format!("{key}{ONE}")] {
            let why = authorities(text).unwrap_err();
            assert!(why.contains("no private key") && !why.contains("MAMC"), "{why}");
        }
        let other = ONE.replace("CERTIFICATE", "X509 CRL");
        let damaged = ONE.replace('M', "*");
        let long = ONE.repeat(2_000);
        for text in ["x", "/etc/ssl/ca.pem", &ONE[..40], &other, &damaged, &ONE.replace("MAMCAQE=", "AQID"), &long] {
            assert!(authorities(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_in_the_order_of_their_strength() {
        assert!(MODES.is_sorted_by_key(|(_, mode)| *mode));
        assert!(TlsMode::VerifyFull.verifies() && TlsMode::VerifyCa.verifies() && !TlsMode::Require.verifies());
        for (word, mode) in MODES {
            assert_eq!(serde_json::to_value(mode).unwrap(), word);
        }
    }
}
