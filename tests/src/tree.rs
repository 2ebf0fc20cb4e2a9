//! Trees of files: unpacked with stock tools, and compared to the last byte.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What stands at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder, by its mode.
    Folder(u32),
    /// A file, by its mode and content.
    File(u32, Vec<u8>),
    /// A symlink, by its target.
    Link(PathBuf),
    /// Something else, by its type bits.
    Other(u32),
}

/// Everything below `top`, by its path from there.
pub fn entries(top: &Path) -> BTreeMap<OsString, Entry> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for child in std::fs::read_dir(&folder).unwrap() {
            let path = child.unwrap().path();
            let seen = path.symlink_metadata().unwrap();
            let mode = seen.permissions().mode() & 0o7777;
            let entry = if seen.is_symlink() {
                Entry::Link(std::fs::read_link(&path).unwrap())
            } else if seen.is_dir() {
                folders.push(path.clone());
                Entry::Folder(mode)
            } else if seen.is_file() {
                Entry::File(mode, std::fs::read(&path).unwrap())
            } else {
                Entry::Other(seen.mode())
            };
            found.insert(path.strip_prefix(top).unwrap().as_os_str().to_owned(), entry);
        }
    }
    found
}

/// Unpacks a `.tar.zst` as a person would: `zstd -dc | tar -x`.
pub fn unpack(archive: &[u8]) -> TempDir {
    unpack_tar(&pipe("zstd", &["-dc"], archive))
}

fn unpack_tar(plain: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    pipe("tar", &["-xf", "-", "-C", dir.path().to_str().unwrap()], plain);
    dir
}

/// Asserts that what was stored of `site` is what stands there now.
pub fn assert_same(archive: &[u8], site: &Path) {
    assert_same_tree(&unpack(archive), site);
}

/// The same of a tar that is not compressed.
pub fn assert_same_tar(plain: &[u8], site: &Path) {
    assert_same_tree(&unpack_tar(plain), site);
}

fn assert_same_tree(unpacked: &TempDir, site: &Path) {
    let below = unpacked.path().join(site.strip_prefix("/").unwrap());
    let (stored, original) = (entries(&below), entries(site));
    let names = |tree: &BTreeMap<OsString, Entry>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&stored), names(&original));
    for (name, entry) in &original {
        assert!(stored.get(name) == Some(entry), "{} differs", name.display());
    }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64: enough to be incompressible.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What a program prints that is fed `input`; panics unless it succeeds.
pub fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} failed");
    writer.join().unwrap().unwrap();
    output.stdout
}
