//! Host and login names of servers: valid by construction, so that nothing downstream has to escape them.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

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
