//! Times as the surfaces print them.

use jiff::Timestamp;

/// `2022-01-11T06:40:31.000000Z`: RFC 3339, UTC, always six fractional digits.
pub fn rfc3339(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_six_fractional_digits() {
        let time: Timestamp = "2022-01-11T06:40:31Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2022-01-11T06:40:31.000000Z");
        let time: Timestamp = "2022-01-11T06:40:31.1234567Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2022-01-11T06:40:31.123456Z");
    }
}
