//! The guard: where accounts may lead us.
//!
//! Whatever a user names for us to connect to (a server, a storage's endpoint, a URL) goes through it. A host is read by
//! our own rules, resolved once, and refused unless every address of it lies on the open internet or in a network that
//! the operator allowed. Callers connect to the addresses that it answers and never to the name, which might lead
//! elsewhere when asked again.
//!
//! It asks the network for names, so it is no part of the domain; both the SDK's client for storages and the worker's SSH
//! use it, so it is no part of either. The rules themselves are [`crate::domain::address`].

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use url::Url;

use crate::domain::address::AllowedNetworks;
use crate::domain::host::Host;
use crate::domain::retry::Retry;

/// How long a name may take to be looked up; the system's resolver has no end of its own.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);

/// Looks names up.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of `name`, the one to try first in front. [`io::ErrorKind::NotFound`] means that there is no such
    /// name, any other error that it cannot be told now.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver, `getaddrinfo`.
#[derive(Debug, Clone, Copy)]
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, 0))).await?;
            looked_up.map(|found| found.map(|found| found.ip()).collect()).map_err(sorted)
        })
    }
}

/// `getaddrinfo`'s errors have no kind of their own in std, only words.
fn sorted(error: io::Error) -> io::Error {
    let words = error.to_string();
    let unknown = ["Name or service not known", "No address associated with hostname", "nodename nor servname"];
    match unknown.iter().any(|unknown| words.contains(unknown)) {
        true => io::Error::new(io::ErrorKind::NotFound, error),
        false => error,
    }
}

/// Why a host is not connected to. Display is safe to show to whoever named it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is spelled as no host of ours.
    #[error("host {host:?} {why}")]
    Unreadable {
        /// As it was given.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It leads to where accounts may not lead us. The address itself is not told: whoever asks may not know it.
    #[error("host {host} leads to {what}, where this installation does not connect to; {ASK_OPERATOR}")]
    Forbidden {
        /// The host.
        host: String,
        /// What the address is.
        what: &'static str,
    },
    /// There is no such name.
    #[error("host name {host} does not exist; correct it")]
    Unknown {
        /// The name.
        host: String,
    },
    /// The name cannot be looked up now.
    #[error("host name {host} cannot be looked up right now: {why}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
}

const ASK_OPERATOR: &str = "its operator can allow that network with HOLDFAST_ALLOW_NETWORKS";

impl Refused {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unresolved { .. } => Retry::Later,
            Self::Unreadable { .. } | Self::Forbidden { .. } | Self::Unknown { .. } => Retry::Never,
        }
    }
}

/// Decides where accounts may lead us; cheap to clone.
///
/// For a field of a request: [`host`](Self::host) and [`url`](Self::url), which look nothing up. To connect:
/// [`resolve`](Self::resolve) and [`resolve_url`](Self::resolve_url), each time anew.
#[derive(Debug, Clone)]
pub struct Guard {
    allowed: Arc<AllowedNetworks>,
    resolver: Arc<dyn Resolve>,
}

impl Guard {
    /// A guard that asks the system's resolver.
    pub fn new(allowed: AllowedNetworks) -> Self {
        Self::with_resolver(allowed, Arc::new(SystemResolver))
    }

    /// A guard that asks another resolver.
    pub fn with_resolver(allowed: AllowedNetworks, resolver: Arc<dyn Resolve>) -> Self {
        Self { allowed: Arc::new(allowed), resolver }
    }

    /// What is allowed beside the open internet.
    pub fn allowed(&self) -> &AllowedNetworks {
        &self.allowed
    }

    /// Takes the host in a field; an address is refused at once, a name when it is connected to. The error is the field's
    /// message.
    pub fn host(&self, text: &str) -> Result<Host, String> {
        let host = Host::parse(text)?;
        self.check_field(&host)?;
        Ok(host)
    }

    /// The same for a field that holds a URL.
    pub fn url(&self, text: &str) -> Result<Url, String> {
        let (host, url) = Host::of_url(text)?;
        self.check_field(&host)?;
        Ok(url)
    }

    fn check_field(&self, host: &Host) -> Result<(), String> {
        let Some(address) = host.address() else { return Ok(()) };
        let refused = |what| format!("is {what}, where this installation does not connect to; {ASK_OPERATOR}");
        self.allowed.check(address).map(drop).map_err(refused)
    }

    /// Where to connect to for `host`, the address to try first in front; at least one. Looks a name up once.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
        let name = Host::parse(host).map_err(|why| Refused::Unreadable { host: host.to_owned(), why })?;
        let found = match name.address() {
            Some(address) => vec![address],
            None => self.look_up(&name).await?,
        };
        found.into_iter().map(|address| Ok(SocketAddr::new(self.check(&name, address)?, port))).collect()
    }

    /// The same for the host and port of a URL. To be asked again for each redirect that is followed.
    pub async fn resolve_url(&self, url: &Url) -> Result<Vec<SocketAddr>, Refused> {
        let unreadable = |why| Refused::Unreadable { host: url.host_str().unwrap_or_default().to_owned(), why };
        let host = url.host_str().ok_or_else(|| unreadable("is missing in the url"))?;
        let port = url.port_or_known_default().ok_or_else(|| unreadable("needs a port in the url"))?;
        self.resolve(host, port).await
    }

    async fn look_up(&self, name: &Host) -> Result<Vec<IpAddr>, Refused> {
        let host = name.to_string();
        match self.resolver.resolve(name).await {
            Ok(found) if found.is_empty() => Err(Refused::Unknown { host }),
            Ok(found) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Refused::Unknown { host }),
            Err(error) => Err(Refused::Unresolved { host, why: error.to_string() }),
        }
    }

    fn check(&self, host: &Host, address: IpAddr) -> Result<IpAddr, Refused> {
        self.allowed.check(address).map_err(|what| {
            // For the operator alone, who may want to allow it.
            tracing::info!(%host, %address, "not connected to: {what}");
            Refused::Forbidden { host: host.to_string(), what }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers the next of its lists each time, and fails when it is asked more often.
    #[derive(Debug)]
    struct Script(Mutex<Vec<Vec<&'static str>>>);

    impl Resolve for Script {
        fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            let answer = self.0.lock().unwrap().pop();
            Box::pin(async move { Ok(answer.unwrap().into_iter().map(|address| address.parse().unwrap()).collect()) })
        }
    }

    fn guard(allowed: &str, answers: &[&[&'static str]]) -> Guard {
        let script = Script(Mutex::new(answers.iter().rev().map(|answer| answer.to_vec()).collect()));
        Guard::with_resolver(allowed.parse().unwrap(), Arc::new(script))
    }

    /// Spellings of what must not be reached, by the rules of `getaddrinfo`, of URL parsers or of the network itself.
    const SPELLINGS: [&str; 78] = [
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0X7F000001",
        "0177.0.0.1",
        "0177.0.0.0x1",
        "0x7f.0.0.1",
        "0x7f.1",
        "0x7f.0x1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.1..",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.1\0",
        "127.0.0.1\n",
        "127.0.0.1:22",
        "[127.0.0.1]",
        "１２７.0.0.1",
        "127。0。0。1",
        "127．0．0．1",
        "①②⑦.⓪.⓪.①",
        "١٢٧.0.0.1",
        "%31%32%37.0.0.1",
        "0",
        "0.0.0.0",
        "0x0",
        "::",
        "::1",
        "[::1]",
        "[::1",
        "::1%lo",
        "[::1%25lo]",
        "0:0:0:0:0:0:0:1",
        "0000:0000:0000:0000:0000:0000:0000:0001",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::FFFF:127.0.0.1",
        "[::ffff:7f00:1]",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "10.0.0.1",
        "10.1",
        "167772161",
        "012.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "::ffff:c0a8:1",
        "100.64.0.1",
        "fd12:3456::1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "203.0.113.7",
        "2001:db8::1",
    ];

    #[tokio::test]
    async fn no_spelling_of_an_inner_address_gets_through() {
        let guard = guard("none", &[]);
        for text in SPELLINGS {
            let refused = guard.resolve(text, 22).await.unwrap_err();
            assert_eq!(refused.retry(), Retry::Never, "{text:?}");
            assert!(guard.host(text).is_err(), "{text:?}");
            for url in [format!("http://{text}/"), format!("https://{text}:9000"), format!("http://[{text}]/")] {
                assert!(guard.url(&url).is_err(), "{url:?}");
                if let Ok(url) = Url::parse(&url) {
                    assert!(guard.resolve_url(&url).await.is_err(), "{url}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_open_internet_and_what_is_allowed_is_taken() {
        let plain = guard("none", &[&["8.8.8.8", "2606:4700::1111"]]);
        let found = plain.resolve("example.com", 443).await.unwrap();
        assert_eq!(found, ["8.8.8.8:443".parse().unwrap(), "[2606:4700::1111]:443".parse().unwrap()]);
        assert_eq!(plain.resolve("1.1.1.1", 22).await.unwrap(), ["1.1.1.1:22".parse().unwrap()]);
        assert_eq!(plain.resolve("[2606:4700::1111]", 22).await.unwrap(), ["[2606:4700::1111]:22".parse().unwrap()]);
        let own = guard("127.0.0.0/8,10.1.0.0/16", &[&["10.1.2.3", "8.8.8.8"]]);
        assert_eq!(own.resolve("127.0.0.1", 22).await.unwrap(), ["127.0.0.1:22".parse().unwrap()]);
        assert_eq!(own.resolve("db.example", 1).await.unwrap().len(), 2);
        assert_eq!(&*own.host("10.1.0.1").unwrap(), "10.1.0.1");
        assert!(own.host("10.2.0.1").unwrap_err().starts_with("is a private address, where"));
        assert_eq!(own.url("http://127.0.0.1:9000").unwrap().port(), Some(9_000));
    }

    #[tokio::test]
    async fn one_inner_address_among_many_is_enough_to_refuse() {
        for addresses in [&["8.8.8.8", "10.0.0.1"], &["127.0.0.1", "8.8.8.8"], &["2606:4700::1111", "::ffff:10.0.0.1"]]
        {
            let refused = guard("none", &[addresses]).resolve("two.example", 22).await.unwrap_err();
            assert!(matches!(&refused, Refused::Forbidden { host, .. } if host == "two.example"), "{refused}");
            assert!(!refused.to_string().contains("10.0.0.1"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_and_the_next_answer_is_judged_anew() {
        let rebinding = guard("none", &[&["8.8.8.8"], &["127.0.0.1"]]);
        assert_eq!(rebinding.resolve("rebind.example", 22).await.unwrap(), ["8.8.8.8:22".parse().unwrap()]);
        let second = rebinding.resolve("rebind.example", 22).await.unwrap_err();
        assert!(matches!(second, Refused::Forbidden { what: "a loopback address", .. }), "{second}");
    }

    #[tokio::test]
    async fn urls_lead_to_their_host_and_port() {
        let guard = guard("none", &[&["8.8.8.8"], &["8.8.8.8"], &["10.0.0.1"]]);
        let url = |text: &str| Url::parse(text).unwrap();
        let found = guard.resolve_url(&url("https://a.example/x")).await.unwrap();
        assert_eq!(found, ["8.8.8.8:443".parse().unwrap()]);
        let found = guard.resolve_url(&url("http://a.example:81/")).await.unwrap();
        assert_eq!(found, ["8.8.8.8:81".parse().unwrap()]);
        // Where that one redirects to.
        let redirected = url("http://a.example:81/").join("//b.example/").unwrap();
        assert!(matches!(guard.resolve_url(&redirected).await, Err(Refused::Forbidden { .. })));
        let redirected = url("http://a.example:81/").join("http://2130706433/").unwrap();
        assert!(matches!(guard.resolve_url(&redirected).await, Err(Refused::Forbidden { .. })));
        assert!(guard.resolve_url(&url("data:text/plain,x")).await.is_err());
    }

    #[tokio::test]
    async fn names_that_are_not_there_are_told_apart_from_a_resolver_that_fails() {
        #[derive(Debug)]
        struct Failing(io::ErrorKind);
        impl Resolve for Failing {
            fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
                Box::pin(async { Err(self.0.into()) })
            }
        }
        let cases = [(io::ErrorKind::NotFound, Retry::Never), (io::ErrorKind::TimedOut, Retry::Later)];
        for (kind, retry) in cases {
            let guard = Guard::with_resolver(AllowedNetworks::default(), Arc::new(Failing(kind)));
            assert_eq!(guard.resolve("a.example", 22).await.unwrap_err().retry(), retry);
        }
        let empty = guard("none", &[&[]]).resolve("a.example", 22).await;
        assert!(matches!(empty, Err(Refused::Unknown { .. })));
        let unknown = sorted(io::Error::other("failed to lookup address information: Name or service not known"));
        assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn the_system_knows_its_own_name() {
        let own = Guard::new(AllowedNetworks::loopback_and_private());
        assert!(own.resolve("localhost", 80).await.unwrap().iter().all(|found| found.ip().is_loopback()));
        let refused = Guard::new(AllowedNetworks::default()).resolve("localhost", 80).await.unwrap_err();
        let words = "host localhost leads to a loopback address, where this installation does not connect to; its operator \
                     can allow that network with HOLDFAST_ALLOW_NETWORKS";
        assert_eq!(refused.to_string(), words);
    }
}
