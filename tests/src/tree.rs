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

/// Unpacks a `.tar.zst` as root would who wants everything back, with these options of tar's beside the usual ones.
pub fn unpack_with(archive: &[u8], options: &[&str]) -> TempDir {
    let dir = TempDir::new().unwrap();
    let into = ["--extract", "--file=-", "--numeric-owner", "--same-permissions", "-C", dir.path().to_str().unwrap()];
    let arguments: Vec<_> = into.iter().chain(options).copied().collect();
    pipe("tar", &arguments, &pipe("zstd", &["-dc"], archive));
    dir
}

/// The names in a `.tar.zst`, as `tar -t` tells them, in their order.
pub fn names(archive: &[u8]) -> Vec<String> {
    let listed = pipe("tar", &["-tf", "-"], &pipe("zstd", &["-dc"], archive));
    String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect()
}

/// All that stock tools tell of what is below `top` beside the content of files: kinds, modes, numbers of owners, times,
/// how many names a file has, lengths, where links lead, devices, ACLs and all attributes.
pub fn details(top: &Path) -> String {
    let told = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(top).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let found = told("find", &[".", "-printf", "%P %y %#m %U:%G %n %s %T+ %l\n"]);
    let devices = told("find", &[".", "-type", "c,b", "-exec", "stat", "--format=%n %t:%T", "{}", "+"]);
    let acls = told("getfacl", &["--recursive", "--numeric", "--physical", "."]);
    let attributes =
        told("getfattr", &["--recursive", "--no-dereference", "--dump", "--match=-", "--encoding=hex", "."]);
    // A folder's length is its file system's affair, and so is the order of what is in it.
    let mut lines: Vec<_> = found.lines().filter(|line| !line.contains(" d ")).map(str::to_owned).collect();
    lines.extend(told("find", &[".", "-type", "d", "-printf", "%P %#m %U:%G %T+\n"]).lines().map(str::to_owned));
    lines.extend(devices.lines().map(str::to_owned));
    for records in [acls, attributes] {
        lines.extend(records.split("\n\n").map(str::to_owned));
    }
    lines.sort();
    lines.join("\n")
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
