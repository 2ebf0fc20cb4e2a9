//! Redis: the whole server as one RDB, which it sends to `redis-cli` as it would to a replica.
//!
//! A server that sends straight from memory (`repl-diskless-sync`) does not know the length beforehand and ends with 40
//! characters that it drew at random; `redis-cli` passes those on, and they are taken away here. An RDB ends in the byte
//! FF and a CRC64 of all before it ([format](https://rdb.fnordig.de/file_format.html)), which is reckoned up on the way.

use crc_fast::{CrcAlgorithm, Digest};
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::RedisConfig;

use super::complaints::Complaints;
use super::{Asked, Dump, Judge, SourceError, SourceErrors};
use crate::remote::RemoteCommand;

const MAGIC: &[u8] = b"REDIS";
/// Magic and four digits of version.
const HEAD_BYTES: usize = 9;
const END_MARK: u8 = 0xff;
const CHECKSUM_BYTES: usize = 8;
/// What diskless replication ends with.
const TRANSFER_MARK_BYTES: usize = 40;
/// The first version of the format that has a checksum, that of Redis 2.6.
const FIRST_VERSION_WITH_CHECKSUM: u32 = 5;

/// Runs the first program of the name that is there, in the name of Redis' successor too. It asks for the password on its
/// input, so that it stands neither among its arguments nor in its environment.
const RUN: &str = r#"
unset REDISCLI_AUTH
command -v redis-cli >/dev/null || ! command -v valkey-cli >/dev/null || exec valkey-cli "$@"
exec redis-cli "$@"
"#;

/// One dump, whatever is in the server.
pub async fn plan(asked: &Asked<'_>, config: &RedisConfig) -> Result<Vec<Dump>, SourceError> {
    let password = config.access.password.as_ref().map(|sealed| asked.secret("redis_password", sealed)).transpose()?;
    let config = &RedisConfig { access: asked.access(&config.access).await?, ..config.clone() };
    let input = password.map(|password| format!("{}\n", password.expose()).into_bytes());
    Ok(vec![Dump::of_command(FileName::of("redis", "rdb"), command(config, input), Report::new())])
}

fn command(config: &RedisConfig, password_line: Option<Vec<u8>>) -> RemoteCommand {
    let access = &config.access;
    let mut words = ["-c", RUN, "sh", "-p", &access.port.to_string()].map(str::to_owned).to_vec();
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    if let Some(host) = &access.host {
        option("-h", host);
    }
    if let Some(password_line) = password_line {
        if let Some(user) = &access.username {
            option("--user", user);
        }
        words.extend(["--askpass", "--rdb", "-"].map(str::to_owned));
        return RemoteCommand::new("sh").args(words).stdin(password_line);
    }
    option("--rdb", "-");
    RemoteCommand::new("sh").args(words)
}

/// The judge of an RDB.
#[derive(Debug)]
struct Report {
    complaints: Complaints,
    head: Vec<u8>,
    /// Of everything but `last`.
    crc: Digest,
    /// The last bytes: what the checksum may be.
    last: Vec<u8>,
    /// The byte before them.
    before_last: Option<u8>,
}

impl Report {
    fn new() -> Self {
        let crc = Digest::new(CrcAlgorithm::Crc64Redis);
        let complaints = Complaints::new(refusal);
        Self { complaints, head: Vec::new(), crc, last: Vec::new(), before_last: None }
    }

    fn reckon(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.crc.update(bytes);
            self.before_last = Some(*last);
        }
    }

    /// The version of the format, if it is one.
    fn version(&self) -> Option<u32> {
        let digits = self.head.strip_prefix(MAGIC)?;
        std::str::from_utf8(digits).ok().filter(|_| digits.len() == HEAD_BYTES - MAGIC.len())?.parse().ok()
    }

    /// What keeps the bytes from being a whole RDB.
    fn fault(&self) -> Option<String> {
        let Some(version) = self.version() else { return Some("what came is no RDB".to_owned()) };
        if version < FIRST_VERSION_WITH_CHECKSUM {
            return Some(format!("the RDB is of version {version}, which has no checksum; update the server"));
        }
        if self.before_last != Some(END_MARK) || self.last.len() != CHECKSUM_BYTES {
            return Some("the RDB was cut off: it does not end in its end mark".to_owned());
        }
        let wrong = !self.lacks_checksum() && self.last != self.crc.finalize().to_le_bytes();
        wrong.then(|| "the RDB is damaged: its checksum is another".to_owned())
    }

    /// Whether the server makes no checksums (`rdbchecksum no`).
    fn lacks_checksum(&self) -> bool {
        self.last == [0; CHECKSUM_BYTES]
    }
}

impl Judge for Report {
    fn hear(&mut self, line: &str) {
        self.complaints.hear(line);
    }

    fn see(&mut self, bytes: &[u8]) {
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        if bytes.len() < CHECKSUM_BYTES {
            let mut last = std::mem::take(&mut self.last);
            last.extend_from_slice(bytes);
            let settled = last.len().saturating_sub(CHECKSUM_BYTES);
            self.reckon(&last[..settled]);
            self.last = last.split_off(settled);
        } else {
            let last = std::mem::take(&mut self.last);
            self.reckon(&last);
            let (settled, last) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
            self.reckon(settled);
            self.last = last.to_vec();
        }
    }

    fn keeps_back(&self) -> usize {
        TRANSFER_MARK_BYTES
    }

    /// No RDB of its own ends like a transfer mark: nine bytes from its end is FF, which is no hexadecimal digit.
    fn leave_out(&self, end: &[u8]) -> usize {
        let is_mark = end.len() == TRANSFER_MARK_BYTES && end.iter().all(u8::is_ascii_hexdigit);
        if is_mark { TRANSFER_MARK_BYTES } else { 0 }
    }

    fn remarks(&self) -> Vec<String> {
        let remark = "the server makes no checksums (rdbchecksum no): only the end mark proves that the RDB is whole";
        self.lacks_checksum().then(|| remark.to_owned()).into_iter().collect()
    }

    fn judge(&self, code: i32, _tail: &[u8]) -> Result<SourceErrors, SourceError> {
        self.complaints.check("redis-cli", code)?;
        let said = self.complaints.said();
        self.fault()
            .map_or(Ok(Vec::new()), |fault| Err(SourceError::Broken(format!("{fault}; redis-cli said: {said}"))))
    }
}

/// Complaints of `redis-cli` and the server that stay until somebody acts.
fn refusal(line: &str) -> Option<String> {
    let says = |words: &str| line.contains(words);
    let advice = if says("WRONGPASS") || says("invalid password") || says("invalid username-password") {
        "correct redis_username and redis_password"
    } else if says("without any password configured") {
        "the server has no password; take redis_password away"
    } else if says("NOAUTH") {
        "the server wants a password; set redis_password"
    } else if says("NOPERM") && (says("'sync'") || says("'psync'")) {
        "allow the user to be a replica: ACL SETUSER … +sync +psync +replconf +ping"
    } else if says("DENIED Redis is running in protected mode") {
        "the server takes connections from its own host only; set a password there, or leave redis_host empty"
    } else if says("unknown command") && says("SYNC") {
        "the server does not let anybody copy it; managed ones often do not"
    } else if says("--askpass") || says("--user") {
        "this redis-cli cannot be given a password that others do not see; install that of Redis 6 or newer"
    } else {
        return None;
    };
    Some(format!("{line}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The RDB of a server with `a` set to `b`, as Redis 7 wrote it without its auxiliary fields.
    fn rdb() -> Vec<u8> {
        let mut bytes = b"REDIS0010\xfe\x00\xfb\x01\x00\x00\x01a\x01b\xff".to_vec();
        let mut crc = Digest::new(CrcAlgorithm::Crc64Redis);
        crc.update(&bytes);
        bytes.extend(crc.finalize().to_le_bytes());
        bytes
    }

    fn judged(bytes: &[u8], step: usize) -> Result<SourceErrors, SourceError> {
        let mut report = Report::new();
        bytes.chunks(step).for_each(|piece| report.see(piece));
        report.judge(0, &[])
    }

    #[test]
    fn the_checksum_is_that_of_redis() {
        // The check value of `crc64.c`.
        let mut crc = Digest::new(CrcAlgorithm::Crc64Redis);
        crc.update(b"123456789");
        assert_eq!(crc.finalize(), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_whole_rdb_is_whole_however_it_comes() {
        for step in [1, 2, 7, 8, 9, 13, 1_000] {
            assert!(judged(&rdb(), step).is_ok(), "{step} bytes at a time");
        }
    }

    #[test]
    fn cut_or_changed_anywhere_it_is_not() {
        let whole = rdb();
        for length in 0..whole.len() {
            assert!(judged(&whole[..length], 5).is_err(), "{length} bytes");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(judged(&changed, 5).is_err(), "byte {place} differs");
        }
    }

    #[test]
    fn without_a_checksum_the_end_mark_counts_and_that_is_told() {
        let mut bytes = rdb();
        let end = bytes.len() - CHECKSUM_BYTES;
        bytes[end..].fill(0);
        let mut report = Report::new();
        report.see(&bytes);
        assert!(report.judge(0, &[]).is_ok());
        assert!(report.remarks()[0].contains("rdbchecksum"));
        bytes[end - 1] = 0;
        assert!(judged(&bytes, 9).is_err());
    }

    #[test]
    fn only_a_transfer_mark_is_left_out() {
        let report = Report::new();
        assert_eq!(report.leave_out(&[b'a'; TRANSFER_MARK_BYTES]), TRANSFER_MARK_BYTES);
        assert_eq!(report.leave_out(&[b'z'; TRANSFER_MARK_BYTES]), 0);
        assert_eq!(report.leave_out(&[b'a'; 39]), 0);
        assert_eq!(report.leave_out(&[]), 0);
    }

    #[test]
    fn the_password_is_asked_for_on_the_input() {
        let mut config = RedisConfig::default();
        config.access.username = Some("backup".to_owned());
        let with = format!("{:?}", command(&config, Some(b"hunter2\n".to_vec())));
        assert!(with.contains(r#""--user", "backup", "--askpass", "--rdb", "-""#), "{with}");
        assert!(!with.contains("hunter2"), "{with}");
        let without = format!("{:?}", command(&config, None));
        assert!(without.contains(r#""-p", "6379", "--rdb", "-""#) && !without.contains("askpass"), "{without}");
    }

    #[test]
    fn complaints_say_what_to_do() {
        let cases = [
            ("AUTH failed: WRONGPASS invalid username-password pair or user is disabled.", "redis_password"),
            ("SYNC with master failed: -NOAUTH Authentication required.", "set redis_password"),
            ("SYNC with master failed: -NOPERM this user has no permissions to run the 'sync' command", "+sync"),
        ];
        for (line, advice) in cases {
            assert!(refusal(line).unwrap().contains(advice), "{line}");
        }
        assert_eq!(
            refusal("REPLCONF capa error: NOPERM this user has no permissions to run the 'replconf' command"),
            None
        );
        assert_eq!(refusal("Could not connect to Redis at 127.0.0.1:1: Connection refused"), None);
    }
}
