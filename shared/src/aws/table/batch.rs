//! Many records by their keys at once: what a page shows costs a few requests, not a few for each of its rows.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::{Item, Key, Table, read};
use crate::error::{Error, Result};

/// The most keys of one `BatchGetItem`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MAX_KEYS: usize = 100;
/// How many such requests are under way at once.
const AT_ONCE: usize = 4;
/// How often what DynamoDB left out (throttled, or over 16 MB) is asked for again.
const MAX_TRIES: u32 = 8;
/// The first pause before asking again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Records that were found, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Records(HashMap<Key, Item>);

impl Records {
    /// The record under a key; `None` when there is none. The same one can be asked for again.
    pub fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>> {
        self.0.get(key).cloned().map(read).transpose()
    }

    /// Takes other ones in.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether there is a record under a key.
    pub fn has(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// The item under a key, as it is stored.
    pub(super) fn item(&self, key: &Key) -> Option<&Item> {
        self.0.get(key)
    }

    /// The record under a key, which cannot be asked for again.
    pub fn take<T: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<T>> {
        self.0.remove(key).map(read).transpose()
    }
}

impl Table {
    /// Reads records, strongly consistent; a key that stands there twice is read once.
    pub(crate) async fn records(&self, mut keys: Vec<Key>) -> Result<Records> {
        keys.sort_unstable_by(|one, other| (&one.pk, &one.sk).cmp(&(&other.pk, &other.sk)));
        keys.dedup();
        let chunks: Vec<_> =
            keys.chunks(MAX_KEYS).map(|chunk| self.chunk(chunk.iter().map(Key::attributes).collect())).collect();
        let found: Vec<Vec<Item>> = stream::iter(chunks).buffer_unordered(AT_ONCE).try_collect().await?;
        let keyed = found.into_iter().flatten().filter_map(|item| Some((key_of(&item)?, item)));
        Ok(Records(keyed.collect()))
    }

    async fn chunk(&self, mut keys: Vec<Item>) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(keys.len());
        let mut pause = FIRST_PAUSE;
        for _ in 0..MAX_TRIES {
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let wanted = wanted.map_err(Error::internal)?;
            let answer = self.client.batch_get_item().request_items(&self.name, wanted).send().await;
            let answer = answer.map_err(|error| Error::unavailable("the table", error))?;
            items.extend(answer.responses.into_iter().flatten().flat_map(|(_, items)| items));
            keys = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, left)| left.keys).collect();
            if keys.is_empty() {
                return Ok(items);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::unavailable("the table", "it left keys unprocessed again and again"))
    }
}

fn key_of(item: &Item) -> Option<Key> {
    let text = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text.clone()),
        _ => None,
    };
    Some(Key { pk: text("pk")?, sk: text("sk")? })
}
