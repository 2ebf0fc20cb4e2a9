//! The bytes of a dump on their way past its judge.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::SharedJudge;
use crate::remote::Bytes;

/// How much is read at a time where the end is kept back.
const READ_BYTES: usize = 64 << 10;

/// Reads a dump, shows it to its judge, and leaves out what the judge says is not the dump's.
pub(super) struct Watched {
    inner: Bytes,
    judge: SharedJudge,
    kept_back: usize,
    /// What was read and has not gone on yet; empty where nothing is kept back.
    waiting: Vec<u8>,
    /// How much of `waiting` has gone on.
    gone: usize,
    ended: bool,
}

impl Watched {
    /// Over what a tool prints.
    pub(super) fn new(inner: Bytes, judge: SharedJudge) -> Self {
        let kept_back = judge.lock().keeps_back();
        Self { inner, judge, kept_back, waiting: Vec::new(), gone: 0, ended: false }
    }

    /// Bytes that may go on.
    fn ready(&self) -> usize {
        let left = self.waiting.len() - self.gone;
        if self.ended { left } else { left.saturating_sub(self.kept_back) }
    }

    /// Reads more behind what waits, or notes the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting.drain(..self.gone);
        self.gone = 0;
        let before = self.waiting.len();
        self.waiting.resize(before + READ_BYTES, 0);
        let mut space = ReadBuf::new(&mut self.waiting[before..]);
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut space);
        let bytes = space.filled().len();
        self.waiting.truncate(before + bytes);
        ready!(polled)?;
        if bytes == 0 {
            self.ended = true;
            let end = &self.waiting[before.saturating_sub(self.kept_back)..];
            let left_out = self.judge.lock().leave_out(end);
            self.waiting.truncate(before.saturating_sub(left_out));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.kept_back == 0 {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
            this.judge.lock().see(&buffer.filled()[before..]);
            return Poll::Ready(Ok(()));
        }
        while this.ready() == 0 && !this.ended {
            ready!(this.poll_more(cx))?;
        }
        let going = &this.waiting[this.gone..][..this.ready().min(buffer.remaining())];
        buffer.put_slice(going);
        this.judge.lock().see(going);
        this.gone += going.len();
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("judge", &self.judge).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::recipe::{Judge, SourceError, SourceErrors};

    /// Leaves out what ends in `!`, up to four bytes.
    #[derive(Debug)]
    struct Marks {
        seen: Arc<Mutex<Vec<u8>>>,
        kept_back: usize,
    }

    impl Judge for Marks {
        fn hear(&mut self, _line: &str) {}

        fn see(&mut self, bytes: &[u8]) {
            self.seen.lock().unwrap().extend_from_slice(bytes);
        }

        fn keeps_back(&self) -> usize {
            self.kept_back
        }

        fn leave_out(&self, end: &[u8]) -> usize {
            end.iter().rev().take_while(|byte| **byte == b'!').count()
        }

        fn judge(&self, _code: i32, _tail: &[u8]) -> Result<SourceErrors, SourceError> {
            Ok(Vec::new())
        }
    }

    async fn read(input: &'static [u8], kept_back: usize, step: usize) -> (Vec<u8>, Vec<u8>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let judge: Box<dyn Judge> = Box::new(Marks { seen: seen.clone(), kept_back });
        let mut watched = Watched::new(Box::new(input), SharedJudge(Arc::new(Mutex::new(judge))));
        let (mut all, mut piece) = (Vec::new(), vec![0; step]);
        loop {
            match watched.read(&mut piece).await.unwrap() {
                0 => break,
                bytes => all.extend_from_slice(&piece[..bytes]),
            }
        }
        let seen = seen.lock().unwrap().clone();
        (all, seen)
    }

    #[tokio::test]
    async fn what_is_not_the_dumps_is_left_out_whatever_the_reads() {
        for step in [1, 3, 7, 100_000] {
            for (input, stored) in
                [(&b"abcdef!!!!"[..], &b"abcdef"[..]), (b"ab!!cdef", b"ab!!cdef"), (b"!!", b""), (b"", b"")]
            {
                let (all, seen) = read(input, 4, step).await;
                assert_eq!((&all[..], &seen[..]), (stored, stored), "step {step}");
            }
            assert_eq!(read(b"abc!!", 0, step).await, (b"abc!!".to_vec(), b"abc!!".to_vec()));
        }
        static LARGE: [u8; 300_004] = {
            let mut bytes = [7; 300_004];
            let mut at = 300_000;
            while at < 300_004 {
                bytes[at] = b'!';
                at += 1;
            }
            bytes
        };
        let (all, seen) = read(&LARGE, 4, 1_000).await;
        assert!(all == LARGE[..300_000] && seen == all);
    }
}
