//! `holdfast account` and `holdfast token`: what the operator does with accounts, beside a running `serve` or without one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use holdfast_functions::administration::Command;
use holdfast_functions::maintenance::reason;
use holdfast_shared::domain::account::AccountId;
use serde_json::Value;

use crate::cli::{CANNOT_START, FAILED, end};
use crate::running::Reached;

/// Where the installation is, and how to answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Folder of the installation, whether `holdfast serve` runs on it or not
    #[arg(long, value_name = "FOLDER", default_value = "./holdfast-data", global = true)]
    pub(crate) data: PathBuf,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// `holdfast account`.
#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    #[command(subcommand)]
    command: AccountCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Make an account, with a storage and a token that may do everything in it; prints both, the token this once
    Create {
        /// What to call it
        name: String,
        /// The zone that its owner's clock shows, as Europe/Berlin [default: UTC]
        #[arg(long, value_name = "ZONE")]
        timezone: Option<String>,
    },
    /// List all accounts
    List,
    /// Refuse an account's tokens and let its schedules rest; its data stays
    Disable {
        /// The account's id
        account: String,
    },
    /// Take that back; what was due meanwhile is not caught up
    Enable {
        /// The account's id
        account: String,
    },
}

/// `holdfast token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
    /// The account's id [default: the installation's first account]
    #[arg(long, value_name = "ID", global = true)]
    account: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it, this once
    Create {
        /// What to call it
        name: String,
        /// What it may do, as read-jobs or run-backups; may be repeated [default: everything]
        #[arg(long = "ability", value_name = "ABILITY")]
        abilities: Vec<String>,
        /// When it stops working, as 2030-01-01T00:00:00Z [default: never]
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// List the account's tokens; their texts are not kept
    List,
    /// Refuse a token from now on
    Revoke {
        /// The token's id
        id: u64,
    },
}

/// Runs `holdfast account`.
pub(crate) async fn account(arguments: AccountArgs) -> ExitCode {
    let command = match arguments.command {
        AccountCommand::Create { name, timezone } => Command::CreateAccount { name, timezone },
        AccountCommand::List => Command::ListAccounts,
        AccountCommand::Disable { account } => Command::DisableAccount { account },
        AccountCommand::Enable { account } => Command::EnableAccount { account },
    };
    run(&arguments.common, |_| command).await
}

/// Runs `holdfast token`.
pub(crate) async fn token(arguments: TokenArgs) -> ExitCode {
    let TokenArgs { command, account, common } = arguments;
    let build = |first: &AccountId| {
        let account = account.unwrap_or_else(|| first.to_string());
        match command {
            TokenCommand::Create { name, abilities, expires_at } => {
                Command::CreateToken { account, name, abilities, expires_at }
            }
            TokenCommand::List => Command::ListTokens { account },
            TokenCommand::Revoke { id } => Command::RevokeToken { account, token: id },
        }
    };
    run(&common, build).await
}

/// Reaches the installation and carries a command out.
pub(crate) async fn run(common: &Common, build: impl FnOnce(&AccountId) -> Command) -> ExitCode {
    let reached = match Reached::at(&common.data).await {
        Ok(reached) => reached,
        Err(error) => return end(CANNOT_START, error),
    };
    let outcome = build(&reached.first_account).carry_out(&reached.service).await;
    reached.close().await;
    match outcome {
        Ok(answer) => print(&answer, common.json),
        Err(error) => end(FAILED, reason(&error)),
    }
}

/// A token that could not be written down is lost, so that counts as a failure.
pub(crate) fn print(answer: &Value, json: bool) -> ExitCode {
    let text = if json { format!("{answer}\n") } else { lines(answer) };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(FAILED, format!("the answer cannot be written: {error}")),
    }
}

/// An answer for people: a line per member, or a tabbed line per element of a list with its names in front.
fn lines(answer: &Value) -> String {
    let members = answer.as_object().into_iter().flatten();
    let lists = members.clone().find_map(|(_, value)| value.as_array());
    let Some(elements) = lists else {
        return members.map(|(name, value)| format!("{name}\t{}\n", plain(value))).collect();
    };
    let row = |cells: Vec<String>| format!("{}\n", cells.join("\t"));
    let header = elements.first().and_then(Value::as_object).map(|first| row(first.keys().cloned().collect()));
    let rows = elements.iter().filter_map(Value::as_object).map(|one| row(one.values().map(plain).collect()));
    header.into_iter().chain(rows).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(elements) => elements.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_lines() {
        assert_eq!(lines(&json!({"account": "a", "token": "t"})), "account\ta\ntoken\tt\n");
        let list = json!({"accounts": [{"id": "a", "n": null, "all": ["x", "y"]}, {"id": "b", "n": 1, "all": []}]});
        let text = lines(&list);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("x,y") && text.contains("-"), "{text}");
        assert_eq!(lines(&json!({"accounts": []})), "");
    }
}
