//! PostgreSQL's custom format, followed byte by byte: it has no mark at its end, but its table of contents tells which
//! data must come, and each piece of data ends in a chunk of length 0. A dump is whole when all of them have ended.
//!
//! Written to a pipe, an archive is head, contents, and data in blocks: what a block belongs to, then chunks, each after
//! its length ([`pg_backup_archiver.c`][1], `pg_backup_custom.c`). Only lengths are looked at; the data is stepped over.
//!
//! [1]: https://git.postgresql.org/gitweb/?p=postgresql.git;a=blob;f=src/bin/pg_dump/pg_backup_archiver.c

use std::collections::{HashSet, VecDeque};

const MAGIC: &[u8] = b"PGDMP";
/// Magic, three bytes of version, bytes of a number, bytes of an offset, format.
const HEAD_BYTES: usize = 11;
const FORMAT_CUSTOM: u8 = 1;
/// Versions of the format that are understood: those of PostgreSQL 9 to 18.
const VERSIONS: std::ops::RangeInclusive<u8> = 12..=16;
/// The flag of an offset that says that there will be no data.
const OFFSET_NO_DATA: u8 = 3;
const BLOCK_DATA: u8 = 1;
const BLOCK_LARGE_OBJECTS: u8 = 3;

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Head,
    /// A byte without meaning here.
    Byte,
    /// A number without meaning here.
    Number,
    /// A length, and so many bytes; -1 for none.
    Text,
    /// Texts until one of length -1.
    Texts,
    /// How many entries the contents have.
    Count,
    /// So many entries.
    Entries(i64),
    /// An entry's number, and then whether it has data.
    EntryId,
    EntryHasData,
    /// Where an entry's data is, if the writer could know.
    Offset,
    /// The beginning of a block, or the end of the archive.
    Block,
    /// Whose block it is.
    BlockId {
        large_objects: bool,
    },
    /// Chunks until one of length 0.
    Chunks,
    /// The number of a large object with its chunks, until one of 0.
    LargeObjects,
    /// The end of the block of that entry.
    BlockEnd(i64),
    /// So many bytes to step over.
    Skip(u64),
}

/// Follows an archive.
#[derive(Debug)]
pub(super) struct Archive {
    next: VecDeque<Next>,
    /// The bytes so far of what comes next.
    gathered: Vec<u8>,
    version: u8,
    number_bytes: usize,
    offset_bytes: usize,
    entry: i64,
    /// Entries whose data has not come yet.
    awaited: HashSet<i64>,
    fault: Option<String>,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self {
            next: VecDeque::from([Next::Head]),
            gathered: Vec::new(),
            version: 0,
            number_bytes: 0,
            offset_bytes: 0,
            entry: 0,
            awaited: HashSet::new(),
            fault: None,
        }
    }

    /// Takes in the next bytes.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while self.fault.is_none() {
            let Some(next) = self.next.front_mut() else { return };
            if let Next::Skip(left) = next {
                let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= step as u64;
                bytes = &bytes[step..];
                if *left > 0 {
                    return;
                }
                self.next.pop_front();
                continue;
            }
            let needed = match next {
                Next::Head => HEAD_BYTES,
                Next::Byte | Next::Block => 1,
                Next::Offset => 1 + self.offset_bytes,
                Next::Entries(_) | Next::BlockEnd(_) => 0,
                _ => 1 + self.number_bytes,
            };
            let step = (needed - self.gathered.len()).min(bytes.len());
            self.gathered.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            if self.gathered.len() < needed {
                return;
            }
            if let Some(next) = self.next.pop_front() {
                let gathered = std::mem::take(&mut self.gathered);
                self.fault = self.take(next, &gathered).err();
            }
        }
    }

    /// Tells what is missing of the archive, if all bytes of it were seen.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let between_blocks = matches!(self.next.front(), Some(Next::Block)) && self.gathered.is_empty();
        match (between_blocks, self.awaited.len()) {
            (true, 0) => Ok(()),
            (true, missing) => Err(format!("the archive was cut off: the data of {missing} entries is missing")),
            (false, _) => Err("the archive was cut off in the middle".to_owned()),
        }
    }

    /// Takes in what came.
    fn take(&mut self, next: Next, bytes: &[u8]) -> Result<(), String> {
        match next {
            Next::Head => self.take_head(bytes),
            Next::Byte | Next::Number | Next::Skip(_) => Ok(()),
            Next::Text => self.take_text(number(bytes)),
            Next::Texts => {
                let length = number(bytes);
                if length >= 0 {
                    self.before([Next::Skip(length.unsigned_abs()), Next::Texts]);
                }
                Ok(())
            }
            Next::Count => {
                self.next.extend([Next::Entries(number(bytes)), Next::Block]);
                Ok(())
            }
            Next::Entries(left) => {
                if left > 0 {
                    self.before([Next::Entries(left - 1)]);
                    self.before(self.entry());
                }
                Ok(())
            }
            Next::EntryId => {
                self.entry = number(bytes);
                Ok(())
            }
            Next::EntryHasData => {
                if number(bytes) != 0 {
                    self.awaited.insert(self.entry);
                }
                Ok(())
            }
            Next::Offset => {
                if bytes[0] == OFFSET_NO_DATA {
                    self.awaited.remove(&self.entry);
                }
                Ok(())
            }
            Next::Block => self.take_block(bytes[0]),
            Next::BlockId { large_objects } => {
                let chunks = if large_objects { Next::LargeObjects } else { Next::Chunks };
                self.before([chunks, Next::BlockEnd(number(bytes)), Next::Block]);
                Ok(())
            }
            Next::Chunks => self.take_chunk(number(bytes)),
            Next::LargeObjects => {
                if number(bytes) != 0 {
                    self.before([Next::Chunks, Next::LargeObjects]);
                }
                Ok(())
            }
            Next::BlockEnd(entry) => match self.awaited.remove(&entry) {
                true => Ok(()),
                false => Err(format!("the archive holds data of entry {entry}, which should have none or had its own")),
            },
        }
    }

    fn before<const N: usize>(&mut self, next: [Next; N]) {
        next.into_iter().rev().for_each(|one| self.next.push_front(one));
    }

    fn take_head(&mut self, head: &[u8]) -> Result<(), String> {
        let [_, _, _, _, _, major, minor, _, number_bytes, offset_bytes, format] = head else {
            return Err("the archive has no head".to_owned());
        };
        if !head.starts_with(MAGIC) || *format != FORMAT_CUSTOM {
            return Err("what came is no archive in PostgreSQL's custom format".to_owned());
        }
        if *major != 1
            || !VERSIONS.contains(minor)
            || !(1..=8).contains(number_bytes)
            || !(1..=8).contains(offset_bytes)
        {
            let message = "which this version cannot prove to be whole; set postgresql_format to plain";
            return Err(format!("pg_dump writes archives of format {major}.{minor}, {message}"));
        }
        self.version = *minor;
        (self.number_bytes, self.offset_bytes) = (usize::from(*number_bytes), usize::from(*offset_bytes));
        // How it is compressed; when it was made; database, version of the server, version of pg_dump.
        self.next.push_back(if self.version >= 15 { Next::Byte } else { Next::Number });
        self.next.extend([Next::Number; 7]);
        self.next.extend([Next::Text, Next::Text, Next::Text, Next::Count]);
        Ok(())
    }

    /// What an entry of the contents consists of.
    fn entry(&self) -> [Next; 18] {
        const NOTHING: Next = Next::Skip(0);
        let access_method = if self.version >= 14 { Next::Text } else { NOTHING };
        let kind_of_relation = if self.version >= 16 { Next::Number } else { NOTHING };
        [
            Next::EntryId,
            Next::EntryHasData,
            // Its table's and its own number in the catalogue, name, kind.
            Next::Text,
            Next::Text,
            Next::Text,
            Next::Text,
            // Section; how it is made, dropped and filled; schema, tablespace.
            Next::Number,
            Next::Text,
            Next::Text,
            Next::Text,
            Next::Text,
            Next::Text,
            access_method,
            kind_of_relation,
            // Owner, whether it has row numbers; on what it depends.
            Next::Text,
            Next::Text,
            Next::Texts,
            Next::Offset,
        ]
    }

    fn take_text(&mut self, length: i64) -> Result<(), String> {
        if length > 0 {
            self.before([Next::Skip(length.unsigned_abs())]);
        }
        Ok(())
    }

    fn take_block(&mut self, kind: u8) -> Result<(), String> {
        let large_objects = match kind {
            BLOCK_DATA => false,
            BLOCK_LARGE_OBJECTS => true,
            _ => return Err(format!("the archive holds a block of an unknown kind, {kind}")),
        };
        self.before([Next::BlockId { large_objects }]);
        Ok(())
    }

    fn take_chunk(&mut self, length: i64) -> Result<(), String> {
        match length {
            0 => {}
            1.. => self.before([Next::Skip(length.unsigned_abs()), Next::Chunks]),
            _ => return Err("the archive holds a chunk of negative length".to_owned()),
        }
        Ok(())
    }
}

/// A number: its sign, then its bytes from the lowest on.
fn number(bytes: &[u8]) -> i64 {
    let Some((sign, digits)) = bytes.split_first() else { return 0 };
    let value = digits.iter().rev().fold(0_i64, |value, digit| (value << 8) | i64::from(*digit));
    if *sign == 0 { value } else { value.wrapping_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes an archive as pg_dump does.
    struct Writer(Vec<u8>, u8);

    impl Writer {
        fn new(minor: u8, entries: i64) -> Self {
            let mut writer = Self(b"PGDMP\x01".to_vec(), minor);
            writer.0.extend([minor, 0, 4, 8, FORMAT_CUSTOM]);
            if minor >= 15 {
                writer.0.push(0);
            } else {
                writer.number(-1);
            }
            (0..7).for_each(|part| writer.number(part));
            writer.text(Some("shop")).text(Some("15.1")).text(Some("15.1"));
            writer.number(entries);
            writer
        }

        fn number(&mut self, value: i64) {
            self.0.push(u8::from(value < 0));
            self.0.extend(&value.unsigned_abs().to_le_bytes()[..4]);
        }

        fn text(&mut self, text: Option<&str>) -> &mut Self {
            self.number(text.map_or(-1, |text| text.len() as i64));
            self.0.extend(text.unwrap_or_default().bytes());
            self
        }

        fn entry(&mut self, id: i64, has_data: bool) {
            self.number(id);
            self.number(has_data.into());
            self.text(Some("1259")).text(Some("16")).text(Some("t")).text(Some("TABLE DATA")).number(3);
            self.text(Some("CREATE …")).text(None).text(Some("")).text(Some("public")).text(None);
            if self.1 >= 14 {
                self.text(Some("heap"));
            }
            if self.1 >= 16 {
                self.number(114);
            }
            self.text(Some("owner")).text(Some("false")).text(Some("12")).text(Some("13")).text(None);
            self.0.push(if has_data { 1 } else { OFFSET_NO_DATA });
            self.0.extend([0; 8]);
        }

        fn chunks(&mut self, chunks: &[&str]) {
            for chunk in chunks {
                self.text(Some(chunk));
            }
            self.number(0);
        }

        fn whole(minor: u8) -> Vec<u8> {
            let mut writer = Self::new(minor, 4);
            for (id, has_data) in [(7, true), (8, false), (9, true), (10, true)] {
                writer.entry(id, has_data);
            }
            writer.0.push(BLOCK_DATA);
            writer.number(9);
            writer.chunks(&["1\tone\n", "2\ttwo\n"]);
            writer.0.push(BLOCK_LARGE_OBJECTS);
            writer.number(7);
            for object in [16_400, 16_401] {
                writer.number(object);
                writer.chunks(&["bytes", "\0\0\0\0\0\0"]);
            }
            writer.number(0);
            writer.0.push(BLOCK_DATA);
            writer.number(10);
            writer.chunks(&[]);
            writer.0
        }
    }

    fn checked(bytes: &[u8], step: usize) -> Result<(), String> {
        let mut archive = Archive::new();
        bytes.chunks(step).for_each(|piece| archive.see(piece));
        archive.check()
    }

    #[test]
    fn a_whole_archive_of_every_version_is_whole_however_it_comes() {
        for minor in VERSIONS {
            let whole = Writer::whole(minor);
            for step in [1, 2, 5, 7, whole.len()] {
                assert_eq!(checked(&whole, step), Ok(()), "1.{minor}, {step} bytes at a time");
            }
        }
    }

    #[test]
    fn cut_anywhere_it_is_not() {
        let whole = Writer::whole(14);
        for length in 0..whole.len() {
            assert!(checked(&whole[..length], 64).is_err(), "{length} of {}", whole.len());
        }
        for extra in [&b"\0"[..], b"\x01", b"\x01\0\x09\0\0\0\0\0\0\0\0"] {
            assert!(checked(&[&whole, extra].concat(), 64).is_err(), "{extra:?} behind it");
        }
    }

    #[test]
    fn an_archive_without_data_is_whole() {
        let mut writer = Writer::new(14, 1);
        writer.entry(1, false);
        assert_eq!(checked(&writer.0, 3), Ok(()));
        assert_eq!(checked(&Writer::new(16, 0).0, 3), Ok(()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(checked(b"--\n-- PostgreSQL database dump\n--\n", 9).unwrap_err().contains("no archive"));
        assert!(checked(&Writer::whole(17), 9).unwrap_err().contains("plain"));
        let mut tar = Writer::whole(14);
        tar[10] = 3;
        assert!(checked(&tar, 9).is_err());
    }
}
