//! The stock programs that the demo shows its result with: found, or installed where that is allowed.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use tokio::process::Command;

/// Each program and the Debian package that holds it.
const TOOLS: [(&str, &str); 6] = [
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("tar", "tar"),
    ("zstd", "zstd"),
    ("id", "coreutils"),
];

/// Makes sure that every program is there. The error is one line that tells what to run.
pub async fn ensure() -> Result<(), String> {
    let mut packages = Vec::new();
    for (tool, package) in TOOLS {
        if find(tool).await.is_none() {
            println!("this system lacks {tool} (package {package})");
            packages.push(package);
        }
    }
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("what is missing comes with: sudo apt-get install -y {}", packages.join(" "));
    if !rustix::process::geteuid().is_root() || find("apt-get").await.is_none() {
        return Err(by_hand);
    }
    println!("installing {}", packages.join(" "));
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&packages);
    for arguments in [vec!["update"], install] {
        output("apt-get", &arguments).await.map_err(|error| format!("{error}; {by_hand}"))?;
    }
    Ok(())
}

/// Where a program is: on the path, or where a system keeps what only its administrator runs.
pub async fn find(tool: &str) -> Option<PathBuf> {
    let look = r#"PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v -- "$1""#;
    let found = Command::new("sh").args(["-c", look, "sh", tool]).stdin(Stdio::null()).output().await.ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    (found.status.success() && path.starts_with('/')).then(|| PathBuf::from(path.trim_end()))
}

/// Runs a program to its end; the error holds the last line of what it complained of.
pub async fn output(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word of why");
    Err(format!("{program} failed ({}): {last}", output.status))
}
