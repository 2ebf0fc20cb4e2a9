//! Sink: where compressed bytes go. Into parts as they are, or through age, which encrypts them first.

use std::io::{self, Write};

use age::Encryptor;
use age::stream::StreamWriter;

use super::Stop;
use super::parts::{PartWriter, Stopped};

/// How much is collected before it is encrypted: what age encrypts at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Takes bytes that are final but for encryption.
pub(super) enum Sink {
    /// They are stored as they are.
    Clear(PartWriter),
    /// They are encrypted on their way.
    Sealed(Box<Sealing>),
}

/// Bytes that wait to be encrypted, and what encrypts them.
pub(super) struct Sealing {
    buffer: Vec<u8>,
    writer: StreamWriter<PartWriter>,
}

impl Sink {
    /// A sink into `parts`, through `encryptor` where there is one; its header is written at once.
    pub(super) fn open(parts: PartWriter, encryptor: Option<Encryptor>) -> Result<Self, Stopped> {
        let Some(encryptor) = encryptor else { return Ok(Self::Clear(parts)) };
        let writer = encryptor.wrap_output(parts).map_err(|_| Stopped)?;
        Ok(Self::Sealed(Box::new(Sealing { buffer: Vec::with_capacity(BUFFER_BYTES), writer })))
    }

    /// Lets `make` append to a buffer whose spare capacity is at least one byte, and which must not grow.
    pub(super) fn fill<T>(&mut self, make: impl FnOnce(&mut Vec<u8>) -> io::Result<T>) -> Result<T, Stop> {
        match self {
            Self::Clear(parts) => make(parts.space()?).map_err(Stop::Compress),
            Self::Sealed(sealing) => {
                let made = make(&mut sealing.buffer).map_err(Stop::Compress)?;
                sealing.pass_on()?;
                Ok(made)
            }
        }
    }

    /// Appends bytes as they are.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        match self {
            Self::Clear(parts) => Ok(parts.copy(bytes)?),
            // Nothing is collected where nothing is compressed.
            Self::Sealed(sealing) => sealing.writer.write_all(bytes).map_err(|_| Stop::Neighbour),
        }
    }

    /// Ends the bytes: without it the last part is missing, and with it what makes age's file whole.
    pub(super) fn finish(self) -> Result<(), Stop> {
        let parts = match self {
            Self::Clear(parts) => parts,
            Self::Sealed(sealing) => sealing.writer.finish().map_err(|_| Stop::Neighbour)?,
        };
        Ok(parts.finish()?)
    }
}

impl Sealing {
    fn pass_on(&mut self) -> Result<(), Stopped> {
        // The only thing that can go wrong here is that the parts go nowhere any more.
        self.writer.write_all(&self.buffer).map_err(|_| Stopped)?;
        self.buffer.clear();
        Ok(())
    }
}
