//! The files source: what belongs to a file comes back with it by stock tools, and what is left out is what was asked for.

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use holdfast_tests::installation::Host;
use holdfast_tests::mount::Mount;
use holdfast_tests::sudo::Sudoers;
use holdfast_tests::tree::{assert_same, details, entries, names, unpack_with};
use holdfast_tests::{Installation, leftovers};
use rustix::process::geteuid;
use serde_json::{Value, json};

/// What gives back everything, ACLs by the names of users and groups.
const ALL: [&str; 3] = ["--acls", "--xattrs", "--xattrs-include=*"];
/// The same, ACLs by their numbers.
const BY_NUMBER: [&str; 2] = ["--xattrs", "--xattrs-include=*"];

/// What only root can make says loudly that it was not tested.
fn is_root(what: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("NOT TESTED, as this does not run as root: {what}");
    }
    is_root
}

fn sh(folder: &Path, script: &str) {
    let done = Command::new("sh").args(["-euc", script]).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

async fn run(installation: &Installation, host: &Host, config: Value) -> (Value, String) {
    let server = installation.add_server(host).await;
    let job = installation.add_job_with(server, json!({"config": config})).await;
    let backup = installation.run(&job).await;
    let end = backup["status"].as_str().unwrap().to_owned();
    let is_whole = |log: &str| log.lines().last().is_some_and(|line| line.contains(&end));
    let log = installation.log_when(backup["id"].as_str().unwrap(), is_whole).await;
    (backup, log)
}

/// A tree with everything that a file system keeps of a file.
const TREE: &str = r#"
mkdir -m 1777 open; mkdir -m 2750 group; mkdir empty shared
echo a >a; ln a b; ln a group/c; chmod 4755 a
echo owned >owned; chown 1234:5678 owned; chmod 0640 owned
ln -s a link; ln -s /nowhere/at/all broken; chown -h 1234:5678 link
truncate -s 16M sparse; printf middle | dd of=sparse bs=1 seek=8000000 conv=notrunc status=none
truncate -s 3M hole; : >nothing
mknod -m 0666 null c 1 3; mkfifo -m 0600 pipe
echo acl >acl; setfacl -m u:1234:r,g:daemon:rw,m::rwx acl
setfacl -m u:4321:rwx,d:u:nobody:rwx,d:g:5678:rx shared; echo inherits >shared/inherits
echo x >x; setfattr -n user.text -v 'ä "q"' x; setfattr -n user.bytes -v 0x00ff0a5c x; setfattr -n user.empty x
setfattr -n trusted.root -v root x; setfattr -n trusted.of_link -v yes -h link; setfattr -n user.of_folder -v yes empty
echo program >program; chmod 755 program; setcap cap_net_raw,cap_net_bind_service+ep program
printf odd >"$(printf 'new\nline -> x \377')"
touch -h -d '1985-10-26 01:21:00.123456789 UTC' link a; touch -d '2038-01-19 03:14:08 UTC' owned sparse; touch -d '1901-12-13 UTC' x
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_modes_times_acls_attributes_links_holes_and_devices_come_back() {
    if !is_root("owners, devices and attributes of root's") {
        return;
    }
    let host = Host::start().await;
    let site = host.site();
    sh(&site, TREE);
    let _socket = UnixListener::bind(site.join("socket")).unwrap();
    let installation = Installation::start().await;
    let (backup, log) = run(&installation, &host, json!({"root_path": site})).await;

    assert_eq!(backup["status"], "completed", "{backup}\n{log}");
    assert!(log.contains("socket: socket ignored") && log.contains("1 sockets and the like"), "{log}");
    std::fs::remove_file(site.join("socket")).unwrap();
    let archive = installation.download(&backup).await;
    for options in [&ALL[..], &BY_NUMBER] {
        let unpacked = unpack_with(&archive, options);
        let below = unpacked.path().join(site.strip_prefix("/").unwrap());
        // Taking the socket away was a change of the folder above.
        for top in [&below, &site] {
            sh(top, "touch -d '2020-02-02' .");
        }
        let [restored, original] = [&below, &site].map(|top| details(top));
        for (restored, original) in restored.lines().zip(original.lines()) {
            assert_eq!(restored, original, "{options:?}");
        }
        assert_eq!(restored, original, "{options:?}");
        let contents = |top: &Path| entries(top).into_iter().filter(|(name, _)| name != "null").collect::<Vec<_>>();
        assert!(contents(&below) == contents(&site), "contents differ: {options:?}");
        let inode = |name: &str| below.join(name).metadata().unwrap().ino();
        assert!(inode("a") == inode("b") && inode("a") == inode("group/c"));
        let held = |name: &str| below.join(name).metadata().unwrap().blocks() * 512;
        assert!(held("sparse") < 1 << 20 && held("hole") < 1 << 16, "{} {}", held("sparse"), held("hole"));
    }
    // The holes are not in the archive either.
    let plain_bytes = backup["files"][0]["plain_bytes"].as_u64().unwrap_or(u64::MAX);
    assert!(plain_bytes < 1 << 20, "{backup}");
    leftovers::assert_none(&installation).await;
}

/// What stock tar takes with the same patterns.
fn taken_by_tar(roots: &[String], excludes: &[&str], more: &[&str]) -> Vec<String> {
    let excludes = excludes.iter().map(|pattern| format!("--exclude={pattern}"));
    let mut tar = Command::new("sh");
    tar.args(["-c", "tar --create --file=- \"$@\" 2>/dev/null | tar -t", "sh"]).args(excludes).args(more).args(roots);
    String::from_utf8(tar.output().unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_leave_out_what_tar_would_leave_out() {
    let host = Host::start().await;
    for name in [
        "one/keep.txt",
        "one/drop.log",
        "one/deep/drop.log",
        "one/cache/a",
        "one/deep/cache/b",
        "one/a1",
        "one/ab",
        "two/cache",
        "two/[x]",
        "two/x",
        "two/keep",
        "two/tmp/a",
        "two/sub/tmp/b",
        "three/not taken",
    ] {
        host.write(name, name);
    }
    let roots = ["one", "two"].map(|name| host.site().join(name).display().to_string());
    let absolute = host.site().join("two/tmp").display().to_string();
    let excludes = ["*.log", "cache", "a[0-9]", "\\[x\\]", &absolute, "d??p/nothing", "-x", "--help"];
    let expected = taken_by_tar(&roots, &excludes, &[]);
    assert!(expected.iter().any(|name| name.ends_with("two/sub/tmp/b")) && expected.len() == 10, "{expected:#?}");
    let installation = Installation::start().await;
    let config = json!({"root_path": roots.join("\n"), "exclude": excludes.join("\n")});
    let (backup, log) = run(&installation, &host, config).await;
    assert_eq!(backup["status"], "completed", "{log}");
    assert_eq!(names(&installation.download(&backup).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_mounted_below_is_taken_unless_it_is_left_out() {
    if !is_root("mounts") {
        return;
    }
    let host = Host::start().await;
    let mount = Mount::at(&host.site().join("mnt"), 1 << 20);
    host.write("mnt/inside", "inside");
    host.write("outside", "outside");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    for (one_file_system, count) in [(false, 4), (true, 3)] {
        let config = json!({"root_path": host.site(), "one_file_system": one_file_system});
        let job = installation.add_job_with(server, json!({"config": config})).await;
        let backup = installation.run(&job).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        let names = names(&installation.download(&backup).await);
        assert_eq!(names.len(), count, "{names:?}");
        assert_eq!(names.iter().any(|name| name.ends_with("mnt/inside")), !one_file_system);
    }
    drop(mount);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sudo_what_only_root_may_read_is_taken() {
    if !is_root("sudo") {
        return;
    }
    let host = Host::start_for("holdfast-files", "").await;
    host.write("of root", "secret");
    sh(&host.site(), "chmod 0600 'of root'; mkdir -m 0700 closed; echo x >closed/x; chown 1:1 closed/x");
    let installation = Installation::start().await;
    let server = installation.add_server(&host).await;
    let config = json!({"root_path": host.site(), "use_sudo": true});
    let job = installation.add_job_with(server, json!({"config": config})).await;

    for (allowed, says) in [(None, "asks for a password"), (Some("/usr/bin/true"), "asks for a password")] {
        let _sudoers = allowed.map(|commands| Sudoers::allow(&host.user, commands));
        let backup = installation.run(&job).await;
        assert_eq!((&backup["status"], &backup["attempt"]), (&json!("failed"), &json!(1)), "{backup}");
        let message = backup["failure"]["message"].as_str().unwrap();
        assert!(message.contains(says) && message.contains("NOPASSWD: tar"), "{message}");
    }
    let _sudoers = Sudoers::allow(&host.user, "/usr/bin/tar");
    let backup = installation.run(&job).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_same(&installation.download(&backup).await, &host.site());
    leftovers::assert_none(&installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tar_without_acls_is_told_and_the_rest_is_kept() {
    let script = "#!/bin/sh\necho 'tar: POSIX ACL support is not available' >&2\nexec /usr/bin/tar \"$@\"\n";
    let host = Host::start_with_programs(&[("tar", script)], false).await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let (backup, log) = run(&installation, &host, json!({"root_path": host.site()})).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert!(log.contains("the server's tar was built without ACLs: none is kept"), "{log}");
    assert_same(&installation.download(&backup).await, &host.site());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attribute_that_cannot_be_read_is_an_error_of_its_file() {
    let script = "#!/bin/sh\nset +e\n/usr/bin/tar \"$@\"; code=$?\n\
        case \"$*\" in *no-recursion*) ;; *) echo 'tar: /srv/a: Warning: Cannot fgetxattr: Input/output error' >&2;; esac\nexit $code\n";
    let host = Host::start_with_programs(&[("tar", script)], false).await;
    host.write("a", "a");
    let installation = Installation::start().await;
    let (backup, _) = run(&installation, &host, json!({"root_path": host.site()})).await;
    assert_eq!(backup["status"], "completed_with_errors", "{backup}");
    assert_eq!(backup["source_errors"], json!(["/srv/a: Warning: Cannot fgetxattr: Input/output error"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_taken_as_a_link_and_a_root_that_is_one_too() {
    let host = Host::start().await;
    host.write("real/a", "a");
    symlink(host.site().join("real"), host.site().join("current")).unwrap();
    let installation = Installation::start().await;
    let config = json!({"root_path": host.site().join("current")});
    let (backup, _) = run(&installation, &host, config).await;
    let names = names(&installation.download(&backup).await);
    assert!(names.len() == 1 && names[0].ends_with("/current"), "{names:?}");
}
