//! Part buffers: a fixed budget of memory that is filled, sent and filled again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use holdfast_shared::domain::part_size::PartSizes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory of all part buffers, as long as two of them fit: three of 5 MiB, otherwise two of whatever size. So one is
/// filled while the others are on their way.
pub(super) const BUDGET_BYTES: usize = 15 << 20;
/// What the budget is counted in.
const UNIT_BYTES: usize = 1 << 20;

/// The stage behind is gone: the pipe is being torn down.
#[derive(Debug)]
pub(super) struct Stopped;

/// A part whose bytes are final.
pub(super) struct Filled {
    pub number: u32,
    pub bytes: Vec<u8>,
    pub permit: OwnedSemaphorePermit,
}

/// The budget and the buffers that wait to be used again.
#[derive(Clone)]
pub(super) struct PartBuffers {
    budget: Arc<Semaphore>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Default for PartBuffers {
    fn default() -> Self {
        Self { budget: Arc::new(Semaphore::new(BUDGET_BYTES / UNIT_BYTES)), spare: Arc::default() }
    }
}

impl PartBuffers {
    /// Waits until the budget has room for `bytes` and answers an empty buffer of just that capacity. Blocks.
    fn take(&self, bytes: usize) -> Result<(Vec<u8>, OwnedSemaphorePermit), Stopped> {
        let units = u32::try_from(bytes.min(BUDGET_BYTES / 2).div_ceil(UNIT_BYTES)).map_err(|_| Stopped)?;
        let permit = Handle::current().block_on(self.budget.clone().acquire_many_owned(units)).map_err(|_| Stopped)?;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        // Part sizes only grow: what no longer fits is not needed again.
        spare.retain(|buffer| buffer.capacity() == bytes);
        let buffer = spare.pop().unwrap_or_else(|| Vec::with_capacity(bytes));
        Ok((buffer, permit))
    }

    /// Takes back what a part was made of, unless somebody still reads it.
    pub(super) fn give_back(&self, bytes: Bytes, permit: OwnedSemaphorePermit) {
        if let Ok(bytes) = bytes.try_into_mut() {
            let mut buffer = Vec::from(bytes);
            buffer.clear();
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
        drop(permit);
    }
}

/// Fills parts one after the other and passes on each that is full.
pub(super) struct PartWriter {
    buffers: PartBuffers,
    output: Sender<Filled>,
    current: Option<Filled>,
    number: u32,
    sizes: PartSizes,
}

impl PartWriter {
    pub(super) fn new(buffers: PartBuffers, output: Sender<Filled>, sizes: PartSizes) -> Self {
        Self { buffers, output, current: None, number: 0, sizes }
    }

    /// The part that is being filled: its spare capacity is at least one byte, and it must not grow. Blocks until there
    /// is memory for it.
    pub(super) fn space(&mut self) -> Result<&mut Vec<u8>, Stopped> {
        let full = self.current.take_if(|part| part.bytes.len() == part.bytes.capacity());
        if let Some(part) = full {
            self.output.blocking_send(part).map_err(|_| Stopped)?;
        }
        let part = match self.current.take() {
            Some(part) => part,
            None => self.next_part()?,
        };
        Ok(&mut self.current.insert(part).bytes)
    }

    fn next_part(&mut self) -> Result<Filled, Stopped> {
        self.number += 1;
        let (bytes, permit) = self.buffers.take(self.sizes.bytes(self.number))?;
        Ok(Filled { number: self.number, bytes, permit })
    }

    /// Appends bytes as they are.
    pub(super) fn copy(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let part = self.space()?;
            let (now, later) = bytes.split_at(bytes.len().min(part.capacity() - part.len()));
            part.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Passes on the last part. An object without content has one empty part.
    pub(super) fn finish(mut self) -> Result<(), Stopped> {
        let last = match self.current.take() {
            Some(part) => part,
            None => self.next_part()?,
        };
        self.output.blocking_send(last).map_err(|_| Stopped)
    }
}

/// For what can only write. It fails with [`Stopped`] alone.
impl io::Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.copy(bytes).map(|()| bytes.len()).map_err(|Stopped| io::ErrorKind::BrokenPipe.into())
    }

    /// Parts are passed on when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
