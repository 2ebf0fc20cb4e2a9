//! Listing: what tar would take, told by tar itself, so that patterns, mounts and rights count as they do in a run.
//!
//! To `/dev/null` tar reads no content, so that files are listed as fast as the host's disk tells their names. Whether a
//! single file may be read does not show that way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_shared::domain::preview::{Entry, EntryKind, Listing};
use holdfast_shared::domain::recipe::FilesConfig;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::report::Report;
use super::{KEPT, look, taking};
use crate::recipe::SourceError;
use crate::remote::{Bytes, Machine};

/// The longest line: two paths, each byte of them as four.
const LINE_BYTES: u64 = 64 << 10;
/// How much longer the host lets tar run than it is listened to, should nobody be there to end it.
const GRACE: Duration = Duration::from_secs(30);

/// Lists what would be taken, as far as that is told within `limit`.
pub async fn list(machine: &Machine, config: &FilesConfig, limit: Duration) -> Result<Listing, SourceError> {
    look(machine, config).await?;
    // Between quotation marks, so that a link's name is told from where it leads.
    let options = ["--create", "--file=/dev/null", "--format=posix", "--quoting-style=c", "-vv", "--full-time"];
    let command = taking(config, options.into_iter().chain(KEPT)).limit(limit + GRACE);
    let report = Arc::new(Mutex::new(Report::default()));
    let hearing = report.clone();
    let mut running = machine.spawn(command, move |line| locked(&hearing).take_in(line)).await?;
    let mut listing = Listing::default();
    let read = tokio::time::timeout(limit, read(running.take_stdout(), &mut listing)).await;
    match read {
        Ok(read) => {
            read?;
            let code = running.wait().await?.code;
            locked(&report).check_listing(code)?;
        }
        Err(_) => {
            machine.kill(&running.group()).await;
            listing.is_complete = false;
        }
    }
    listing.remark(locked(&report).told());
    Ok(listing)
}

fn locked(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(output: Option<Bytes>, listing: &mut Listing) -> Result<(), SourceError> {
    let Some(output) = output else { return Ok(()) };
    let lost = |error| SourceError::Broken(format!("the list of files cannot be read: {error}"));
    let (mut reader, mut line) = (BufReader::new(output), Vec::new());
    loop {
        line.clear();
        if (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await.map_err(lost)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let entry = entry(text.trim_end_matches('\n'));
        listing
            .add(entry.ok_or_else(|| SourceError::Broken(format!("tar lists what is no file: {}", text.trim_end())))?);
    }
}

/// What a line of `tar -vv --full-time --quoting-style=c` tells
/// ([format](https://www.gnu.org/software/tar/manual/html_section/verbose-tutorial.html)).
fn entry(line: &str) -> Option<Entry> {
    let mut rest = line;
    let [mode, _owner, size, _date, _time] = std::array::from_fn(|_| next_word(&mut rest));
    // A time that ends in zeros is shorter, and blanks make up for it.
    let (path, rest) = unquoted(rest.trim_start_matches(' '))?;
    let kind = match mode?.chars().next()? {
        '-' | 'C' => EntryKind::File,
        'd' => EntryKind::Folder,
        'l' => EntryKind::Symlink,
        'h' => EntryKind::HardLink,
        'c' => EntryKind::CharacterDevice,
        'b' => EntryKind::BlockDevice,
        'p' => EntryKind::Fifo,
        _ => return None,
    };
    // Of a device, two numbers stand there.
    let bytes = if kind == EntryKind::File { size?.parse().ok()? } else { 0 };
    let to = rest.strip_prefix(" -> ").or_else(|| rest.strip_prefix(" link to "));
    let target = to.and_then(unquoted).map(|(target, _)| target);
    let path = match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    Some(Entry { path, kind, bytes, target })
}

fn next_word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start_matches(' ');
    let end = text.find(' ')?;
    *rest = &text[end..];
    Some(&text[..end])
}

/// The text of a C string literal, with U+FFFD for what is no UTF-8, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?.bytes().enumerate();
    let mut bytes = Vec::new();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => return Some((String::from_utf8_lossy(&bytes).into_owned(), &text[at + 2..])),
            b'\\' => {
                let (_, escaped) = rest.next()?;
                bytes.push(match escaped {
                    b'a' => 0x07,
                    b'b' => 0x08,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 0x0b,
                    b'f' => 0x0c,
                    b'r' => b'\r',
                    b'0'..=b'7' => {
                        let digits = [escaped, rest.next()?.1, rest.next()?.1];
                        digits.iter().fold(0, |number, digit| number << 3 | (digit & 7))
                    }
                    other => other,
                });
            }
            other => bytes.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(line: &str) -> (String, EntryKind, u64, Option<String>) {
        let Entry { path, kind, bytes, target } = entry(line).unwrap_or_else(|| panic!("{line}"));
        (path, kind, bytes, target)
    }

    #[test]
    fn each_kind_is_read() {
        let at = "2026-11-21 10:38:25.535079183";
        for (line, path, kind, bytes, target) in [
            (format!("drwxr-xr-x+ 0/0               0 {at} \"/srv/t/\""), "/srv/t", EntryKind::Folder, 0, None),
            (format!("drwxr-xr-x 0/0 0 {at} \"/\""), "/", EntryKind::Folder, 0, None),
            ("-rw-r--r-- 0/0 5 2026-11-21 12:27:03.31928881  \"/a\"".to_owned(), "/a", EntryKind::File, 5, None),
            (
                format!("-rw-rw-r--+ 0/0        10485760 {at} \"/srv/a b\""),
                "/srv/a b",
                EntryKind::File,
                10_485_760,
                None,
            ),
            (
                format!("lrwxrwxrwx  0/0  0 {at} \"/srv/c -> d\" -> \"a\""),
                "/srv/c -> d",
                EntryKind::Symlink,
                0,
                Some("a"),
            ),
            (
                format!("hrw-rw-r--  0/0  0 {at} \"/srv/a\" link to \"srv/b\""),
                "/srv/a",
                EntryKind::HardLink,
                0,
                Some("srv/b"),
            ),
            (format!("crw-r--r--  0/0  1,3 {at} \"/dev/null\""), "/dev/null", EntryKind::CharacterDevice, 0, None),
            (format!("brw-r--r--  0/0  8,0 {at} \"/dev/sda\""), "/dev/sda", EntryKind::BlockDevice, 0, None),
            (format!("prw-r--r--  0/0  0 {at} \"/srv/fifo\""), "/srv/fifo", EntryKind::Fifo, 0, None),
        ] {
            assert_eq!(seen(&line), (path.to_owned(), kind, bytes, target.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn a_name_is_read_as_it_is() {
        for (quoted, name) in [
            (r#""n\nl\303\244 \"q\\""#, "n\nlä \"q\\"),
            (r#""\377x""#, "\u{fffd}x"),
            (r#"" -> ""#, " -> "),
            (r#""\033[31m\t\177""#, "\u{1b}[31m\t\u{7f}"),
        ] {
            assert_eq!(unquoted(quoted), Some((name.to_owned(), "")), "{quoted}");
        }
        for broken in ["", "x", "\"x", "\"x\\", "\"x\\3"] {
            assert_eq!(unquoted(broken), None, "{broken}");
        }
        assert!(entry("total 17").is_none() && entry("").is_none());
    }
}
