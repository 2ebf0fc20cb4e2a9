//! The table as it is stored, beside all that Holdfast would say of it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;

use crate::Installation;

/// An item's attributes.
pub type Item = HashMap<String, AttributeValue>;

/// Reads and writes items as they are.
#[derive(Debug, Clone)]
pub struct RawTable {
    client: Client,
    name: String,
}

impl RawTable {
    /// The table of an installation.
    pub fn of(installation: &Installation) -> Self {
        let aws = installation.stack.aws();
        let keys = aws.data().keys();
        Self::at(&aws.endpoints.dynamodb, &keys.access_key, keys.secret_key.expose())
    }

    /// The table of a process that serves a data folder.
    pub fn beside(data: &Path) -> Self {
        let [running, keys] = ["endpoints", "key"].map(|name| {
            let bytes = std::fs::read(data.join(name)).unwrap();
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
        });
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        Self::at(&text(&running["dynamodb"]), &text(&keys["access_key"]), &text(&keys["secret_key"]))
    }

    fn at(endpoint: &str, access_key: &str, secret_key: &str) -> Self {
        let own = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
            .endpoint_url(endpoint)
            .build();
        Self { client: Client::from_conf(own), name: "holdfast".to_owned() }
    }

    /// Every item.
    pub async fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let scan = self.client.scan().table_name(&self.name).set_exclusive_start_key(start).send().await.unwrap();
            items.extend(scan.items.unwrap_or_default());
            start = scan.last_evaluated_key;
            if start.is_none() {
                return items;
            }
        }
    }

    /// What is recorded below this beginning of a partition, by key, as text that is the same for the same content. What
    /// every request leaves is left out: its place in a window, and when its token was last used.
    pub async fn records(&self, pk_start: &str) -> BTreeMap<(String, String), String> {
        let key = |item: &Item, name: &str| item[name].as_s().unwrap().clone();
        let items = self.items().await.into_iter().map(|mut item| {
            item.remove("last_used_at");
            ((key(&item, "pk"), key(&item, "sk")), plain(&AttributeValue::M(item)))
        });
        items.filter(|((pk, _), _)| pk.starts_with(pk_start) && !pk.contains("#RATE#")).collect()
    }

    /// The one item whose partition ends so, and whose sort key does.
    pub async fn item(&self, pk_end: &str, sk_end: &str) -> Item {
        let ends = |item: &Item, name: &str, end: &str| item[name].as_s().unwrap().ends_with(end);
        let items = self.items().await.into_iter();
        let mut found: Vec<_> = items.filter(|item| ends(item, "pk", pk_end) && ends(item, "sk", sk_end)).collect();
        assert_eq!(found.len(), 1, "{pk_end} {sk_end}: {found:?}");
        found.remove(0)
    }

    /// Puts an item as it is.
    pub async fn put(&self, item: Item) {
        self.client.put_item().table_name(&self.name).set_item(Some(item)).send().await.unwrap();
    }

    /// Deletes an item.
    pub async fn delete(&self, item: &Item) {
        let delete = self.client.delete_item().table_name(&self.name);
        delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
    }
}

/// A value as text, members in order.
fn plain(value: &AttributeValue) -> String {
    match value {
        AttributeValue::M(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, value)| (name, plain(value))).collect();
            format!("{members:?}")
        }
        AttributeValue::L(elements) => format!("{:?}", elements.iter().map(plain).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}
