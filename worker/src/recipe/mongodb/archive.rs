//! The archive of `mongodump`, followed byte by byte: it ends in a terminator like every block within it does, but its
//! prelude names the collections, and each has a header that says that no more of it will come.
//!
//! An archive is a magic number, then blocks of BSON documents, each block ended by FF FF FF FF. The first block is the
//! prelude: a header and a document for each collection. Each further one is a header and documents of one collection
//! ([format](https://github.com/mongodb/mongo-tools/blob/master/common/archive/archive.go)).

use std::collections::HashSet;

const MAGIC: [u8; 4] = [0x6d, 0xe2, 0x99, 0x81];
const TERMINATOR: [u8; 4] = [0xff; 4];
/// The length that a BSON document begins with.
const LENGTH_BYTES: usize = 4;
/// The largest description of a collection: a document of the server's largest size, and what surrounds it.
const MAX_HEADER_BYTES: usize = 48 << 20;
/// What stands before the name under which a server keeps a time series.
const BUCKETS: &str = "system.buckets.";

/// Where in the archive one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Magic,
    /// Before the archive's own header.
    Header,
    /// Before the description of a collection, or the end of the prelude.
    Prelude,
    /// Between blocks, where the archive may end.
    Between,
    /// Before a document, or the end of a block.
    Block,
}

/// Follows an archive.
#[derive(Debug)]
pub(super) struct Archive {
    place: Place,
    /// The bytes so far of a length, and of a document that is read.
    gathered: Vec<u8>,
    /// Bytes to step over.
    skip: u64,
    collections: usize,
    /// Collections that have not ended yet, as database and name.
    awaited: HashSet<(String, String)>,
    fault: Option<&'static str>,
}

impl Archive {
    pub(super) fn new() -> Self {
        let (gathered, awaited) = (Vec::new(), HashSet::new());
        Self { place: Place::Magic, gathered, skip: 0, collections: 0, awaited, fault: None }
    }

    /// Takes in the next bytes.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while self.fault.is_none() && !bytes.is_empty() {
            let step = match self.skip {
                0 => self.needed().min(bytes.len()),
                skip => usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len()),
            };
            let (now, later) = bytes.split_at(step);
            bytes = later;
            if self.skip > 0 {
                self.skip -= step as u64;
                continue;
            }
            self.gathered.extend_from_slice(now);
            if self.needed() == 0 {
                let gathered = std::mem::take(&mut self.gathered);
                self.fault = self.take(&gathered).err();
            }
        }
    }

    /// How many bytes of what comes next are missing.
    fn needed(&self) -> usize {
        let whole = match length(&self.gathered) {
            Some(bytes) if self.reads(bytes) => bytes,
            _ => LENGTH_BYTES,
        };
        whole.saturating_sub(self.gathered.len())
    }

    /// Whether a document of this length is read here, and not stepped over or refused.
    fn reads(&self, bytes: usize) -> bool {
        let is_header = matches!(self.place, Place::Header | Place::Prelude | Place::Between);
        is_header && (LENGTH_BYTES + 1..=MAX_HEADER_BYTES).contains(&bytes)
    }

    /// Takes in a magic number, a terminator, the length of a document, or a whole one.
    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let is_terminator = bytes == TERMINATOR;
        match self.place {
            Place::Magic if bytes == MAGIC => self.place = Place::Header,
            Place::Magic => return Err("what came is no archive of mongodump's"),
            Place::Header if bytes.len() > LENGTH_BYTES => self.place = Place::Prelude,
            Place::Prelude if is_terminator => self.place = Place::Between,
            Place::Prelude if bytes.len() > LENGTH_BYTES => self.take_description(bytes),
            Place::Between if bytes.len() > LENGTH_BYTES => self.take_header(bytes),
            Place::Block if is_terminator => self.place = Place::Between,
            Place::Block => match length(bytes) {
                Some(length) if length > LENGTH_BYTES => self.skip = (length - LENGTH_BYTES) as u64,
                _ => return Err("the archive holds a document without a length"),
            },
            Place::Header | Place::Prelude | Place::Between => return Err("the archive lacks a header"),
        }
        Ok(())
    }

    fn take_description(&mut self, document: &[u8]) {
        let text = |key| text(document, key).unwrap_or_default();
        self.collections += 1;
        // Releases before 100.0 write nothing of a view.
        if text("type") != "view" {
            self.awaited.insert((text("db"), text("collection")));
        }
    }

    fn take_header(&mut self, document: &[u8]) {
        self.place = Place::Block;
        if value(document, "EOF") == Some(&[1]) {
            let text = |key| text(document, key).unwrap_or_default();
            let (database, name) = (text("db"), text("collection"));
            let plain = name.strip_prefix(BUCKETS).map(str::to_owned);
            self.awaited.remove(&(database.clone(), name));
            if let Some(plain) = plain {
                self.awaited.remove(&(database, plain));
            }
        }
    }

    /// Collections in the archive, empty ones and views included.
    pub(super) fn collections(&self) -> usize {
        self.collections
    }

    /// Tells what is missing of the archive, if all bytes of it were seen.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(fault) = self.fault {
            return Err(fault.to_owned());
        }
        let ends_well = self.place == Place::Between && self.gathered.is_empty() && self.skip == 0;
        match (ends_well, self.awaited.len()) {
            (true, 0) => Ok(()),
            (true, missing) => Err(format!("the archive was cut off: {missing} collections have no end")),
            (false, _) => Err("the archive was cut off: it does not end in its terminator".to_owned()),
        }
    }
}

/// The length that a document begins with; `None` where it is not there yet, or for a terminator.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk().copied().map(i32::from_le_bytes)?;
    usize::try_from(length).ok()
}

/// The bytes of a field of a BSON document's top level, as far as it holds types that archives use.
fn value<'a>(document: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut rest = document.get(LENGTH_BYTES..)?;
    loop {
        let (kind, after) = rest.split_first()?;
        let end = after.iter().position(|byte| *byte == 0)?;
        let (name, after) = (&after[..end], &after[end + 1..]);
        let bytes = match kind {
            0x02 => LENGTH_BYTES + length(after)?,
            0x03 | 0x04 => length(after)?,
            0x08 => 1,
            0x10 => 4,
            0x01 | 0x09 | 0x11 | 0x12 => 8,
            0x0a => 0,
            _ => return None,
        };
        let (value, after) = after.split_at_checked(bytes)?;
        if name == key.as_bytes() {
            return Some(value);
        }
        rest = after;
    }
}

/// The text of such a field.
fn text(document: &[u8], key: &str) -> Option<String> {
    let text = value(document, key)?.get(LENGTH_BYTES..)?.strip_suffix(&[0])?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn document(fields: &[u8]) -> Vec<u8> {
        let length = i32::try_from(fields.len() + 5).unwrap();
        [&length.to_le_bytes()[..], fields, &[0]].concat()
    }

    fn field(key: &str, value: &str) -> Vec<u8> {
        let length = i32::try_from(value.len() + 1).unwrap();
        [&[2], key.as_bytes(), &[0], &length.to_le_bytes()[..], value.as_bytes(), &[0]].concat()
    }

    fn description(collection: &str, kind: &str) -> Vec<u8> {
        let size = [&[0x10][..], b"size\0", &[0; 4]].concat();
        let metadata = field("metadata", "{\"indexes\": []}");
        document(&[field("db", "shop"), field("collection", collection), metadata, size, field("type", kind)].concat())
    }

    fn header(collection: &str, is_end: bool) -> Vec<u8> {
        let end = [&[8][..], b"EOF\0", &[u8::from(is_end)]].concat();
        let crc = [&[0x12][..], b"CRC\0", &[9; 8]].concat();
        document(&[field("db", "shop"), field("collection", collection), end, crc].concat())
    }

    /// As `mongodump` writes it: two collections by turns, a time series and a view.
    pub(in crate::recipe::mongodb) fn whole() -> Vec<u8> {
        let body = document(&field("name", "value \u{1f600}"));
        let end = TERMINATOR.to_vec();
        let pieces: Vec<Vec<u8>> = vec![
            MAGIC.to_vec(),
            document(&field("version", "0.1")),
            description("orders", "collection"),
            description("items", "collection"),
            description("weather", "timeseries"),
            description("summary", "view"),
            end.clone(),
            header("orders", false),
            body.clone(),
            body.clone(),
            end.clone(),
            header("items", false),
            body.clone(),
            end.clone(),
            header("items", true),
            end.clone(),
            header("orders", false),
            body,
            end.clone(),
            header("orders", true),
            end.clone(),
            header("system.buckets.weather", true),
            end,
        ];
        pieces.concat()
    }

    fn checked(bytes: &[u8], step: usize) -> Result<(), String> {
        let mut archive = Archive::new();
        bytes.chunks(step).for_each(|piece| archive.see(piece));
        archive.check()
    }

    #[test]
    fn a_whole_archive_is_whole_however_it_comes() {
        let whole = whole();
        for step in [1, 3, 4, 5, 64, whole.len()] {
            assert_eq!(checked(&whole, step), Ok(()), "{step} bytes at a time");
        }
        let mut archive = Archive::new();
        archive.see(&whole);
        assert_eq!(archive.collections(), 4);
    }

    #[test]
    fn cut_anywhere_it_is_not() {
        let whole = whole();
        for length in 0..whole.len() {
            assert!(checked(&whole[..length], 64).is_err(), "{length} of {}", whole.len());
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert!(checked(b"2026-11-21T00:00:00 writing", 5).unwrap_err().contains("no archive"));
        let mut hostile = MAGIC.to_vec();
        hostile.extend(i32::MAX.to_le_bytes());
        hostile.extend([0; 100]);
        assert!(checked(&hostile, 7).is_err(), "a length that nobody would gather");
    }
}
