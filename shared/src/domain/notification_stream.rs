//! A notification stream: where its owner wants to be told what came of backups. It is stored and checked here.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::host::Host;
use super::sealed::{Sealed, Secret};
use crate::error::FieldErrors;

/// The longest value of a setting, characters.
pub const MAX_SETTING_CHARS: usize = 2_048;
/// The longest address of a mailbox, characters (<https://www.rfc-editor.org/errata/eid1690>).
const MAX_EMAIL_CHARS: usize = 254;

/// A service that passes notifications on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Mail.
    Email,
    /// <https://api.slack.com/messaging/webhooks>
    Slack,
    /// <https://discord.com/developers/docs/resources/webhook>
    Discord,
    /// <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>
    Teams,
    /// <https://core.telegram.org/bots/api#sendmessage>
    Telegram,
    /// <https://pushover.net/api>
    Pushover,
    /// A URL of its owner's own.
    Webhook,
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEvent {
    /// A backup failed.
    Failed,
    /// A backup is there, but not of everything.
    CompletedWithErrors,
    /// A backup that was due did not run.
    Missed,
    /// A backup is there.
    Completed,
}

/// One thing that a kind of stream has to know.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether it is sealed and never shown.
    pub is_secret: bool,
    /// Whether the stream cannot do without.
    pub is_required: bool,
    form: Form,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Line,
    Url,
    Email,
    BotToken,
    ChatId,
    PushoverKey,
}

const URL: Setting = Setting { name: "url", is_secret: true, is_required: true, form: Form::Url };
const EMAIL: Setting = Setting { name: "email", is_secret: false, is_required: true, form: Form::Email };
const BOT_TOKEN: Setting = Setting { name: "bot_token", is_secret: true, is_required: true, form: Form::BotToken };
const CHAT_ID: Setting = Setting { name: "chat_id", is_secret: false, is_required: true, form: Form::ChatId };
const APP_TOKEN: Setting = Setting { name: "app_token", is_secret: true, is_required: true, form: Form::PushoverKey };
const USER_KEY: Setting = Setting { name: "user_key", is_secret: true, is_required: true, form: Form::PushoverKey };
const SECRET: Setting = Setting { name: "secret", is_secret: true, is_required: false, form: Form::Line };

impl Setting {
    /// All settings of all kinds.
    pub const ALL: [Self; 7] = [EMAIL, URL, SECRET, BOT_TOKEN, CHAT_ID, APP_TOKEN, USER_KEY];

    /// Takes a value; the error says what is wrong with it and quotes nothing. A URL may be plain `http` only where
    /// `allow_http`, as on one's own machine.
    pub fn parse(&self, text: &str, allow_http: bool) -> Result<Secret, String> {
        check_line(text)?;
        match self.form {
            Form::Line => Ok(()),
            Form::Url => check_url(text, allow_http),
            Form::Email => check_email(text),
            Form::BotToken => check_bot_token(text),
            Form::ChatId => check_chat_id(text),
            Form::PushoverKey => check_pushover_key(text),
        }?;
        Ok(Secret::new(text))
    }

    /// Whether its value is a URL that will be connected to.
    pub fn is_url(&self) -> bool {
        self.form == Form::Url
    }
}

impl StreamKind {
    /// The words on the wire, in the order of [`StreamKind::ALL`].
    pub const NAMES: [&str; 7] = ["email", "slack", "discord", "teams", "telegram", "pushover", "webhook"];
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Email, Self::Slack, Self::Discord, Self::Teams, Self::Telegram, Self::Pushover, Self::Webhook];

    /// The kind that `word` names; the error lists them.
    pub fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().zip(Self::NAMES).find(|(_, name)| *name == word);
        found.map(|(kind, _)| kind).ok_or_else(|| format!("must be one of {}", Self::NAMES.join(", ")))
    }

    /// What it has to know.
    pub fn settings(self) -> &'static [Setting] {
        match self {
            Self::Email => &[EMAIL],
            Self::Slack | Self::Discord | Self::Teams => &[URL],
            Self::Telegram => &[BOT_TOKEN, CHAT_ID],
            Self::Pushover => &[APP_TOKEN, USER_KEY],
            Self::Webhook => &[URL, SECRET],
        }
    }

    /// Whether it knows a setting of that name.
    pub fn has(self, setting: &str) -> bool {
        self.settings().iter().any(|own| own.name == setting)
    }
}

impl StreamEvent {
    /// The words on the wire, in the order of [`StreamEvent::ALL`].
    pub const NAMES: [&str; 4] = ["failed", "completed_with_errors", "missed", "completed"];
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Failed, Self::CompletedWithErrors, Self::Missed, Self::Completed];
    /// What is told unless its owner says otherwise: all that somebody has to look after.
    pub const DEFAULT: [Self; 3] = [Self::Failed, Self::CompletedWithErrors, Self::Missed];

    /// The event that `word` names; the error lists them.
    pub fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().zip(Self::NAMES).find(|(_, name)| *name == word);
        found.map(|(event, _)| event).ok_or_else(|| format!("must be one of {}", Self::NAMES.join(", ")))
    }
}

/// Where its owner wants to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotificationStream {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// What passes the notifications on; it never changes.
    pub kind: StreamKind,
    /// Settings that can be shown, by name.
    pub settings: BTreeMap<String, String>,
    /// The other ones, sealed.
    pub secrets: BTreeMap<String, Sealed>,
    /// What is told, each once.
    pub events: Vec<StreamEvent>,
    /// Whether anything is told.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// Counts its owner's edits, from 1: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
}

/// Values of settings by name, as their owner states them.
pub type SettingValues = BTreeMap<&'static str, Secret>;

/// What its owner says of a new stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotificationStream {
    /// What to call it.
    pub name: String,
    /// What passes the notifications on.
    pub kind: StreamKind,
    /// Its settings.
    pub settings: SettingValues,
    /// What is told; see [`check_events`].
    pub events: Vec<StreamEvent>,
    /// Whether anything is told.
    pub enabled: bool,
}

/// What its owner changes of a stream; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationStreamEdit {
    /// What to call it.
    pub name: Option<String>,
    /// The settings that change.
    pub settings: SettingValues,
    /// The settings that go: only those that its kind can do without.
    pub cleared: Vec<&'static str>,
    /// What is told.
    pub events: Option<Vec<StreamEvent>>,
    /// Whether anything is told.
    pub enabled: Option<bool>,
}

/// A stream tells something, and nothing twice.
pub fn check_events(events: &[StreamEvent]) -> FieldErrors {
    let mut faults = FieldErrors::default();
    if events.is_empty() {
        faults.push("events", "must name at least one event; to be told nothing, set enabled to false");
    }
    let mut seen = HashSet::new();
    for (index, _) in events.iter().enumerate().filter(|(_, event)| !seen.insert(**event)) {
        faults.push(format!("events.{index}"), "is named twice");
    }
    faults
}

fn check_line(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) || text.trim() != text || text.is_empty() {
        return Err("must be one line, without spaces around it".to_owned());
    }
    match text.chars().count() > MAX_SETTING_CHARS {
        true => Err(format!("must not be longer than {MAX_SETTING_CHARS} characters")),
        false => Ok(()),
    }
}

fn check_url(text: &str, allow_http: bool) -> Result<(), String> {
    let refused = || "must be a URL such as https://hooks.example.com/…".to_owned();
    if text.chars().any(char::is_whitespace) || text.contains('\\') {
        return Err(refused());
    }
    let url = Url::parse(text).map_err(|_| refused())?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err("must use https: plain http would show it to the network".to_owned()),
        _ => return Err(refused()),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refused());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user name and no password".to_owned());
    }
    Ok(())
}

fn check_email(text: &str) -> Result<(), String> {
    let refused = || "must be the address of a mailbox, such as ops@example.com".to_owned();
    let (local, domain) = text.rsplit_once('@').ok_or_else(refused)?;
    // RFC 5322's atoms with dots between them: nothing that a header or an SMTP command could take for its own.
    let atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let named = domain.contains('.') && !domain.ends_with('.') && !domain.contains(':') && Host::parse(domain).is_ok();
    match local.split('.').all(atom) && local.len() <= 64 && named && text.len() <= MAX_EMAIL_CHARS {
        true => Ok(()),
        false => Err(refused()),
    }
}

fn check_bot_token(text: &str) -> Result<(), String> {
    let is_token = |(bot, key): (&str, &str)| {
        (1..=20).contains(&bot.len())
            && bot.bytes().all(|byte| byte.is_ascii_digit())
            && (20..=100).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    match text.split_once(':').is_some_and(is_token) {
        true => Ok(()),
        false => Err("must be a bot's token: its number, a colon and its key".to_owned()),
    }
}

fn check_chat_id(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = text.strip_prefix('@').is_some_and(|name| {
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    match is_number || is_name {
        true => Ok(()),
        false => Err("must be the number of a chat, or @ and the name of a channel".to_owned()),
    }
}

fn check_pushover_key(text: &str) -> Result<(), String> {
    match text.len() == 30 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(()),
        false => Err("must be 30 letters and digits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for (kind, name) in StreamKind::ALL.into_iter().zip(StreamKind::NAMES) {
            assert_eq!(StreamKind::parse(name), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
            assert!(kind.settings().iter().all(|own| Setting::ALL.iter().any(|setting| setting.name == own.name)));
        }
        for (event, name) in StreamEvent::ALL.into_iter().zip(StreamEvent::NAMES) {
            assert_eq!(StreamEvent::parse(name), Ok(event));
            assert_eq!(serde_json::to_value(event).unwrap(), name);
        }
        assert!(StreamKind::parse("fax").is_err() && StreamEvent::parse("all").is_err());
    }

    #[test]
    fn urls_are_https_without_credentials() {
        for text in
            ["https://hooks.slack.com/services/T0/B0/x", "https://example.com", "https://[2001:db8::1]:8443/a?b=c"]
        {
            assert!(URL.parse(text, false).is_ok(), "{text}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_SETTING_CHARS));
        let refused = [
            "",
            "http://example.com",
            "HTTP://example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "example.com/hook",
            "//example.com",
            "https://",
            "https://user@example.com",
            "https://user:pass@example.com",
            "https://:pass@example.com",
            "https://example.com\\@evil.example",
            "https://exa mple.com",
            " https://example.com",
            "https://example.com\nHost: x",
            "https://example.com\t",
            &long,
        ];
        for text in refused {
            assert!(URL.parse(text, false).is_err(), "{text}");
        }
        // On one's own machine plain http is taken too, and nothing else more.
        let plain = ["http://example.com", "HTTP://example.com"];
        for text in refused {
            assert_eq!(URL.parse(text, true).is_ok(), plain.contains(&text), "{text}");
        }
    }

    #[test]
    fn mailboxes_cannot_be_taken_for_anything_else() {
        for text in ["ops@example.com", "a.b+c@mail.example.co.uk", "o'neil@example.com"] {
            assert!(EMAIL.parse(text, false).is_ok(), "{text}");
        }
        let long = format!("{}@example.com", "x".repeat(65));
        let refused = [
            "",
            "ops",
            "@example.com",
            "ops@",
            "ops@localhost",
            "a..b@example.com",
            ".a@example.com",
            "a b@example.com",
            "ops@example.com,evil@example.com",
            "<ops@example.com>",
            "ops@example.com\r\nBcc: evil@example.com",
            "\"a\"@example.com",
            "ops@example.com.",
            &long,
        ];
        for text in refused {
            assert!(EMAIL.parse(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn tokens_have_the_form_of_their_service() {
        let key = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
        assert!(BOT_TOKEN.parse(&format!("123456:{key}"), false).is_ok());
        for text in [key, &format!("x:{key}"), "123456:short", &format!("123456:{key}/../x"), &format!(":{key}")] {
            assert!(BOT_TOKEN.parse(text, false).is_err(), "{text}");
        }
        for text in ["1", "-1001234567890", "@channel_name"] {
            assert!(CHAT_ID.parse(text, false).is_ok(), "{text}");
        }
        for text in ["", "-", "1.5", "@", "@a b", "channel", "--1"] {
            assert!(CHAT_ID.parse(text, false).is_err(), "{text}");
        }
        assert!(USER_KEY.parse("uQiRzpo4DXghDmr9QzzfQu27cmVRsG", false).is_ok());
        for text in ["", "short", "uQiRzpo4DXghDmr9QzzfQu27cmVRs-", "uQiRzpo4DXghDmr9QzzfQu27cmVRsGx"] {
            assert!(USER_KEY.parse(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn events_are_some_and_each_once() {
        assert!(check_events(&StreamEvent::ALL).is_empty() && check_events(&StreamEvent::DEFAULT).is_empty());
        let told =
            |events: &[StreamEvent]| check_events(events).iter().map(|(field, _)| field.to_owned()).collect::<Vec<_>>();
        assert_eq!(told(&[]), ["events"]);
        assert_eq!(told(&[StreamEvent::Missed, StreamEvent::Failed, StreamEvent::Missed]), ["events.2"]);
    }
}
