use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use holdfast_shared::domain::public_key::PublicKey;

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

fn clear(compression: Compression) -> Form {
    Form { compression, encryptor: None }
}

const AS_IT_IS: Compression = Compression::None;

async fn pipe_to_memory(plain: &[u8], form: Form) -> (Piped, Vec<Part>) {
    let parts = Mutex::new(Vec::new());
    let meter = Meter::default();
    let put = async |part: Part| -> Result<(), io::Error> {
        // Copied, as the buffer belongs to the pipe.
        let copied = Part { bytes: bytes::Bytes::copy_from_slice(&part.bytes), ..part };
        parts.lock().unwrap().push(copied);
        Ok(())
    };
    let piped = pipe(plain, form, &meter, &CancellationToken::new(), put).await.unwrap();
    assert_eq!((meter.bytes_read(), meter.bytes_stored()), (piped.plain_bytes, piped.stored_bytes));
    (piped, parts.into_inner().unwrap())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&SHA256, bytes))
}

fn joined(parts: &[Part]) -> Vec<u8> {
    parts.iter().map(|part| &part.bytes[..]).collect::<Vec<_>>().concat()
}

fn unpacked(compression: Compression, stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match compression {
        Compression::None => plain.extend_from_slice(stored),
        Compression::Zstd(_) => plain = zstd::decode_all(stored).unwrap(),
        // Several members, or anything behind the one, would be a fault.
        Compression::Gzip(_) => {
            let mut decoder = flate2::bufread::GzDecoder::new(stored);
            decoder.read_to_end(&mut plain).unwrap();
            assert!(decoder.into_inner().is_empty(), "there is something behind the stream");
        }
    }
    plain
}

fn check(plain: &[u8], piped: &Piped, parts: &[Part], stored: &[u8]) {
    assert_eq!((piped.plain_bytes, piped.stored_bytes), (plain.len() as u64, stored.len() as u64));
    assert_eq!((&piped.plain_sha256, &piped.stored_sha256), (&sha256(plain), &sha256(stored)));
    assert_eq!(piped.crc64, Part::new(1, stored.to_vec().into()).crc64);
    assert_eq!(piped.tail, plain[plain.len().saturating_sub(TAIL_BYTES)..]);
    assert!(parts.iter().map(|part| part.number).eq(1..=parts.len() as u32));
    assert!(parts.iter().rev().skip(1).all(|part| part.bytes.len() == 5 << 20), "only the last part is smaller");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_unpacks_to_what_was_read() {
    use Compression::{Gzip, Zstd};
    let cases = [
        (0, Zstd(3)),
        (1, Zstd(3)),
        (10_240, Zstd(1)),
        (READ_BYTES, Zstd(3)),
        (40 << 20, Zstd(3)),
        (3 << 20, Zstd(19)),
        (0, Gzip(6)),
        (1, Gzip(6)),
        (READ_BYTES, Gzip(9)),
        (40 << 20, Gzip(1)),
        (17 << 20, Gzip(6)),
    ];
    for (len, compression) in cases {
        let plain = sample(len);
        let (piped, parts) = pipe_to_memory(&plain, clear(compression)).await;
        let stored = joined(&parts);
        assert_eq!(unpacked(compression, &stored), plain, "{len} with {compression:?}");
        check(&plain, &piped, &parts, &stored);
    }
}

/// Noise, text and noise again: the level changes on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_shrink_is_stored_whole_and_what_follows_shrinks() {
    let noise = |seed: u64| -> Vec<u8> {
        let mut state = seed;
        let word = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        word.take(5 << 20).flatten().collect()
    };
    let plain = [noise(1), vec![b'x'; 60 << 20], noise(2)].concat();
    for compression in [Compression::Zstd(6), Compression::Gzip(6)] {
        let (piped, parts) = pipe_to_memory(&plain, clear(compression)).await;
        let stored = joined(&parts);
        assert!(unpacked(compression, &stored) == plain, "{compression:?}");
        check(&plain, &piped, &parts, &stored);
        let most = 81 << 20;
        assert!(stored.len() < most, "{compression:?}: {}", stored.len());
    }
}

/// A key with what opens its files. Those of OpenSSH are tried with stock tools, see `tests/encryption.rs`.
fn key_pair() -> (PublicKey, age::x25519::Identity) {
    let identity = age::x25519::Identity::generate();
    (PublicKey::parse(&identity.to_public().to_string()).unwrap(), identity)
}

fn sealed(keys: &[&PublicKey], compression: Compression) -> Form {
    let recipients = Recipients::of(keys.iter().copied()).unwrap().unwrap();
    Form { compression, encryptor: Some(recipients.encryptor().unwrap()) }
}

fn opened(stored: &[u8], identity: &dyn age::Identity) -> Result<Vec<u8>, String> {
    let decryptor = age::Decryptor::new_buffered(stored).map_err(|error| error.to_string())?;
    let mut reader = decryptor.decrypt(std::iter::once(identity)).map_err(|error| error.to_string())?;
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).map_err(|error| error.to_string())?;
    Ok(plain)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_encrypted_opens_to_what_was_read() {
    let (key, identity) = key_pair();
    // Around the 64 KiB that age encrypts at a time, and over a part.
    for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 12 << 20] {
        let plain = sample(len);
        for compression in [Compression::None, Compression::Zstd(3), Compression::Gzip(6)] {
            let (piped, parts) = pipe_to_memory(&plain, sealed(&[&key], compression)).await;
            let stored = joined(&parts);
            let packed = opened(&stored, &identity).unwrap();
            assert!(unpacked(compression, &packed) == plain, "{len} {compression:?}");
            check(&plain, &piped, &parts, &stored);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_several_keys_opens_and_no_other_one() {
    let pairs = [key_pair(), key_pair()];
    let plain = sample(100_000);
    let (_, parts) = pipe_to_memory(&plain, sealed(&[&pairs[0].0, &pairs[1].0], Compression::Zstd(3))).await;
    let stored = joined(&parts);
    for (_, identity) in &pairs {
        assert!(unpacked(Compression::Zstd(3), &opened(&stored, identity).unwrap()) == plain);
    }
    opened(&stored, &key_pair().1).expect_err("a stranger's key opens it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_damaged_or_cut_ciphertext_opens() {
    let (key, own) = key_pair();
    let (_, parts) = pipe_to_memory(&sample(300_000), sealed(&[&key], Compression::None)).await;
    let whole = joined(&parts);
    opened(&whole, &own).unwrap();
    let mut state = 7_u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    for damage in 0..200 {
        let mut stored = whole.clone();
        let at = below(whole.len());
        match damage % 4 {
            0 => stored[at] ^= 1 << below(8),
            1 => stored.truncate(at),
            2 => drop(stored.drain(at..(at + 1 + below(70_000)).min(whole.len()))),
            _ => stored.insert(at, 0),
        }
        assert!(opened(&stored, &own).is_err(), "damage {damage} at {at} goes unnoticed");
    }
    // Cut exactly between what age encrypts at a time.
    let header = whole.len() - 300_000 - 5 * 16;
    let cut = opened(&whole[..header + 65_536 + 16], &own);
    assert!(cut.is_err(), "a whole number of chunks is taken for the whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_compression_it_stores_the_bytes_as_they_are_in_parts_of_5_mib() {
    let plain = sample((20 << 20) + 5);
    let (piped, parts) = pipe_to_memory(&plain, clear(AS_IT_IS)).await;
    let sizes: Vec<usize> = parts.iter().map(|part| part.bytes.len()).collect();
    assert_eq!(sizes, [5 << 20, 5 << 20, 5 << 20, 5 << 20, 5]);
    assert_eq!((piped.stored_sha256, piped.plain_sha256), (sha256(&plain), sha256(&plain)));
    assert_eq!(piped.crc64, Part::new(1, plain.into()).crc64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_source_has_one_empty_part() {
    let (piped, parts) = pipe_to_memory(&[], clear(AS_IT_IS)).await;
    assert_eq!((parts.len(), parts[0].number, parts[0].bytes.len()), (1, 1, 0));
    assert_eq!(piped.stored_sha256, sha256(&[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_cannot_be_sent_ends_it() {
    let plain = sample(30 << 20);
    let put = async |part: Part| if part.number < 2 { Ok(()) } else { Err("full") };
    let ended = pipe(&plain[..], clear(AS_IT_IS), &Meter::default(), &CancellationToken::new(), put).await;
    assert!(matches!(ended, Err(PipeError::Put("full"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_breaks_ends_it() {
    let source = tokio_test_reader(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
    let put = async |_: Part| Ok::<(), io::Error>(());
    let ended = pipe(source, clear(Compression::Zstd(3)), &Meter::default(), &CancellationToken::new(), put).await;
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
    let ended = tokio::time::timeout(Duration::from_secs(30), pipe(&plain[..], clear(AS_IT_IS), &meter, &cancel, put));
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
    let (ended, ()) = tokio::join!(pipe(source, clear(AS_IT_IS), &meter, &cancel, put), watch);
    assert!(matches!(ended, Err(PipeError::Cancelled)));
    assert!(held.into_inner() <= parts::BUDGET_BYTES as u64);
    assert!(meter.bytes_read() <= (parts::BUDGET_BYTES + READ_BUFFERS * READ_BYTES) as u64);
}
