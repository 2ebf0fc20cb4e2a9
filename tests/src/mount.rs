//! A small file system in memory, mounted for as long as a test wants it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted `tmpfs`; it is unmounted when it is dropped.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts one with room for `bytes` at `path`, which is made; everybody may write there. As root only.
    pub fn at(path: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={bytes},mode=1777");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "holdfast-tests"]).arg(path).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self { path: path.to_owned() }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).output();
    }
}
