use std::sync::Mutex;
use std::time::Duration;

use super::*;

/// Bytes of which about half is noise, the same each time.
fn sample(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 32).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

async fn pipe_to_memory(plain: &[u8], level: u8) -> (Piped, Vec<Part>) {
    let parts = Mutex::new(Vec::new());
    let meter = Meter::default();
    let put = async |part: Part| -> Result<(), io::Error> {
        // Copied, as the buffer belongs to the pipe.
        let copied = Part { bytes: bytes::Bytes::copy_from_slice(&part.bytes), ..part };
        parts.lock().unwrap().push(copied);
        Ok(())
    };
    let piped = pipe(plain, level, &meter, &CancellationToken::new(), put).await.unwrap();
    assert_eq!((meter.bytes_read(), meter.bytes_stored()), (piped.plain_bytes, piped.stored_bytes));
    (piped, parts.into_inner().unwrap())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&SHA256, bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_unpacks_to_what_was_read() {
    for (len, level) in [(0, 3), (1, 3), (10_240, 1), (READ_BYTES, 3), (40 << 20, 3), (3 << 20, 19)] {
        let plain = sample(len);
        let (piped, parts) = pipe_to_memory(&plain, level).await;
        let stored: Vec<u8> = parts.iter().map(|part| &part.bytes[..]).collect::<Vec<_>>().concat();
        assert_eq!(zstd::decode_all(&stored[..]).unwrap(), plain, "{len} at level {level}");
        assert_eq!((piped.plain_bytes, piped.stored_bytes), (len as u64, stored.len() as u64));
        assert_eq!((piped.plain_sha256, piped.stored_sha256), (sha256(&plain), sha256(&stored)));
        assert_eq!(piped.crc64, Part::new(1, stored.into()).crc64);
        assert_eq!(piped.tail, plain[len.saturating_sub(TAIL_BYTES)..]);
        assert!(parts.iter().map(|part| part.number).eq(1..=parts.len() as u32));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level_0_stores_the_bytes_as_they_are_in_parts_of_5_mib() {
    let plain = sample((20 << 20) + 5);
    let (piped, parts) = pipe_to_memory(&plain, 0).await;
    let sizes: Vec<usize> = parts.iter().map(|part| part.bytes.len()).collect();
    assert_eq!(sizes, [5 << 20, 5 << 20, 5 << 20, 5 << 20, 5]);
    assert_eq!((piped.stored_sha256, piped.plain_sha256), (sha256(&plain), sha256(&plain)));
    assert_eq!(piped.crc64, Part::new(1, plain.into()).crc64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_source_has_one_empty_part() {
    let (piped, parts) = pipe_to_memory(&[], 0).await;
    assert_eq!((parts.len(), parts[0].number, parts[0].bytes.len()), (1, 1, 0));
    assert_eq!(piped.stored_sha256, sha256(&[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_cannot_be_sent_ends_it() {
    let plain = sample(30 << 20);
    let put = async |part: Part| if part.number < 2 { Ok(()) } else { Err("full") };
    let ended = pipe(&plain[..], 0, &Meter::default(), &CancellationToken::new(), put).await;
    assert!(matches!(ended, Err(PipeError::Put("full"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_breaks_ends_it() {
    let source = tokio_test_reader(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
    let put = async |_: Part| Ok::<(), io::Error>(());
    let ended = pipe(source, 3, &Meter::default(), &CancellationToken::new(), put).await;
    assert!(matches!(ended, Err(PipeError::Read(error)) if error.kind() == io::ErrorKind::ConnectionReset));
}

/// A megabyte and then `end`.
fn tokio_test_reader(end: io::Result<bytes::Bytes>) -> impl AsyncRead + Unpin {
    let chunks = vec![Ok(bytes::Bytes::from(sample(1 << 20))), end];
    tokio_util::io::StreamReader::new(futures::stream::iter(chunks))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_cancelled_while_a_storage_hangs() {
    let plain = sample(64 << 20);
    let cancel = CancellationToken::new();
    let put = async |_: Part| -> Result<(), io::Error> {
        cancel.cancel();
        std::future::pending().await
    };
    let meter = Meter::default();
    let ended = tokio::time::timeout(Duration::from_secs(30), pipe(&plain[..], 0, &meter, &cancel, put));
    assert!(matches!(ended.await.unwrap(), Err(PipeError::Cancelled)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_storage_holds_no_more_than_the_budget() {
    let cancel = CancellationToken::new();
    let meter = Meter::default();
    let source = tokio::io::repeat(7);
    let held = AtomicU64::new(0);
    let put = async |part: Part| -> Result<(), io::Error> {
        held.fetch_add(part.bytes.len() as u64, Ordering::SeqCst);
        std::future::pending().await
    };
    let watch = async {
        // The reader comes to rest when every buffer is taken.
        let mut before = u64::MAX;
        while before != meter.bytes_read() {
            before = meter.bytes_read();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(pipe(source, 0, &meter, &cancel, put), watch);
    assert!(matches!(ended, Err(PipeError::Cancelled)));
    assert!(held.into_inner() <= parts::BUDGET_BYTES as u64);
    assert!(meter.bytes_read() <= (parts::BUDGET_BYTES + READ_BUFFERS * READ_BYTES) as u64);
}
