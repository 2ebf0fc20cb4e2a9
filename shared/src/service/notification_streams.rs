//! Notification streams: what their owners say of them. Nothing is sent here.

use std::collections::BTreeMap;

use super::listing::{Listing, check_cursor};
use super::resealing::{Renewal, Sealing};
use super::{Service, conflict};
use crate::aws::table::{Condition, Cursor, Noun, Order, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::notification_stream::{
    NewNotificationStream, NotificationStream, NotificationStreamEdit, SettingValues, check_events,
};
use crate::domain::revision::Expected;
use crate::error::{Error, Result};

impl Service {
    /// Records a notification stream.
    pub async fn create_notification_stream(
        &self,
        account: &AccountId,
        new: NewNotificationStream,
    ) -> Result<NotificationStream> {
        check_events(&new.events).check(())?;
        let now = self.clock.now();
        let stream = NotificationStream {
            id: self.aws.table.next_number(account, Noun::NotificationStream).await?,
            name: new.name,
            kind: new.kind,
            settings: BTreeMap::new(),
            secrets: BTreeMap::new(),
            events: new.events,
            enabled: new.enabled,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let stream = self.with_settings(account, stream, &new.settings)?;
        match self.aws.table.create_notification_stream(account, &stream).await?.is_yes() {
            true => Ok(stream),
            false => Err(conflict::contended()),
        }
    }

    /// One notification stream.
    pub async fn notification_stream(&self, account: &AccountId, id: u64) -> Result<NotificationStream> {
        self.aws.table.notification_stream(account, id).await?.ok_or_else(|| Error::not_found("notification stream"))
    }

    /// The account's notification streams, page by page.
    pub async fn list_notification_streams(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<NotificationStream>> {
        check_cursor(after, &keys::notification_streams(account))?;
        let page = self.aws.table.list_notification_streams(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::NotificationStream).await?))
    }

    /// Changes what its owner says of a notification stream. Settings that its kind does not know are passed over.
    pub async fn update_notification_stream(
        &self,
        account: &AccountId,
        id: u64,
        edit: NotificationStreamEdit,
        expected: &Expected,
    ) -> Result<NotificationStream> {
        if let Some(events) = &edit.events {
            check_events(events).check(())?;
        }
        for _ in 0..conflict::TRIES {
            let seen = self.notification_stream(account, id).await?;
            expected.check(seen.revision)?;
            let next = NotificationStream {
                name: edit.name.clone().unwrap_or_else(|| seen.name.clone()),
                events: edit.events.clone().unwrap_or_else(|| seen.events.clone()),
                enabled: edit.enabled.unwrap_or(seen.enabled),
                updated_at: self.clock.now(),
                revision: seen.revision + 1,
                ..seen.clone()
            };
            let mut next = self.with_settings(account, next, &edit.settings)?;
            let can_go = |name: &str| next.kind.settings().iter().any(|own| own.name == name && !own.is_required);
            for name in edit.cleared.iter().filter(|name| can_go(name)) {
                next.secrets.remove(*name);
                next.settings.remove(*name);
            }
            if self.aws.table.update_notification_stream(account, &seen, &next).await?.is_yes() {
                return Ok(next);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Removes a notification stream.
    pub async fn delete_notification_stream(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.notification_stream(account, id).await?;
            expected.check(seen.revision)?;
            if self.aws.table.delete_notification_stream(account, &seen).await?.is_yes() {
                return Ok(());
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    fn with_settings(
        &self,
        account: &AccountId,
        mut stream: NotificationStream,
        values: &SettingValues,
    ) -> Result<NotificationStream> {
        for setting in stream.kind.settings() {
            let Some(value) = values.get(setting.name) else { continue };
            let name = setting.name.to_owned();
            if setting.is_secret {
                let sealed = self.sealer.seal(account, &secret_name(stream.id, setting.name), value)?;
                stream.secrets.insert(name, sealed);
            } else {
                stream.settings.insert(name, value.expose().to_owned());
            }
        }
        Ok(stream)
    }
}

fn secret_name(stream: u64, setting: &str) -> String {
    format!("notification_stream/{stream}/{setting}")
}

impl Sealing for NotificationStream {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        for (setting, secret) in &mut self.secrets {
            renewal.secret(&secret_name(self.id, setting), secret);
        }
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::notification_stream(account, self.id)).set("secrets", &self.secrets);
        update.only_if(Condition::equals("revision", seen.revision))
    }
}
