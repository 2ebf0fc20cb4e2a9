//! Part size: how large each part of a multipart upload is, so that a stream of unknown length always fits.
//!
//! S3 takes at most 10,000 parts of 5 MiB to 5 GiB and 5 TiB in all
//! ([limits](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)).

/// S3 takes no part beyond this number.
pub const MAX_PARTS: u32 = 10_000;

/// The size of the first parts, in bytes.
pub const FIRST_PART_BYTES: usize = 8 << 20;

/// After so many parts of one size the next are twice as large.
const PARTS_PER_SIZE: u32 = 1_000;

/// The size in bytes of part `part_number`, which counts from 1.
///
/// 8 MiB for the first 1,000 parts and twice as much for each 1,000 after them: 7.8 GiB fit in parts of the first
/// size, and [`MAX_PARTS`] parts hold 7.8 TiB, more than S3 takes. Only the last part of an upload may be smaller.
pub fn part_size_bytes(part_number: u32) -> usize {
    let doublings = (part_number.clamp(1, MAX_PARTS) - 1) / PARTS_PER_SIZE;
    FIRST_PART_BYTES << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_double_each_thousand() {
        let mib = |part_number| part_size_bytes(part_number) >> 20;
        assert_eq!([1, 2, 1_000, 1_001, 2_000, 2_001, 9_001, 10_000].map(mib), [8, 8, 8, 16, 16, 32, 4096, 4096]);
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
