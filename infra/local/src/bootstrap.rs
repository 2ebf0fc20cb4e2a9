//! What the first start leaves behind: the table, an account, its storage and a token.
//!
//! Every step can be taken again, and the token's file comes last: a start that was broken off is made good by the next.

use holdfast_shared::aws::table::{Order, SortBy};
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::error::{Error, Result};
use holdfast_shared::service::Service;

use crate::data::Data;

/// Makes what is missing and answers the first account's token. A token file that was removed is made anew.
pub async fn bootstrap(service: &Service, data: &Data) -> Result<Secret> {
    service.aws.table.create_if_missing().await?;
    service.aws.scheduler.create_group_if_missing().await?;
    if let Some(token) = data.token().map_err(Error::internal)? {
        return Ok(token);
    }
    let account = &data.keys().account;
    service.ensure_account(account, "local").await?;
    let order = Order { by: SortBy::Id, descending: false };
    if service.list_storages(account, order, 1, None).await?.records.is_empty() {
        service.create_default_storage(account).await?;
    }
    let (_, token) = service.create_token(account, "first", vec!["*".to_owned()]).await?;
    data.keep_token(&token).map_err(Error::internal)?;
    Ok(token)
}
