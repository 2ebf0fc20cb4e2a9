//! What the operator of an installation does with its accounts: one command in, one JSON document out. The `maintenance`
//! function takes commands on AWS, the command line on one machine; whoever can reach either may do everything.

use std::fmt;

use holdfast_shared::aws::table::{Cursor, Order, SortBy};
use holdfast_shared::domain::ability::{EVERYTHING, granted_by};
use holdfast_shared::domain::account::{Account, AccountId, NewAccount};
use holdfast_shared::domain::revision::Expected;
use holdfast_shared::domain::timezone::Timezone;
use holdfast_shared::domain::token::NewToken;
use holdfast_shared::service::{SealingKeyUse, Service};
use holdfast_shared::{FieldErrors, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::tokens::{expiry, view as view_token, without_repeats};
use crate::http::fields::MAX_NAME_CHARS;
use crate::http::rfc3339;

/// How many records are read at a time.
const PAGE: i32 = 100;

/// A command, as JSON: `{"command": "create_account", "name": "acme"}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Makes an account with a storage in the installation's own bucket and a token that may do everything in it.
    CreateAccount {
        /// What to call it.
        name: String,
        /// An IANA name; UTC where absent.
        #[serde(default)]
        timezone: Option<String>,
    },
    /// Lists all accounts.
    ListAccounts,
    /// Has an account's tokens refused and its schedules rest.
    DisableAccount {
        /// The account's id.
        account: String,
    },
    /// Takes that back.
    EnableAccount {
        /// The account's id.
        account: String,
    },
    /// Makes a token, whose text is shown this once.
    CreateToken {
        /// The account's id.
        account: String,
        /// What to call it.
        name: String,
        /// What it may do; everything where none is named.
        #[serde(default)]
        abilities: Vec<String>,
        /// When it stops working, RFC 3339; never where absent.
        #[serde(default)]
        expires_at: Option<String>,
    },
    /// Lists an account's tokens.
    ListTokens {
        /// The account's id.
        account: String,
    },
    /// Lists the sealing keys, and how many records are sealed under each. Reads all records that hold secrets.
    ListSealingKeys,
    /// Has a token refused.
    RevokeToken {
        /// The account's id.
        account: String,
        /// The token's id.
        token: u64,
    },
}

impl Command {
    /// Carries the command out. Its answer may hold a token's text: it is not for the log.
    pub async fn carry_out(self, service: &Service) -> Result<Value> {
        match self {
            Self::CreateAccount { name, timezone } => create_account(service, name, timezone).await,
            Self::ListAccounts => list_accounts(service).await,
            Self::DisableAccount { account } => Ok(one(&service.disable_account(&account_id(&account)?).await?)),
            Self::EnableAccount { account } => Ok(one(&service.enable_account(&account_id(&account)?).await?)),
            Self::CreateToken { account, name, abilities, expires_at } => {
                create_token(service, &account, name, &abilities, expires_at.as_deref()).await
            }
            Self::ListTokens { account } => list_tokens(service, &account).await,
            Self::ListSealingKeys => list_sealing_keys(service).await,
            Self::RevokeToken { account, token } => {
                service.delete_token(&account_id(&account)?, token, &Expected::Any).await?;
                Ok(json!({ "account": account, "revoked": token }))
            }
        }
    }
}

async fn create_account(service: &Service, name: String, timezone: Option<String>) -> Result<Value> {
    let mut faults = FieldErrors::default();
    let name = checked(&mut faults, "name", named(name));
    let timezone = timezone.map_or_else(|| Ok(Timezone::default()), |text| Timezone::parse(&text));
    let timezone = checked(&mut faults, "timezone", timezone);
    faults.check(())?;
    let (Some(name), Some(timezone)) = (name, timezone) else { return Err(nothing_told()) };
    let (account, token) = service.open_account(NewAccount { name, timezone }).await?;
    Ok(json!({ "account": account.id, "token": token.expose() }))
}

async fn list_accounts(service: &Service) -> Result<Value> {
    let mut accounts = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = service.list_accounts(PAGE, after.as_ref()).await?;
        accounts.extend(page.records.iter().map(view));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(json!({ "accounts": accounts })),
        }
    }
}

async fn create_token(
    service: &Service,
    account: &str,
    name: String,
    abilities: &[String],
    expires_at: Option<&str>,
) -> Result<Value> {
    let account = service.account(&account_id(account)?).await?;
    let mut faults = FieldErrors::default();
    let name = checked(&mut faults, "name", named(name));
    let mut granted = Vec::new();
    for (index, ability) in abilities.iter().enumerate() {
        let known = granted_by(ability).ok_or_else(|| format!("{ability:?} is no ability"));
        granted.extend(checked(&mut faults, &format!("abilities.{index}"), known).into_iter().flatten());
    }
    if abilities.is_empty() {
        granted.push(EVERYTHING.to_owned());
    }
    let expires_at = expires_at.map(|text| expiry(text, service.clock.now())).transpose();
    let expires_at = checked(&mut faults, "expires_at", expires_at);
    faults.check(())?;
    let (Some(name), Some(expires_at)) = (name, expires_at) else { return Err(nothing_told()) };
    let new = NewToken { name, abilities: without_repeats(granted), expires_at };
    let (token, text) = service.issue_token(&account.id, new).await?;
    Ok(json!({ "account": account.id, "id": token.id, "token": text.expose() }))
}

async fn list_tokens(service: &Service, account: &str) -> Result<Value> {
    let account = service.account(&account_id(account)?).await?.id;
    let order = Order { by: SortBy::Id, descending: false };
    let mut tokens = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = service.list_tokens(&account, order, PAGE, after.as_ref()).await?;
        tokens.extend(page.records.iter().map(view_token));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(json!({ "account": account, "tokens": tokens })),
        }
    }
}

async fn list_sealing_keys(service: &Service) -> Result<Value> {
    let uses = service.sealing_key_uses().await?;
    let view = |key: &SealingKeyUse| json!({ "key": key.number, "newest": key.is_newest, "known": key.is_known, "records": key.records });
    Ok(json!({ "sealing_keys": uses.iter().rev().map(view).collect::<Vec<_>>() }))
}

fn view(account: &Account) -> Value {
    json!({
        "id": account.id,
        "name": account.name,
        "timezone": account.timezone,
        "created_at": rfc3339(account.created_at),
        "disabled_at": account.disabled_at.map(rfc3339),
    })
}

fn one(account: &Account) -> Value {
    json!({ "account": account.id, "disabled_at": account.disabled_at.map(rfc3339) })
}

/// What cannot be an id names no account, as every other unknown one.
fn account_id(text: &str) -> Result<AccountId> {
    AccountId::parse(text).ok_or_else(|| holdfast_shared::Error::not_found("account"))
}

fn named(name: String) -> std::result::Result<String, String> {
    let fits = !name.trim().is_empty() && name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(char::is_control);
    fits.then_some(name).ok_or_else(|| format!("must be 1 to {MAX_NAME_CHARS} characters in one line"))
}

fn checked<T>(faults: &mut FieldErrors, field: &str, read: std::result::Result<T, impl fmt::Display>) -> Option<T> {
    read.map_err(|message| faults.push(field, message.to_string())).ok()
}

fn nothing_told() -> holdfast_shared::Error {
    holdfast_shared::Error::internal("a value is absent, but no fault was told")
}
