//! A throwaway SSH server: a child process on a free loopback port, with a host key and a list of users' keys of its
//! own. It runs as whoever runs this, and lets exactly that user in.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::tools;

/// How often another port is tried when something else took the one that was free a moment ago.
const PORT_TRIES: usize = 5;
/// How long a server may take until it accepts.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Sshd {
    dir: PathBuf,
    address: SocketAddr,
    user: String,
    child: Child,
}

impl Sshd {
    /// Starts a server that keeps its files in `dir`, which must exist and be empty or of an earlier server.
    pub async fn start(dir: &Path) -> io::Result<Self> {
        Self::start_with(dir, "").await
    }

    /// The same with further lines of `sshd_config`, which count before the usual ones.
    pub async fn start_with(dir: &Path, more: &str) -> io::Result<Self> {
        Self::start_at(dir, Ipv4Addr::LOCALHOST, more).await
    }

    /// The same at another address of this machine.
    pub async fn start_at(dir: &Path, address: Ipv4Addr, more: &str) -> io::Result<Self> {
        let program = tools::find("sshd").await.ok_or_else(|| io::Error::other("there is no sshd"))?;
        if rustix::process::geteuid().is_root() {
            // Where a server of root's drops its rights; systems make it when the real one starts.
            std::fs::create_dir_all("/run/sshd")?;
        }
        if !dir.join("host_key").exists() {
            make_key(&dir.join("host_key")).await?;
        }
        OpenOptions::new().create(true).append(true).open(dir.join("authorized_keys"))?;
        let user = String::from_utf8_lossy(&run("id", &["-un"]).await?).trim().to_owned();
        for _ in 0..PORT_TRIES {
            let address = TcpListener::bind((address, 0)).await?.local_addr()?;
            let config = write_config(&program, dir, address, more).await?;
            let mut child = serve(&program, &config, dir)?;
            if accepts(&mut child, address).await? {
                return Ok(Self { dir: dir.to_owned(), address, user, child });
            }
        }
        let log = std::fs::read_to_string(dir.join("sshd.log")).unwrap_or_default();
        Err(io::Error::other(format!("sshd does not start: {}", log.lines().last().unwrap_or("it says nothing"))))
    }

    /// The port that it listens at.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Who may log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The process that listens; each connection has children of it. `None` once it ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets whoever holds the private half of `public_key` (one line, as in `id_ed25519.pub`) in.
    pub fn authorize(&self, public_key: &str) -> io::Result<()> {
        let mut keys = OpenOptions::new().append(true).open(self.dir.join("authorized_keys"))?;
        writeln!(keys, "{}", public_key.trim())
    }

    /// The host key as a `known_hosts` line has it: `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> io::Result<String> {
        let line = std::fs::read_to_string(self.dir.join("host_key.pub"))?;
        Ok(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// Ends it and waits for that.
    pub async fn stop(mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// Makes an Ed25519 key pair at `path` and `path.pub`.
pub async fn make_key(path: &Path) -> io::Result<()> {
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "throwaway", "-f", &path.to_string_lossy()]).await?;
    Ok(())
}

async fn write_config(program: &Path, dir: &Path, address: SocketAddr, more: &str) -> io::Result<PathBuf> {
    let path = dir.join("sshd_config");
    let here = dir.display();
    let usual = format!(
        "{more}\n\
         ListenAddress {address}\n\
         HostKey \"{here}/host_key\"\n\
         AuthorizedKeysFile \"{here}/authorized_keys\"\n\
         PidFile none\n\
         StrictModes no\n\
         UsePAM no\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n\
         PrintMotd no\n\
         MaxStartups 200\n\
         MaxSessions 200\n"
    );
    // Newer servers shut out an address after some failures, which tests make on purpose; older ones refuse the word.
    for text in [format!("{usual}PerSourcePenalties no\n"), usual] {
        std::fs::write(&path, text)?;
        let check = Command::new(program).arg("-t").arg("-f").arg(&path).stdin(Stdio::null()).output().await?;
        if check.status.success() {
            break;
        }
    }
    Ok(path)
}

fn serve(program: &Path, config: &Path, dir: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("-D").arg("-f").arg(config).arg("-E").arg(dir.join("sshd.log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()
}

/// Waits until the server accepts; `false` when it ended instead.
async fn accepts(child: &mut Child, address: SocketAddr) -> io::Result<bool> {
    let waiting = async {
        loop {
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
            if TcpStream::connect(address).await.is_ok() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(START_LIMIT, waiting).await.unwrap_or(Ok(false))
}

async fn run(program: &str, arguments: &[&str]) -> io::Result<Vec<u8>> {
    tools::output(program, arguments).await.map(|output| output.stdout).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_let_in_can_log_in_and_nobody_else() {
        let home = tempfile::tempdir().unwrap();
        let server = Sshd::start(home.path()).await.unwrap();
        let key = home.path().join("mine");
        make_key(&key).await.unwrap();
        let known = home.path().join("known_hosts");
        let line = format!("[127.0.0.1]:{} {}\n", server.port(), server.host_key().unwrap());
        std::fs::write(&known, line).unwrap();
        let target = format!("{}@127.0.0.1", server.user());
        let (port, key_path) = (server.port().to_string(), key.to_string_lossy().into_owned());
        let known = format!("UserKnownHostsFile={}", known.display());
        let log_in =
            ["-F", "none", "-o", "BatchMode=yes", "-o", &known, "-i", &key_path, "-p", &port, &target, "echo", "in"];
        assert!(tools::output("ssh", &log_in).await.unwrap_err().contains("Permission denied"));
        server.authorize(&std::fs::read_to_string(key.with_extension("pub")).unwrap()).unwrap();
        assert_eq!(tools::output("ssh", &log_in).await.unwrap().stdout, b"in\n");
        server.stop().await.unwrap();
    }
}
