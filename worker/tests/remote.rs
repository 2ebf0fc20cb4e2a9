//! SSH and tar on a real sshd on a free port of this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use holdfast_shared::clock::{SharedClock, SystemClock};
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_shared::domain::login::{Host, HostKey, HostKeySource, Login, LoginName};
use holdfast_shared::domain::recipe::FilesConfig;
use holdfast_shared::domain::retry::Retry;
use holdfast_shared::domain::sealed::Secret;
use holdfast_shared::guard::{Guard, Resolve};
use holdfast_worker::recipe::{Source, SourceError, files};
use holdfast_worker::remote::{Machine, RemoteCommand, RemoteError, Session, forwards};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

fn guard() -> Guard {
    Guard::new(AllowedNetworks::loopback_and_private())
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A throwaway sshd that lets one key in, as the user that runs the test.
struct Sshd {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill_sessions();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sshd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host_ed25519", "host_ecdsa", "other", "client"] {
            let kind = if name == "host_ecdsa" { "ecdsa" } else { "ed25519" };
            keygen(kind, &folder.path().join(name));
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        // sshd refuses to start without it.
        let _ = fs::create_dir_all("/run/sshd");
        let config = format!(
            "ListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPidFile none\nMaxStartups 100\n",
            at("host_ecdsa"),
            at("host_ed25519"),
            at("client.pub"),
        );
        fs::write(folder.path().join("config"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-p", &port.to_string(), "-f", &at("config")]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { folder, port, process }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn client_key(&self) -> Secret {
        Secret::new(self.read("client"))
    }

    fn key(&self, name: &str) -> HostKey {
        HostKey::parse(&self.read(&format!("{name}.pub")), HostKeySource::Given, clock().now()).unwrap()
    }

    fn login(&self, host_key: Option<HostKey>) -> Login {
        Login {
            host: Host::parse("127.0.0.1").unwrap(),
            port: self.port,
            user: LoginName::parse(&user()).unwrap(),
            ssh_key_id: 1,
            host_key,
        }
    }

    async fn open(&self) -> Session {
        let login = self.login(Some(self.key("host_ed25519")));
        Session::open(&login, &self.client_key(), &guard(), &clock()).await.unwrap()
    }

    /// Kills the processes that serve connections, as the kernel does when memory runs out.
    fn kill_sessions(&self) {
        for child in descendants(self.process.id()) {
            let _ = Command::new("kill").args(["-9", &child.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

fn keygen(kind: &str, path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

/// Child processes of all levels.
fn descendants(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pairs: Vec<(u32, u32)> = names.filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    let (mut found, mut next) = (vec![parent], 0);
    while next < found.len() {
        let of = found[next];
        found.extend(pairs.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_connection_tells_the_best_key_and_no_private_key_stays_behind() {
    let sshd = Sshd::start();
    let session = Session::open(&sshd.login(None), &sshd.client_key(), &guard(), &clock()).await.unwrap();
    let shown = session.host_key();
    assert_eq!(shown.fingerprint, sshd.key("host_ed25519").fingerprint);
    assert_eq!(shown.source, HostKeySource::FirstUse);
    let own = format!("holdfast-ssh-{}-", std::process::id());
    let entries = fs::read_dir("/dev/shm").unwrap().flatten();
    let folders: Vec<_> = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own)).collect();
    assert!(!folders.is_empty() && folders.iter().all(|folder| !folder.path().join("key").exists()));
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_key_or_fingerprint_is_taken_and_another_is_refused() {
    let sshd = Sshd::start();
    for name in ["host_ed25519", "host_ecdsa"] {
        let whole = sshd.key(name);
        let only_fingerprint = HostKey { public_key: None, ..whole.clone() };
        for key in [whole, only_fingerprint] {
            let session =
                Session::open(&sshd.login(Some(key.clone())), &sshd.client_key(), &guard(), &clock()).await.unwrap();
            assert_eq!(session.host_key().fingerprint, key.fingerprint);
            session.close().await;
        }
    }
    let pinned = sshd.key("other");
    for key in [pinned.clone(), HostKey { public_key: None, ..pinned.clone() }] {
        let error = Session::open(&sshd.login(Some(key)), &sshd.client_key(), &guard(), &clock()).await.unwrap_err();
        assert_eq!((error.retry(), error.step()), (Retry::Never, "host_key"));
        let RemoteError::HostKeyChanged { expected, seen } = error else { panic!("{error}") };
        assert_eq!(expected, pinned.fingerprint);
        assert!(seen.contains(&sshd.key("host_ed25519").fingerprint), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_is_permanent_and_silence_is_not() {
    let sshd = Sshd::start();
    let login = sshd.login(Some(sshd.key("host_ed25519")));
    let wrong_key = Session::open(&login, &Secret::new(sshd.read("other")), &guard(), &clock()).await.unwrap_err();
    assert!(matches!(wrong_key, RemoteError::LoginRefused { .. }), "{wrong_key}");
    let nobody = Login { user: LoginName::parse("nosuchuser").unwrap(), ..login.clone() };
    let wrong_user = Session::open(&nobody, &sshd.client_key(), &guard(), &clock()).await.unwrap_err();
    assert_eq!((wrong_user.retry(), wrong_user.step()), (Retry::Never, "login"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host_key in [None, login.host_key.clone()] {
        let silent = Login { port: closed, host_key, ..login.clone() };
        let error = Session::open(&silent, &sshd.client_key(), &guard(), &clock()).await.unwrap_err();
        assert_eq!((error.retry(), error.step()), (Retry::Later, "connect"), "{error}");
    }
}

/// Answers the same addresses for every name.
#[derive(Debug)]
struct Addresses(&'static [&'static str]);

impl Resolve for Addresses {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(self.0.iter().map(|address| address.parse().unwrap()).collect()) })
    }
}

fn guard_at(allowed: &str, addresses: &'static [&'static str]) -> Guard {
    Guard::with_resolver(allowed.parse().unwrap(), Arc::new(Addresses(addresses)))
}

/// A listener that lets connections in, keeps them and says nothing; it counts them.
fn silent_at(address: &str, port: u16) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind((address, port)).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            kept.push(stream);
        }
    });
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_reached_at_the_first_of_its_addresses_that_answers() {
    let sshd = Sshd::start();
    let named = |host_key| Login { host: Host::parse("two.example").unwrap(), ..sshd.login(host_key) };
    // Nobody listens at the first two; IPv6 may not even be there.
    let dual = guard_at("127.0.0.0/8,::1/128", &["::1", "127.0.0.2", "127.0.0.1"]);
    for host_key in [Some(sshd.key("host_ed25519")), None] {
        let session = Session::open(&named(host_key.clone()), &sshd.client_key(), &dual, &clock()).await.unwrap();
        assert_eq!(session.host_key().fingerprint, sshd.key("host_ed25519").fingerprint);
        session.close().await;
        forwards(&named(Some(sshd.key("host_ed25519"))), &sshd.client_key(), &dual, &clock()).await.unwrap();
    }
    // What answers and is another machine is told; what answers nothing is passed over within its share of the time.
    let pinned = named(Some(sshd.key("other")));
    let changed = Session::open(&pinned, &sshd.client_key(), &dual, &clock()).await.unwrap_err();
    assert!(matches!(changed, RemoteError::HostKeyChanged { .. }), "{changed}");
    let silent = silent_at("127.0.0.3", sshd.port);
    let slow =
        guard_at("127.0.0.0/8,::1/128", &["127.0.0.3", "127.0.0.2", "::1", "127.0.0.4", "127.0.0.5", "127.0.0.1"]);
    let started = Instant::now();
    let session = Session::open(&named(Some(sshd.key("host_ed25519"))), &sshd.client_key(), &slow, &clock()).await;
    session.unwrap().close().await;
    assert!(silent.load(Ordering::SeqCst) == 1 && started.elapsed() < Duration::from_secs(15));
    let nowhere = guard_at("127.0.0.0/8,::1/128", &["::1", "127.0.0.2"]);
    let error = Session::open(&named(None), &sshd.client_key(), &nowhere, &clock()).await.unwrap_err();
    assert_eq!((error.retry(), error.step()), (Retry::Later, "connect"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_which_one_address_is_forbidden_is_not_reached_at_any() {
    let sshd = Sshd::start();
    let login = Login { host: Host::parse("two.example").unwrap(), ..sshd.login(Some(sshd.key("host_ed25519"))) };
    let seen = silent_at("127.0.0.2", sshd.port);
    for addresses in [&["127.0.0.2", "127.0.0.1"], &["127.0.0.1", "127.0.0.2"]] {
        let guard = guard_at("127.0.0.1/32", addresses);
        let refused = Session::open(&login, &sshd.client_key(), &guard, &clock()).await.unwrap_err();
        assert!(matches!(refused, RemoteError::Guarded(_)), "{refused}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_get_their_words_unchanged_and_tell_their_end() {
    let sshd = Sshd::start();
    let machine = Machine::Server(sshd.open().await);
    let odd = ["a b", "$(id)", "`id`", "'\"\\", "new\nline", "", "*", "-x", "ä", "!1;&|<>"];
    let output = machine.output(RemoteCommand::new("printf").args(["%s\\0"]).args(odd)).await.unwrap();
    assert_eq!(output.stdout.split_terminator('\0').collect::<Vec<_>>(), odd);
    let fed = machine.output(RemoteCommand::new("cat").stdin(b"fed".to_vec())).await.unwrap();
    assert_eq!((fed.stdout.as_str(), fed.exit.code), ("fed", 0));
    let failed = machine.output(RemoteCommand::new("sh").args(["-c", "echo why >&2; exit 3"])).await.unwrap();
    assert_eq!((failed.exit.code, failed.exit.stderr.as_str()), (3, "why"));
    let missing = machine.output(RemoteCommand::new("no-such-program")).await.unwrap();
    assert_eq!(missing.exit.code, 127);
    let slow = RemoteCommand::new("sleep").args(["30"]).limit(Duration::from_secs(1));
    assert!(matches!(machine.output(slow).await, Err(RemoteError::TimedOut { .. })));
    machine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_killed_is_a_lost_connection() {
    let sshd = Sshd::start();
    let machine = Machine::Server(sshd.open().await);
    let mut running = machine.spawn(RemoteCommand::new("cat").args(["/dev/zero"]), |_| ()).await.unwrap();
    let mut stdout = running.take_stdout().unwrap();
    stdout.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    sshd.kill_sessions();
    // The output just ends: that looks like success.
    tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await.unwrap();
    let error = running.wait().await.unwrap_err();
    assert!(matches!(error, RemoteError::Lost) && error.retry() == Retry::Later, "{error}");
    machine.close().await;
}

fn config(roots: &[&Path], exclude: &[&str]) -> FilesConfig {
    FilesConfig {
        root_paths: roots.iter().map(|root| root.display().to_string()).collect(),
        exclude: exclude.iter().map(|pattern| (*pattern).to_owned()).collect(),
        compression_level: 0,
        use_sudo: false,
        one_file_system: false,
    }
}

async fn start(machine: &Machine, config: &FilesConfig) -> Result<Source, SourceError> {
    let dump = files::plan(machine, config).await?.remove(0);
    dump.start(machine, |_| ()).await
}

async fn dump(machine: &Machine, config: &FilesConfig) -> (Vec<u8>, Result<Vec<String>, SourceError>) {
    let mut source = start(machine, config).await.unwrap();
    let mut tar = Vec::new();
    source.take_bytes().unwrap().read_to_end(&mut tar).await.unwrap();
    let tail = tar[tar.len().saturating_sub(4_096)..].to_vec();
    (tar, source.finish(&tail, drop).await)
}

/// Names that have broken backups before.
const HOSTILE_NAMES: [&[u8]; 16] = [
    b"new\nline",
    b"-rf",
    b"--checkpoint-action=exec=id",
    b"quote'",
    b"double\"quote",
    b"$(id)",
    b"`id`",
    b"back\\slash",
    b" leading",
    b"trailing ",
    b"tab\t",
    b"*",
    b"\xff\xfe",
    b"\x01\x1b[31m",
    b"~",
    b"a;b|c&d",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_hostile_names_comes_back_the_same() {
    let sshd = Sshd::start();
    let site = tempfile::tempdir().unwrap();
    // The root is hostile too.
    let root = site.path().join("-C root $(id)\n'x'");
    fs::create_dir_all(root.join("empty")).unwrap();
    for (number, name) in HOSTILE_NAMES.iter().enumerate() {
        fs::write(root.join(std::ffi::OsStr::from_bytes(name)), format!("content {number}")).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
    fs::write(root.join("left.out"), "no").unwrap();
    let machine = Machine::Server(sshd.open().await);
    let (tar, whole) = dump(&machine, &config(&[&root], &["*.out", "--checkpoint=1", "$(touch x)"])).await;
    assert_eq!(whole.unwrap(), Vec::<String>::new());
    let unpacked = unpack(&tar);
    fs::remove_file(root.join("left.out")).unwrap();
    let diff = Command::new("diff").args(["-r", "--no-dereference"]).arg(&root).arg(below(&unpacked, &root)).output();
    let diff = diff.unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    machine.close().await;
}

fn unpack(tar: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Command::new("tar").args(["-x", "-C"]).arg(folder.path()).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut process.stdin.take().unwrap(), tar).unwrap();
    assert!(process.wait().unwrap().success());
    folder
}

fn below(folder: &TempDir, root: &Path) -> PathBuf {
    folder.path().join(root.strip_prefix("/").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_root_is_refused_and_named_and_an_empty_one_is_whole() {
    let sshd = Sshd::start();
    let site = tempfile::tempdir().unwrap();
    let (empty, missing) = (site.path().join("empty"), site.path().join("missing ä\n"));
    fs::create_dir(&empty).unwrap();
    let machine = Machine::Server(sshd.open().await);
    let error = start(&machine, &config(&[&empty, &missing], &[])).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error}");
    assert!(error.to_string().contains("No such file or directory"), "{error}");
    let (tar, ended) = dump(&machine, &config(&[&empty], &[])).await;
    assert_eq!(ended.unwrap(), Vec::<String>::new());
    assert!(below(&unpack(&tar), &empty).is_dir());
    machine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_is_cut_off_fails() {
    let sshd = Sshd::start();
    let site = tempfile::tempdir().unwrap();
    // Larger than all the pipes in between.
    fs::write(site.path().join("large"), vec![7; 64 << 20]).unwrap();
    let machine = Machine::Server(sshd.open().await);
    let mut source = start(&machine, &config(&[site.path()], &[])).await.unwrap();
    let mut stdout = source.take_bytes().unwrap();
    stdout.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    sshd.kill_sessions();
    tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await.unwrap();
    let error = source.finish(&[7; 4_096], drop).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later, "{error}");
    machine.close().await;
}
