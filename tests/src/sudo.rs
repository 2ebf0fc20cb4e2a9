//! What a user may do as root on this machine, for as long as a test wants it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A file of sudoers; it goes when it is dropped.
#[derive(Debug)]
pub struct Sudoers {
    path: PathBuf,
}

impl Sudoers {
    /// Lets `user` run `commands`, whole paths with a comma between them, as root and without a password. As root only.
    pub fn allow(user: &str, commands: &str) -> Self {
        // A name with a dot in it would be passed over.
        let path = PathBuf::from(format!("/etc/sudoers.d/holdfast-tests-{user}"));
        std::fs::write(&path, format!("{user} ALL=(root) NOPASSWD: {commands}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).unwrap();
        Self { path }
    }
}

impl Drop for Sudoers {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
