//! Notification streams.

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::notification_stream::NotificationStream;
use crate::error::Result;

impl Table {
    /// One notification stream.
    pub(crate) async fn notification_stream(&self, account: &AccountId, id: u64) -> Result<Option<NotificationStream>> {
        self.get(&keys::notification_stream(account, id)).await
    }

    /// Puts a new notification stream.
    pub(crate) async fn create_notification_stream(
        &self,
        account: &AccountId,
        stream: &NotificationStream,
    ) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&stream.name, stream.id)),
            ("by_created", sorted_by(&sortable(stream.created_at), stream.id)),
        ];
        let put = Write::put_new(&keys::notification_stream(account, stream.id), stream, indexes)?;
        self.transact(vec![put, count(account, Noun::NotificationStream, 1)]).await
    }

    /// Replaces what its owner may change; `No` when it was edited meanwhile, or is gone.
    pub(crate) async fn update_notification_stream(
        &self,
        account: &AccountId,
        seen: &NotificationStream,
        next: &NotificationStream,
    ) -> Result<Written> {
        let update = Update::of(keys::notification_stream(account, seen.id)).set_record(next, &[])?;
        let update = update.set("by_name", sorted_by(&next.name, next.id));
        self.write(update.only_if(Condition::equals("revision", seen.revision)).into()).await
    }

    /// Removes a notification stream; `No` when it was edited meanwhile, or is gone.
    pub(crate) async fn delete_notification_stream(
        &self,
        account: &AccountId,
        seen: &NotificationStream,
    ) -> Result<Written> {
        let delete = Write::delete(keys::notification_stream(account, seen.id));
        let delete = delete.only_if(Condition::equals("revision", seen.revision));
        self.transact(vec![delete, count(account, Noun::NotificationStream, -1)]).await
    }

    /// One page of the account's notification streams.
    pub(crate) async fn list_notification_streams(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<NotificationStream>> {
        self.page(Query { order, limit, after, ..Query::of(keys::notification_streams(account)) }).await
    }
}
