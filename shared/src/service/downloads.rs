//! Downloads: links that work with a plain GET for an hour, and what they lead to.
//!
//! A link's last segment is a ticket: account, token, backup, file and expiry under an HMAC, so that nothing is stored
//! for it. A sealing key that is taken away voids the tickets that it signed.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::Map;
use url::Url;
use uuid::Uuid;

use super::Service;
use crate::domain::account::AccountId;
use crate::domain::audit_event::{Actor, AuditEvent};
use crate::domain::backup::{Backup, File};
use crate::domain::storage::{Provider, Storage};
use crate::error::{Error, ErrorKind, Result};

/// How long a link works.
const TICKET_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// How long the storage's own link, to which a ticket leads, works.
const PRESIGNED_LIFE: Duration = Duration::from_secs(15 * 60);
/// What the keys of tickets are derived for.
const TICKETS: &[u8] = b"holdfast download tickets v1";
/// First byte of every ticket of this layout.
const VERSION: u8 = 1;

/// What the holder of a ticket asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The file.
    Get,
    /// What is known of it: its size above all, which download programs ask for first.
    Head,
}

/// Who comes with a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Where the request came from, where that is known.
    pub address: Option<IpAddr>,
    /// The request's id.
    pub request_id: String,
}

/// What a ticket lets its holder read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ticket {
    account: AccountId,
    /// Whose token was shown the link.
    token_id: u64,
    backup: Uuid,
    file: u32,
    expires_at: Timestamp,
}

impl Service {
    /// A link to one file of a backup, for an hour, shown to a token. Whoever has it can read the file.
    pub fn download_url(&self, token_id: u64, backup: &Backup, file: &File) -> Result<String> {
        let (account, backup, file) = (backup.account.clone(), backup.id, file.id);
        let ticket = Ticket { account, token_id, backup, file, expires_at: self.clock.now() + TICKET_LIFE };
        let newest =
            self.ticket_keys()?.into_iter().next().ok_or_else(|| Error::internal("there is no sealing key"))?;
        let text = ticket.sign(&newest);
        Ok(format!("{}/v1/downloads/{text}", self.config.public_url))
    }

    /// Where the holder of a ticket can read its file for the next 15 minutes, by the one method that is asked for. To
    /// read the file is an event of the audit trail.
    ///
    /// [`ErrorKind::Forbidden`] for a ticket that is altered or has expired, [`ErrorKind::NotFound`] when the backup is
    /// gone or stores nothing.
    pub async fn redeem(&self, ticket: &str, reading: Reading, holder: Holder) -> Result<Url> {
        let ticket = Ticket::verify(ticket, &self.ticket_keys()?, self.clock.now())?;
        let backup = self.stored_backup(&ticket).await?;
        let place = backup.files.iter().position(|file| file.id == ticket.file).ok_or_else(gone)?;
        // By priority, as the run had them.
        for copy in backup.copies.iter().filter(|copy| copy.holds()) {
            let storage = self.aws.table.storage(&backup.account, copy.storage_id).await?;
            let (Some(storage), Some(key)) = (storage, copy.keys.get(place)) else { continue };
            let objects = self.objects(&backup.account, &storage)?;
            let name = &backup.files[place].name;
            let link = match reading {
                Reading::Get => objects.presign_get(key, name, PRESIGNED_LIFE).await,
                Reading::Head => objects.presign_head(key, name, PRESIGNED_LIFE).await,
            };
            let link = link.map_err(|error| Error::unavailable("the storage", error))?;
            let (account, file) = (backup.account.as_str(), ticket.file);
            tracing::info!(account, backup = %backup.id, file, storage = storage.id, "download link redeemed");
            let link = self.reachable(&storage, link)?;
            if reading == Reading::Get {
                self.record_audit_event(&ticket.event(holder, self.clock.now())).await;
            }
            return Ok(link);
        }
        Err(gone())
    }

    async fn stored_backup(&self, ticket: &Ticket) -> Result<Backup> {
        let job = self.aws.table.job_of_backup(&ticket.account, ticket.backup).await?.ok_or_else(gone)?;
        let backup = self.aws.table.backup(&ticket.account, job, ticket.backup).await?;
        backup.filter(|backup| backup.status.is_stored()).ok_or_else(gone)
    }

    /// The link from where its reader is: the installation's own bucket may be reachable through one listener only.
    fn reachable(&self, storage: &Storage, link: Url) -> Result<Url> {
        match &self.config.download_origin {
            Some(origin) if storage.provider == Provider::Holdfast => {
                let query = link.query().unwrap_or_default();
                Url::parse(&format!("{origin}{}?{query}", link.path())).map_err(Error::internal)
            }
            _ => Ok(link),
        }
    }

    /// What tickets are signed with, the newest first.
    fn ticket_keys(&self) -> Result<Vec<hmac::Key>> {
        Ok(self.sealer.derived(TICKETS)?.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, &**key)).collect())
    }
}

fn gone() -> Error {
    Error::not_found("file")
}

impl Ticket {
    /// What the audit trail tells of a download.
    fn event(&self, Holder { address, request_id }: Holder, at: Timestamp) -> AuditEvent {
        AuditEvent {
            id: Uuid::new_v4(),
            account: self.account.clone(),
            at,
            actor: Actor { token_id: self.token_id, token_name: None },
            address,
            request_id,
            action: "download".to_owned(),
            subject: format!("/v1/backups/{}/files/{}", self.backup, self.file),
            status: 302,
            changes: Map::new(),
        }
    }

    /// Version, expiry, token, backup, file, account and their HMAC, as base64url.
    fn sign(&self, key: &hmac::Key) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.expires_at.as_second().to_be_bytes());
        bytes.extend(self.token_id.to_be_bytes());
        bytes.extend(self.backup.as_bytes());
        bytes.extend(self.file.to_be_bytes());
        bytes.extend(self.account.as_str().as_bytes());
        let tag = hmac::sign(key, &bytes);
        bytes.extend(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn verify(text: &str, keys: &[hmac::Key], now: Timestamp) -> Result<Self> {
        let refused = |message: &str| Error::new(ErrorKind::Forbidden, message);
        let altered =
            || refused("this download link is not valid; copy the whole of it, or list the backup for a new one");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| altered())?;
        let (signed, tag) = bytes.split_last_chunk::<32>().ok_or_else(altered)?;
        let is_ours = keys.iter().any(|key| hmac::verify(key, signed, tag).is_ok());
        is_ours.then_some(()).ok_or_else(altered)?;
        let ticket = Self::read(signed).ok_or_else(altered)?;
        if ticket.expires_at <= now {
            return Err(refused("this download link has expired; list the backup for a new one"));
        }
        Ok(ticket)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let ([VERSION], bytes) = bytes.split_first_chunk::<1>()? else { return None };
        let (expires_at, bytes) = bytes.split_first_chunk::<8>()?;
        let (token_id, bytes) = bytes.split_first_chunk::<8>()?;
        let (backup, bytes) = bytes.split_first_chunk::<16>()?;
        let (file, account) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            account: AccountId::parse(std::str::from_utf8(account).ok()?)?,
            token_id: u64::from_be_bytes(*token_id),
            backup: Uuid::from_bytes(*backup),
            file: u32::from_be_bytes(*file),
            expires_at: Timestamp::from_second(i64::from_be_bytes(*expires_at)).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            account: AccountId::parse("acme").unwrap(),
            token_id: 2,
            backup: Uuid::from_u128(7),
            file: 3,
            expires_at: Timestamp::from_second(1_000).unwrap(),
        }
    }

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_ticket_reads_back_until_it_expires() {
        let own = key(7);
        let text = ticket().sign(&own);
        assert_eq!(Ticket::verify(&text, std::slice::from_ref(&own), at(999)).unwrap(), ticket());
        let expired = Ticket::verify(&text, std::slice::from_ref(&own), at(1_000)).unwrap_err();
        assert_eq!(expired.kind, ErrorKind::Forbidden);
        assert!(expired.message.contains("expired"));
    }

    #[test]
    fn every_altered_byte_is_refused() {
        let own = key(7);
        let bytes = URL_SAFE_NO_PAD.decode(ticket().sign(&own)).unwrap();
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            let error =
                Ticket::verify(&URL_SAFE_NO_PAD.encode(altered), std::slice::from_ref(&own), at(0)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Forbidden, "{place}");
        }
        for text in ["", "x", "!", &URL_SAFE_NO_PAD.encode(&bytes[1..])] {
            assert!(Ticket::verify(text, std::slice::from_ref(&own), at(0)).is_err(), "{text}");
        }
        let other = key(8);
        assert!(Ticket::verify(&ticket().sign(&other), std::slice::from_ref(&own), at(0)).is_err());
    }
}
