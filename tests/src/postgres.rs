//! A PostgreSQL server of its own, on a free loopback port; and what stock tools say of what is in it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::PATIENCE;
use crate::certificates::Certificate;

/// The superuser of every server, and its password.
pub const SUPERUSER: (&str, &str) = ("boss", "of-the-tests");

/// A running server; it goes when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    child: Child,
    _dir: TempDir,
}

impl Postgres {
    /// Starts an empty server, as `postgres` where this runs as root: it refuses root.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that offers TLS with a certificate, and asks everybody for it but the superuser.
    pub fn start_with_tls(certificate: &Certificate) -> Self {
        Self::start_with(Some(certificate))
    }

    fn start_with(certificate: Option<&Certificate>) -> Self {
        let dir = TempDir::new().unwrap();
        let (data, words) = (dir.path().join("data"), dir.path().join("password"));
        std::fs::write(&words, SUPERUSER.1).unwrap();
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("-R").arg("postgres").arg(dir.path()));
        }
        let mut init = program("initdb");
        init.args(["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "-U", SUPERUSER.0]);
        run(init.arg("--pwfile").arg(&words).arg("-D").arg(&data));
        if let Some(certificate) = certificate {
            let rules = format!("local all all scram-sha-256\nhost all {} all scram-sha-256\n", SUPERUSER.0);
            std::fs::write(data.join("pg_hba.conf"), rules + "hostssl all all all scram-sha-256\n").unwrap();
            // Only a key that nobody else can read is taken.
            run(Command::new("cp").arg(&certificate.path).arg(data.join("server.crt")));
            run(Command::new("cp").arg(&certificate.key).arg(data.join("server.key")));
            run(Command::new("chmod").arg("600").arg(data.join("server.key")));
            if rustix::process::geteuid().is_root() {
                run(Command::new("chown").arg("-R").arg("postgres").arg(&data));
            }
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = program("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(dir.path()).args(["-p", &port.to_string(), "-F"]);
        server.args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "max_connections=20",
            "-c",
            "max_locks_per_transaction=256",
        ]);
        server.args(["-c", if certificate.is_some() { "ssl=on" } else { "ssl=off" }]);
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let postgres = Self { port, child, _dir: dir };
        let started = Instant::now();
        while !postgres.client("psql", "postgres").args(["-c", "SELECT 1"]).output().unwrap().status.success() {
            assert!(started.elapsed() < PATIENCE, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        postgres
    }

    /// A stock client, connected to a database as the superuser.
    pub fn client(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(name);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string()).env("PGDATABASE", database);
        command.env("PGUSER", SUPERUSER.0).env("PGPASSWORD", SUPERUSER.1).stdin(Stdio::null());
        command
    }

    /// What `psql` prints for SQL.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.client("psql", database);
        run(psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql])).trim_end().to_owned()
    }

    /// Loads a file as a person would: `psql -f FILE`.
    pub fn load(&self, database: &str, file: &Path) -> String {
        run(self.client("psql", database).args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file))
    }

    /// All that stock `pg_dump` says of a database, without the word that it draws anew each time.
    pub fn dumped(&self, database: &str) -> String {
        without_drawn_words(&run(&mut self.client("pg_dump", database)))
    }

    /// All that stock `pg_dumpall` says of roles.
    pub fn roles(&self) -> String {
        without_drawn_words(&run(self.client("pg_dumpall", "").args(["--globals-only", "-l", "postgres"])))
    }

    /// Each table of a database with its rows and a checksum over them.
    pub fn checksums(&self, database: &str) -> String {
        let tables = "SELECT format('SELECT %L, count(*), md5(coalesce(string_agg(t::text, E''\\n'' ORDER BY t::text), '''')) \
                      FROM %I.%I t', schemaname || '.' || tablename, schemaname, tablename) FROM pg_tables \
                      WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY schemaname, tablename";
        let file = tempfile::NamedTempFile::new().unwrap();
        let each: Vec<String> = self.sql(database, tables).lines().map(|table| format!("{table};\n")).collect();
        std::fs::write(file.path(), each.concat()).unwrap();
        let mut psql = self.client("psql", database);
        run(psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file.path())).trim_end().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Postgres {
    /// Ends it at once, with all its connections.
    pub fn kill(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Its own word for "at once"; it takes its children along.
            let _ = kill_process(pid, Signal::QUIT);
        }
        let _ = self.child.wait();
    }
}

/// A program of the newest PostgreSQL that is installed, to be run as somebody who is not root.
fn program(name: &str) -> Command {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let path = folders.pop().map_or(PathBuf::from(name), |folder| folder.join("bin").join(name));
    if !rustix::process::geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(path).current_dir("/");
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn without_drawn_words(dump: &str) -> String {
    let drawn = |line: &&str| line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
    dump.lines().filter(|line| !drawn(line)).collect::<Vec<_>>().join("\n")
}
