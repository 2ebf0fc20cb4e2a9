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
}
