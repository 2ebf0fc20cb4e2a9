//! Checksums as S3 defines them: which there are, how a client claims one, how those of parts become an object's.
//!
//! See <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use crc_fast::CrcAlgorithm;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum as Sums, ChecksumAlgorithm, ChecksumType};
use s3s::{S3Error, S3ErrorCode, TrailingHeaders};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, Result, invalid, refused};

/// A checksum algorithm of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => ChecksumAlgorithm::CRC32,
            Self::Crc32c => ChecksumAlgorithm::CRC32C,
            Self::Crc64Nvme => ChecksumAlgorithm::CRC64NVME,
            Self::Sha1 => ChecksumAlgorithm::SHA1,
            Self::Sha256 => ChecksumAlgorithm::SHA256,
        }
    }

    /// The algorithm that a request names.
    pub(super) fn parse(name: &ChecksumAlgorithm) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name.as_str());
        known.ok_or_else(|| {
            invalid(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                 [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
            )
        })
    }

    /// As it stands in header names and messages.
    pub(super) fn lower(self) -> String {
        self.name().to_ascii_lowercase()
    }

    fn of_header(name: &str) -> Option<Self> {
        let name = name.trim().strip_prefix("x-amz-checksum-")?;
        Self::ALL.into_iter().find(|algorithm| algorithm.lower() == name)
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// Bytes of one checksum.
    fn width(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The value that `sums` holds for this algorithm.
    pub(super) fn of(self, sums: &Sums) -> Option<&str> {
        match self {
            Self::Crc32 => sums.checksum_crc32.as_deref(),
            Self::Crc32c => sums.checksum_crc32c.as_deref(),
            Self::Crc64Nvme => sums.checksum_crc64nvme.as_deref(),
            Self::Sha1 => sums.checksum_sha1.as_deref(),
            Self::Sha256 => sums.checksum_sha256.as_deref(),
        }
    }

    /// `value` in the field of this algorithm.
    pub(super) fn with(self, value: String) -> Sums {
        let mut sums = Sums::default();
        let field = match self {
            Self::Crc32 => &mut sums.checksum_crc32,
            Self::Crc32c => &mut sums.checksum_crc32c,
            Self::Crc64Nvme => &mut sums.checksum_crc64nvme,
            Self::Sha1 => &mut sums.checksum_sha1,
            Self::Sha256 => &mut sums.checksum_sha256,
        };
        *field = Some(value);
        sums
    }
}

/// Over all the bytes, or over the checksums of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Kind {
    FullObject,
    Composite,
}

impl Kind {
    pub(super) fn wire(self) -> ChecksumType {
        ChecksumType::from_static(match self {
            Self::FullObject => ChecksumType::FULL_OBJECT,
            Self::Composite => ChecksumType::COMPOSITE,
        })
    }
}

/// How the parts of one upload are summed, and what their object gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scheme {
    pub(super) algorithm: Algorithm,
    pub(super) kind: Kind,
    /// Whether the client chose it. If not, its parts may carry any checksum.
    pub(super) declared: bool,
}

impl Scheme {
    /// The scheme that `CreateMultipartUpload` asks for: CRC64NVME over the whole object if it asks for none.
    pub(super) fn choose(algorithm: Option<&ChecksumAlgorithm>, kind: Option<&ChecksumType>) -> Result<Self> {
        let Some(algorithm) = algorithm else {
            if kind.is_some() {
                return Err(invalid(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                ));
            }
            return Ok(Self { algorithm: Algorithm::Crc64Nvme, kind: Kind::FullObject, declared: false });
        };
        let algorithm = Algorithm::parse(algorithm)?;
        let kind = match kind.map(ChecksumType::as_str) {
            Some(ChecksumType::FULL_OBJECT) => Kind::FullObject,
            Some(ChecksumType::COMPOSITE) => Kind::Composite,
            Some(_) => return Err(invalid("Value for x-amz-checksum-type header is invalid.")),
            None if algorithm == Algorithm::Crc64Nvme => Kind::FullObject,
            None => Kind::Composite,
        };
        let possible = match kind {
            Kind::FullObject => algorithm.crc().is_some(),
            Kind::Composite => algorithm != Algorithm::Crc64Nvme,
        };
        if !possible {
            let (kind, algorithm) = (kind.wire(), algorithm.lower());
            let kind = kind.as_str();
            return Err(invalid(format!(
                "The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."
            )));
        }
        Ok(Self { algorithm, kind, declared: true })
    }

    /// The object's checksum, from the checksums and sizes of its parts. Reads no bytes.
    pub(super) fn assemble<'a>(&self, parts: impl Iterator<Item = (&'a str, u64)>) -> Result<Checksum> {
        let value = match (self.kind, self.algorithm.crc()) {
            (Kind::FullObject, Some(crc)) => full_object(crc, self.algorithm.width(), parts)?,
            _ => composite(self.algorithm, parts)?,
        };
        Ok(Checksum { algorithm: self.algorithm, kind: self.kind, value })
    }
}

fn full_object<'a>(crc: CrcAlgorithm, width: usize, parts: impl Iterator<Item = (&'a str, u64)>) -> Result<String> {
    let mut whole = crc_fast::checksum(crc, b"");
    for (value, size) in parts {
        let mut wide = [0; 8];
        wide[8 - width..].copy_from_slice(&decode(value, width).ok_or_else(|| unreadable(value))?);
        whole = crc_fast::checksum_combine(crc, whole, u64::from_be_bytes(wide), size);
    }
    Ok(BASE64_STANDARD.encode(&whole.to_be_bytes()[8 - width..]))
}

fn composite<'a>(algorithm: Algorithm, parts: impl Iterator<Item = (&'a str, u64)>) -> Result<String> {
    let mut hasher = hasher_of(&[algorithm]);
    let mut count = 0;
    for (value, _) in parts {
        hasher.update(&decode(value, algorithm.width()).ok_or_else(|| unreadable(value))?);
        count += 1;
    }
    let sums = hasher.finalize();
    Ok(format!("{}-{count}", algorithm.of(&sums).unwrap_or_default()))
}

fn unreadable(value: &str) -> Fault {
    let error = format!("a stored part checksum is not readable: {value:?}");
    Fault::File(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

/// The checksum that an object has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub(super) algorithm: Algorithm,
    pub(super) kind: Kind,
    /// Base64; a composite one ends in `-` and the number of parts.
    pub(super) value: String,
}

impl Checksum {
    /// As answers carry it.
    pub(super) fn wire(&self) -> Sums {
        let mut sums = self.algorithm.with(self.value.clone());
        sums.checksum_type = Some(self.kind.wire());
        sums
    }
}

/// The checksum that a client says its body has.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) algorithm: Algorithm,
    value: Claimed,
}

#[derive(Debug)]
enum Claimed {
    Header(String),
    /// It follows the body.
    Trailer(TrailingHeaders),
}

impl Claim {
    /// What headers or the announced trailer claim. More than one is refused.
    pub(super) fn read(
        sums: &Sums,
        headers: &http::HeaderMap,
        trailers: Option<TrailingHeaders>,
    ) -> Result<Option<Self>> {
        let mut claims = Vec::new();
        for algorithm in Algorithm::ALL {
            let Some(value) = algorithm.of(sums) else { continue };
            if decode(value, algorithm.width()).is_none() {
                let name = algorithm.lower();
                return Err(invalid(format!("Value for x-amz-checksum-{name} header is invalid.")));
            }
            claims.push(Self { algorithm, value: Claimed::Header(value.to_owned()) });
        }
        let announced = headers.get("x-amz-trailer").and_then(|names| names.to_str().ok()).unwrap_or_default();
        for name in announced.split(',').filter(|name| !name.trim().is_empty()) {
            let algorithm = Algorithm::of_header(&name.to_ascii_lowercase());
            let (Some(algorithm), Some(trailers)) = (algorithm, &trailers) else {
                return Err(invalid("The value specified in the x-amz-trailer header is not supported"));
            };
            claims.push(Self { algorithm, value: Claimed::Trailer(trailers.clone()) });
        }
        if claims.len() > 1 {
            return Err(invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."));
        }
        Ok(claims.pop())
    }

    /// Refuses unless the body has the claimed checksum. Call it after the whole body was read.
    pub(super) fn verify(&self, sums: &Sums) -> Result<()> {
        let name = self.algorithm.lower();
        let claimed = match &self.value {
            Claimed::Header(value) => Some(value.clone()),
            Claimed::Trailer(trailers) => trailers
                .read(|map| map.get(format!("x-amz-checksum-{name}")).and_then(|v| Some(v.to_str().ok()?.to_owned())))
                .flatten(),
        };
        let claimed = claimed.ok_or_else(malformed_trailer)?;
        if self.algorithm.of(sums) == Some(claimed.as_str()) {
            return Ok(());
        }
        Err(mismatch(self.algorithm))
    }
}

/// The refusal of bytes that are not what was claimed.
pub(super) fn mismatch(algorithm: Algorithm) -> Fault {
    let name = algorithm.name();
    refused(S3ErrorCode::BadDigest, format!("The {name} you specified did not match the calculated checksum."))
}

fn malformed_trailer() -> Fault {
    let message =
        "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    let mut error = S3Error::with_message(S3ErrorCode::Custom("MalformedTrailerError".into()), message);
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    Fault::Refused(error)
}

/// Refuses unless `claimed` (the `Content-MD5` header) is the MD5 of the body.
pub(super) fn verify_md5(claimed: Option<&str>, md5: [u8; 16]) -> Result<()> {
    let Some(claimed) = claimed else { return Ok(()) };
    match decode(claimed, md5.len()) {
        None => Err(refused(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid.")),
        Some(claimed) if claimed == md5 => Ok(()),
        Some(_) => {
            Err(refused(S3ErrorCode::BadDigest, "The Content-MD5 you specified did not match what we received."))
        }
    }
}

/// What one pass over a body computes.
pub(super) struct Hasher {
    md5: Md5,
    sums: ChecksumHasher,
}

impl Hasher {
    /// Computes the MD5 and these checksums.
    pub(super) fn new(algorithms: &[Algorithm]) -> Self {
        Self { md5: Md5::new(), sums: hasher_of(algorithms) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    pub(super) fn finish(self) -> ([u8; 16], Sums) {
        (self.md5.finalize(), self.sums.finalize())
    }
}

/// The ETag of a multipart object: the MD5 of its parts' MD5s, and their number.
pub(super) fn multipart_etag<'a>(etags: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut md5 = Md5::new();
    let mut count = 0;
    for etag in etags {
        md5.update(&hex::decode(etag).ok()?);
        count += 1;
    }
    Some(format!("{}-{count}", hex::encode(md5.finalize())))
}

fn hasher_of(algorithms: &[Algorithm]) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    for algorithm in algorithms {
        match algorithm {
            Algorithm::Crc32 => hasher.crc32 = Some(Default::default()),
            Algorithm::Crc32c => hasher.crc32c = Some(Default::default()),
            Algorithm::Crc64Nvme => hasher.crc64nvme = Some(Default::default()),
            Algorithm::Sha1 => hasher.sha1 = Some(Default::default()),
            Algorithm::Sha256 => hasher.sha256 = Some(Default::default()),
        }
    }
    hasher
}

fn decode(base64: &str, width: usize) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(base64).ok().filter(|bytes| bytes.len() == width)
}

/// The five checksum fields of a message, as one value.
macro_rules! sums_of {
    ($message:expr) => {{
        let message = &$message;
        s3s::dto::Checksum {
            checksum_crc32: message.checksum_crc32.clone(),
            checksum_crc32c: message.checksum_crc32c.clone(),
            checksum_crc64nvme: message.checksum_crc64nvme.clone(),
            checksum_sha1: message.checksum_sha1.clone(),
            checksum_sha256: message.checksum_sha256.clone(),
            checksum_type: None,
        }
    }};
}

/// Fills the five checksum fields of a message, and its type where the message has one.
macro_rules! set_sums {
    ($message:expr, $sums:expr) => {{
        let sums = $sums;
        $message.checksum_crc32 = sums.checksum_crc32;
        $message.checksum_crc32c = sums.checksum_crc32c;
        $message.checksum_crc64nvme = sums.checksum_crc64nvme;
        $message.checksum_sha1 = sums.checksum_sha1;
        $message.checksum_sha256 = sums.checksum_sha256;
        sums.checksum_type
    }};
}

pub(super) use {set_sums, sums_of};

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(&[algorithm]);
        hasher.update(bytes);
        algorithm.of(&hasher.finish().1).unwrap().to_owned()
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let (first, second, third) = (vec![1u8; 100_000], vec![2u8; 77], vec![3u8; 4096]);
        let whole = [first.clone(), second.clone(), third.clone()].concat();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let scheme = Scheme { algorithm, kind: Kind::FullObject, declared: true };
            let parts: Vec<_> = [&first, &second, &third].iter().map(|p| (sum(algorithm, p), p.len() as u64)).collect();
            let assembled = scheme.assemble(parts.iter().map(|(value, size)| (value.as_str(), *size))).unwrap();
            assert_eq!(assembled.value, sum(algorithm, &whole), "{algorithm:?}");
        }
    }

    #[test]
    fn a_composite_checksum_sums_the_sums_and_counts_the_parts() {
        let scheme = Scheme { algorithm: Algorithm::Sha256, kind: Kind::Composite, declared: true };
        let (first, second) = (sum(Algorithm::Sha256, b"a"), sum(Algorithm::Sha256, b"b"));
        let raw = [BASE64_STANDARD.decode(&first).unwrap(), BASE64_STANDARD.decode(&second).unwrap()].concat();
        let assembled = scheme.assemble([(first.as_str(), 1), (second.as_str(), 1)].into_iter()).unwrap();
        assert_eq!(assembled.value, format!("{}-2", sum(Algorithm::Sha256, &raw)));
    }

    #[test]
    fn schemes_follow_the_documented_table() {
        let choose = |algorithm: &str, kind: Option<&str>| {
            let kind = kind.map(|kind| ChecksumType::from(kind.to_owned()));
            Scheme::choose(Some(&ChecksumAlgorithm::from(algorithm.to_owned())), kind.as_ref()).map(|s| s.kind).ok()
        };
        assert_eq!(choose("CRC64NVME", None), Some(Kind::FullObject));
        assert_eq!(choose("CRC32", None), Some(Kind::Composite));
        assert_eq!(choose("CRC32", Some("FULL_OBJECT")), Some(Kind::FullObject));
        assert_eq!(choose("CRC64NVME", Some("COMPOSITE")), None);
        assert_eq!(choose("SHA256", Some("FULL_OBJECT")), None);
        assert_eq!(choose("MD4", None), None);
        assert!(!Scheme::choose(None, None).unwrap().declared);
    }
}
