//! A small website as one finds it on a server, odd file names included, and what it looks like to a comparison.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rand::RngCore;

/// File names that scripts trip over; each is a file of a few bytes.
pub const ODD_NAMES: [&[u8]; 12] = [
    b"with some spaces.txt",
    b" space before and after ",
    b"it's \"quoted\".txt",
    b"two\nlines.txt",
    b"tab\there.txt",
    b"-rf",
    b"--checkpoint-action=exec=sh",
    b"$(touch pwned) `id`; true.txt",
    b"back\\slash\\n.txt",
    b"star * and ? and [a-z].txt",
    b"latin1-caf\xe9.txt",
    "größe-日本語-🙂.txt".as_bytes(),
];

/// Sizes of the pictures, which are random bytes and do not compress.
const PICTURE_BYTES: [usize; 6] = [2_500_000, 1_300_000, 640_000, 250_007, 65_536, 4_097];

/// Makes the site in `root`, which is made too: about 7 MB in some 50 entries.
pub fn create(root: &Path) -> io::Result<()> {
    for dir in ["articles/2024", "assets/images", "assets/css", "uploads", "logs", "private", "bin"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::write(root.join("index.html"), page("Welcome", 40))?;
    for number in 1..=20 {
        fs::write(
            root.join(format!("articles/2024/{number:02}.html")),
            page(&format!("Article {number}"), 60 * number),
        )?;
    }
    fs::write(root.join("assets/css/site.css"), "body { font: 16px/1.5 serif; margin: 2em auto }\n".repeat(40))?;
    for (number, bytes) in PICTURE_BYTES.into_iter().enumerate() {
        fs::write(root.join(format!("assets/images/{number}.jpg")), random(bytes))?;
    }
    fs::write(root.join("logs/access.log"), access_log(20_000))?;
    fs::write(root.join("logs/empty.log"), "")?;
    odd_names(&root.join("uploads"))?;
    modes_and_links(root)
}

fn odd_names(uploads: &Path) -> io::Result<()> {
    for name in ODD_NAMES {
        fs::write(uploads.join(OsStr::from_bytes(name)), name)?;
    }
    fs::create_dir(uploads.join("nothing in here"))
}

fn modes_and_links(root: &Path) -> io::Result<()> {
    fs::write(root.join("bin/deploy"), "#!/bin/sh\nexit 0\n")?;
    fs::set_permissions(root.join("bin/deploy"), Permissions::from_mode(0o755))?;
    fs::write(root.join("private/.env"), "APP_KEY=only-for-the-owner\n")?;
    fs::set_permissions(root.join("private/.env"), Permissions::from_mode(0o600))?;
    fs::set_permissions(root.join("private"), Permissions::from_mode(0o750))?;
    symlink("articles/2024/20.html", root.join("latest.html"))?;
    symlink("../nowhere", root.join("uploads/dangling"))
}

fn page(title: &str, paragraphs: usize) -> String {
    let mut html = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n");
    for paragraph in 0..paragraphs {
        // Writing to a String cannot fail.
        let _ = writeln!(html, "<p>{title}, paragraph {paragraph}: what is not restored was never backed up.</p>");
    }
    html
}

fn access_log(lines: usize) -> String {
    let mut log = String::new();
    for line in 0..lines {
        let _ = writeln!(
            log,
            "192.0.2.{} - - \"GET /articles/2024/{:02}.html\" 200 {}",
            line % 251,
            line % 20 + 1,
            line * 37
        );
    }
    log
}

fn random(bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    rand::rng().fill_bytes(&mut random);
    random
}

/// One thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder and its mode.
    Folder(u32),
    /// A file, its mode and all its bytes.
    File(u32, Vec<u8>),
    /// A symbolic link and where it points.
    Link(PathBuf),
    /// A socket, pipe or device.
    Other,
}

/// Everything below `root`, by path.
pub fn read(root: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut entries = BTreeMap::new();
    read_into(root, root, &mut entries)?;
    Ok(entries)
}

fn read_into(root: &Path, dir: &Path, entries: &mut BTreeMap<PathBuf, Entry>) -> io::Result<()> {
    for found in fs::read_dir(dir)? {
        let path = found?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let mode = metadata.permissions().mode() & 0o7777;
        let entry = match metadata.file_type() {
            kind if kind.is_symlink() => Entry::Link(fs::read_link(&path)?),
            kind if kind.is_file() => Entry::File(mode, fs::read(&path)?),
            kind if kind.is_dir() => Entry::Folder(mode),
            _ => Entry::Other,
        };
        if matches!(entry, Entry::Folder(_)) {
            read_into(root, &path, entries)?;
        }
        entries.insert(path.strip_prefix(root).map_err(io::Error::other)?.to_owned(), entry);
    }
    Ok(())
}

/// How `restored` differs from `source`, one line per path; empty when they are the same, byte for byte.
pub fn differences(source: &Path, restored: &Path) -> io::Result<Vec<String>> {
    let (source, restored) = (read(source)?, read(restored)?);
    let missing = source.keys().filter(|path| !restored.contains_key(*path)).map(|path| format!("{path:?} is missing"));
    let others = restored.iter().filter_map(|(path, entry)| match source.get(path) {
        None => Some(format!("{path:?} was never there")),
        Some(original) if original != entry => Some(format!("{path:?} is not as it was")),
        Some(_) => None,
    });
    Ok(missing.chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_equals_itself_and_differs_when_touched() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (home.path().join("a"), home.path().join("b"));
        create(&first).unwrap();
        assert_eq!(differences(&first, &first).unwrap(), Vec::<String>::new());
        create(&second).unwrap();
        assert_eq!(differences(&first, &second).unwrap().len(), PICTURE_BYTES.len(), "only the random bytes");
        fs::remove_file(second.join("latest.html")).unwrap();
        fs::set_permissions(second.join("bin/deploy"), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(differences(&first, &second).unwrap().len(), PICTURE_BYTES.len() + 2);
    }
}
