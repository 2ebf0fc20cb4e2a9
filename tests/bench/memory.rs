//! Peak memory of the worker's process: a small backup beside one that is many times as large.

use anyhow::ensure;

use crate::figures::Figures;
use crate::machine;
use crate::rig::Rig;

/// Size of the tree, and of the smaller backup.
const TREE_GB: u64 = 2;

/// Prints the table. The larger backup is the tree named several times over, and runs once.
pub async fn measure(size_gb: u64, runs: u64) -> anyhow::Result<()> {
    // Two thirds of it stay when it is stored.
    let rig = Rig::start(TREE_GB * 2 + size_gb * 3 / 4 + 1).await?;
    let made = rig.make_tree(TREE_GB)?;
    println!("\n`tests/bench/run memory --size-gb {size_gb} --runs {runs}`: {}.", machine::description());
    println!("A new worker process for each run; the peak is `VmHWM`: all that was resident, its program included.\n");
    println!("| backup | peak of the worker, MiB | peak of its ssh processes, MiB | wall, s |");
    println!("|---|---|---|---|");
    let mut stored_once = None;
    for (times, runs) in [(1, runs), (size_gb.div_ceil(TREE_GB), 1)] {
        let job = rig.add_job(times).await?;
        let (mut worker_mib, mut ssh_mib, mut wall) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..runs {
            eprintln!("memory: {} GB, run {} of {runs}; {}", times * TREE_GB, run + 1, machine::description());
            let worker = rig.start_worker().await?;
            let cost = rig.back_up(&worker, &job).await?;
            // tar may take names that lead to the same files for one: then this would measure the small backup again.
            let of_one = *stored_once.get_or_insert(cost.stored_bytes);
            ensure!(cost.stored_bytes >= of_one * times * 9 / 10, "the tree was not read {times} times");
            worker_mib.push(worker.peak_mib()?);
            ssh_mib.push(cost.ssh_mib);
            wall.push(cost.wall);
        }
        let gigabytes = (times * made.bytes) as f64 / 1e9;
        let [worker_mib, ssh_mib, wall] = [worker_mib, ssh_mib, wall].map(Figures::of);
        println!("| {gigabytes:.1} GB, {runs} runs | {worker_mib} | {ssh_mib} | {wall} |");
    }
    Ok(())
}
