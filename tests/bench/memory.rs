//! Peak memory of the worker's process: a small backup beside one that is many times as large.

use crate::figures::Figures;
use crate::machine;
use crate::rig::Rig;

/// Size of the smaller backup.
const SMALL_GB: u64 = 2;

/// Prints the table. The larger backup runs once.
pub async fn measure(size_gb: u64, runs: u64) -> anyhow::Result<()> {
    println!("\n`tests/bench/run memory --size-gb {size_gb} --runs {runs}`: {}.", machine::description());
    println!("A new worker process for each run; the peak is `VmHWM`: all that was resident, its program included.\n");
    println!("| backup | peak of the worker, MiB | peak of its ssh processes, MiB | wall, s |");
    println!("|---|---|---|---|");
    for (gigabytes, runs) in [(SMALL_GB, runs), (size_gb, 1)] {
        // The tree, two thirds of it each time it is stored, and some air.
        let rig = Rig::start(gigabytes + gigabytes * runs * 2 / 3 + 2).await?;
        let made = rig.make_tree(gigabytes)?;
        let job = rig.add_job("tree").await?;
        let (mut worker_mib, mut ssh_mib, mut wall) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..runs {
            eprintln!("memory: {gigabytes} GB, run {} of {runs}; {}", run + 1, machine::description());
            let worker = rig.start_worker().await?;
            let cost = rig.back_up(&worker, &job).await?;
            worker_mib.push(worker.peak_mib()?);
            ssh_mib.push(cost.ssh_mib);
            wall.push(cost.wall);
        }
        let gigabytes = made.bytes as f64 / 1e9;
        let [worker_mib, ssh_mib, wall] = [worker_mib, ssh_mib, wall].map(Figures::of);
        println!("| {gigabytes:.1} GB, {runs} runs | {worker_mib} | {ssh_mib} | {wall} |");
    }
    Ok(())
}
