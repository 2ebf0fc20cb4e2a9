//! Redis: the whole server as one RDB, which it sends to `redis-cli` as it would to a replica.
//!
//! A server that sends straight from memory (`repl-diskless-sync`) does not know the length beforehand and ends with 40
//! characters that it drew at random; `redis-cli` passes those on, and they are taken away here. An RDB ends in the byte
//! FF and a CRC64 of all before it ([format](https://rdb.fnordig.de/file_format.html)), which is reckoned up on the way.

use std::net::IpAddr;
use std::time::Duration;

use crc_fast::{CrcAlgorithm, Digest};
use holdfast_shared::domain::object_key::FileName;
use holdfast_shared::domain::recipe::{RedisConfig, Tls, TlsMode};

use super::complaints::{Complaints, Meaning};
use super::tls::{AUTHORITIES, NO_AUTHORITIES, with_authorities};
use super::{Asked, Asking, Dump, Judge, Reach, SourceError, SourceErrors};
use crate::remote::{Machine, Output, RemoteCommand, RemoteError, Wire};

const MAGIC: &[u8] = b"REDIS";
/// Magic and four digits of version.
const HEAD_BYTES: usize = 9;
const END_MARK: u8 = 0xff;
const CHECKSUM_BYTES: usize = 8;
/// What diskless replication ends with.
const TRANSFER_MARK_BYTES: usize = 40;
/// The first version of the format that has a checksum, that of Redis 2.6.
const FIRST_VERSION_WITH_CHECKSUM: u32 = 5;

/// How long a server may take to agree on TLS.
const TLS_LIMIT: Duration = Duration::from_secs(20);

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
    let asking = Asking { tls: &config.tls, field: "redis_tls", wire: Wire::Tls };
    let reach = asked.reach(&config.access, Some(asking)).await?;
    // Nothing in its source compares a name, in any release of Redis' or Valkey's.
    if config.tls.mode == TlsMode::VerifyFull && !reach.is_relayed {
        return Err(SourceError::Refused(
            "redis_tls is verify-full, but redis-cli checks no names; make it verify-ca with the authority of that \
             server alone in redis_tls_ca, or let the job run without a server"
                .to_owned(),
        ));
    }
    let input = password.map(|password| format!("{}\n", password.expose()).into_bytes());
    if config.tls.mode >= TlsMode::Require && !reach.is_relayed {
        check_tls(asked.machine, config, &reach, input.clone()).await?;
    }
    let dump = command(config, &reach, input, &["--rdb", "-"]);
    Ok(vec![Dump::of_command(FileName::of("redis", "rdb"), dump, Report::new())])
}

/// Has `redis-cli` connect once: it waits without end for a server that does not answer in TLS. Who may not `PING` gets
/// an answer, too.
async fn check_tls(
    machine: &Machine,
    config: &RedisConfig,
    reach: &Reach,
    password_line: Option<Vec<u8>>,
) -> Result<(), SourceError> {
    let asked = machine.output(command(config, reach, password_line, &["PING"]).limit(TLS_LIMIT)).await;
    let Output { exit, .. } = asked.map_err(|error| match error {
        RemoteError::TimedOut { .. } => SourceError::Broken(format!(
            "redis_tls is {}, but the server did not agree on TLS within {} s; does it speak TLS on port {}?",
            config.tls.mode.as_str(),
            TLS_LIMIT.as_secs(),
            reach.port,
        )),
        other => other.into(),
    })?;
    Complaints::new(|line| Meaning::lasting(refusal(line))).hear_all(&exit.stderr).check("redis-cli", exit.code)
}

fn command(config: &RedisConfig, reach: &Reach, password_line: Option<Vec<u8>>, asked: &[&str]) -> RemoteCommand {
    let (script, mut input) = match reach.is_relayed {
        true => (RUN.to_owned(), Vec::new()),
        false => with_authorities(&config.tls, RUN),
    };
    let mut words = vec!["-c".to_owned(), script, "sh".to_owned()];
    let mut options = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    options(&["-p", &reach.port.to_string()]);
    if let Some(host) = &reach.host {
        options(&["-h", host]);
    }
    if !reach.is_relayed {
        options(&tls_options(&config.tls, reach.host.as_deref()));
    }
    if let Some(password_line) = password_line {
        if let Some(user) = &config.access.username {
            options(&["--user", user]);
        }
        options(&["--askpass"]);
        input.extend(password_line);
    }
    options(asked);
    RemoteCommand::new("sh").args(words).stdin(input)
}

fn tls_options<'a>(tls: &Tls, host: Option<&'a str>) -> Vec<&'a str> {
    let mut options = match tls.mode {
        TlsMode::Disable | TlsMode::Prefer => return Vec::new(),
        TlsMode::Require => vec!["--tls", "--insecure"],
        TlsMode::VerifyCa | TlsMode::VerifyFull => vec!["--tls", "--cacert", AUTHORITIES],
    };
    // Who serves several names shows the certificate of the one that is asked for.
    options.extend(host.filter(|host| host.parse::<IpAddr>().is_err()).into_iter().flat_map(|host| ["--sni", host]));
    options
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
        let complaints = Complaints::new(|line| Meaning::lasting(refusal(line)));
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
    } else if says(NO_AUTHORITIES) {
        "give the job the certificate of the server's authority: redis_tls_ca"
    } else if says("certificate verify failed") || says("unable to get local issuer") {
        "the server's certificate comes from none of the authorities; correct redis_tls_ca"
    } else if says("SSL_connect failed") {
        "there is no TLS with this server; set it up there, or correct redis_tls"
    } else if says("--tls") || says("--sni") {
        "this redis-cli knows no TLS; install that of Redis 6 or newer"
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

    fn reach(is_relayed: bool) -> Reach {
        let host = Some("cache.example".to_owned());
        Reach { host: host.clone(), port: 6379, name: host, is_ours: is_relayed, is_relayed }
    }

    #[test]
    fn the_password_is_asked_for_on_the_input() {
        let mut config = RedisConfig::default();
        config.access.username = Some("backup".to_owned());
        let with = format!("{:?}", command(&config, &reach(false), Some(b"hunter2\n".to_vec()), &["--rdb", "-"]));
        assert!(with.contains(r#""--user", "backup", "--askpass", "--rdb", "-""#), "{with}");
        assert!(!with.contains("hunter2"), "{with}");
        let without = format!("{:?}", command(&config, &reach(false), None, &["--rdb", "-"]));
        let words = r#""-p", "6379", "-h", "cache.example", "--rdb", "-""#;
        assert!(without.contains(words) && !without.contains("askpass"), "{without}");
    }

    #[test]
    fn a_tool_speaks_tls_unless_the_relay_does() {
        let with = |mode, reach: &Reach| {
            let tls = Tls { mode, authorities: None };
            format!("{:?}", command(&RedisConfig { tls, ..RedisConfig::default() }, reach, None, &["PING"]))
        };
        let sni = r#""--sni", "cache.example""#;
        let checked = with(TlsMode::VerifyCa, &reach(false));
        assert!(checked.contains(&format!(r#""--tls", "--cacert", "/dev/fd/4", {sni}"#)), "{checked}");
        assert!(with(TlsMode::Require, &reach(false)).contains(&format!(r#""--tls", "--insecure", {sni}"#)));
        for plain in [with(TlsMode::Disable, &reach(false)), with(TlsMode::VerifyFull, &reach(true))] {
            assert!(!plain.contains("--tls") && !plain.contains("--sni"), "{plain}");
        }
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
