//! Wall and CPU time of a backup beside the pipeline that a person would write, one after the other in pairs.

use crate::figures::Figures;
use crate::machine;
use crate::rig::{Cost, Rig};

/// Prints the table.
pub async fn measure(size_gb: u64, runs: u64) -> anyhow::Result<()> {
    // Both store the tree, and neither is removed before its pair is complete.
    let rig = Rig::start(size_gb * 3 + 1).await?;
    let made = rig.make_tree(size_gb)?;
    let job = rig.add_job("tree").await?;
    let worker = rig.start_worker().await?;
    let pipeline = format!(
        "{} tar --create --file=- {} 2>tar.log | zstd -3 -T2 -q | {AWS} cp --only-show-errors - {BUCKET}/pipeline",
        rig.ssh_words(),
        rig.tree().display(),
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..runs {
        eprintln!("wall: pair {} of {runs}; {}", run + 1, machine::description());
        // Each goes first every other time.
        if run % 2 == 0 {
            ours.push(rig.back_up(&worker, &job).await?);
            theirs.push(rig.run_pipeline(&pipeline).await?);
        } else {
            theirs.push(rig.run_pipeline(&pipeline).await?);
            ours.push(rig.back_up(&worker, &job).await?);
        }
        rig.run_pipeline(&format!("{AWS} rm --only-show-errors --recursive {BUCKET}")).await?;
    }
    println!("\n`tests/bench/run wall --size-gb {size_gb} --runs {runs}`: {}.", machine::description());
    let (plain, stored) = (made.bytes as f64 / 1e9, ours.first().map_or(0, |cost| cost.stored_bytes) as f64 / 1e9);
    println!("{} files, {plain:.2} GB, stored as {stored:.2} GB; medians of {runs} pairs (least–most).\n", made.files);
    println!("| | Holdfast | `ssh tar \\| zstd -3 -T2 \\| aws s3 cp` | ratio within a pair |");
    println!("|---|---|---|---|");
    row("wall, s", &ours, &theirs, |cost| cost.wall);
    row("CPU of the backing-up side, s", &ours, &theirs, |cost| cost.cpu.client);
    row("CPU of the host (sshd, tar), s", &ours, &theirs, |cost| cost.cpu.host);
    row("CPU of the embedded store, s", &ours, &theirs, |cost| cost.cpu.store);
    row("CPU altogether, s", &ours, &theirs, |cost| cost.cpu.client + cost.cpu.host + cost.cpu.store);
    Ok(())
}

const AWS: &str = r#"aws --endpoint-url "$AWS_ENDPOINT_URL_S3" s3"#;
const BUCKET: &str = r#""s3://$HOLDFAST_BUCKET""#;

fn row(name: &str, ours: &[Cost], theirs: &[Cost], value: impl Fn(&Cost) -> f64) {
    let figures = |costs: &[Cost]| Figures::of(costs.iter().map(&value));
    let ratios = Figures::of(ours.iter().zip(theirs).map(|(ours, theirs)| value(ours) / value(theirs)));
    println!("| {name} | {} | {} | {ratios:.2} |", figures(ours), figures(theirs));
}
