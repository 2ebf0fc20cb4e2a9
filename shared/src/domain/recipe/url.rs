//! URL: what a web server answers to one `GET`.

use ::url::Url;
use serde::{Deserialize, Serialize};

use super::field::{COMPRESSION_LEVEL, DEFAULT_COMPRESSION_LEVEL, FieldDefinition, FieldKind, Need, Setting};
use super::reader::ConfigReader;
use super::{Config, Recipe, RecipeDefinition};
use crate::domain::host::Host;
use crate::domain::sealed::{Sealed, Secret};

/// The longest URL, bytes.
const MAX_URL_BYTES: usize = 2_048;

/// Settings of a URL backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlConfig {
    /// `http` or `https`, in its canonical form; always there. Sealed for the job and the field's key, since it can hold
    /// credentials.
    pub url: Option<Sealed>,
    /// Whether what is downloaded is compressed before it is stored.
    #[serde(default)]
    pub use_compression: bool,
    /// zstd level 1 to 19, where it is compressed.
    pub compression_level: u8,
}

pub(super) static DEFINITION: RecipeDefinition = RecipeDefinition {
    id: 1001,
    slug: "url-backups",
    label: "URL Backups",
    serverless: true,
    fields: &[
        FieldDefinition::new(FieldKind::Text, "url", "Download URL", "an http or https URL; without a scheme https")
            .needed(Need::Always)
            .sealed()
            .reached(),
        FieldDefinition::checkbox("use_compression", "Compress Download?", "compresses before storing"),
        COMPRESSION_LEVEL,
    ],
    blank: || Recipe::UrlBackups(UrlConfig::default()),
};

impl Default for UrlConfig {
    fn default() -> Self {
        Self { url: None, use_compression: false, compression_level: DEFAULT_COMPRESSION_LEVEL }
    }
}

impl Config for UrlConfig {
    fn definition(&self) -> &'static RecipeDefinition {
        &DEFINITION
    }

    fn read(&mut self, reader: &mut ConfigReader<'_>) {
        reader.secret("url", url, &mut self.url);
        reader.flag("use_compression", &mut self.use_compression);
        reader.compression_level(&mut self.compression_level);
    }

    fn settings(&self) -> Vec<Setting<'_>> {
        vec![
            Setting::Secret(self.url.is_some()),
            Setting::Flag(self.use_compression),
            Setting::Number(self.compression_level.into()),
        ]
    }

    fn secret(&mut self, key: &str) -> Option<&mut Option<Sealed>> {
        (key == "url").then_some(&mut self.url)
    }

    /// Nothing where the download is stored as it came.
    fn compression_level(&self) -> u8 {
        if self.use_compression { self.compression_level } else { 0 }
    }
}

/// Takes a URL of `http` or `https`; one without a scheme is `https`. No message quotes it.
fn url(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    let form = "must be a URL such as https://example.com/dump.gz";
    if text.len() > MAX_URL_BYTES {
        return Err(format!("must not be longer than {MAX_URL_BYTES} bytes"));
    }
    if text.contains(|one: char| one.is_control() || one.is_whitespace() || one == '\\') {
        return Err("must not hold blanks, backslashes, line breaks or other control characters".to_owned());
    }
    let is_scheme = |head: &str| head.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let has_scheme = text.split_once("://").is_some_and(|(head, _)| is_scheme(head));
    let whole = if has_scheme { text.to_owned() } else { format!("https://{text}") };
    let mut url = Url::parse(&whole).map_err(|_| form)?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("must begin with https:// or http://".to_owned());
    }
    Host::parse(url.host_str().unwrap_or_default()).map_err(|_| form)?;
    url.set_fragment(None);
    match url.as_str().len() > MAX_URL_BYTES {
        true => Err(format!("must not be longer than {MAX_URL_BYTES} bytes")),
        false => Ok(Secret::new(url.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_urls_with_and_without_a_scheme() {
        let cases = [
            ("example.com", "https://example.com/"),
            (" example.com/a.gz ", "https://example.com/a.gz"),
            ("example.com:8080/x", "https://example.com:8080/x"),
            ("http://example.com", "http://example.com/"),
            ("HTTPS://u:p%40ss@Example.com/a?b=c#d", "https://u:p%40ss@example.com/a?b=c"),
            ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
            ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/"),
            ("example.com/?next=http://other.example", "https://example.com/?next=http://other.example"),
        ];
        for (given, kept) in cases {
            assert_eq!(url(given).map(|secret| secret.expose().to_owned()), Ok(kept.to_owned()), "{given}");
        }
    }

    #[test]
    fn refuses_everything_else_without_quoting_it() {
        let long = format!("https://example.com/hunter2{}", "x".repeat(MAX_URL_BYTES));
        let cases = [
            "ftp://u:hunter2@example.com/",
            "file:///etc/passwd?hunter2",
            "gopher://example.com/hunter2",
            "https://",
            "https://u:hunter2@",
            "https:///",
            "https://a b/hunter2",
            "https://example.com/hunter2\r\nHost: x",
            "https://example.com\\@hunter2.example",
            "https://u:hunter2@example.com:99999/",
            "https://-x.hunter2/",
            "javascript:hunter2",
            "https://[::1",
            "https://1.2.3.4.5/hunter2",
            long.as_str(),
        ];
        for text in cases {
            let message = url(text).expect_err(text);
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_a_bounded_url_that_is_taken_again(text in "[a-zA-Z0-9:/@.?#\\[\\]%&= -]{1,60}|\\PC{1,40}") {
            if let Ok(taken) = url(&text) {
                let parsed = Url::parse(taken.expose()).unwrap();
                prop_assert!(["http", "https"].contains(&parsed.scheme()) && parsed.has_host());
                prop_assert!(taken.expose().len() <= MAX_URL_BYTES && !taken.expose().contains(char::is_control));
                prop_assert_eq!(url(taken.expose()), Ok(taken));
            }
        }
    }
}
