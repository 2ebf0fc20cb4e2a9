//! The other half: what `holdfast serve` runs but its worker, in a process of its own.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use holdfast_local::stack::{Stack, StackOptions};
use holdfast_shared::clock::SystemClock;
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_tests::history::import_backups;
use holdfast_tests::process::worker_environment;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// Each token may make 100 requests at once, and what is measured is not the limit.
const TOKENS: usize = 100;

/// What its parent can ask for, as one line of JSON each; an empty line answers that it is done.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    /// Backups of this job are written.
    pub job: Uuid,
    /// So many.
    pub backups: u64,
}

/// Serves until it is killed; first prints, as one line of JSON, how it is reached. Then writes what [`History`] it is told
/// of.
pub async fn run(dir: &Path) -> anyhow::Result<()> {
    let allow_networks = AllowedNetworks::loopback_and_private();
    let listen = "127.0.0.1:0".parse()?;
    let options = StackOptions { listen, public_url: None, worker: None, maintenance: true, allow_networks };
    let stack = Stack::start(dir, Arc::new(SystemClock), options).await?;
    let mut tokens = Vec::with_capacity(TOKENS);
    for number in 0..TOKENS {
        let (service, account) = (stack.service(), &stack.aws().data().keys().account);
        let (_, text) = service.create_token(account, &format!("bench {number}"), vec!["*".to_owned()]).await?;
        tokens.push(text.expose().to_owned());
    }
    let environment: serde_json::Map<_, _> =
        worker_environment(&stack).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let reached = json!({ "base_url": stack.base_url(), "tokens": tokens, "environment": environment });
    println!("{reached}");
    std::io::stdout().flush()?;
    loop {
        let line = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next().transpose()).await??;
        let Some(line) = line else { return std::future::pending().await };
        let History { job, backups } = serde_json::from_str(&line)?;
        import_backups(&stack, job, backups).await;
        println!();
        std::io::stdout().flush()?;
    }
}
