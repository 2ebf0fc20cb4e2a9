//! MariaDB servers of a test's own: real ones, each with an empty data directory, on a free port and a socket of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Mariadb {
    dir: TempDir,
    port: u16,
    child: Child,
}

/// A client's session that stays open.
#[derive(Debug)]
pub struct Held(Child);

impl Mariadb {
    /// Starts a server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options, such as `--log-bin`.
    pub fn start_with(options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        done(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template()).arg(dir.path().join("data")));
        if is_root() {
            done(Command::new("chown").arg("mysql").arg(dir.path()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program("mariadbd"));
        command.arg("--no-defaults").args(user()).args(SMALL);
        command.arg(format!("--datadir={}", dir.path().join("data").display()));
        command.arg(format!("--socket={}", dir.path().join("socket").display()));
        command.arg(format!("--pid-file={}", dir.path().join("pid").display()));
        command.arg(format!("--port={port}"));
        // Root logs in by the socket, and the accounts of a test from 127.0.0.1.
        command.args(["--bind-address=127.0.0.1", "--skip-name-resolve"]).args(options);
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let mut server = Self { dir, port, child };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&mut self) {
        let started = Instant::now();
        while !self.client().args(["--execute", "SELECT 1"]).output().unwrap().status.success() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(self.child.try_wait().unwrap().is_none(), "mariadbd ended: {log}");
            assert!(started.elapsed() < START_LIMIT, "mariadbd does not answer: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// The stock client, logged in as root.
    pub fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4"]);
        command.arg(format!("--socket={}", self.socket().display()));
        command
    }

    /// Runs statements as root; answers their rows, cells with tabs between them.
    pub fn sql(&self, sql: &str) -> String {
        let mut command = self.client();
        command.args(["--batch", "--skip-column-names", "--binary-mode"]);
        String::from_utf8(fed(command, sql.as_bytes())).unwrap()
    }

    /// Restores a dump as a person would: `zstd -dc FILE | mariadb`, with further arguments.
    pub fn restore(&self, file: &[u8], arguments: &[&str]) {
        let mut unpack = Command::new("zstd");
        unpack.arg("-dc");
        let text = fed(unpack, file);
        let mut command = self.client();
        command.arg("--max-allowed-packet=1G").args(arguments);
        fed(command, &text);
    }

    /// A session that runs statements and then stays open.
    pub fn hold(&self, sql: &str) -> Held {
        let mut command = self.client();
        command.args(["--unbuffered", "--skip-column-names"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{sql} SELECT 'held';").unwrap();
        child.stdin = Some(stdin);
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.as_mut().unwrap());
        while line.trim() != "held" {
            line.clear();
            assert_ne!(std::io::BufRead::read_line(&mut output, &mut line).unwrap(), 0, "the session ended");
        }
        Held(child)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Everything that a restore has to bring back, by its name: definitions, row counts, checksums.
    pub fn fingerprint(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let of_users = "NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";
        let mut note = |kind: &str, rows: String| {
            for row in rows.lines() {
                let (name, what) = row.split_once('\t').unwrap_or((row, ""));
                found.insert(format!("{kind} {name}"), what.to_owned());
            }
        };
        note("database", self.sql(&format!("SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {of_users}")));
        let tables = self.sql(&format!("SELECT CONCAT('`', REPLACE(TABLE_SCHEMA, '`', '``'), '`.`', REPLACE(TABLE_NAME, '`', '``'), '`'), TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA {of_users}"));
        for (name, kind) in tables.lines().filter_map(|line| line.split_once('\t')) {
            note("create", format!("{name}\t{}", self.sql(&format!("SHOW CREATE TABLE {name}")).trim_end()));
            note("count", format!("{name}\t{}", self.sql(&format!("SELECT COUNT(*) FROM {name}")).trim_end()));
            if kind == "BASE TABLE" {
                note("checksum", self.sql(&format!("CHECKSUM TABLE {name} EXTENDED")));
            }
        }
        for (kind, columns, source) in [
            (
                "routine",
                "CONCAT(ROUTINE_SCHEMA, '.', ROUTINE_TYPE, '.', ROUTINE_NAME), ROUTINE_DEFINITION, DTD_IDENTIFIER, DEFINER, SQL_MODE, SECURITY_TYPE",
                "ROUTINES WHERE ROUTINE_SCHEMA",
            ),
            (
                "event",
                "CONCAT(EVENT_SCHEMA, '.', EVENT_NAME), EVENT_DEFINITION, INTERVAL_VALUE, INTERVAL_FIELD, STARTS, STATUS, DEFINER",
                "EVENTS WHERE EVENT_SCHEMA",
            ),
            (
                "trigger",
                "CONCAT(TRIGGER_SCHEMA, '.', TRIGGER_NAME), EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_ORDER, ACTION_STATEMENT, ACTION_TIMING, DEFINER",
                "TRIGGERS WHERE TRIGGER_SCHEMA",
            ),
        ] {
            note(kind, self.sql(&format!("SELECT {columns} FROM information_schema.{source} {of_users}")));
        }
        found
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Little memory, little disk, and no care for a crash.
const SMALL: [&str; 6] = [
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--key-buffer-size=1M",
    "--max-allowed-packet=64M",
];

/// An empty data directory of the installed version, made once: making one takes seconds.
fn template() -> PathBuf {
    let version =
        Command::new(program("mariadbd")).arg("--version").output().expect("there is no mariadbd; see tests/run");
    let version: String =
        String::from_utf8_lossy(&version.stdout).chars().filter(char::is_ascii_digit).take(24).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mariadb");
    let made = folder.join(format!("data-{version}"));
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = MAKING.lock().unwrap();
    if !made.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let making = TempDir::new().unwrap();
        if is_root() {
            done(Command::new("chown").arg("mysql").arg(making.path()));
        }
        let data = making.path().join("data");
        let mut install = Command::new(program("mariadb-install-db"));
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]).args(user());
        install.arg("--innodb-log-file-size=4M").arg(format!("--datadir={}", data.display()));
        done(install.stdout(Stdio::null()));
        // Another process may have made it at the same moment.
        let beside = folder.join(format!("data-{version}.{}", std::process::id()));
        done(Command::new("cp").arg("-a").arg(&data).arg(&beside));
        if std::fs::rename(&beside, &made).is_err() {
            std::fs::remove_dir_all(&beside).unwrap();
        }
    }
    made
}

/// Servers are not in everybody's `PATH`.
fn program(name: &str) -> PathBuf {
    ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(name))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The server refuses to be root.
fn user() -> Option<&'static str> {
    is_root().then_some("--user=mysql")
}

fn done(command: &mut Command) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a program prints when it is fed; panics with what it says where it fails.
pub fn fed(mut command: Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that ends early says so by its exit code.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
