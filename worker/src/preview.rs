//! Preview: what a job would take, found out on its server without reading any of it.

use std::time::Duration;

use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::check::CheckFailure;
use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::login::SshHost;
use holdfast_shared::domain::preview::Listing;
use holdfast_shared::domain::recipe::{FilesConfig, Recipe};
use holdfast_shared::service::Service;
use holdfast_shared::{ErrorKind, Result};
use uuid::Uuid;

use crate::check::{Asked, connect};
use crate::recipe::{SourceError, files};
use crate::remote::{Jump, Machine, RemoteError};

/// How long tar may list; less where the job's runs may not take as long.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks what a job would take and records it, unless another preview was asked for meanwhile.
pub async fn preview(service: &Service, account: &AccountId, job: Uuid, id: Uuid) -> Result<()> {
    let job = match service.job(account, job).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        job => job?,
    };
    let Some(asked) = service.preview(account, job.id).await?.filter(|asked| asked.id == id) else { return Ok(()) };
    let outcome = match (&job.recipe, job.compute.server_id()) {
        (Recipe::FileBackups(config), Some(server)) => look(service, account, &job, server, config).await?,
        _ => Err(CheckFailure { step: "source".to_owned(), message: "the job takes no files any more".to_owned() }),
    };
    // An older answer is of no use to anybody.
    let _ = service.finish_preview(account, job.id, asked, outcome).await?;
    Ok(())
}

async fn look(
    service: &Service,
    account: &AccountId,
    job: &Job,
    server: u64,
    config: &FilesConfig,
) -> Result<std::result::Result<Listing, CheckFailure>> {
    let machine = match reach(service, account, job, server).await? {
        Ok(machine) => machine,
        Err(error) => return Ok(Err(failed(&error.into()))),
    };
    let limit = LIMIT.min(Duration::from_secs(u64::from(job.limits.run_seconds)));
    let listing = files::list(&machine, config, limit).await;
    machine.close().await;
    Ok(listing.map_err(|error| failed(&error)))
}

/// Logs in to a job's server, through its proxy if it has one.
async fn reach(service: &Service, account: &AccountId, job: &Job, server: u64) -> Asked<Machine> {
    let mut jump = None;
    if let Some(id) = job.proxy_id {
        let proxy = service.proxy(account, id).await?;
        let private_key = service.open_ssh_key(account, proxy.login.ssh_key_id).await?;
        let opened = connect(service, account, SshHost::Proxy(id), &proxy.login, &private_key, None).await?;
        jump = match opened {
            Ok(session) => Some(Jump::proxy(session, &proxy.name)),
            Err(error) => return Ok(Err(RemoteError::Proxy { name: proxy.name, error: Box::new(error) })),
        };
    }
    let server = service.server(account, server).await?;
    let private_key = service.open_ssh_key(account, server.login.ssh_key_id).await?;
    let opened = connect(service, account, SshHost::Server(server.id), &server.login, &private_key, jump).await?;
    Ok(opened.map(Machine::Server))
}

fn failed(error: &SourceError) -> CheckFailure {
    let step = match error {
        SourceError::Remote(error) if error.step() != "command" => error.step(),
        _ => "source",
    };
    CheckFailure { step: step.to_owned(), message: error.to_string() }
}
