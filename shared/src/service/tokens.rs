//! Accounts and the tokens that act for them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;

use super::Service;
use crate::aws::table::Noun;
use crate::domain::account::{Account, AccountId};
use crate::domain::sealed::Secret;
use crate::domain::token::{TOKEN_PREFIX, Token, account_of};
use crate::error::{Error, ErrorKind, Result};

impl Service {
    /// Makes an account with a random id. It owns nothing yet.
    pub async fn create_account(&self, name: &str) -> Result<Account> {
        let account = Account { id: random_account_id()?, name: name.to_owned(), created_at: self.clock.now() };
        match self.aws.table.create_account(&account).await?.is_yes() {
            true => Ok(account),
            false => Err(Error::conflict("the account's id was taken; try again")),
        }
    }

    /// Makes the account `id` unless it is there, for a caller that goes on where it was broken off.
    pub async fn ensure_account(&self, id: &AccountId, name: &str) -> Result<()> {
        let account = Account { id: id.clone(), name: name.to_owned(), created_at: self.clock.now() };
        // Refused means that it is there.
        let _ = self.aws.table.create_account(&account).await?;
        Ok(())
    }

    /// Makes a token and answers its text, which is shown this once and kept nowhere.
    pub async fn create_token(
        &self,
        account: &AccountId,
        name: &str,
        abilities: Vec<String>,
    ) -> Result<(Token, Secret)> {
        let random: [u8; 32] = rand::rng().random();
        let text = format!("{TOKEN_PREFIX}{account}_{}", URL_SAFE_NO_PAD.encode(random));
        let token = Token {
            id: self.aws.table.next_number(account, Noun::Token).await?,
            account: account.clone(),
            name: name.to_owned(),
            sha256: sha256_hex(&text),
            abilities,
            created_at: self.clock.now(),
        };
        match self.aws.table.create_token(&token).await?.is_yes() {
            true => Ok((token, Secret::new(text))),
            false => Err(Error::internal("a random token was taken")),
        }
    }

    /// The token whose text this is; [`ErrorKind::Unauthenticated`] for any other text.
    pub async fn authenticate(&self, text: &str) -> Result<Token> {
        let unknown = || Error::new(ErrorKind::Unauthenticated, "this token is not known; it may have been deleted");
        let account = account_of(text).ok_or_else(unknown)?;
        let sha256 = sha256_hex(text);
        let token = self.aws.table.token(&account, &sha256).await?.ok_or_else(unknown)?;
        verify_slices_are_equal(token.sha256.as_bytes(), sha256.as_bytes()).map_err(|_| unknown())?;
        Ok(token)
    }
}

fn sha256_hex(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()))
}

fn random_account_id() -> Result<AccountId> {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let text: String = (0..16).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect();
    AccountId::parse(&text).ok_or_else(|| Error::internal("a random account id was malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_texts_name_their_account() {
        let account = random_account_id().unwrap();
        let text = format!("{TOKEN_PREFIX}{account}_{}", URL_SAFE_NO_PAD.encode([0xff; 32]));
        assert_eq!(account_of(&text), Some(account));
        assert_eq!(account_of(&text[..text.len() - 1]), None);
        assert_eq!(account_of("hfst_"), None);
    }
}
