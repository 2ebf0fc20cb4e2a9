//! Host and login names of servers: valid by construction, so that nothing downstream has to escape them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use url::Url;

/// A host name, an IPv4 or an IPv6 address (without brackets).
///
/// Letters, digits, dots, dashes, underscores and colons only, no leading dash, at most 253 characters. What is neither
/// an address nor a name, but that `getaddrinfo` would take for an address (`127.1`, `0x7f000001`), is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

/// A name to log in with: 1 to 64 letters, digits and `._@+-`, no leading dash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoginName(String);

impl Host {
    /// Takes `text` as a host; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if bare.contains(':') {
            let address = bare.parse::<Ipv6Addr>();
            return address.map(|address| Self(address.to_string())).map_err(|_| "is not an IPv6 address");
        }
        if text.parse::<Ipv4Addr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > 253 || !name.split('.').all(is_label) {
            return Err("must be a host name or address: letters, digits, dots and dashes, no leading dash");
        }
        // The rule of <https://url.spec.whatwg.org/#ends-in-a-number-checker>.
        let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
            return Err("looks like a number; write an IPv4 address as four decimal numbers");
        }
        Ok(Self(name.to_owned()))
    }

    /// The host of an absolute URL with an authority, and the URL.
    ///
    /// It has to be written as [`Host::parse`] takes one. URL parsers take more: they make `127.0.0.1` of `127.1`,
    /// `0x7f000001`, `%3127.0.0.1` and of full-width digits, and drop line breaks.
    pub fn of_url(text: &str) -> Result<(Self, Url), &'static str> {
        let form = "must be a whole url, as in https://example.com";
        let url = Url::parse(text).map_err(|_| form)?;
        // Some parsers take a backslash for a slash and some do not, so it hides where the host ends.
        if text.contains('\\') {
            return Err(form);
        }
        let (_, rest) = text.split_once("://").ok_or(form)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let with_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let written = with_port.strip_suffix(&port).unwrap_or(with_port);
        let host = Self::parse(written.strip_suffix(default_port(&url)).unwrap_or(written))?;
        // Both parsers have to see the same, or one of them is being fooled.
        let seen = url.host_str().map(Self::parse).transpose()?;
        if !seen.is_some_and(|seen| seen.eq_ignore_ascii_case(&host)) {
            return Err(form);
        }
        Ok((host, url))
    }

    /// The address, where it is one and no name.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

/// How a URL may spell the port that it would have anyway; parsers drop it.
fn default_port(url: &Url) -> &'static str {
    match url.scheme() {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    }
}

impl LoginName {
    /// Takes `text` as a login name; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte));
        if !clean || text.starts_with('-') || !(1..=64).contains(&text.len()) {
            return Err("must be 1 to 64 letters, digits, dots, dashes, underscores, @ or +, with no leading dash");
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_label(label: &str) -> bool {
    let clean = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    clean && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
}

macro_rules! text_of {
    ($name:ident) => {
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text_of!(Host);
text_of!(LoginName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_and_addresses() {
        let cases = [
            ("10.0.33.142", "10.0.33.142"),
            ("db-1.example.com", "db-1.example.com"),
            ("db_1.internal.", "db_1.internal"),
            ("localhost", "localhost"),
            ("::1", "::1"),
            ("[2001:DB8:0::1]", "2001:db8::1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1and1.com", "1and1.com"),
        ];
        for (given, kept) in cases {
            assert_eq!(&*Host::parse(given).unwrap(), kept, "{given}");
        }
    }

    #[test]
    fn refuses_what_could_mean_something_else() {
        let long = "a".repeat(254);
        let cases = [
            "",
            " ",
            "-oProxyCommand=x",
            "a b",
            "a\nb",
            "host\n",
            " host",
            "a;b",
            "$(x)",
            "user@host",
            "host:22",
            "a..b",
            ".a",
            "a.-b",
            "a-.b",
            "fe80::1%eth0",
            "[::1",
            "2130706433",
            "0xA9FEA9FE",
            "127.1",
            "1.2.3.4.5",
            "a.0x1",
            "1.2.3.256",
            "0177.0.0.1",
            "0x7f.1",
            "017700000001",
            "127.0.0.01",
            "127.0.0.1.",
            "localhost..",
            "１２７.0.0.1",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "127．0．0．1",
            "loc\u{ad}alhost",
            "[127.0.0.1]",
            "[localhost]",
            "::1]",
            "::1%lo",
            "::ffff:127.1",
            "127.0.0.1\0",
            "bücher.example",
            "a/b",
            "%h",
            long.as_str(),
        ];
        for text in cases {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn urls_name_hosts_in_our_own_spelling_only() {
        let cases = [
            ("https://minio.example.com:9000", "minio.example.com"),
            ("https://minio.example.com:443/a?b#c", "minio.example.com"),
            ("https://Example.COM", "Example.COM"),
            ("http://127.0.0.1:80", "127.0.0.1"),
            ("http://[::1]:9000/", "::1"),
            ("https://[2606:4700::1111]", "2606:4700::1111"),
            ("https://example.com.", "example.com"),
            ("https://user:pass@example.com/", "example.com"),
        ];
        for (text, host) in cases {
            assert_eq!(&*Host::of_url(text).unwrap().0, host, "{text}");
        }
        let tricks = [
            "http://2130706433",
            "http://2130706433:80",
            "http://0x7f000001",
            "http://0x7f.1",
            "http://0177.0.0.1",
            "http://017700000001",
            "http://127.1",
            "http://127.0.1",
            "http://127.0.0.1.",
            "http://%31%32%37.0.0.1",
            "http://127。0。0。1",
            "http://１２７.0.0.1",
            "http://①②⑦.0.0.1",
            "http://127.0.0.1%00.example.com",
            "http://127.0.\n0.1",
            "http:127.0.0.1",
            "http:/127.0.0.1",
            "http:\\\\127.0.0.1",
            "http://example.com\\@127.0.0.1",
            "http://[::1%25lo]",
            "http://[127.0.0.1]",
            "http://bücher.example",
            "http://loc\u{ad}alhost",
            "http://ⓛocalhost",
            "mailto:a@example.com",
            "//example.com",
            "",
        ];
        for text in tricks {
            assert!(Host::of_url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn takes_and_refuses_login_names() {
        for text in ["root", "backup-user", "a.b_c", "user@realm", "0day"] {
            assert_eq!(&*LoginName::parse(text).unwrap(), text);
        }
        let long = "a".repeat(65);
        for text in ["", "-l", "a b", "a\n", "%u", "a;b", "a'b", "DOMAIN\\user", "ü", long.as_str()] {
            assert!(LoginName::parse(text).is_err(), "{text:?}");
        }
    }
}
