//! Connecting: to where a job's tools run, through its proxy if it has one, with every host key pinned.

use std::sync::Arc;

use holdfast_shared::domain::login::{Login, LoginStatus, SshHost};
use holdfast_shared::domain::recipe::Recipe;
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::domain::server::Server;

use super::execute::RunError;
use super::keeper::Kept;
use crate::recipe::SourceError;
use crate::remote::{Jump, Machine, RemoteError, Road, Session};

/// Where a run's tools run, and how those that run on the worker reach their source.
#[derive(Debug)]
pub(super) struct Site {
    pub machine: Machine,
    /// `None` where a server's tools find their own way from there.
    pub road: Option<Arc<Road>>,
}

impl Site {
    /// Connects to the job's server, through its proxy, or gets ready to go from here. A URL is read by the worker in any
    /// case: where the job has a server, from there.
    pub(super) async fn open(kept: &Kept) -> Result<Self, RunError> {
        let proxy = open_proxy(kept).await?;
        let here = |road: Road| Self { machine: Machine::Worker, road: Some(Arc::new(road)) };
        let Some(server) = &kept.claim.server else {
            let straight = || Road::straight(kept.service.aws.outside.guard.clone());
            return Ok(here(proxy.map_or_else(straight, Road::through)));
        };
        let session = open_server(kept, server, proxy).await?;
        Ok(match &kept.claim.job.recipe {
            Recipe::UrlBackups(_) => here(Road::through(Jump::server(session))),
            _ => Self { machine: Machine::Server(session), road: None },
        })
    }

    /// The error, or what the road knows better: a tool on a local port only sees that nobody is there.
    pub(super) fn explained(&self, error: RunError) -> RunError {
        match (&error, &self.road) {
            (RunError::Source(SourceError::Broken(_) | SourceError::Refused(_)), Some(road)) if road.has_ports() => {
                road.trouble().map_or(error, RunError::from)
            }
            _ => error,
        }
    }

    /// Disconnects.
    pub(super) async fn close(self) {
        self.machine.close().await;
        if let Some(road) = self.road.and_then(Arc::into_inner) {
            road.close().await;
        }
    }
}

async fn open_proxy(kept: &Kept) -> Result<Option<Jump>, RunError> {
    let account = &kept.claim.backup.account;
    let Some(id) = kept.claim.job.proxy_id else { return Ok(None) };
    let proxy = kept.service.proxy(account, id).await?;
    let private_key = kept.service.open_ssh_key(account, proxy.login.ssh_key_id).await?;
    let opened = open_straight(kept, &proxy.login, &private_key).await;
    let host = SshHost::Proxy(id);
    let session = recorded(kept, host, &proxy.login, &format!("proxy {}", proxy.name), opened).await;
    let session = session.map_err(|error| error.of_proxy(&proxy.name))?;
    Ok(Some(Jump::proxy(session, &proxy.name)))
}

async fn open_server(kept: &Kept, server: &Server, proxy: Option<Jump>) -> Result<Session, RunError> {
    let login = &server.login;
    let private_key = kept.service.open_ssh_key(&kept.claim.backup.account, login.ssh_key_id).await?;
    let opened = match proxy {
        None => open_straight(kept, login, &private_key).await,
        Some(jump) => Session::open_through(Road::through(jump), login, &private_key, &kept.service.clock).await,
    };
    recorded(kept, SshHost::Server(server.id), login, "the server", opened).await
}

async fn open_straight(kept: &Kept, login: &Login, private_key: &Secret) -> Result<Session, RemoteError> {
    Session::open(login, private_key, &kept.service.aws.outside.guard, &kept.service.clock).await
}

/// Notes what came of a connection, and pins the host's key on first use.
async fn recorded(
    kept: &Kept,
    host: SshHost,
    login: &Login,
    name: &str,
    opened: Result<Session, RemoteError>,
) -> Result<Session, RunError> {
    let account = &kept.claim.backup.account;
    let status = match &opened {
        Ok(_) => Some(LoginStatus::Success),
        // The server was not even asked.
        Err(RemoteError::Proxy { .. }) => None,
        Err(_) => Some(LoginStatus::Failed),
    };
    if let Some(status) = status
        && let Err(error) = kept.service.login_used(account, host, status).await
    {
        tracing::debug!(error = error.chain(), "a host's last use could not be noted");
    }
    let session = opened?;
    let shown = session.host_key();
    kept.log.line(format!("connected; {name} showed {}", shown.fingerprint));
    if login.host_key.is_none() {
        let pinned = kept.service.pin_host_key(account, host, login, shown.clone()).await?;
        if pinned.fingerprint != shown.fingerprint {
            let seen = shown.fingerprint.clone();
            session.close().await;
            return Err(RemoteError::HostKeyChanged { expected: pinned.fingerprint, seen }.into());
        }
        kept.log.line("this key is pinned from now on, as it was the first connection");
    }
    Ok(session)
}
