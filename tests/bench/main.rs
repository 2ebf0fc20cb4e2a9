//! Figures: what a backup costs beside a plain pipeline, what the worker holds in memory, what an API request costs.
//!
//! Every part is a process of its own, so that each is measured for itself: the store and the API (all that
//! `holdfast serve` runs but its worker), the worker, an sshd. Started by `tests/bench/run`, which says how to use it.

mod api;
mod figures;
mod front;
mod machine;
mod memory;
mod pages;
mod rig;
mod source;
mod store;
mod wall;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Bytes of a GB.
const GB: u64 = 1_000_000_000;

/// Measures Holdfast on this machine and prints tables in Markdown.
#[derive(Debug, Parser)]
#[command(name = "tests/bench/run")]
struct Cli {
    /// What to measure; everything unless named
    what: Option<What>,
    /// How much is backed up [default: 2 for wall, 20 for memory]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    size_gb: Option<u64>,
    /// How often each thing is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    runs: u64,
    /// How many requests a run of api makes of each call
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    requests: u64,
    /// How many backups one job has in api and pages [default: 1 for api, 500,000 for pages]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    backups: Option<u64>,
    /// How many jobs there are in pages
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(50..=1_000_000))]
    jobs: u64,
    /// Runs the store and the API on this folder; how this program starts its own other half
    #[arg(long, hide = true)]
    store: Option<PathBuf>,
    /// Runs the API alone, on what the environment names
    #[arg(long, hide = true)]
    front: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Wall and CPU time of a backup beside a plain pipeline
    Wall,
    /// Peak memory of the worker
    Memory,
    /// CPU time of API requests
    Api,
    /// What a page of a list reads, with few and with many records
    Pages,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(dir) = cli.store {
        return store::run(&dir).await;
    }
    if cli.front {
        return front::run().await;
    }
    let asked = |what| cli.what.is_none_or(|named| named == what);
    if asked(What::Wall) {
        wall::measure(cli.size_gb.unwrap_or(2), cli.runs).await?;
    }
    if asked(What::Memory) {
        memory::measure(cli.size_gb.unwrap_or(20), cli.runs).await?;
    }
    if asked(What::Api) {
        api::measure(cli.runs, cli.requests, cli.backups.unwrap_or(1)).await?;
    }
    if asked(What::Pages) {
        pages::measure(cli.jobs, cli.backups.unwrap_or(500_000)).await?;
    }
    Ok(())
}
