//! Logins: how servers and proxies say the same things about an SSH host.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::login::{DEFAULT_PORT, Host, HostKey, HostKeySource, Login, LoginEdit, LoginName};
use holdfast_shared::domain::ssh_key::SshKey;
use holdfast_shared::service::Service;
use serde_json::{Value, json};

use crate::http::fields::MAX_NAME_CHARS;
use crate::http::schema::{Member, Schema, id, integer_in, line, object, optional, required, text, time};
use crate::http::{Fields, rfc3339};

/// The members of a body, where those that a host cannot do without are `demanded`.
pub(super) fn members(demanded: fn(&'static str, Schema) -> Member) -> Vec<Member> {
    vec![
        demanded("name", line(MAX_NAME_CHARS)),
        demanded("host", line(255).described("a host name or an address; also ssh_host")),
        optional("port", integer_in(1..=65_535).default(DEFAULT_PORT).described("also ssh_port")),
        demanded("user", line(64).described("also ssh_user")),
        demanded("ssh_key", id().described("id of an SSH key; also ssh_key_id")),
        optional("host_key", text().described("a known_hosts line or a SHA256 fingerprint")),
    ]
}

/// Names that a member goes by in other documents.
pub(super) fn aliased(fields: Fields<'_>) -> Fields<'_> {
    fields.alias("host", "ssh_host").alias("port", "ssh_port").alias("user", "ssh_user").alias("ssh_key", "ssh_key_id")
}

/// Whether a host has to be reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReachedFrom {
    /// From here, where the guard lets us.
    Here,
    /// Maybe from a proxy, where addresses of an inner network are what they are on its own. Whoever connects without one
    /// asks the guard.
    Proxy,
}

impl ReachedFrom {
    fn host(self, service: &Service, text: &str) -> Result<Host, String> {
        match self {
            Self::Here => service.aws.outside.guard.host(text),
            Self::Proxy => Ok(Host::parse(text)?),
        }
    }
}

/// Reads how a new host is reached.
pub(super) fn read_new(service: &Service, from: ReachedFrom, fields: &mut Fields<'_>) -> Option<Login> {
    let host = fields.required("host", |text| from.host(service, text));
    let port = read_port(fields).unwrap_or(DEFAULT_PORT);
    let user = fields.required("user", LoginName::parse);
    let ssh_key_id = fields.required_id("ssh_key");
    let host_key = read_host_key(service, fields, HostKeySource::Given);
    Some(Login { host: host?, port, user: user?, ssh_key_id: ssh_key_id?, host_key })
}

/// Reads what changes of how a host is reached.
pub(super) fn read_edit(service: &Service, from: ReachedFrom, fields: &mut Fields<'_>) -> LoginEdit {
    LoginEdit {
        host: fields.optional("host", |text| from.host(service, text)),
        port: read_port(fields),
        user: fields.optional("user", LoginName::parse),
        ssh_key_id: fields.optional_id("ssh_key"),
        host_key: read_host_key(service, fields, HostKeySource::Given),
    }
}

/// Reads the key that is accepted in place of the pinned one; `None` for whichever the next connection sees.
pub(super) fn read_accepted(service: &Service, mut fields: Fields<'_>) -> holdfast_shared::Result<Option<HostKey>> {
    let key = read_host_key(service, &mut fields, HostKeySource::Accepted);
    fields.finish(|| Some(key))
}

fn read_port(fields: &mut Fields<'_>) -> Option<u16> {
    fields.optional_integer("port", 1..=65_535).and_then(|port| u16::try_from(port).ok())
}

fn read_host_key(service: &Service, fields: &mut Fields<'_>, source: HostKeySource) -> Option<HostKey> {
    fields.optional("host_key", |text| HostKey::parse(text, source, service.clock.now()))
}

/// A pinned key as every answer shows it.
pub(super) fn host_key(key: &HostKey) -> Value {
    json!({ "fingerprint": key.fingerprint, "source": key.source, "pinned_at": rfc3339(key.pinned_at) })
}

/// The form of [`host_key`].
pub(super) fn host_key_schema() -> Schema {
    object([required("fingerprint", text()), required("source", text()), required("pinned_at", time())])
}

/// The SSH keys of a page's hosts, by id, each read once.
pub(super) async fn keys_of(
    service: &Service,
    account: &AccountId,
    ids: Vec<u64>,
) -> holdfast_shared::Result<HashMap<u64, SshKey>> {
    let mut keys = HashMap::new();
    for id in ids {
        if let Entry::Vacant(place) = keys.entry(id) {
            place.insert(service.ssh_key(account, id).await?);
        }
    }
    Ok(keys)
}
