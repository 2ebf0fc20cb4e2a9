//! Check: whether a server, a proxy or a storage can be used, step by step, and what is there.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_shared::aws::objects::{Objects, ObjectsError};
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::check::{CheckFailure, CheckOutcome, Checked};
use holdfast_shared::domain::login::{Login, LoginStatus, SshHost};
use holdfast_shared::domain::object_key::prefix_of_account;
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::domain::server::Server;
use holdfast_shared::service::Service;
use holdfast_shared::{ErrorKind, Result};
use uuid::Uuid;

use crate::remote::{self, Jump, Machine, Output, RemoteCommand, RemoteError, Road, Session};

/// How long a question to a server may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);
/// Part of each probe object's key, and of no backup's.
const PROBE: &str = "/probe/";

/// Connects to a server, records what it found, and pins the host key on first use.
pub async fn check_server(service: &Service, account: &AccountId, id: u64, check: Uuid) -> Result<()> {
    let server = match service.server(account, id).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        server => server?,
    };
    let asked = ask_server(service, account, &server).await?;
    let status = status_of(&asked);
    let outcome = match asked {
        Ok(found) => CheckOutcome { failure: missing_tool(&found), found },
        Err(error) => failed(&error, Found::new()),
    };
    service.login_used(account, SshHost::Server(id), status).await?;
    service.finish_check(account, Checked::Server(id), check, outcome).await
}

type Found = BTreeMap<String, String>;

/// What came of asking: the outer error is ours, the inner one the host's.
pub(crate) type Asked<T> = Result<std::result::Result<T, RemoteError>>;

fn status_of<T>(asked: &std::result::Result<T, RemoteError>) -> LoginStatus {
    if asked.is_ok() { LoginStatus::Success } else { LoginStatus::Failed }
}

async fn ask_server(service: &Service, account: &AccountId, server: &Server) -> Asked<Found> {
    let private_key = service.open_ssh_key(account, server.login.ssh_key_id).await?;
    let host = SshHost::Server(server.id);
    let session = match connect(service, account, host, &server.login, &private_key, None).await? {
        Ok(session) => session,
        Err(error) => return Ok(Err(error)),
    };
    let shown = session.host_key().fingerprint.clone();
    let machine = Machine::Server(session);
    let mut found = look_around(&machine).await;
    machine.close().await;
    if let Ok(found) = &mut found {
        found.insert("host_key".to_owned(), shown);
    }
    Ok(found)
}

/// Logs in, from `jump` if there is one, and pins the host key on first use.
pub(crate) async fn connect(
    service: &Service,
    account: &AccountId,
    host: SshHost,
    login: &Login,
    private_key: &Secret,
    jump: Option<Jump>,
) -> Asked<Session> {
    let opened = match jump {
        None => Session::open(login, private_key, &service.aws.outside.guard, &service.clock).await,
        Some(jump) => Session::open_through(Road::through(jump), login, private_key, &service.clock).await,
    };
    let session = match opened {
        Ok(session) => session,
        Err(error) => return Ok(Err(error)),
    };
    if login.host_key.is_none() {
        let shown = session.host_key().clone();
        let pinned = service.pin_host_key(account, host, login, shown.clone()).await?;
        if pinned.fingerprint != shown.fingerprint {
            session.close().await;
            return Ok(Err(RemoteError::HostKeyChanged { expected: pinned.fingerprint, seen: shown.fingerprint }));
        }
    }
    Ok(Ok(session))
}

/// Connects to a proxy, pins its host key on first use, and looks whether it lets connections through.
pub async fn check_proxy(service: &Service, account: &AccountId, id: u64, check: Uuid) -> Result<()> {
    let proxy = match service.proxy(account, id).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        proxy => proxy?,
    };
    let private_key = service.open_ssh_key(account, proxy.login.ssh_key_id).await?;
    let asked = connect(service, account, SshHost::Proxy(id), &proxy.login, &private_key, None).await?;
    let status = status_of(&asked);
    let outcome = match asked {
        Ok(session) => look_through(service, session, &proxy.login, &private_key).await,
        Err(error) => failed(&error, Found::new()),
    };
    service.login_used(account, SshHost::Proxy(id), status).await?;
    service.finish_check(account, Checked::Proxy(id), check, outcome).await
}

async fn look_through(service: &Service, session: Session, login: &Login, private_key: &Secret) -> CheckOutcome {
    let host_key = session.host_key().clone();
    session.close().await;
    let mut found = Found::from([("host_key".to_owned(), host_key.fingerprint.clone())]);
    let pinned = Login { host_key: Some(host_key), ..login.clone() };
    match remote::forwards(&pinned, private_key, &service.aws.outside.guard, &service.clock).await {
        Ok(()) => {
            found.insert("forwarding".to_owned(), "allowed".to_owned());
            CheckOutcome { failure: None, found }
        }
        Err(error) => failed(&error, found),
    }
}

async fn look_around(machine: &Machine) -> std::result::Result<Found, RemoteError> {
    let ssh = ask(machine, "ssh", &["-V"]).await?;
    let tar = ask(machine, "tar", &["--version"]).await?;
    let sudo = ask(machine, "sudo", &["-n", "true"]).await?;
    let sudo = match sudo.exit.code {
        0 => "without password".to_owned(),
        127 => "missing".to_owned(),
        _ => "needs a password".to_owned(),
    };
    let found = [("ssh", version(&ssh)), ("tar", version(&tar)), ("sudo", sudo)];
    Ok(found.into_iter().map(|(name, what)| (name.to_owned(), what)).collect())
}

async fn ask(machine: &Machine, program: &str, args: &[&str]) -> std::result::Result<Output, RemoteError> {
    machine.output(RemoteCommand::new(program).args(args.iter().copied()).limit(QUESTION_LIMIT)).await
}

/// The first line that a program printed about itself.
fn version(output: &Output) -> String {
    if output.exit.code == 127 {
        return "missing".to_owned();
    }
    let lines = output.stdout.lines().chain(output.exit.stderr.lines());
    let line = lines.map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown");
    line.chars().take(200).collect()
}

/// Backups need GNU tar, whatever else is there.
fn missing_tool(found: &Found) -> Option<CheckFailure> {
    let tar = found.get("tar").map_or("missing", String::as_str);
    let message = match tar {
        "missing" => "tar is missing on the server; install GNU tar".to_owned(),
        tar if !tar.contains("GNU tar") => format!("the server's tar is not GNU tar but {tar}; install GNU tar"),
        _ => return None,
    };
    Some(CheckFailure { step: "tar".to_owned(), message })
}

/// Writes, reads back and deletes a small object, tries whether locks are taken, and records the first step that failed.
pub async fn check_storage(service: &Service, account: &AccountId, id: u64, check: Uuid) -> Result<()> {
    let storage = match service.storage(account, id).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        storage => storage?,
    };
    if let Err(refused) = service.check_reach(&storage).await {
        let failure = CheckFailure { step: "connect".to_owned(), message: refused.to_string() };
        let outcome = CheckOutcome { failure: Some(failure), found: Found::new() };
        return service.finish_check(account, Checked::Storage(id), check, outcome).await;
    }
    let objects = service.objects(account, &storage)?.hasty();
    let key = format!("{}{}", prefix_of_account(account).trim_end_matches('/'), probe_name(check));
    let outcome = match probe(&objects, &key, check).await {
        Ok(()) => CheckOutcome::default(),
        Err(failure) => CheckOutcome { failure: Some(failure), found: Found::new() },
    };
    service.finish_check(account, Checked::Storage(id), check, outcome).await
}

async fn probe(objects: &Objects, key: &str, check: Uuid) -> std::result::Result<(), CheckFailure> {
    let failed = |step: &str, error: &ObjectsError| CheckFailure { step: step.to_owned(), message: error.to_string() };
    let written = Bytes::from(format!("holdfast checks that it can write here: {check}\n"));
    // A probe that is locked could not be deleted.
    let unlocked = objects.clone().unlocked();
    unlocked.put(key, written.clone()).await.map_err(|error| failed("write", &error))?;
    let read = unlocked.get(key).await;
    // Deleted in any case, but reported only if reading worked.
    let deleted = unlocked.delete(key).await;
    if read.map_err(|error| failed("read", &error))? != written {
        let message = "the bucket answers other bytes than were written".to_owned();
        return Err(CheckFailure { step: "read".to_owned(), message });
    }
    deleted.map_err(|error| failed("delete", &error))?;
    if objects.locks() {
        // An upload that never becomes an object tells as well whether the bucket takes locks, and leaves nothing.
        let upload = objects.start_upload(key).await.map_err(|error| failed("lock", &error))?;
        upload.abort().await.map_err(|error| failed("lock", &error))?;
    }
    Ok(())
}

fn probe_name(check: Uuid) -> String {
    format!("{PROBE}{check}")
}

/// Whether a key is that of a probe object, which a check that was killed may have left.
pub(crate) fn is_probe(key: &str) -> bool {
    key.contains(PROBE)
}

fn failed(error: &RemoteError, found: Found) -> CheckOutcome {
    let failure = CheckFailure { step: error.step().to_owned(), message: error.to_string() };
    CheckOutcome { failure: Some(failure), found }
}
