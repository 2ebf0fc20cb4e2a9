//! Part size: how large each part of a multipart upload is, so that a stream of unknown length always fits.
//!
//! S3 takes at most 10,000 parts of 5 MiB to 5 GiB and 5 TiB in all
//! ([limits](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)).

/// S3 takes no part beyond this number.
pub const MAX_PARTS: u32 = 10_000;

/// The size of the first parts, in bytes: the least that S3 takes, because a run holds three of them.
pub const FIRST_PART_BYTES: usize = 5 << 20;

/// So many parts have the first size: nearly every backup has no larger ones.
const FIRST_PARTS: u32 = 4_000;

/// After so many parts of one size the next are twice as large.
const PARTS_PER_SIZE: u32 = 600;

/// The size in bytes of part `part_number`, which counts from 1.
///
/// 5 MiB for the first 4,000 parts and twice as much for each 600 after them: 19.5 GiB fit in parts of the first size,
/// and [`MAX_PARTS`] parts hold 5.9 TiB, more than S3 takes. Only the last part of an upload may be smaller.
pub fn part_size_bytes(part_number: u32) -> usize {
    let larger = part_number.clamp(1, MAX_PARTS).saturating_sub(FIRST_PARTS);
    FIRST_PART_BYTES << larger.div_ceil(PARTS_PER_SIZE)
}

/// The least size of equal parts, in bytes: 10,000 of them hold 156 GiB, and a run holds two.
const LEAST_EQUAL_BYTES: u64 = 16 << 20;
/// The largest size of equal parts, in bytes: 10,000 of them hold what S3 takes at most.
const MOST_EQUAL_BYTES: u64 = 525 << 20;
/// Sizes of equal parts are whole multiples of so many bytes.
const EQUAL_STEP_BYTES: u64 = 1 << 20;

/// How large the parts of an upload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartSizes {
    /// As [`part_size_bytes`] says: any length fits.
    Growing,
    /// All of so many bytes but the last one, as some stores want it.
    Equal(usize),
}

impl PartSizes {
    /// Equal parts for a stream of a length that nobody knows: four times as much as the last one stored fits, and each
    /// further attempt doubles that.
    pub fn equal_for_stream(last_stored_bytes: Option<u64>, attempt: u32) -> Self {
        let wanted = last_stored_bytes.unwrap_or(0).saturating_mul(4).div_ceil(u64::from(MAX_PARTS));
        let doublings = attempt.saturating_sub(1).min(5);
        Self::equal(wanted.max(LEAST_EQUAL_BYTES).saturating_mul(1 << doublings))
    }

    /// Equal parts for so many bytes.
    pub fn equal_for(bytes: u64) -> Self {
        Self::equal(bytes.div_ceil(u64::from(MAX_PARTS)).max(FIRST_PART_BYTES as u64))
    }

    fn equal(bytes: u64) -> Self {
        let bytes = bytes.next_multiple_of(EQUAL_STEP_BYTES).min(MOST_EQUAL_BYTES);
        Self::Equal(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// The size in bytes of part `part_number`, which counts from 1.
    pub fn bytes(self, part_number: u32) -> usize {
        match self {
            Self::Growing => part_size_bytes(part_number),
            Self::Equal(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_double_when_there_are_many() {
        let mib = |part_number| part_size_bytes(part_number) >> 20;
        assert_eq!(
            [1, 4_000, 4_001, 4_600, 4_601, 9_400, 9_401, 10_000].map(mib),
            [5, 5, 10, 10, 20, 2560, 5120, 5120]
        );
    }

    #[test]
    fn every_part_is_one_that_s3_takes_and_all_hold_five_tebibytes() {
        let sizes = || (1..=MAX_PARTS).map(|part_number| part_size_bytes(part_number) as u64);
        assert!(sizes().all(|size| (5 << 20..=5 << 30).contains(&size)));
        assert!(sizes().sum::<u64>() >= 5 << 40);
    }

    #[test]
    fn numbers_that_s3_does_not_take_stay_within_the_table() {
        assert_eq!(part_size_bytes(0), part_size_bytes(1));
        assert_eq!(part_size_bytes(u32::MAX), part_size_bytes(MAX_PARTS));
    }

    #[test]
    fn equal_parts_hold_what_is_to_be_expected() {
        let mib = |sizes: PartSizes| [1, 2, 10_000].map(|number| sizes.bytes(number) >> 20);
        assert_eq!(mib(PartSizes::equal_for_stream(None, 1)), [16; 3]);
        assert_eq!(mib(PartSizes::equal_for_stream(Some(1 << 30), 3)), [64; 3]);
        // 1 TiB the last time: four of them fit.
        let sizes = PartSizes::equal_for_stream(Some(1 << 40), 1);
        assert!(sizes.bytes(1) as u64 * 10_000 >= 4 << 40);
        assert_eq!(PartSizes::equal_for_stream(Some(u64::MAX), u32::MAX).bytes(1), 525 << 20);
        assert!(PartSizes::equal_for(5 << 40).bytes(1) as u64 * 10_000 >= 5 << 40);
        assert_eq!(PartSizes::equal_for(1), PartSizes::Equal(FIRST_PART_BYTES));
        assert_eq!(PartSizes::Growing.bytes(4_601), part_size_bytes(4_601));
    }
}
