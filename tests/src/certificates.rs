//! Certificates as `openssl` makes them: an authority of a test's own, and what it signs.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// An authority that nobody else knows.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
}

/// A server's certificate with its key, both readable for every user of this machine.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate in PEM.
    pub path: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        open_to_all(dir.path(), 0o755);
        let authority = Self { dir };
        let [key, certificate] = ["ca.key", "ca.pem"].map(|name| authority.dir.path().join(name));
        openssl(
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority"],
            |command| command.arg("-keyout").arg(key).arg("-out").arg(certificate),
        );
        authority
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("ca.pem")).unwrap()
    }

    /// Its own certificate for a server, for no name.
    pub fn itself(&self) -> Certificate {
        open_to_all(&self.dir.path().join("ca.key"), 0o644);
        Certificate { path: self.dir.path().join("ca.pem"), key: self.dir.path().join("ca.key") }
    }

    /// A certificate for names such as `DNS:localhost,IP:127.0.0.1`.
    pub fn certificate(&self, names: &str) -> Certificate {
        let stem: String = names.chars().filter(char::is_ascii_alphanumeric).collect();
        let file = |ending: &str| self.dir.path().join(format!("{stem}.{ending}"));
        let [key, request, path, extensions] = ["key", "csr", "pem", "ext"].map(file);
        openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server"], |command| {
            command.arg("-keyout").arg(&key).arg("-out").arg(&request)
        });
        std::fs::write(&extensions, format!("subjectAltName={names}")).unwrap();
        openssl(&["x509", "-req", "-days", "2", "-CAcreateserial"], |command| {
            let command = command.arg("-CA").arg(self.dir.path().join("ca.pem"));
            let command = command.arg("-CAkey").arg(self.dir.path().join("ca.key")).arg("-extfile").arg(&extensions);
            command.arg("-in").arg(&request).arg("-out").arg(&path)
        });
        open_to_all(&key, 0o644);
        Certificate { path, key }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn openssl(words: &[&str], more: impl FnOnce(&mut Command) -> &mut Command) {
    let mut command = Command::new("openssl");
    let output = more(command.args(words)).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn open_to_all(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}
