//! The API in a process of its own, beside the one that holds the table: so that its CPU time is its own.

use std::io::Write;
use std::process::Stdio;

use anyhow::Context;
use holdfast_functions::api::router;
use holdfast_local::service::serve;
use holdfast_shared::service::Service;
use holdfast_tests::Client;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::machine;
use crate::rig::Reached;

/// Far more than is measured: the limit is not what is measured.
const REQUESTS_PER_SECOND: &str = "100000";

/// The API's process; it ends with this value.
#[derive(Debug)]
pub struct Front {
    /// Calls it.
    pub api: Client,
    process: Child,
}

impl Front {
    /// Starts one on the resources of a store.
    pub async fn start(reached: &Reached) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--front").envs(&reached.environment);
        for limit in ["HOLDFAST_REQUESTS_PER_SECOND", "HOLDFAST_ACCOUNT_REQUESTS_PER_SECOND"] {
            command.env(limit, REQUESTS_PER_SECOND);
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = process.stdout.take().context("the API has no output")?;
        let base_url = BufReader::new(stdout).lines().next_line().await?.context("the API did not start")?;
        let token = reached.tokens.first().context("the store made no token")?;
        Ok(Self { api: Client::new(&base_url, token), process })
    }

    /// CPU seconds so far.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        machine::cpu_seconds(self.process.id().context("the API has ended")?)
    }
}

/// Serves the API on what the environment names until it is killed; first prints where.
pub async fn run() -> anyhow::Result<()> {
    let service = Service::from_env().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(serve(listener, router(service), CancellationToken::new()).await?)
}
