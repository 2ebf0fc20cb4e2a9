//! Whether a secret shows where everyone on a machine can look: in the words and the environment of its processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Looks at every process again and again until it is asked what it saw.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    /// Looks for `secret`.
    pub fn start(secret: &str) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (asked, counted, secret) = (stop.clone(), rounds.clone(), secret.to_owned());
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !asked.load(Ordering::Relaxed) {
                seen.extend(processes_that_show(&secret));
                counted.fetch_add(1, Ordering::Relaxed);
            }
            seen
        });
        Self { stop, rounds, thread }
    }

    /// Asserts that nothing showed it.
    pub fn assert_unseen(self) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap();
        assert!(seen.is_empty(), "a secret showed in {seen:?}");
        assert!(self.rounds.load(Ordering::Relaxed) > 0, "nobody looked");
    }
}

/// Where in `/proc` a secret shows.
pub fn processes_that_show(secret: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        for what in ["cmdline", "environ"] {
            let path = entry.path().join(what);
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                seen.push(format!("{}: {}", path.display(), String::from_utf8_lossy(&bytes).replace('\0', " ")));
            }
        }
    }
    seen
}
