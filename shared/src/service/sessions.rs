//! Sessions, for surfaces whose users log in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;

use super::{Service, sha256_hex};
use crate::domain::account::AccountId;
use crate::domain::sealed::Secret;
use crate::domain::session::{self, Session};
use crate::domain::token::Token;
use crate::error::Result;

impl Service {
    /// Opens a session that may do what the token may, and answers its text, which is shown this once and kept nowhere. It
    /// ends after an hour without use, and whenever its token does.
    pub async fn open_session(&self, token: &Token) -> Result<Secret> {
        let random: [u8; 32] = rand::rng().random();
        let text = session::write(&token.account, &URL_SAFE_NO_PAD.encode(random));
        let opened = Session { token: token.id, used_at: self.clock.now() };
        self.aws.table.create_session(&token.account, &sha256_hex(&text), &opened).await?;
        Ok(Secret::new(text))
    }

    /// The id of the token that an open session stands for; the use is noted.
    pub(super) async fn token_of_session(&self, account: &AccountId, text: &str) -> Result<Option<u64>> {
        let (now, sha256) = (self.clock.now(), sha256_hex(text));
        let found = self.aws.table.session(account, &sha256).await?;
        let Some(found) = found.filter(|session| session.is_open(now)) else { return Ok(None) };
        if found.use_is_news(now) {
            let used = Session { used_at: now, ..found.clone() };
            self.aws.table.session_used(account, &sha256, &used).await?;
        }
        Ok(Some(found.token))
    }
}
