//! Stacks: servers that belong together, and the databases on them.

use uuid::Uuid;

use super::listing::{Listing, check_cursor};
use super::resealing::{Renewal, Sealing};
use super::{Service, conflict};
use crate::aws::table::{Condition, Cursor, Noun, Order, SortBy, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::revision::Expected;
use crate::domain::sealed::{Sealed, Secret};
use crate::domain::stack::{Database, DatabaseInput, NewStack, Stack, StackEdit, StackRef, check, check_replacing};
use crate::error::{Error, FieldErrors, Result};

impl Service {
    /// Records a stack.
    pub async fn create_stack(&self, account: &AccountId, new: NewStack) -> Result<Stack> {
        let mut faults = check(&new.servers, new.databases.iter().map(|database| &database.spec));
        faults.extend("", self.unknown_servers(account, &new.servers).await?);
        faults.check(())?;
        let (id, now) = (self.aws.table.next_number(account, Noun::Stack).await?, self.clock.now());
        let stack = Stack {
            id,
            uid: Uuid::new_v4(),
            name: new.name,
            servers: new.servers,
            databases: Vec::new(),
            created_at: now,
            updated_at: now,
            revision: 1,
            last_database: 0,
        };
        let stack = self.with_databases(account, stack, new.databases)?;
        for _ in 0..conflict::TRIES {
            if self.aws.table.create_stack(account, &stack).await?.is_yes() {
                return Ok(stack);
            }
            self.unknown_servers(account, &stack.servers).await?.check(())?;
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// One stack.
    pub async fn stack(&self, account: &AccountId, which: StackRef) -> Result<Stack> {
        let id = match which {
            StackRef::Id(id) => Some(id),
            StackRef::Uid(uid) => self.aws.table.stack_of_uid(account, uid).await?,
        };
        let stack = match id {
            Some(id) => self.aws.table.stack(account, id).await?,
            None => None,
        };
        stack.ok_or_else(|| Error::not_found("stack"))
    }

    /// The account's stacks, page by page.
    pub async fn list_stacks(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Stack>> {
        check_cursor(after, &keys::stacks(account))?;
        let page = self.aws.table.list_stacks(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::Stack).await?))
    }

    /// Changes what its owner says of a stack.
    pub async fn update_stack(
        &self,
        account: &AccountId,
        which: StackRef,
        edit: StackEdit,
        expected: &Expected,
    ) -> Result<Stack> {
        for _ in 0..conflict::TRIES {
            let seen = self.stack(account, which).await?;
            expected.check(seen.revision)?;
            self.check_edit(account, &seen, &edit).await?;
            let edit = edit.clone();
            let next = Stack {
                name: edit.name.unwrap_or_else(|| seen.name.clone()),
                servers: edit.servers.unwrap_or_else(|| seen.servers.clone()),
                updated_at: self.clock.now(),
                revision: seen.revision + 1,
                ..seen.clone()
            };
            let next = match edit.databases {
                Some(databases) => self.with_databases(account, next, databases)?,
                None => next,
            };
            if self.aws.table.update_stack(account, &seen, &next).await?.is_yes() {
                return Ok(next);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    async fn check_edit(&self, account: &AccountId, seen: &Stack, edit: &StackEdit) -> Result<()> {
        let servers = edit.servers.as_ref().unwrap_or(&seen.servers);
        let mut faults = match &edit.databases {
            Some(databases) => check(servers, databases.iter().map(|database| &database.spec)),
            None => check(servers, seen.databases.iter().map(|database| &database.spec)),
        };
        if let Some(databases) = &edit.databases {
            faults.extend("", check_replacing(&seen.databases, databases));
        }
        if edit.servers.is_some() {
            faults.extend("", self.unknown_servers(account, servers).await?);
        }
        Ok(faults.check(())?)
    }

    /// Removes a stack. Its servers stay.
    pub async fn delete_stack(&self, account: &AccountId, which: StackRef, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.stack(account, which).await?;
            expected.check(seen.revision)?;
            if self.aws.table.delete_stack(account, &seen).await?.is_yes() {
                return Ok(());
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// The stack with these databases instead of its own. One that names a database of the stack keeps its id and, where
    /// none is given, its password.
    fn with_databases(&self, account: &AccountId, mut stack: Stack, inputs: Vec<DatabaseInput>) -> Result<Stack> {
        let before = std::mem::take(&mut stack.databases);
        for input in inputs {
            let id = input.id.unwrap_or_else(|| {
                stack.last_database += 1;
                stack.last_database
            });
            let kept =
                || before.iter().find(|database| database.id == id).and_then(|database| database.password.clone());
            let seal = |password: &Secret| self.sealer.seal(account, &password_name(stack.id, id), password);
            let password: Option<Sealed> = match &input.password {
                Some(password) => Some(seal(password)?),
                None => kept(),
            };
            stack.databases.push(Database { id, spec: input.spec, password });
        }
        Ok(stack)
    }

    /// A fault for each of these servers that is not there.
    async fn unknown_servers(&self, account: &AccountId, servers: &[u64]) -> Result<FieldErrors> {
        let wanted = servers.iter().map(|server| keys::server(account, *server)).collect();
        let found = self.aws.table.records(wanted).await?;
        let mut faults = FieldErrors::default();
        for (index, server) in servers.iter().enumerate() {
            if !found.has(&keys::server(account, *server)) {
                faults.push(format!("servers.{index}"), format!("there is no server {server}"));
            }
        }
        Ok(faults)
    }

    /// Names of the stacks that have a server, as a conflict shows them.
    pub(super) async fn stacks_with_server(&self, account: &AccountId, server: u64) -> Result<Vec<String>> {
        let order = Order { by: SortBy::Id, descending: false };
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = self.aws.table.list_stacks(account, order, 100, after.as_ref()).await?;
            let having = page.records.into_iter().filter(|stack| stack.servers.contains(&server));
            names.extend(having.map(|stack| stack.name));
            match page.next {
                Some(next) if names.len() <= conflict::MAX_NAMED => after = Some(next),
                _ => return Ok(names),
            }
        }
    }
}

fn password_name(stack: u64, database: u64) -> String {
    format!("stack/{stack}/database/{database}/password")
}

impl Sealing for Stack {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        for database in &mut self.databases {
            if let Some(password) = &mut database.password {
                renewal.secret(&password_name(self.id, database.id), password);
            }
        }
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::stack(account, self.id)).set("databases", &self.databases);
        update.only_if(Condition::equals("revision", seen.revision))
    }
}
