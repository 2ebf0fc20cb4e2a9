//! The other half: what `holdfast serve` runs but its worker, in a process of its own.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use holdfast_local::stack::{Stack, StackOptions};
use holdfast_shared::clock::SystemClock;
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_tests::process::worker_environment;
use serde_json::json;

/// Each token may make 100 requests at once, and what is measured is not the limit.
const TOKENS: usize = 100;

/// Serves until it is killed; first prints, as one line of JSON, how it is reached.
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
    let account = &stack.aws().data().keys().account;
    let reached = json!({
        "base_url": stack.base_url(), "account": account, "tokens": tokens, "environment": environment,
    });
    println!("{reached}");
    std::io::stdout().flush()?;
    std::future::pending().await
}
