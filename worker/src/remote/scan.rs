//! The host key scan: which keys a server shows, before anything is trusted.

use std::process::Stdio;
use std::time::Duration;

use holdfast_shared::clock::SharedClock;
use holdfast_shared::domain::login::{HostKey, HostKeySource};
use tokio::process::Command;
use tokio::time::timeout;

use super::RemoteError;
use super::target::Target;

/// For the whole scan: name lookup and a connection per kind of key.
const SCAN_TIMEOUT: Duration = Duration::from_secs(45);

/// For one of its connections, seconds.
const SCAN_CONNECT_SECS: usize = 10;

/// The key that the server must show: the pinned one, or on first use the best one that it has.
///
/// Where only a fingerprint is pinned, the key behind it is looked for among those that the server shows. The connection
/// then takes nothing but that very key, so a scan that was led astray leads nowhere.
pub(super) async fn key_to_trust(
    target: &Target,
    pinned: Option<&HostKey>,
    clock: &SharedClock,
) -> Result<HostKey, RemoteError> {
    if let Some(key) = pinned.filter(|key| key.public_key.is_some()) {
        return Ok(key.clone());
    }
    let shown = scan(target, clock).await?;
    let Some(pinned) = pinned else { return best(shown).ok_or_else(|| silent(target)) };
    match shown.iter().find(|key| key.fingerprint == pinned.fingerprint) {
        Some(key) => Ok(HostKey { public_key: key.public_key.clone(), ..pinned.clone() }),
        None => Err(RemoteError::HostKeyChanged { expected: pinned.fingerprint.clone(), seen: fingerprints(&shown) }),
    }
}

/// Fingerprints of all keys that the server shows, for people; empty when it does not answer.
pub(super) async fn shown_fingerprints(target: &Target, clock: &SharedClock) -> String {
    scan(target, clock).await.map(|keys| fingerprints(&keys)).unwrap_or_default()
}

fn fingerprints(keys: &[HostKey]) -> String {
    keys.iter().map(|key| key.fingerprint.as_str()).collect::<Vec<_>>().join(", ")
}

/// Every key that the server shows; an error when there is none.
async fn scan(target: &Target, clock: &SharedClock) -> Result<Vec<HostKey>, RemoteError> {
    let mut command = Command::new("ssh-keyscan");
    command.args([
        "-T",
        &target.connect_secs.min(SCAN_CONNECT_SECS).to_string(),
        "-t",
        "ed25519,ecdsa,rsa",
        "-p",
        &target.address.port().to_string(),
        "--",
        &target.address.ip().to_string(),
    ]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(SCAN_TIMEOUT, command.output()).await {
        Ok(output) => output.map_err(RemoteError::Local)?,
        Err(_) => return Err(silent(target)),
    };
    let now = clock.now();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let keys: Vec<HostKey> = lines.filter_map(|line| HostKey::parse(line, HostKeySource::FirstUse, now).ok()).collect();
    if !keys.is_empty() {
        return Ok(keys);
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    match super::error::read_complaint(&complaints) {
        super::error::Complaint::Name => Err(RemoteError::UnknownName { host: target.host.clone() }),
        _ => Err(silent(target)),
    }
}

/// Ed25519 first, then ECDSA, then RSA: as OpenSSH itself prefers.
fn best(keys: Vec<HostKey>) -> Option<HostKey> {
    let rank = |key: &HostKey| {
        let algorithm = key.public_key.as_deref().unwrap_or_default();
        ["ssh-ed25519", "ecdsa-", "ssh-rsa"].iter().position(|name| algorithm.starts_with(name)).unwrap_or(usize::MAX)
    };
    keys.into_iter().min_by_key(rank)
}

fn silent(target: &Target) -> RemoteError {
    RemoteError::Unreachable {
        host: target.host.clone(),
        port: target.port,
        message: "no SSH server answered; check host, port and firewall".to_owned(),
    }
}
