//! Compressing: the same bytes in fewer, in a format that stock tools unpack.
//!
//! What does not shrink is not fought over. zstd at level 6 searches noise at 27 MB/s, where its level 1 lets it pass at
//! 450 MB/s and stores it as large (measured). So each stretch of input tells what the next one is worth: after one that
//! did not shrink, level 1 looks on, and the level of the job is back after the first that did. gzip takes as long for
//! noise at level 1 as at 6 or 9 (43, 41 and 42 MB/s), so there is nothing to save.

use std::io;

use flate2::{Compress, FlushCompress, Status};
use holdfast_shared::domain::compression::Compression;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::Stop;
use super::sink::Sink;

/// zstd's own threads. Two keep two cores busy, and a job of contiguous bytes compresses a fifth faster than a stream
/// does, whose history lies apart from it most of the time (measured at level 3; stock `zstd` works the same way).
const ZSTD_WORKERS: u32 = 2;
/// What one of them takes on at a time: small, as every job that waits costs as much memory. The size stays the same
/// within 0.1 %.
const ZSTD_JOB_BYTES: u32 = 2 << 20;
/// Above this level each thread needs far more memory and looks back further than a job, so there is one. It cannot change
/// its level on the way either.
const MAX_PARALLEL_LEVEL: u8 = 12;
/// The level for what does not shrink.
const LEAST_LEVEL: u8 = 1;
/// Bytes of a stretch, several of zstd's jobs: what is under way counts for the next one.
const STRETCH_BYTES: u64 = 16 << 20;
/// A stretch that keeps more than so many of 100 bytes did not shrink.
const NOT_SHRUNK_PERCENT: u64 = 97;

/// Compresses a stream of bytes.
pub(super) enum Compressor {
    /// Not at all.
    None,
    /// As one gzip member.
    Gzip(Compress),
    /// As one zstd frame with a checksum.
    Zstd(Encoder<'static>, Option<Effort>),
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Gzip(level) => {
                // The largest window, as gzip itself uses it.
                Self::Gzip(Compress::new_gzip(flate2::Compression::new(level.into()), 15))
            }
            Compression::Zstd(level) => {
                Self::Zstd(zstd(level)?, (level <= MAX_PARALLEL_LEVEL).then(|| Effort::new(level)))
            }
        })
    }

    /// Takes in bytes; what comes of them may come later.
    pub(super) fn write(&mut self, bytes: &[u8], sink: &mut Sink) -> Result<(), Stop> {
        match self {
            Self::None => sink.copy(bytes),
            Self::Gzip(gzip) => deflate(gzip, bytes, FlushCompress::None, sink),
            Self::Zstd(zstd, effort) => {
                let mut input = InBuffer::around(bytes);
                let mut made = 0;
                while input.pos() < bytes.len() {
                    made += sink.fill(|buffer| appended(buffer, |output| zstd.run(&mut input, output)))?.0;
                }
                match effort.as_mut().and_then(|effort| effort.next_level(bytes.len() as u64, made)) {
                    Some(level) => {
                        let parameter = CParameter::CompressionLevel(level.into());
                        zstd.set_parameter(parameter).map_err(Stop::Compress)
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Ends the stream, so that it unpacks as a whole one.
    pub(super) fn finish(self, sink: &mut Sink) -> Result<(), Stop> {
        match self {
            Self::None => Ok(()),
            Self::Gzip(mut gzip) => deflate(&mut gzip, &[], FlushCompress::Finish, sink),
            Self::Zstd(mut zstd, _) => {
                while sink.fill(|buffer| appended(buffer, |output| zstd.finish(output, true)))?.1 > 0 {}
                Ok(())
            }
        }
    }
}

fn zstd(level: u8) -> io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(i32::from(level))?;
    // So that stock `zstd -t` proves the object too.
    encoder.set_parameter(CParameter::ChecksumFlag(true))?;
    if level <= MAX_PARALLEL_LEVEL {
        encoder.set_parameter(CParameter::NbWorkers(ZSTD_WORKERS))?;
        encoder.set_parameter(CParameter::JobSize(ZSTD_JOB_BYTES))?;
    }
    Ok(encoder)
}

/// Lets zstd append to a buffer; answers how many bytes, and what zstd answered.
fn appended(
    buffer: &mut Vec<u8>,
    run: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
) -> io::Result<(u64, usize)> {
    let start = buffer.len();
    let left = run(&mut OutBuffer::around_pos(buffer, start))?;
    Ok(((buffer.len() - start) as u64, left))
}

/// Deflates all of `bytes`, and with a flush also what was held back.
fn deflate(gzip: &mut Compress, mut bytes: &[u8], flush: FlushCompress, sink: &mut Sink) -> Result<(), Stop> {
    loop {
        let (read, ended) = sink.fill(|buffer| {
            let before = gzip.total_in();
            let status = gzip.compress_vec(bytes, buffer, flush)?;
            let read = usize::try_from(gzip.total_in() - before).map_err(io::Error::other)?;
            Ok((read, status == Status::StreamEnd))
        })?;
        bytes = &bytes[read..];
        let finished = match flush {
            FlushCompress::Finish => ended,
            _ => bytes.is_empty(),
        };
        if finished {
            return Ok(());
        }
    }
}

/// Which level the next stretch is worth.
pub(super) struct Effort {
    asked: u8,
    level: u8,
    taken: u64,
    made: u64,
}

impl Effort {
    fn new(asked: u8) -> Self {
        Self { asked, level: asked, taken: 0, made: 0 }
    }

    /// Notes what went in and came out; answers a level to change to.
    fn next_level(&mut self, taken: u64, made: u64) -> Option<u8> {
        self.taken += taken;
        self.made += made;
        if self.taken < STRETCH_BYTES {
            return None;
        }
        let shrank = self.made * 100 <= self.taken * NOT_SHRUNK_PERCENT;
        (self.taken, self.made) = (0, 0);
        let level = if shrank { self.asked } else { LEAST_LEVEL };
        (std::mem::replace(&mut self.level, level) != level).then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an encoder makes of 8 MiB.
    fn made(mut encoder: Encoder<'_>) -> Vec<u8> {
        let plain: Vec<u8> = (0..2_u32 << 20).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut packed = Vec::with_capacity(plain.len() + 1024);
        let mut input = InBuffer::around(&plain[..]);
        while input.pos() < plain.len() {
            appended(&mut packed, |output| encoder.run(&mut input, output)).unwrap();
        }
        while appended(&mut packed, |output| encoder.finish(output, true)).unwrap().1 > 0 {}
        assert!(zstd::decode_all(&packed[..]).unwrap() == plain);
        packed
    }

    #[test]
    fn work_is_split_between_threads_at_levels_that_let_it() {
        let alone = |level: i32| {
            let mut encoder = Encoder::new(level).unwrap();
            encoder.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
            encoder
        };
        // Several jobs make other blocks than one: that tells that there were several.
        assert!(made(zstd(3).unwrap()) != made(alone(3)), "one thread did it all");
        assert!(made(zstd(13).unwrap()) == made(alone(13)), "it takes more memory than there is");
    }

    #[test]
    fn what_does_not_shrink_gets_the_least_level_until_something_does() {
        let mut effort = Effort::new(6);
        let half = STRETCH_BYTES / 2;
        assert_eq!(effort.next_level(half, half), None, "a stretch is not over");
        assert_eq!(effort.next_level(half, half), Some(1));
        assert_eq!(effort.next_level(STRETCH_BYTES, STRETCH_BYTES), None, "nor does the next one shrink");
        assert_eq!(effort.next_level(STRETCH_BYTES, half), Some(6));
        assert_eq!(effort.next_level(STRETCH_BYTES, half), None);
    }
}
