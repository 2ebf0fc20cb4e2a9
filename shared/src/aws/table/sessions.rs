//! Sessions, by the SHA-256 of their texts. DynamoDB removes those that ended.

use serde::{Deserialize, Serialize};

use super::{Condition, Table, Update, Write, keys};
use crate::domain::account::AccountId;
use crate::domain::session::{IDLE, Session};
use crate::error::Result;

/// A session, and the epoch second after which it may be removed.
#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    session: Session,
    ttl: i64,
}

fn ttl(session: &Session) -> i64 {
    session.used_at.as_second() + IDLE.as_secs()
}

impl Table {
    /// Puts a new session.
    pub(crate) async fn create_session(&self, account: &AccountId, sha256: &str, session: &Session) -> Result<()> {
        let row = Row { session: session.clone(), ttl: ttl(session) };
        self.write(Write::put(&keys::session(account, sha256), &row, [])?).await.map(drop)
    }

    /// A session, which may have ended.
    pub(crate) async fn session(&self, account: &AccountId, sha256: &str) -> Result<Option<Session>> {
        let row: Option<Row> = self.get(&keys::session(account, sha256)).await?;
        Ok(row.map(|row| row.session))
    }

    /// Notes a use, unless the session was removed meanwhile.
    pub(crate) async fn session_used(&self, account: &AccountId, sha256: &str, session: &Session) -> Result<()> {
        let update =
            Update::of(keys::session(account, sha256)).set("used_at", session.used_at).set("ttl", ttl(session));
        self.update::<Row>(update.only_if(Condition::Exists)).await.map(drop)
    }
}
