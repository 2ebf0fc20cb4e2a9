//! The target: what ssh is told, and nothing else. No word of a user reaches a command line or another option's line.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use holdfast_shared::domain::login::{Host, Login, LoginName};
use holdfast_shared::guard::Guard;

use super::RemoteError;

/// The one name that ssh knows the server by, in its config and in its known_hosts.
pub(super) const ALIAS: &str = "target";

/// How long all addresses of a host together may take to accept a connection, seconds: ssh waits no longer for one.
const CONNECT_SECS: usize = 20;
/// What each of many gets at least, seconds.
const MIN_CONNECT_SECS: usize = 3;
/// For all that is tried with all addresses of a host: a scan and a login.
const ALL_TIMEOUT: Duration = Duration::from_secs(105);

/// One address of a server, checked once more here: a newline in a host name once ran a `ProxyCommand`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// As its owner named it; for messages only.
    pub host: String,
    /// Its port, likewise.
    pub port: u16,
    /// What to connect to: where the guard says that this leads, or a port of ours that leads there. Nobody looks the
    /// name up again.
    pub address: SocketAddr,
    pub user: String,
    /// How long the address may take to accept a connection, seconds.
    pub connect_secs: usize,
}

/// Looks the host of a login up, once, and makes one `attempt` after another with its addresses until one of them answers,
/// however it does: a host that shows another key or lets nobody in is not asked at another address. Fails before the
/// first where any address leads to what users may not reach.
pub(super) async fn with_each<T, F: Future<Output = Result<T, RemoteError>>>(
    login: &Login,
    guard: &Guard,
    attempt: impl Fn(Target) -> F,
) -> Result<T, RemoteError> {
    let targets = Target::all(login, guard).await?;
    let count = targets.len();
    tokio::time::timeout(ALL_TIMEOUT, in_turn(targets, attempt)).await.unwrap_or_else(|_| {
        let message = format!("its {count} addresses took too long to answer");
        Err(RemoteError::Unreachable { host: login.host.to_string(), port: login.port, message })
    })
}

async fn in_turn<T, F: Future<Output = Result<T, RemoteError>>>(
    targets: Vec<Target>,
    attempt: impl Fn(Target) -> F,
) -> Result<T, RemoteError> {
    let mut answer = Err(RemoteError::BadTarget("its host has no address".to_owned()));
    for target in targets {
        let address = target.address;
        answer = attempt(target).await;
        match &answer {
            Err(error @ RemoteError::Unreachable { .. }) => {
                tracing::info!(%address, %error, "an address does not answer")
            }
            _ => break,
        }
    }
    answer
}

impl Target {
    /// Every address of the host, the one to try first in front.
    async fn all(login: &Login, guard: &Guard) -> Result<Vec<Self>, RemoteError> {
        let found = guard.resolve(&login.host, login.port).await?;
        let connect_secs = (CONNECT_SECS / found.len().max(1)).max(MIN_CONNECT_SECS);
        found.iter().map(|address| Ok(Self { connect_secs, ..Self::at(login, *address)? })).collect()
    }

    /// A login whose host is reached at this address.
    pub(super) fn at(login: &Login, address: SocketAddr) -> Result<Self, RemoteError> {
        Self::new(&login.host, address, login.port, &login.user)
    }

    fn new(host: &str, address: SocketAddr, port: u16, user: &str) -> Result<Self, RemoteError> {
        let bad = |what: &str, why: &str| RemoteError::BadTarget(format!("its {what} {why}"));
        let host = Host::parse(host).map_err(|why| bad("host", why))?;
        let user = LoginName::parse(user).map_err(|why| bad("user", why))?;
        if port == 0 {
            return Err(bad("port", "must be 1 to 65535"));
        }
        Ok(Self { host: host.to_string(), address, port, user: user.to_string(), connect_secs: CONNECT_SECS })
    }

    /// An ssh_config for this one server. The paths are ours and hold no space or quote.
    ///
    /// `aes128-gcm` comes first since it takes the least CPU per byte where the processor knows AES (measured: 1.6 times
    /// faster than chacha20). Only the given key is offered, only the pinned host key is taken, and nothing is forwarded.
    pub(super) fn ssh_config(&self, identity: &Path, known_hosts: &Path) -> String {
        let Self { address, user, connect_secs, .. } = self;
        let mut text = format!("Host {ALIAS}\n");
        let options = [
            ("HostName", address.ip().to_string()),
            ("Port", address.port().to_string()),
            ("User", user.clone()),
            ("HostKeyAlias", ALIAS.to_owned()),
            ("IdentityFile", identity.display().to_string()),
            ("UserKnownHostsFile", known_hosts.display().to_string()),
            ("ConnectTimeout", connect_secs.to_string()),
        ];
        let fixed = [
            ("IdentitiesOnly", "yes"),
            ("IdentityAgent", "none"),
            ("PreferredAuthentications", "publickey"),
            ("PasswordAuthentication", "no"),
            ("KbdInteractiveAuthentication", "no"),
            ("BatchMode", "yes"),
            ("GlobalKnownHostsFile", "none"),
            ("StrictHostKeyChecking", "yes"),
            ("VerifyHostKeyDNS", "no"),
            ("UpdateHostKeys", "no"),
            ("ProxyCommand", "none"),
            ("PermitLocalCommand", "no"),
            ("CanonicalizeHostname", "no"),
            ("ForwardAgent", "no"),
            ("ForwardX11", "no"),
            ("Compression", "no"),
            (
                "Ciphers",
                "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr",
            ),
            ("ServerAliveInterval", "15"),
            ("ServerAliveCountMax", "4"),
            // A jump's log tells why something behind it cannot be reached.
            ("LogLevel", "INFO"),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| (name, value.to_owned()));
        for (name, value) in options.into_iter().chain(fixed) {
            let _ = writeln!(text, "  {name} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 2222);

    #[test]
    fn the_config_names_one_server_by_a_fixed_alias() {
        let target = Target::new("db-1.example.com", ADDRESS, 2222, "backup").unwrap();
        let text = target.ssh_config(Path::new("/t/key"), Path::new("/t/known_hosts"));
        let expected = ["Host target\n", "\n  HostName 192.0.2.1\n", "\n  Port 2222\n", "\n  User backup\n"];
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(text.lines().skip(1).all(|line| line.starts_with("  ") && line.split_whitespace().count() == 2));
    }

    fn unreachable() -> RemoteError {
        RemoteError::Unreachable { host: "host".to_owned(), port: 22, message: "no".to_owned() }
    }

    #[tokio::test]
    async fn addresses_are_tried_until_one_answers() {
        let targets: Vec<_> = (1..=4)
            .map(|last| Target::new("host", SocketAddr::from(([192, 0, 2, last], 22)), 22, "root").unwrap())
            .collect();
        let tried = std::cell::RefCell::new(Vec::new());
        let answer = in_turn(targets.clone(), async |target: Target| {
            tried.borrow_mut().push(target.address);
            match tried.borrow().len() {
                3 => Err(RemoteError::LoginRefused { user: "root".to_owned() }),
                _ => Err::<(), _>(unreachable()),
            }
        });
        // That nobody is let in is an answer too.
        assert!(matches!(answer.await, Err(RemoteError::LoginRefused { .. })));
        assert_eq!(*tried.borrow(), targets[..3].iter().map(|target| target.address).collect::<Vec<_>>());
        let silent = in_turn(targets, async |_| Err::<(), _>(unreachable())).await;
        assert!(matches!(silent, Err(RemoteError::Unreachable { .. })));
        let none = in_turn(Vec::new(), async |_| Ok(())).await;
        assert!(matches!(none, Err(RemoteError::BadTarget(_))));
    }

    #[test]
    fn hostile_names_are_refused() {
        let hosts =
            ["a\nProxyCommand id", "-oProxyCommand=id", "a b", "%h", "a;id", "$(id)", "`id`", "", "a#b", "a\"b"];
        for host in hosts {
            assert!(matches!(Target::new(host, ADDRESS, 22, "root"), Err(RemoteError::BadTarget(_))), "{host:?}");
        }
        for user in ["root\nProxyCommand id", "-l", "a b", "%u", "$(id)", "", "a\"b", "a\0b"] {
            assert!(matches!(Target::new("host", ADDRESS, 22, user), Err(RemoteError::BadTarget(_))), "{user:?}");
        }
        assert!(Target::new("host", ADDRESS, 0, "root").is_err());
    }
}
