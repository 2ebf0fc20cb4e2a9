//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_worker::consumer::DEFAULT_SLOTS;

use crate::administer::{self, AccountArgs, TokenArgs};
use crate::keys::{self, KeyArgs};
use crate::{demo, log, serve};

/// It did not work.
pub(crate) const FAILED: u8 = 1;
/// It could not start: used wrongly, or something is in the way. The same as clap's own.
pub(crate) const CANNOT_START: u8 = 2;

const EXAMPLE: &str = "\
Example:
  holdfast demo                                see a backup made, downloaded and compared, in two minutes
  holdfast serve                               listen on 127.0.0.1:8080, keep everything in ./holdfast-data
  holdfast account create acme --json          make another account, and print it and its token
  curl -H \"Authorization: Bearer $(cat holdfast-data/token)\" http://127.0.0.1:8080/v1/servers

Exit status: 0 done, 1 failed, 2 could not start.";

/// Scheduled, verified backups of servers, all on this machine.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in this process until Ctrl-C or SIGTERM
    Serve(Serve),
    /// Make, list, disable and enable accounts
    Account(AccountArgs),
    /// Make, list and revoke tokens
    Token(TokenArgs),
    /// Rotate, list and remove the keys that seal secrets
    Key(KeyArgs),
    /// Show the main job end to end on real parts, in a temporary folder
    Demo(Demo),
}

/// `holdfast serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Serve {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Folder that holds everything; made where it is missing
    #[arg(long, value_name = "FOLDER", default_value = "./holdfast-data")]
    pub(crate) data: PathBuf,
    /// What the links it hands out start with [default: http:// and the address it listens on]
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Networks outside the open internet that hosts and endpoints may lie in, or none
    /// [default: HOLDFAST_ALLOW_NETWORKS, or loopback and private ones]
    #[arg(long, value_name = "NETWORK,…")]
    pub(crate) allow_networks: Option<AllowedNetworks>,
    /// How many backups run at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SLOTS, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
}

#[derive(Debug, Clone, Copy, Args)]
struct Demo {
    /// Leave it running afterwards and print how to use it
    #[arg(long)]
    keep: bool,
}

/// Runs the command that the process was started with.
pub async fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(options) => {
            log::start("info");
            serve::run(options).await
        }
        Command::Account(arguments) => {
            log::start("error");
            administer::account(arguments).await
        }
        Command::Token(arguments) => {
            log::start("error");
            administer::token(arguments).await
        }
        Command::Key(arguments) => {
            log::start("error");
            keys::key(arguments).await
        }
        Command::Demo(options) => {
            log::start("error");
            demo::run(options.keep).await
        }
    }
}

/// Says on standard error why the command ends, in one line.
pub(crate) fn end(status: u8, why: impl std::fmt::Display) -> ExitCode {
    eprintln!("holdfast: {why}");
    ExitCode::from(status)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "write an address and a port, as in 127.0.0.1:8080".to_owned();
    text.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults_are_as_documented() {
        let Command::Serve(options) = Cli::parse_from(["holdfast", "serve"]).command else { panic!("not serve") };
        assert_eq!(options.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(options.data, PathBuf::from("./holdfast-data"));
    }

    #[test]
    fn addresses_may_name_a_host_and_need_a_port() {
        assert!(address("localhost:0").unwrap().ip().is_loopback());
        assert!(address("127.0.0.1").is_err());
        assert!(address("127.0.0.1:65536").is_err());
    }
}
