//! Stacks; they are users of servers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written, count_user};
use crate::domain::account::AccountId;
use crate::domain::stack::Stack;
use crate::error::Result;

/// A row under a uid.
#[derive(Serialize, Deserialize)]
struct StackId {
    id: u64,
}

impl Table {
    /// One stack.
    pub(crate) async fn stack(&self, account: &AccountId, id: u64) -> Result<Option<Stack>> {
        self.get(&keys::stack(account, id)).await
    }

    /// The id of the stack with that uid.
    pub(crate) async fn stack_of_uid(&self, account: &AccountId, uid: Uuid) -> Result<Option<u64>> {
        let row: Option<StackId> = self.get(&keys::stack_of_uid(account, uid)).await?;
        Ok(row.map(|row| row.id))
    }

    /// Puts a new stack; `No` when one of its servers is gone.
    pub(crate) async fn create_stack(&self, account: &AccountId, stack: &Stack) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&stack.name, stack.id)),
            ("by_created", sorted_by(&sortable(stack.created_at), stack.id)),
        ];
        let mut writes = vec![
            Write::put_new(&keys::stack(account, stack.id), stack, indexes)?,
            Write::put_new(&keys::stack_of_uid(account, stack.uid), &StackId { id: stack.id }, [])?,
            count(account, Noun::Stack, 1),
        ];
        writes.extend(stack.servers.iter().map(|server| count_user(keys::server(account, *server), 1)));
        self.transact(writes).await
    }

    /// Replaces what its owner may change; `No` when it was edited meanwhile, or when a server that it newly names is gone.
    pub(crate) async fn update_stack(&self, account: &AccountId, seen: &Stack, next: &Stack) -> Result<Written> {
        let update = Update::of(keys::stack(account, seen.id)).set_record(next, &[])?;
        let update = update.set("by_name", sorted_by(&next.name, next.id));
        let mut writes = vec![update.only_if(Condition::equals("revision", seen.revision)).into()];
        let left = seen.servers.iter().filter(|server| !next.servers.contains(server)).map(|server| (server, -1));
        let joined = next.servers.iter().filter(|server| !seen.servers.contains(server)).map(|server| (server, 1));
        writes.extend(left.chain(joined).map(|(server, by)| count_user(keys::server(account, *server), by)));
        self.transact(writes).await
    }

    /// Removes a stack; `No` when it was edited meanwhile, or is gone.
    pub(crate) async fn delete_stack(&self, account: &AccountId, seen: &Stack) -> Result<Written> {
        let unedited = Condition::equals("revision", seen.revision);
        let mut writes = vec![
            Write::delete(keys::stack(account, seen.id)).only_if(unedited),
            Write::delete(keys::stack_of_uid(account, seen.uid)),
            count(account, Noun::Stack, -1),
        ];
        writes.extend(seen.servers.iter().map(|server| count_user(keys::server(account, *server), -1)));
        self.transact(writes).await
    }

    /// One page of the account's stacks.
    pub(crate) async fn list_stacks(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Stack>> {
        self.page(Query { order, limit, after, ..Query::of(keys::stacks(account)) }).await
    }
}
