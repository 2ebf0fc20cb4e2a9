//! KMS: decrypts the sealing keys that it encrypted, once, when a process starts.
//!
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>

use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use zeroize::Zeroizing;

use super::Aws;
use crate::domain::sealing_key::{SealingKey, SealingKeys, StoredKey, StoredKeys};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long all attempts for one key may take: a function that cannot start should say so before it is ended.
const WHOLE: Duration = Duration::from_secs(15);
/// The encryption context that a sealing key is encrypted with, beside its number under [`CONTEXT_ID`].
const CONTEXT: (&str, &str) = ("holdfast", "sealing-key");
const CONTEXT_ID: &str = "id";

/// Why a sealing key is not to be had. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// KMS refuses it, or does not answer.
    #[error(
        "kms does not decrypt sealing key {number} of HOLDFAST_SEALING_KEYS ({reason}); it must have been encrypted with \
         the context holdfast=sealing-key,id={number}, and this role must be allowed kms:Decrypt"
    )]
    Refused {
        /// The key.
        number: u32,
        /// What KMS or the connection says.
        reason: String,
    },
    /// What was encrypted is no key.
    #[error("sealing key {0} of HOLDFAST_SEALING_KEYS is not 32 bytes once kms has decrypted it")]
    NoKey(u32),
    /// There is none at all.
    #[error("HOLDFAST_SEALING_KEYS holds no key")]
    Nothing,
}

impl Aws {
    /// The master keys in the open. Connects only where KMS encrypted one of them.
    pub async fn open_keys(&self, stored: &StoredKeys) -> Result<SealingKeys, KmsError> {
        let mut opened = Vec::new();
        for (number, key) in stored.iter() {
            let key = match key {
                StoredKey::Plain(key) => key.clone(),
                StoredKey::Kms(blob) => self.decrypt(number, blob).await?,
            };
            opened.push((number, key));
        }
        SealingKeys::new(opened).ok_or(KmsError::Nothing)
    }

    async fn decrypt(&self, number: u32, blob: &[u8]) -> Result<SealingKey, KmsError> {
        let limits = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(WHOLE).build();
        let config = aws_sdk_kms::config::Builder::from(&*self.sdk).timeout_config(limits).build();
        let request = Client::from_conf(config)
            .decrypt()
            .ciphertext_blob(Blob::new(blob))
            .encryption_context(CONTEXT.0, CONTEXT.1)
            .encryption_context(CONTEXT_ID, number.to_string());
        let answer = request.send().await.map_err(|error| KmsError::Refused { number, reason: reason(&error) })?;
        let plain = Zeroizing::new(answer.plaintext.map(Blob::into_inner).unwrap_or_default());
        let key = plain.as_slice().try_into().map_err(|_| KmsError::NoKey(number))?;
        Ok(SealingKey(key))
    }
}

/// What went wrong in words. Not the whole error: its Debug holds the answer as it came.
fn reason<E: ProvideErrorMetadata + std::error::Error + 'static, R: std::fmt::Debug>(error: &SdkError<E, R>) -> String {
    if let Some(refusal) = error.as_service_error() {
        let parts = [refusal.code(), refusal.message()];
        return parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    }
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
