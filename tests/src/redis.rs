//! A Redis server of its own, on a free loopback port; and what stock tools say of what is in it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::PATIENCE;
use crate::tree::pipe;

/// A running server; it goes when it is dropped.
#[derive(Debug)]
pub struct Redis {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    child: Child,
    _dir: TempDir,
}

impl Redis {
    /// Starts a server with further options, over an RDB if one is given.
    pub fn start(options: &[&str], rdb: Option<&[u8]>) -> Self {
        let dir = TempDir::new().unwrap();
        if let Some(rdb) = rdb {
            std::fs::write(dir.path().join("dump.rdb"), rdb).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new("redis-server");
        server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(dir.path());
        server.args(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"]).args(options);
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let redis = Self { port, child, _dir: dir };
        let started = Instant::now();
        while !matches!(redis.try_call("PING").as_str(), "PONG" | "NOAUTH Authentication required.") {
            assert!(started.elapsed() < PATIENCE, "Redis does not start: {}", redis.try_call("PING"));
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    /// What `redis-cli` prints for commands, one a line.
    pub fn call(&self, commands: &str) -> String {
        let output = pipe("redis-cli", &["-p", &self.port.to_string()], commands.as_bytes());
        let text = String::from_utf8_lossy(&output).trim_end().to_owned();
        assert!(!text.contains("ERR "), "{commands}: {text}");
        text
    }

    /// A checksum over every key of every database, as the server reckons it up itself, and how many there are.
    pub fn digest(&self) -> (String, String) {
        (self.call("DEBUG DIGEST"), self.call("INFO keyspace"))
    }

    fn try_call(&self, command: &str) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string(), command]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Redis {
    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
