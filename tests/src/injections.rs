//! Injections: texts that make a file, the canary, wherever something takes them for more than text.
//!
//! `CANARY` stands for the whole path of the file, `RELATIVE` for a name that is made where the program runs. Each
//! attempt has a canary of its own, so that what is found tells which attempt got through.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use uuid::Uuid;

/// What a text is meant to be taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An option of a program.
    Option,
    /// An option of tar.
    Tar,
    /// Words of a shell.
    Shell,
    /// Lines of an `ssh_config`.
    SshConfig,
    /// The end of an identifier or a string of SQL, and what follows; or words of a database's client.
    Sql,
    /// A way out of the prefix of an object's key, or out of a folder.
    ObjectKey,
    /// Characters that look like those above, or become them when they are normalised.
    LookAlike,
    /// Something above behind more characters than anybody expects.
    Long,
}

/// One text.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What it is meant to be taken for.
    pub kind: Kind,
    /// What is sent.
    pub text: String,
    /// The file that it would make.
    pub canary: PathBuf,
    /// The same text with nothing but names: no folder stands before its canary.
    pub relative: String,
}

/// A folder that stays empty, and a name that nothing else has.
#[derive(Debug)]
pub struct Canaries {
    dir: TempDir,
    name: String,
}

impl Default for Canaries {
    fn default() -> Self {
        Self::new()
    }
}

impl Canaries {
    /// New ones.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        // Whoever a program runs as, it could write here.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
        Self { dir, name: format!("canary{}", Uuid::new_v4().simple()) }
    }

    /// Every attempt.
    pub fn attempts(&self) -> Vec<Attempt> {
        let long = long();
        let texts = TEXTS.iter().copied().chain(long.iter().map(|text| (Kind::Long, text.as_str())));
        let attempts = texts.enumerate().map(|(number, (kind, text))| {
            let name = format!("{}x{number}", self.name);
            let canary = self.dir.path().join(&name);
            let text = text.replace("RELATIVE", &name);
            let relative = text.replace("CANARY", &name);
            let text = text.replace("CANARY", canary.to_str().unwrap());
            Attempt { kind, text, canary, relative }
        });
        attempts.collect()
    }

    /// Canaries that were made, in their folder or below `places`.
    pub fn found(&self, places: &[&Path]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders: Vec<_> =
            places.iter().map(|place| place.to_path_buf()).chain([self.dir.path().into()]).collect();
        while let Some(folder) = folders.pop() {
            // A folder that went meanwhile has no canary.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if self.is_one(&entry.file_name().to_string_lossy()) {
                    found.push(entry.path());
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                }
            }
        }
        found
    }

    /// The same for what stands right in a folder.
    pub fn found_right_in(&self, folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|entry| self.is_one(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
    }

    /// A file that is called like an attempt is no canary.
    fn is_one(&self, file_name: &str) -> bool {
        let number = file_name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('x'));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// What hides behind a great many characters: more than a name, a path, a header or a list may have.
fn long() -> [String; 5] {
    [
        format!("{}$(touch CANARY)", "a".repeat(300)),
        format!("{};touch CANARY;", "a".repeat(5_000)),
        format!("{}\nProxyCommand touch CANARY", "a".repeat(70_000)),
        format!("{}RELATIVE", "../".repeat(2_000)),
        format!("-oProxyCommand=touch${{IFS}}CANARY{}", " a".repeat(3_000)),
    ]
}

const TEXTS: &[(Kind, &str)] = &[
    (Kind::Option, "-oProxyCommand=touch CANARY"),
    (Kind::Option, "-oProxyCommand=touch${IFS}CANARY"),
    (Kind::Option, "-oProxyCommand=touch\tRELATIVE"),
    (Kind::Option, "-oLocalCommand=touch CANARY"),
    (Kind::Option, "-oPermitLocalCommand=yes -oLocalCommand=touch\tRELATIVE"),
    (Kind::Option, "-oKnownHostsCommand=/usr/bin/touch CANARY"),
    (Kind::Option, "-ECANARY"),
    (Kind::Option, "-MNSCANARY"),
    (Kind::Option, "-- -oProxyCommand=touch CANARY"),
    (Kind::Option, "--defaults-file=CANARY"),
    (Kind::Option, "--result-file=CANARY"),
    (Kind::Option, "--tab=CANARY"),
    (Kind::Option, "--init-command=system touch CANARY"),
    (Kind::Option, "--file=CANARY"),
    (Kind::Option, "--out=CANARY"),
    (Kind::Option, "-fCANARY"),
    (Kind::Option, "--eval=run('touch','CANARY')"),
    (Kind::Option, "--rdb CANARY"),
    (Kind::Option, "--output CANARY"),
    (Kind::Option, "-KCANARY"),
    (Kind::Option, "--askpass --user=root touch CANARY"),
    (Kind::Tar, "--checkpoint-action=exec=touch CANARY"),
    (Kind::Tar, "--checkpoint-action=exec=sh -c 'touch RELATIVE'"),
    (Kind::Tar, "--checkpoint=1 --checkpoint-action=exec=touch${IFS}CANARY"),
    (Kind::Tar, "--use-compress-program=touch CANARY"),
    (Kind::Tar, "-Itouch CANARY"),
    (Kind::Tar, "--to-command=touch CANARY"),
    (Kind::Tar, "--info-script=touch CANARY"),
    (Kind::Tar, "--rsh-command=touch CANARY"),
    (Kind::Tar, "--rmt-command=touch CANARY"),
    (Kind::Tar, "--index-file=CANARY"),
    (Kind::Tar, "--listed-incremental=CANARY"),
    (Kind::Tar, "-C/\n--checkpoint-action=exec=touch CANARY"),
    (Kind::Tar, "--transform=s/.*/touch CANARY/e"),
    (Kind::Shell, ";touch CANARY"),
    (Kind::Shell, ";touch CANARY;"),
    (Kind::Shell, "; touch RELATIVE #"),
    (Kind::Shell, "|touch CANARY"),
    (Kind::Shell, "&touch CANARY"),
    (Kind::Shell, "&&touch CANARY"),
    (Kind::Shell, "$(touch CANARY)"),
    (Kind::Shell, "$(touch RELATIVE)"),
    (Kind::Shell, "`touch CANARY`"),
    (Kind::Shell, "`touch RELATIVE`"),
    (Kind::Shell, "\ntouch CANARY\n"),
    (Kind::Shell, "\ntouch CANARY"),
    (Kind::Shell, ">CANARY"),
    (Kind::Shell, ">>CANARY"),
    (Kind::Shell, "2>CANARY"),
    (Kind::Shell, "<>CANARY"),
    (Kind::Shell, "';touch CANARY;'"),
    (Kind::Shell, "'$(touch CANARY)'"),
    (Kind::Shell, "\";touch CANARY;\""),
    (Kind::Shell, "\"$(touch CANARY)\""),
    (Kind::Shell, "';touch CANARY;#"),
    (Kind::Shell, "\";touch CANARY;#"),
    (Kind::Shell, "${x:-$(touch CANARY)}"),
    (Kind::Shell, "$((`touch CANARY`0))"),
    (Kind::Shell, ";{ touch CANARY; }"),
    (Kind::Shell, ";touch${IFS}CANARY"),
    (Kind::Shell, "$(touch${IFS}RELATIVE)"),
    (Kind::SshConfig, "x\nProxyCommand touch CANARY"),
    (Kind::SshConfig, "x\n  ProxyCommand=touch CANARY\n"),
    (Kind::SshConfig, "x\r\nProxyCommand touch CANARY\r\n"),
    (Kind::SshConfig, "x\nHost *\nProxyCommand touch CANARY"),
    (Kind::SshConfig, "x\nMatch exec \"touch CANARY\"\nProxyCommand true"),
    (Kind::SshConfig, "x\n\tproxycommand\ttouch CANARY"),
    (Kind::SshConfig, "x\nPermitLocalCommand yes\nProxyCommand touch CANARY"),
    (Kind::SshConfig, "x\nProxyUseFdpass no\nProxyCommand /bin/sh -c 'touch CANARY'"),
    (Kind::Sql, "x'; SELECT 1 INTO OUTFILE 'CANARY'; -- "),
    (Kind::Sql, "x\"; COPY (SELECT 1) TO 'CANARY'; --"),
    (Kind::Sql, "x\"; COPY (SELECT 1) TO PROGRAM 'touch CANARY'; --"),
    (Kind::Sql, "x`; SELECT 1 INTO DUMPFILE 'CANARY'; -- "),
    (Kind::Sql, "x``.`y`; system touch CANARY"),
    (Kind::Sql, "x\n\\! touch CANARY"),
    (Kind::Sql, "x\\! touch CANARY"),
    (Kind::Sql, "\\o |touch CANARY"),
    (Kind::Sql, "x'; ATTACH DATABASE 'CANARY' AS c; CREATE TABLE c.x (y); --"),
    (Kind::Sql, "x'\n.shell touch CANARY\n"),
    (Kind::Sql, "x' .output CANARY"),
    (Kind::Sql, "x\0'; SELECT 1 INTO OUTFILE 'CANARY'; --"),
    (Kind::Sql, "dbname=x passfile=CANARY"),
    (Kind::Sql, "postgresql://x/y?service=CANARY"),
    (Kind::Sql, "x\r\nCONFIG SET dir /tmp\r\nCONFIG SET dbfilename RELATIVE\r\nSAVE\r\n"),
    (Kind::Sql, "mongodb://x/?authMechanism=x;touch CANARY"),
    (Kind::ObjectKey, "../RELATIVE"),
    (Kind::ObjectKey, "../../../../../../../../CANARY"),
    (Kind::ObjectKey, "..\\..\\RELATIVE"),
    (Kind::ObjectKey, "%2e%2e%2fRELATIVE"),
    (Kind::ObjectKey, "%2e%2e/%2e%2e/RELATIVE"),
    (Kind::ObjectKey, "%252e%252e%252fRELATIVE"),
    (Kind::ObjectKey, "..%2fRELATIVE"),
    (Kind::ObjectKey, "..%00/RELATIVE"),
    (Kind::ObjectKey, "..\0/RELATIVE"),
    (Kind::ObjectKey, "..%c0%afRELATIVE"),
    (Kind::ObjectKey, "....//RELATIVE"),
    (Kind::ObjectKey, "..;/RELATIVE"),
    (Kind::ObjectKey, "./../RELATIVE"),
    (Kind::ObjectKey, "CANARY"),
    (Kind::ObjectKey, "/CANARY"),
    (Kind::ObjectKey, "file://CANARY"),
    (Kind::ObjectKey, "?prefix=../RELATIVE"),
    (Kind::ObjectKey, "#/../RELATIVE"),
    (Kind::LookAlike, "；touch CANARY"),
    (Kind::LookAlike, "＄（touch CANARY）"),
    (Kind::LookAlike, "｀touch CANARY｀"),
    (Kind::LookAlike, "－oProxyCommand=touch CANARY"),
    (Kind::LookAlike, "–oProxyCommand=touch CANARY"),
    (Kind::LookAlike, "․․/RELATIVE"),
    (Kind::LookAlike, "．．／RELATIVE"),
    (Kind::LookAlike, ".\u{200b}./RELATIVE"),
    (Kind::LookAlike, "x\u{2028}ProxyCommand touch CANARY"),
    (Kind::LookAlike, "x\u{85}ProxyCommand touch CANARY"),
];
