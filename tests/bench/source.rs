//! What is backed up: a tree of text, records and noise in equal shares, many small files and some large ones. The same
//! bytes on every machine.

use std::fs;
use std::io;
use std::path::Path;

use crate::GB;

/// This share of all bytes lies in small files, 17 KiB each on average.
const SMALL_SHARE: u64 = 8;
/// Files of one folder.
const FILES_PER_FOLDER: usize = 250;
/// How many different words the text has.
const WORDS: usize = 6_000;

/// What was made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// Bytes of all files together.
    pub bytes: u64,
    /// How many there are.
    pub files: usize,
}

/// xorshift64: quick, and noise to any compressor.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }
}

/// Makes the tree in `dir`, which must not exist.
pub fn make(dir: &Path, size_gb: u64) -> io::Result<Made> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let words = vocabulary(&mut random);
    let mut made = Made { bytes: 0, files: 0 };
    let (small, all) = (size_gb * GB / SMALL_SHARE, size_gb * GB);
    while made.bytes < all {
        let size = match made.bytes < small {
            true => 1_024 + random.below(32 << 10),
            false => (1 << 20) + random.below(48 << 20),
        };
        let folder = dir.join(format!("folder-{:04}", made.files / FILES_PER_FOLDER));
        fs::create_dir_all(&folder)?;
        let (ending, bytes) = match made.files % 3 {
            0 => ("txt", text(size, &words, &mut random)),
            1 => ("dat", records(size, &mut random)),
            _ => ("jpg", noise(size, &mut random)),
        };
        fs::write(folder.join(format!("file-{:06}.{ending}", made.files)), bytes)?;
        made.bytes += size as u64;
        made.files += 1;
    }
    Ok(made)
}

fn vocabulary(random: &mut Random) -> Vec<Vec<u8>> {
    let word = |random: &mut Random| (0..2 + random.below(9)).map(|_| b'a' + random.below(26) as u8).collect();
    (0..WORDS).map(|_| word(random)).collect()
}

/// Words, a few of them often and most seldom; zstd makes a third of it.
fn text(size: usize, words: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        let common = random.below(WORDS) * random.below(WORDS) / WORDS;
        bytes.extend_from_slice(&words[common * random.below(WORDS) / WORDS]);
        bytes.push(if random.below(12) == 0 { b'\n' } else { b' ' });
    }
    bytes.truncate(size);
    bytes
}

/// Rows of 16 bytes: a number that grows, a kind, a measurement; zstd makes a half of it.
fn records(size: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 16);
    let mut number = random.next() as u32;
    while bytes.len() < size {
        number = number.wrapping_add(1 + random.below(7) as u32);
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&(random.below(5) as u32).to_le_bytes());
        bytes.extend_from_slice(&(random.next() & 0xFFFF_FFFF).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn noise(size: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| random.next().to_le_bytes()).take(size.div_ceil(8)).flatten().collect();
    bytes.truncate(size);
    bytes
}
