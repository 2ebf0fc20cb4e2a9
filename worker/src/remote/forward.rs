//! Forwarding: whether a host lets its users connect to others from there, as a proxy has to.

use std::process::Stdio;
use std::time::Duration;

use holdfast_shared::clock::SharedClock;
use holdfast_shared::domain::login::{HostKey, Login};
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::guard::Guard;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::target::{self, ALIAS, Target};
use super::{RemoteError, last_line, scan, session_folder, unreachable, write_files};

/// For logging in and for the answer from behind.
const PROBE_TIMEOUT: Duration = Duration::from_secs(45);
/// How much of ssh's words is read.
const WORDS_BYTES: u64 = 16 << 10;

/// Has the host connect to its own sshd, as `ssh -W` does it, and succeeds where that is allowed. It need not get
/// through: what listens where, behind the proxy, is for the servers' own checks to tell.
///
/// This takes a connection of its own, since a master does not tell its clients why a channel was refused.
pub async fn forwards(
    login: &Login,
    private_key: &Secret,
    guard: &Guard,
    clock: &SharedClock,
) -> Result<(), RemoteError> {
    let pinned = login.host_key.as_ref();
    target::with_each(login, guard, |target| forwards_at(target, pinned, private_key, clock)).await
}

async fn forwards_at(
    target: Target,
    pinned: Option<&HostKey>,
    private_key: &Secret,
    clock: &SharedClock,
) -> Result<(), RemoteError> {
    let host_key = scan::key_to_trust(&target, pinned, clock).await?;
    let folder = session_folder().map_err(RemoteError::Local)?;
    let files = write_files(folder.path(), &target, &host_key, private_key).map_err(RemoteError::Local)?;
    let mut command = Command::new("ssh");
    command.arg("-F").arg(&files.config).args(["-o", "LogLevel=INFO", "-W"]);
    command.arg(format!("127.0.0.1:{}", target.port)).arg(ALIAS);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(RemoteError::Local)?;
    let answer = timeout(PROBE_TIMEOUT, answer_of(child)).await;
    match answer.map_err(|_| unreachable(&target, "it did not answer in time whether it forwards"))? {
        Answer::Forwarded => Ok(()),
        Answer::Refused => Err(RemoteError::ForwardingRefused { user: target.user }),
        Answer::Failed(words) => Err(unreachable(&target, last_line(&words))),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Forwarded,
    Refused,
    Failed(String),
}

async fn answer_of(mut child: Child) -> Answer {
    let mut first = [0];
    if let Some(pipe) = &mut child.stdout
        && pipe.read_exact(&mut first).await.is_ok()
    {
        return Answer::Forwarded;
    }
    let mut words = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        // What could be read has to do.
        let _ = pipe.take(WORDS_BYTES).read_to_end(&mut words).await;
    }
    read_answer(&String::from_utf8_lossy(&words))
}

/// Reads what ssh printed when it got no byte from behind (`channels.c`, `reason2txt`; the same since OpenSSH 3).
fn read_answer(words: &str) -> Answer {
    if words.contains("administratively prohibited") {
        Answer::Refused
    } else if words.contains("open failed: connect failed") {
        Answer::Forwarded
    } else {
        Answer::Failed(words.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As OpenSSH 9.2 prints them.
    #[test]
    fn reads_what_ssh_prints() {
        let refused = "channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed";
        assert_eq!(read_answer(refused), Answer::Refused);
        let nobody = "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed";
        assert_eq!(read_answer(nobody), Answer::Forwarded);
        let lost = "Connection closed by 127.0.0.1 port 22";
        assert_eq!(read_answer(lost), Answer::Failed(lost.to_owned()));
    }
}
