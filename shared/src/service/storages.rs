//! Storages: buckets of the account's own, and the installation's.

use super::listing::{Listing, check_cursor};
use super::resealing::{Renewal, Sealing};
use super::{Service, conflict};
use crate::aws::Objects;
use crate::aws::table::{Condition, Cursor, Noun, Order, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::check::Checked;
use crate::domain::host::Host;
use crate::domain::revision::Expected;
use crate::domain::sealed::Secret;
use crate::domain::storage::{NewStorage, PlainCredentials, Provider, Storage, StorageCredentials, StorageEdit};
use crate::domain::storage_options::StorageOptions;
use crate::error::{Error, FieldErrors, Result};
use crate::guard::Refused;

impl Service {
    /// Records a storage. Nothing is written to it yet.
    pub async fn create_storage(&self, account: &AccountId, new: NewStorage) -> Result<Storage> {
        let mut faults = FieldErrors::default();
        let options = new.options.apply(&StorageOptions::default(), &mut faults);
        let options = faults.check(options)?;
        let id = self.aws.table.next_number(account, Noun::Storage).await?;
        let credentials = StorageCredentials {
            key: self.sealer.seal(account, &key_name(id), &new.credentials.key)?,
            secret: self.sealer.seal(account, &secret_name(id), &new.credentials.secret)?,
        };
        let now = self.clock.now();
        self.put_storage(
            account,
            Storage {
                id,
                name: new.name,
                provider: new.provider,
                bucket: new.bucket,
                region: new.region,
                endpoint: new.endpoint,
                credentials: Some(credentials),
                options,
                created_at: now,
                updated_at: now,
                revision: 1,
                check: None,
            },
        )
        .await
    }

    /// Records the installation's own bucket as a storage of the account.
    pub async fn create_default_storage(&self, account: &AccountId) -> Result<Storage> {
        let now = self.clock.now();
        self.put_storage(
            account,
            Storage {
                id: self.aws.table.next_number(account, Noun::Storage).await?,
                name: "Holdfast".to_owned(),
                provider: Provider::Holdfast,
                bucket: self.config.bucket.clone(),
                region: self.config.region.clone(),
                endpoint: None,
                credentials: None,
                options: StorageOptions::default(),
                created_at: now,
                updated_at: now,
                revision: 1,
                check: None,
            },
        )
        .await
    }

    async fn put_storage(&self, account: &AccountId, storage: Storage) -> Result<Storage> {
        match self.aws.table.create_storage(account, &storage).await?.is_yes() {
            true => Ok(storage),
            false => Err(conflict::contended()),
        }
    }

    /// One storage.
    pub async fn storage(&self, account: &AccountId, id: u64) -> Result<Storage> {
        self.aws.table.storage(account, id).await?.ok_or_else(|| Error::not_found("storage"))
    }

    /// The account's storages, page by page.
    pub async fn list_storages(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Storage>> {
        check_cursor(after, &keys::storages(account))?;
        let page = self.aws.table.list_storages(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::Storage).await?))
    }

    /// Changes what its owner says of a storage. Bucket, region and endpoint stay while a job uses it: its copies are
    /// there. Of the installation's own bucket only the name can change.
    pub async fn update_storage(
        &self,
        account: &AccountId,
        id: u64,
        edit: StorageEdit,
        expected: &Expected,
    ) -> Result<Storage> {
        for _ in 0..conflict::TRIES {
            let seen = self.storage(account, id).await?;
            expected.check(seen.revision)?;
            let options = check_edit(&seen, &edit)?;
            let moves = edit.moves(&seen);
            let next = Storage { options, ..self.edited(account, &seen, &edit)? };
            if self.aws.table.update_storage(account, &seen, &next, moves).await?.is_yes() {
                return Ok(next);
            }
            let jobs = if moves { self.jobs_with_storage(account, id).await? } else { Vec::new() };
            if !jobs.is_empty() {
                return Err(conflict::in_use("storage", "job", &jobs));
            }
            conflict::pause().await;
        }
        Err(conflict::still_held("storage"))
    }

    fn edited(&self, account: &AccountId, seen: &Storage, edit: &StorageEdit) -> Result<Storage> {
        let mut next = Storage { updated_at: self.clock.now(), revision: seen.revision + 1, ..seen.clone() };
        let take = |new: &Option<String>, old: &mut String| {
            if let Some(new) = new {
                old.clone_from(new);
            }
        };
        take(&edit.name, &mut next.name);
        take(&edit.bucket, &mut next.bucket);
        take(&edit.region, &mut next.region);
        next.endpoint = edit.endpoint.clone().or(next.endpoint);
        if let Some(credentials) = &mut next.credentials {
            if let Some(key) = &edit.key {
                credentials.key = self.sealer.seal(account, &key_name(seen.id), key)?;
            }
            if let Some(secret) = &edit.secret {
                credentials.secret = self.sealer.seal(account, &secret_name(seen.id), secret)?;
            }
        }
        Ok(next)
    }

    /// Removes a storage; a conflict that names the jobs while any uses it. The installation's own bucket stays.
    pub async fn delete_storage(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.storage(account, id).await?;
            expected.check(seen.revision)?;
            if seen.provider == Provider::Holdfast {
                return Err(Error::conflict("this storage is the installation's own and cannot be deleted"));
            }
            if self.aws.table.delete_storage(account, &seen).await?.is_yes() {
                return Ok(());
            }
            let jobs = self.jobs_with_storage(account, id).await?;
            if !jobs.is_empty() {
                return Err(conflict::in_use("storage", "job", &jobs));
            }
            conflict::pause().await;
        }
        Err(conflict::still_held("storage"))
    }

    async fn jobs_with_storage(&self, account: &AccountId, id: u64) -> Result<Vec<String>> {
        self.jobs_where(account, |job| job.storages.iter().any(|storage| storage.storage_id == id)).await
    }

    /// Asks a worker to write, read and delete a probe object; the storage's `check` shows the answer.
    pub async fn check_storage(&self, account: &AccountId, id: u64) -> Result<Storage> {
        let check = self.ask_check(account, Checked::Storage(id)).await?;
        Ok(Storage { check: Some(check), ..self.storage(account, id).await? })
    }

    /// A storage's bucket, ready to be worked with; what is written to it is kept as the storage's options say, from now on.
    pub fn objects(&self, account: &AccountId, storage: &Storage) -> Result<Objects> {
        let open = self.open_credentials(account, storage)?;
        let credentials = open.as_ref().map(|open| (&open.key, &open.secret));
        let endpoint = storage.endpoint_url();
        let objects = Objects::new(
            &self.aws.sdk,
            &self.aws.outside,
            &storage.bucket,
            &storage.region,
            endpoint.as_deref(),
            credentials,
        );
        Ok(objects.keeping(&storage.options, self.clock.now()))
    }

    /// Whether a storage's endpoint leads where we connect to. Ask before working with its bucket: an endpoint that is an
    /// address is looked at nowhere else, and a name that is refused would be tried for a minute.
    pub async fn check_reach(&self, storage: &Storage) -> std::result::Result<(), Refused> {
        let Some(endpoint) = storage.endpoint_url().filter(|_| storage.credentials.is_some()) else { return Ok(()) };
        let (_, url) = Host::of_url(&endpoint).map_err(|why| Refused::Unreadable { host: endpoint.clone(), why })?;
        self.aws.outside.guard.resolve_url(&url).await.map(drop)
    }

    /// A storage's credentials in the open; `None` for the installation's own bucket.
    fn open_credentials(&self, account: &AccountId, storage: &Storage) -> Result<Option<PlainCredentials>> {
        let Some(sealed) = &storage.credentials else { return Ok(None) };
        let open = |name: String, sealed| -> Result<Secret> { self.sealer.open(account, &name, sealed) };
        let key = open(key_name(storage.id), &sealed.key)?;
        let secret = open(secret_name(storage.id), &sealed.secret)?;
        Ok(Some(PlainCredentials { key, secret }))
    }
}

fn key_name(id: u64) -> String {
    format!("storage/{id}/key")
}

fn secret_name(id: u64) -> String {
    format!("storage/{id}/secret")
}

/// The options after an edit, unless it changes what the provider of a storage does not let its owner change.
fn check_edit(seen: &Storage, edit: &StorageEdit) -> Result<StorageOptions> {
    let mut errors = FieldErrors::default();
    if seen.provider == Provider::Holdfast {
        let given = [
            ("bucket", edit.bucket.is_some()),
            ("region", edit.region.is_some()),
            ("key", edit.key.is_some()),
            ("secret", edit.secret.is_some()),
        ];
        let given = given.into_iter().filter(|(_, given)| *given).map(|(field, _)| field);
        for field in given.chain(edit.options.named()) {
            errors.push(field, "cannot be changed on the installation's own storage");
        }
    }
    if edit.endpoint.is_some() && !seen.provider.needs_endpoint() {
        errors.push("endpoint", "is known for this provider; leave it out");
    }
    let options = edit.options.apply(&seen.options, &mut errors);
    Ok(errors.check(options)?)
}

impl Sealing for Storage {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        if let Some(credentials) = &mut self.credentials {
            renewal.secret(&key_name(self.id), &mut credentials.key);
            renewal.secret(&secret_name(self.id), &mut credentials.secret);
        }
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::storage(account, self.id)).set("credentials", &self.credentials);
        update.only_if(Condition::equals("revision", seen.revision))
    }
}
