use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use holdfast_shared::domain::public_key::PublicKey;
use holdfast_shared::domain::sealed::Secret;

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
    Form { compression, encryptor: None, parts: PartSizes::Growing }
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
    Form { compression, encryptor: Some(recipients.encryptor().unwrap()), parts: PartSizes::Growing }
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

/// Two hundred for each way to encrypt: bits flipped, ends and middles cut out, bytes put in and behind, and blocks swapped
/// within the file and with another file of the same owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_damaged_or_cut_ciphertext_opens() {
    let (key, identity) = key_pair();
    let passphrase = "correct horse battery staple";
    let mut knows = age::scrypt::Identity::new(passphrase.to_owned().into());
    knows.set_max_work_factor(20);
    let keyed = || sealed(&[&key], Compression::Zstd(3));
    let asked = || {
        let encryptor = Recipients::knowing(Secret::new(passphrase)).encryptor().unwrap();
        Form { compression: Compression::Zstd(3), encryptor: Some(encryptor), parts: PartSizes::Growing }
    };
    let whole = joined(&pipe_to_memory(&sample(400_000), keyed()).await.1);
    let other = joined(&pipe_to_memory(&sample(400_000), keyed()).await.1);
    assert!(whole.len() > 3 * AGE_CHUNK, "there are blocks to swap: {}", whole.len());
    opened(&whole, &identity).unwrap();
    let mut below = randoms(7);
    for damage in 0..200 {
        let (what, damaged) = damaged(&whole, &other, damage, &mut below);
        assert!(damaged != whole, "{what} changed nothing");
        assert!(opened(&damaged, &identity).is_err(), "damage {damage} goes unnoticed: {what}");
    }
    // Cut exactly between what age encrypts at a time.
    let header = payload_of(&whole);
    let cut = opened(&whole[..header + AGE_CHUNK], &identity);
    assert!(cut.is_err(), "a whole number of chunks is taken for the whole");

    // With a passphrase only the header is another one; each look at it costs its work factor.
    let whole = joined(&pipe_to_memory(&sample(400_000), asked()).await.1);
    opened(&whole, &knows).unwrap();
    for damage in 0..5 {
        let (what, damaged) = damaged(&whole, &other, damage, &mut below);
        assert!(opened(&damaged, &knows).is_err(), "damage {damage} goes unnoticed: {what}");
    }
    let mut wrong = age::scrypt::Identity::new("correct horse battery stable".to_owned().into());
    wrong.set_max_work_factor(20);
    assert!(opened(&whole, &wrong).is_err(), "another passphrase opens it");
}

/// What age encrypts at a time, with its tag.
const AGE_CHUNK: usize = 65_536 + 16;

/// Where the payload begins: behind the header, whose last line begins with `---`, and the nonce.
fn payload_of(stored: &[u8]) -> usize {
    let mac = stored.windows(5).position(|window| window == b"\n--- ").unwrap() + 1;
    mac + stored[mac..].iter().position(|byte| *byte == b'\n').unwrap() + 1 + 16
}

/// Numbers below a limit, the same each time.
fn randoms(mut state: u64) -> impl FnMut(usize) -> usize {
    move |end| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    }
}

/// One of seven kinds of damage, at a place by chance.
fn damaged(whole: &[u8], other: &[u8], kind: usize, below: &mut impl FnMut(usize) -> usize) -> (String, Vec<u8>) {
    let (mut stored, at) = (whole.to_vec(), below(whole.len()));
    let payload = payload_of(whole);
    let chunks = (whole.len() - payload) / AGE_CHUNK;
    let chunk = |number: usize| payload + number * AGE_CHUNK..payload + (number + 1) * AGE_CHUNK;
    let what = match kind % 7 {
        0 => {
            stored[at] ^= 1 << below(8);
            "a bit flipped"
        }
        1 => {
            stored.truncate(at);
            "cut off"
        }
        2 => {
            drop(stored.drain(at..(at + 1 + below(70_000)).min(whole.len())));
            "cut out"
        }
        3 => {
            stored.insert(at, below(256) as u8);
            "a byte put in"
        }
        4 => {
            let more = 1 + below(2 * AGE_CHUNK);
            stored.extend((0..more).map(|_| below(256) as u8));
            "bytes behind it"
        }
        5 => {
            let one = below(chunks);
            let another = (one + 1 + below(chunks - 1)) % chunks;
            let (first, second) = (whole[chunk(one)].to_vec(), whole[chunk(another)].to_vec());
            stored[chunk(one)].copy_from_slice(&second);
            stored[chunk(another)].copy_from_slice(&first);
            "two blocks swapped"
        }
        _ => {
            let (number, theirs) = (below(chunks), payload_of(other));
            let block = &other[theirs + number * AGE_CHUNK..][..AGE_CHUNK];
            stored[chunk(number)].copy_from_slice(block);
            "a block of another file"
        }
    };
    (format!("{what} at {at}"), stored)
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
async fn parts_have_one_size_where_a_store_wants_it() {
    let plain = sample((40 << 20) + 5);
    let form = Form { parts: PartSizes::Equal(16 << 20), ..clear(AS_IT_IS) };
    let (_, parts) = pipe_to_memory(&plain, form).await;
    let sizes: Vec<usize> = parts.iter().map(|part| part.bytes.len()).collect();
    assert_eq!(sizes, [16 << 20, 16 << 20, (8 << 20) + 5]);
    assert!(joined(&parts) == plain);
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
