//! The table's keys and indexes, as the local runner makes them. On AWS the template makes the same.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, LocalSecondaryIndex, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};

use super::{Table, keys};
use crate::error::{Error, Result};

/// The most that DynamoDB allows. Each is narrow: a row of it holds the keys and [`FILTERED`], so that a record is stored
/// once, a heartbeat rewrites no index, and a partition stays far below the 10 GB that a table with local indexes allows.
const LOCAL_INDEXES: [&str; 5] = [keys::ID_INDEX, "by_name", "by_ran", "by_created", "by_changed"];
/// What lists filter by while they are sorted by something else.
const FILTERED: [&str; 2] = ["by_ran", "by_changed"];
const KEY_ATTRIBUTES: [&str; 9] =
    ["pk", "sk", keys::ID_INDEX, "by_name", "by_ran", "by_created", "by_changed", "due_kind", "due_at"];

impl Table {
    /// Makes the table and its TTL; does nothing where it exists.
    pub async fn create_if_missing(&self) -> Result<()> {
        if self.is_ready().await {
            return Ok(());
        }
        let mut request = self.client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        for name in KEY_ATTRIBUTES {
            request = request.attribute_definitions(text_attribute(name)?);
        }
        for element in key_schema("pk", "sk")? {
            request = request.key_schema(element);
        }
        for index in LOCAL_INDEXES {
            let index = LocalSecondaryIndex::builder()
                .index_name(index)
                .set_key_schema(Some(key_schema("pk", index)?))
                .projection(what_is_filtered(index))
                .build()
                .map_err(Error::internal)?;
            request = request.local_secondary_indexes(index);
        }
        let due = GlobalSecondaryIndex::builder()
            .index_name(keys::DUE_INDEX)
            .set_key_schema(Some(key_schema("due_kind", "due_at")?))
            .projection(everything())
            .build()
            .map_err(Error::internal)?;
        let made = request.global_secondary_indexes(due).send().await;
        made.map_err(|error| Error::unavailable("the table", error))?;
        self.enable_ttl().await
    }

    async fn enable_ttl(&self) -> Result<()> {
        let ttl = TimeToLiveSpecification::builder().attribute_name("ttl").enabled(true).build();
        let ttl = ttl.map_err(Error::internal)?;
        let set = self.client.update_time_to_live().table_name(&self.name).time_to_live_specification(ttl).send().await;
        set.map_err(|error| Error::unavailable("the table", error))?;
        Ok(())
    }
}

/// The attributes of [`FILTERED`], but for the index's own.
fn what_is_filtered(index: &str) -> Projection {
    let others = FILTERED.into_iter().filter(|attribute| *attribute != index).map(str::to_owned).collect();
    Projection::builder().projection_type(ProjectionType::Include).set_non_key_attributes(Some(others)).build()
}

fn everything() -> Projection {
    Projection::builder().projection_type(ProjectionType::All).build()
}

fn text_attribute(name: &str) -> Result<AttributeDefinition> {
    let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
    attribute.build().map_err(Error::internal)
}

fn key_schema(hash: &str, range: &str) -> Result<Vec<KeySchemaElement>> {
    [(hash, KeyType::Hash), (range, KeyType::Range)]
        .into_iter()
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build())
        .collect::<std::result::Result<_, _>>()
        .map_err(Error::internal)
}
