//! A verifier: whether a server's certificate is one that a job means.

use std::sync::Arc;

use holdfast_shared::domain::recipe::{Tls, TlsMode};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Judges a server's certificate as [`TlsMode`] says.
#[derive(Debug)]
pub(super) struct Verifier {
    mode: TlsMode,
    provider: Arc<CryptoProvider>,
    /// Those that the job gives, as they are.
    given: Vec<CertificateDer<'static>>,
    /// `None` where no certificate is looked at.
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl Verifier {
    /// Fails where there is no authority to go by.
    pub(super) fn new(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let mode = tls.mode;
        if !mode.verifies() {
            return Ok(Self { mode, provider, given: Vec::new(), chain: None });
        }
        let given: Vec<_> = match &tls.authorities {
            Some(pem) => CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect(),
            None => Vec::new(),
        };
        let trusted =
            if tls.authorities.is_some() { given.clone() } else { rustls_native_certs::load_native_certs().certs };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted);
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let chain = chain.map_err(|error| format!("there is no authority to go by ({error})"))?;
        Ok(Self { mode, provider, given, chain: Some(chain) })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // A server that is its own authority, as `openssl req -x509` makes it.
        if self.given.contains(end_entity) {
            if self.mode == TlsMode::VerifyFull {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.mode == TlsMode::VerifyCa => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.chain {
            // Whoever answers will do, with a certificate of whatever form.
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(_) => {
                verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.chain {
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(_) => {
                verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
