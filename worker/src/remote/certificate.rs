//! A certificate for ends of TLS of which both are ours: its owner checks nothing, and neither does who meets it.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The version's place in a certificate.
const VERSION: u8 = 0xa0;
/// `ecdsa-with-SHA256`, 1.2.840.10045.4.3.2.
const ECDSA_SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 4, 3];

/// A new key and its certificate ([RFC 5280](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)), signed by itself.
pub(super) fn self_signed() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Unspecified> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref()).map_err(|_| Unspecified)?;
    let public_key: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    let algorithm = der(SEQUENCE, &[ECDSA_SHA256]);
    let name = der(SEQUENCE, &[COMMON_NAME, &der(UTF8_STRING, &[b"holdfast"])]);
    let name = der(SEQUENCE, &[&der(SET, &[&name])]);
    // It lives no longer than the run.
    let times = [der(UTC_TIME, &[b"000101000000Z"]), der(GENERALIZED_TIME, &[b"99991231235959Z"])];
    let version = der(VERSION, &[&der(INTEGER, &[&[2]])]);
    let serial = der(INTEGER, &[&[1]]);
    let times = der(SEQUENCE, &[&times[0], &times[1]]);
    let signed = der(SEQUENCE, &[&version, &serial, &algorithm, &name, &times, &name, public_key.as_ref()]);
    let signature = pair.sign(&random, &signed)?;
    let certificate = der(SEQUENCE, &[&signed, &algorithm, &der(BIT_STRING, &[&[0], signature.as_ref()])]);
    Ok((certificate.into(), PrivatePkcs8KeyDer::from(key.as_ref().to_vec()).into()))
}

/// A value of DER: what it is, how long it is, and its parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut value = vec![tag];
    match content.len() {
        short @ 0..=0x7f => value.push(short as u8),
        _ => {
            value.push(0x80 | length.len() as u8);
            value.extend(length);
        }
    }
    value.extend(content);
    value
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::server::ParsedCertificate;

    use super::*;

    #[test]
    fn it_is_one() {
        let (certificate, key) = self_signed().unwrap();
        assert!(ParsedCertificate::try_from(&certificate).is_ok());
        assert!(matches!(key, PrivateKeyDer::Pkcs8(_)));
        assert_eq!(der(4, &[&[7; 200]])[..4], [4, 0x81, 200, 7]);
        assert_eq!(der(4, &[&[7; 300]])[..5], [4, 0x82, 1, 44, 7]);
    }
}
