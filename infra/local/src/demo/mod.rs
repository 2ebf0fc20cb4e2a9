//! `holdfast demo`: the main job end to end on real parts, as a person with curl would do it. Its server and its site
//! serve the tests too.

mod client;
mod follow;
pub mod site;
pub mod sshd;
pub mod tools;
mod walk;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use holdfast_shared::clock::SystemClock;
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_worker::consumer::ConsumerOptions;

use self::client::Client;
use self::sshd::Sshd;
use crate::cli::{CANNOT_START, FAILED, end};
use crate::serve::Ending;
use crate::stack::{Stack, StackOptions};

/// Shows the main job. It succeeds only if all that was downloaded equals its source; with `keep` it then stays until
/// Ctrl-C.
pub(crate) async fn run(keep: bool) -> ExitCode {
    if let Err(line) = tools::ensure().await {
        return end(CANNOT_START, line);
    }
    let folder = match tempfile::Builder::new().prefix("holdfast-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return end(CANNOT_START, format!("no temporary folder can be made: {error}")),
    };
    match show(folder.path(), keep).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(FAILED, format!("{error:#}")),
    }
}

async fn show(folder: &Path, keep: bool) -> Result<()> {
    let (started, mut ending) = (Instant::now(), Ending::listen()?);
    println!("Holdfast's main job on real parts, in {}\n", folder.display());
    let sshd_folder = folder.join("sshd");
    std::fs::create_dir(&sshd_folder)?;
    let sshd = Sshd::start(&sshd_folder).await.context("the throwaway sshd")?;
    let site = folder.join("server/var/www/shop.example");
    site::create(&site).context("the sample site")?;
    println!("A server to back up: sshd on port {}, with a website in {}", sshd.port(), site.display());
    let options = StackOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        public_url: None,
        worker: Some(ConsumerOptions::default()),
        maintenance: true,
        allow_networks: AllowedNetworks::loopback_and_private(),
    };
    let stack = Stack::start(&folder.join("data"), Arc::new(SystemClock), options).await?;
    println!("Holdfast listens on {}\n", stack.base_url());
    let client = Client::new(stack.base_url(), stack.token().clone());
    let walked = tokio::select! {
        walked = walk::walk(&client, &sshd, &site, folder) => walked,
        () = ending.asked() => Err(anyhow!("interrupted")),
    };
    if let Ok(job) = &walked {
        println!("\nEverything matched. It took {} s.", started.elapsed().as_secs());
        if keep {
            tell_how_to_use(&stack, job);
            ending.asked().await;
        }
    }
    stack.shutdown().await;
    sshd.stop().await?;
    walked.map(drop)
}

fn tell_how_to_use(stack: &Stack, job: &str) {
    let (url, token) = (stack.base_url(), stack.aws().data().token_path());
    println!("\nIt runs on until Ctrl-C, which removes all of it. Try:\n");
    println!("  H=\"Authorization: Bearer $(cat {})\"", token.display());
    println!("  curl -s -H \"$H\" {url}/v1/servers");
    println!("  curl -s -H \"$H\" {url}/v1/jobs/{job}");
    println!("  curl -s -H \"$H\" -X POST {url}/v1/jobs/{job}/backups/start");
    println!("  curl -s -H \"$H\" {url}/v1/jobs/{job}/backups");
}
