//! What Linux tells of processes: CPU time, memory, children. See `proc(5)`.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, WaitOptions, waitpid};

/// `USER_HZ`: what `/proc` counts CPU time in, the same on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long processes may take to end once their work is done.
const END_LIMIT: Duration = Duration::from_secs(20);

/// User and system seconds of a process so far, with those of its children that ended and were waited for.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The name before stands in parentheses and may hold anything.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split_whitespace()).context("no process status")?;
    let times = fields.skip(11).take(4).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(times / TICKS_PER_SECOND)
}

/// A line of `/proc/PID/status` in MiB: `VmHWM`, the peak of what was resident, or `VmRSS`, what is. `None` once it ended.
pub fn memory_mib(pid: u32, line: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))?;
    let kib: f64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

/// The processes whose parent is `pid`.
pub fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children.flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Whether a process runs the program of this name.
pub fn is_program(pid: u32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
}

/// Waits until a process has no children any more; then their CPU time is part of its own.
pub async fn children_ended(pid: u32) -> anyhow::Result<()> {
    let ended = async {
        while !children_of(pid).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(END_LIMIT, ended).await.with_context(|| format!("children of {pid} do not end"))
}

/// Makes orphans below this process its children, as init would be: ssh's master leaves its parent, and only whoever is
/// its parent in the end can tell what it cost.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Waits for the end of every adopted `program`; answers their CPU seconds.
pub async fn bury_orphans(program: &str) -> anyhow::Result<f64> {
    let mut seconds = 0.0;
    for pid in children_of(std::process::id()).into_iter().filter(|pid| is_program(*pid, program)) {
        let ended = async {
            while !is_zombie(pid) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(END_LIMIT, ended).await.with_context(|| format!("{program} {pid} does not end"))?;
        seconds += cpu_seconds(pid)?;
        waitpid(i32::try_from(pid).ok().and_then(Pid::from_raw), WaitOptions::NOHANG)?;
    }
    Ok(seconds)
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// The machine in a few words, with how busy it is with other things.
pub fn description() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{count} × {}, load {load}", model.unwrap_or("CPU"))
}
