//! Gives an object's bytes out: a stream over part files that reads one chunk ahead, in fixed buffers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{FutureExt as _, Stream};
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::{JoinHandle, spawn_blocking};

use super::files;
use super::object::Segment;

/// Bytes read at a time.
const CHUNK: u64 = 256 * 1024;

/// A run of bytes in one part file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) file: String,
    offset: u64,
    length: u64,
}

/// The spans that hold the bytes `range` of an object.
pub(super) fn spans(segments: &[Segment], range: &Range<u64>) -> VecDeque<Span> {
    let mut start = 0;
    let mut spans = VecDeque::new();
    for segment in segments {
        let end = start + segment.size;
        let (first, last) = (range.start.max(start), range.end.min(end));
        if first < last {
            spans.push_back(Span { file: segment.file.clone(), offset: first - start, length: last - first });
        }
        start = end;
    }
    spans
}

/// The body of a download.
pub(super) struct Outgoing {
    remaining: u64,
    reading: Option<JoinHandle<io::Result<(Source, Bytes)>>>,
}

impl Outgoing {
    /// Streams `spans`, whose files `pin` keeps readable. Call it inside the runtime: the first read starts at once.
    pub(super) fn new(spans: VecDeque<Span>, pin: files::Pin) -> Self {
        let remaining = spans.iter().map(|span| span.length).sum();
        let source = Source { spans, open: None, pin };
        let reading = (remaining > 0).then(|| spawn_blocking(move || source.read()));
        Self { remaining, reading }
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let done = ready!(reading.poll_unpin(context));
        self.reading = None;
        match done.map_err(io::Error::from).flatten() {
            Ok((source, bytes)) => {
                self.remaining -= bytes.len() as u64;
                if self.remaining > 0 {
                    self.reading = Some(spawn_blocking(move || source.read()));
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            Err(error) => {
                tracing::error!(%error, "a part file could not be read in the middle of a download");
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.remaining).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

struct Source {
    spans: VecDeque<Span>,
    /// The file of the first span, positioned at its offset.
    open: Option<File>,
    pin: files::Pin,
}

impl Source {
    /// Reads the next chunk; there must be one.
    fn read(mut self) -> io::Result<(Self, Bytes)> {
        let span = self.spans.front_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut file = match self.open.take() {
            Some(file) => file,
            None => {
                let mut file = self.pin.read(&span.file)?;
                file.seek(SeekFrom::Start(span.offset))?;
                file
            }
        };
        let wanted = span.length.min(CHUNK);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).map_err(io::Error::other)?);
        if file.by_ref().take(wanted).read_to_end(&mut chunk)? as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        span.length -= wanted;
        if span.length == 0 {
            self.spans.pop_front();
        } else {
            self.open = Some(file);
        }
        Ok((self, chunk.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_touches_only_the_files_that_hold_it() {
        let segment = |number: i32, size| Segment { number, file: number.to_string(), size };
        let segments = [segment(1, 10), segment(2, 0), segment(3, 5)];
        let shape = |range: Range<u64>| -> Vec<(String, u64, u64)> {
            spans(&segments, &range).into_iter().map(|span| (span.file, span.offset, span.length)).collect()
        };
        assert_eq!(shape(0..15), [("1".into(), 0, 10), ("3".into(), 0, 5)]);
        assert_eq!(shape(9..11), [("1".into(), 9, 1), ("3".into(), 0, 1)]);
        assert_eq!(shape(12..14), [("3".into(), 2, 2)]);
        assert_eq!(shape(0..0), []);
    }
}
