//! Timezone: an IANA zone by its name, known to exist.

use std::fmt;
use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// The zones that are compiled in, so that an answer does not depend on the machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// An IANA timezone such as `Europe/Berlin`, in the spelling of the database. Stored as its name; the default is `UTC`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timezone {
    name: String,
    rules: TimeZone,
}

impl Timezone {
    /// Looks a zone up by its name, in any case. The error is a message for its writer.
    pub fn parse(name: &str) -> Result<Self, String> {
        let rules = ZONES.get(name.trim()).map_err(|_| unknown(name))?;
        let name = rules.iana_name().ok_or_else(|| unknown(name))?.to_owned();
        Ok(Self { name, rules })
    }

    /// The zone's name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The zone's offsets and changes.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }
}

fn unknown(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("timezone `{name}` is not known; use an IANA name such as UTC or Europe/Berlin")
}

impl Default for Timezone {
    fn default() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl TryFrom<String> for Timezone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name)
    }
}

impl From<Timezone> for String {
    fn from(timezone: Timezone) -> Self {
        timezone.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_zones_in_their_own_spelling() {
        assert_eq!(Timezone::parse("europe/BERLIN").unwrap().as_str(), "Europe/Berlin");
        assert_eq!(Timezone::parse("UTC").unwrap(), Timezone::default());
        for name in ["", "Mars/Olympus", "+02:00", "Europe/Berlin\n0", "../etc/passwd", "CEST"] {
            let found = Timezone::parse(name).map(|zone| zone.name);
            assert!(found.is_err(), "{name:?} {found:?}");
        }
    }

    #[test]
    fn stored_as_a_name() {
        let text = serde_json::to_string(&Timezone::parse("America/Mexico_City").unwrap()).unwrap();
        assert_eq!(text, "\"America/Mexico_City\"");
        assert_eq!(serde_json::from_str::<Timezone>(&text).unwrap().as_str(), "America/Mexico_City");
    }
}
