//! Compute: where the dump of a job runs.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::{FieldReader, present};

/// What a compute can be sent with; `name` and `server` are what answers show of it, and are passed over.
const KNOWN: [&str; 5] = ["type", "server_id", "region", "name", "server"];

/// Where the dump runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Compute {
    /// Over SSH, with the tools of that host.
    Server {
        /// The server's id.
        server_id: u64,
    },
    /// In our own worker, which connects straight to the source.
    #[serde(rename = "ss_serverless")]
    Serverless {
        /// Which part of the world the worker is in.
        region: Region,
    },
}

/// A part of the world: `EU` or `US`, spelled as its owner did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

impl Compute {
    /// Its word on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Server { .. } => "server",
            Self::Serverless { .. } => "ss_serverless",
        }
    }

    /// The server on which the dump runs, if one does.
    pub fn server_id(&self) -> Option<u64> {
        match self {
            Self::Server { server_id } => Some(*server_id),
            Self::Serverless { .. } => None,
        }
    }

    /// Whether our own worker connects to the source.
    pub fn is_serverless(&self) -> bool {
        self.server_id().is_none()
    }

    /// Reads `{type, server_id}` or `{type, region}`. Without a type it is a server's; a member of the other type is
    /// passed over.
    pub(super) fn read(fields: &mut FieldReader, value: Option<&Value>) -> Option<Self> {
        let compute = fields.object("compute", value)?;
        fields.known("compute", compute, &KNOWN);
        let kind = fields.text("compute.type", compute.get("type"));
        if kind.is_none() && present(compute.get("type")).is_some() {
            return None;
        }
        match kind.unwrap_or("server") {
            "server" => {
                if present(compute.get("server_id")).is_none() {
                    return fields.refuse("compute.server_id", "is required");
                }
                fields.id("compute.server_id", compute.get("server_id")).map(|server_id| Self::Server { server_id })
            }
            "ss_serverless" | "serverless" => {
                if present(compute.get("region")).is_none() {
                    return fields.refuse("compute.region", "is required: EU or US");
                }
                let region = fields.text("compute.region", compute.get("region"))?;
                match Region::parse(region) {
                    Ok(region) => Some(Self::Serverless { region }),
                    Err(message) => fields.refuse("compute.region", message),
                }
            }
            "ss_agent" | "agent" => fields.refuse("compute.type", "agents are not available yet"),
            _ => fields.refuse("compute.type", "must be server or ss_serverless"),
        }
    }
}

impl Region {
    /// Takes `EU` or `US` in any case.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match ["EU", "US"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
            true => Ok(Self(text.to_owned())),
            false => Err("must be EU or US"),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Region {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (Option<Compute>, Vec<String>) {
        let mut fields = FieldReader::default();
        let compute = Compute::read(&mut fields, Some(&value));
        (compute, fields.faults.iter().map(|(field, all)| format!("{field} {}", all.join("; "))).collect())
    }

    fn serverless(region: &str) -> Compute {
        Compute::Serverless { region: Region::parse(region).unwrap() }
    }

    #[test]
    fn takes_servers_and_regions_in_every_spelling() {
        let server = Some(Compute::Server { server_id: 7 });
        for value in [
            json!({"type": "server", "server_id": 7}),
            json!({"server_id": "7"}),
            json!({"type": null, "server_id": 7}),
            json!({"type": "", "server_id": 7, "region": "mars"}),
            json!({"type": "server", "name": "web", "server_id": 7, "server": {"id": 7}}),
        ] {
            assert_eq!(read(value), (server.clone(), vec![]));
        }
        for region in ["EU", "eu", "Us"] {
            for kind in ["ss_serverless", "serverless"] {
                let (compute, faults) = read(json!({"type": kind, "region": region, "server_id": "ignored"}));
                assert_eq!((compute.as_ref(), faults.len()), (Some(&serverless(region)), 0), "{kind} {region}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (json!("server"), "compute must be an object"),
            (json!({"type": 3, "server_id": 1}), "compute.type must be text"),
            (json!({"type": "mainframe"}), "compute.type must be server or ss_serverless"),
            (json!({"type": "ss_agent"}), "compute.type agents are not available yet"),
            (json!({"type": "agent", "server_id": 1}), "compute.type agents are not available yet"),
            (json!({}), "compute.server_id is required"),
            (json!({"type": "server", "server_id": null}), "compute.server_id is required"),
            (json!({"type": "server", "server_id": 0}), "compute.server_id must be a whole number from 1"),
            (json!({"type": "ss_serverless"}), "compute.region is required: EU or US"),
            (json!({"type": "ss_serverless", "region": null}), "compute.region is required: EU or US"),
            (json!({"type": "ss_serverless", "region": 3}), "compute.region must be text"),
            (json!({"type": "ss_serverless", "region": "'eu'"}), "compute.region must be EU or US"),
            (json!({"type": "ss_serverless", "region": "asia"}), "compute.region must be EU or US"),
        ];
        for (value, told) in cases {
            assert_eq!(read(value.clone()), (None, vec![told.to_owned()]), "{value}");
        }
        let (_, faults) = read(json!({"server_id": 7, "zone": "a"}));
        assert_eq!(faults, ["compute.zone is not known here; check its spelling or leave it out"]);
    }

    #[test]
    fn is_stored_under_its_word_on_the_wire() {
        for compute in [Compute::Server { server_id: 7 }, serverless("eu")] {
            let stored = serde_json::to_value(&compute).unwrap();
            assert_eq!(stored["type"], compute.kind());
            assert_eq!(serde_json::from_value::<Compute>(stored).unwrap(), compute);
        }
        assert_eq!(serverless("eu").server_id(), None);
        assert!(serde_json::from_value::<Compute>(json!({"type": "ss_serverless", "region": "x"})).is_err());
    }
}
