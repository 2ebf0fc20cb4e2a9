//! Times as the surfaces print and read them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `2022-01-11T06:40:31.000000Z`: RFC 3339, UTC, always six fractional digits.
pub fn rfc3339(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Reads what [`rfc3339`] prints, with any offset; without one, and for a date alone, it is UTC.
pub fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    let told = text.parse().ok().or_else(in_utc);
    told.ok_or("must be a time such as 2022-01-11T06:40:31Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_with_and_without_an_offset() {
        let expected: Timestamp = "2022-01-11T06:40:31Z".parse().unwrap();
        let texts = ["2022-01-11T06:40:31.000000Z", "2022-01-11T07:40:31+01:00", "2022-01-11 06:40:31"];
        for text in texts {
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_time("2022-01-11"), Ok("2022-01-11T00:00:00Z".parse().unwrap()));
        for text in ["", "yesterday", "1641883231", "2022-13-01", "06:40"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_six_fractional_digits() {
        let time: Timestamp = "2022-01-11T06:40:31Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2022-01-11T06:40:31.000000Z");
        let time: Timestamp = "2022-01-11T06:40:31.1234567Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2022-01-11T06:40:31.123456Z");
    }
}
