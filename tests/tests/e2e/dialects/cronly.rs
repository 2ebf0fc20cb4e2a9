//! Cronly: what is printed, what its own client sends, and what only it has.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use holdfast_functions::dialects::Dialect;
use holdfast_functions::dialects::cronly::DIALECT;
use holdfast_functions::http::operation::Call;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Answer, Installation, Setup};
use http::Method;
use serde_json::{Value, json};

use super::generated::{Wire, generated};
use super::printed::{Values, fixtures};
use crate::sound_bodies::CANARY;
use crate::world::{World, text, unique};

/// What an encoded form would not look like, and is to come back byte by byte.
const CRONTAB: &str =
    "# 100 % of it: a+b & c=d&file_content=no é\nMAILTO=\"\"\n\n*/5 * * * *\tcd /srv && ./run --at=%H+1 2>&1\n";

/// An installation with a server whose address is the tests' own.
async fn with_server() -> Installation {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let server = json!({"name": "web 1", "ip_address": "127.0.0.1", "identifier": "server_identifier"});
    installation.api.post("/api/servers", server).await.expect(201);
    installation
}

async fn text_of(installation: &Installation, backup: u64) -> String {
    installation.api.get(&format!("/v1/crontabs/{backup}/content")).await.expect(200).text()
}

struct Cronly;

impl Wire for Cronly {
    const DIALECT: Dialect = DIALECT;
    const TAKEN: &'static [&'static str] = &[
        // A crontab and a command are kept byte by byte.
        "/api/backups file_content a NUL",
        "/api/backups/{server_id}/content file_content a NUL",
        "/api/servers/alert command a NUL",
        // Its bound is that of the body.
        "/api/backups file_content too long",
        "/api/backups/{server_id}/content file_content too long",
        // A crontab can be emptied.
        "/api/backups/{server_id}/content file_content empty",
    ];

    fn kinds(call: &Call) -> Vec<&'static str> {
        match call.path {
            "/api/backups/{server_id}/{username}" => vec!["identifiers", "usernames"],
            "/api/backups/{server_id}/content" | "/api/backups/{server_id}/snapshots" => vec!["crontabs"],
            "/api/backups/{server_id}/snapshots/{number}" => vec!["crontabs", "snapshots"],
            "/api/servers/{server_id}" => vec!["identifiers"],
            _ => Vec::new(),
        }
    }

    fn body(world: &World, call: &Call) -> Option<Value> {
        let server = world.id("identifiers");
        match call.path {
            _ if call.method != Method::POST => None,
            "/api/backups" => Some(json!({"username": unique("user"), "server_id": server, "file_content": CANARY})),
            "/api/servers" => Some(json!({"name": "web", "ip_address": "127.0.0.1", "identifier": unique("web")})),
            "/api/servers/alert" => Some(json!({"username": "deploy", "command": CANARY, "server_id": server})),
            "/api/backups/{server_id}/content" => Some(json!({"file_content": format!("{CANARY} {}", unique("line"))})),
            other => panic!("{other} has no body"),
        }
    }

    async fn fresh_path(world: &World, call: &Call) -> String {
        let username = unique("user");
        let sent = json!({"username": username, "server": world.id("identifiers"), "content": CANARY});
        match call.path {
            "/api/backups/{server_id}/{username}" => {
                world.api.post("/v1/crontabs", sent).await.expect(201);
                format!("/api/backups/{}/{username}", text(world.id("identifiers")))
            }
            "/api/servers/{server_id}" => {
                let server = json!({"name": "web", "ip_address": "127.0.0.1", "identifier": unique("fresh")});
                let made = world.api.post("/v1/crontab-servers", server).await.expect(201).data();
                format!("/api/servers/{}", made["identifier"].as_str().unwrap())
            }
            path => path.replace("{server_id}", &text(world.id("crontabs"))),
        }
    }

    fn assert_failure(answer: &Answer, status: u16, what: &str) {
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
        let answer = answer.json();
        let members: Vec<_> = answer.as_object().unwrap().iter().collect();
        assert!(matches!(*members, [(name, Value::String(words))] if name == "error" && !words.is_empty()), "{answer}");
    }
}

generated!(Cronly);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_printed_exchange_is_answered_as_printed() {
    let installation = with_server().await;
    let company = json!({"company_id": 1});
    installation.api.patch("/v1/account", company).await.expect(200);
    for fixture in fixtures("cronly") {
        fixture.replay(&installation.api, &Values::new()).await;
    }
    installation.api.get("/v1/openapi/cronly.json").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crontab_comes_back_byte_by_byte_however_it_is_sent() {
    let installation = with_server().await;
    let api = &installation.api;
    let send = async |user: &str, kind: &str, body: String| {
        let request = api.request(Method::POST, "/api/backups").header("content-type", kind);
        let sent = api.send(request, Bytes::from(body)).await.expect(201).json();
        assert_eq!(sent["username"], user);
        text_of(&installation, sent["id"].as_u64().unwrap()).await
    };
    let form = "application/x-www-form-urlencoded";
    let to = |user: &str| format!("username={user}&server_id=server_identifier");
    let encoded = percent_encoding::utf8_percent_encode(CRONTAB, percent_encoding::NON_ALPHANUMERIC);
    let part =
        |name: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let parts = [part("username", "c"), part("server_id", "server_identifier"), part("file_content", CRONTAB)];
    let document = json!({"username": "d", "server_id": "server_identifier", "file_content": CRONTAB});
    assert_eq!(send("a", form, format!("{}&file_content={CRONTAB}", to("a"))).await, CRONTAB);
    assert_eq!(send("b", form, format!("file_content={encoded}&{}", to("b"))).await, CRONTAB);
    assert_eq!(send("c", "multipart/form-data; boundary=B", format!("{}--B--\r\n", parts.concat())).await, CRONTAB);
    assert_eq!(send("d", "application/json", document.to_string()).await, CRONTAB);
    assert_eq!(send("e", form, to("e")).await, "", "a back-up can be made before there is a text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_has_changed_is_a_snapshot() {
    let installation = with_server().await;
    let api = &installation.api;
    let send = |content: &str| json!({"username": "root", "server_id": "server_identifier", "file_content": content});
    let first = api.post("/api/backups", send("a")).await.expect(201).json();
    let again = api.post("/api/backups", send("a")).await.expect(200).json();
    assert_eq!(first, again);
    api.post("/api/backups", send("b")).await.expect(200);
    api.post("/api/backups", json!({"username": "root", "server_id": "server_identifier"})).await.expect(200);
    api.form("/api/backups/1/content", "file_content=c c").await.expect(200);
    let snapshots = api.get("/api/backups/1/snapshots").await.expect(200).json();
    let numbers: Vec<_> = snapshots.as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(api.get("/api/backups/1/snapshots/2").await.expect(200).json()["file_content"], "b");
    assert_eq!(text_of(&installation, 1).await, "c c");

    api.delete("/api/servers/server_identifier").await.expect(409);
    api.delete("/api/backups/server_identifier/root").await.expect(200);
    api.get("/api/backups/server_identifier/root").await.expect(404);
    api.get("/v1/crontabs/1").await.expect(404);
    assert_eq!(api.get("/api/backups").await.expect(200).json(), json!([]));
    let left = RawTable::of(&installation).records(&format!("A#{}#CRONTAB#", installation.account())).await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(api.delete("/api/servers/1").await.expect(200).json(), json!({"success": "Server deleted"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crontab_comes_only_from_its_server() {
    let installation = with_server().await;
    let api = &installation.api;
    api.post("/api/servers", json!({"name": "far", "ip_address": "203.0.113.7", "identifier": "far"}))
        .await
        .expect(201);
    let sent = json!({"username": "root", "server_id": "far", "file_content": "x"}).to_string();
    for header in ["x-forwarded-for", "x-real-ip", "forwarded"] {
        let request = api.request(Method::POST, "/api/backups").header("content-type", "application/json");
        let refused = api.send(request.header(header, "203.0.113.7"), Bytes::from(sent.clone())).await.expect(403);
        assert!(refused.json()["error"].as_str().unwrap().contains("address"), "{}", refused.text());
    }
    let unknown = json!({"username": "root", "server_id": "nowhere", "file_content": "x"});
    let words = json!({"error": "server_id is not the identifier of a server"});
    assert_eq!(api.post("/api/backups", unknown).await.expect(422).json(), words);
    assert_eq!(api.get("/api/backups").await.expect(200).json(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_changed_on_a_server_is_kept_and_listed() {
    let installation = with_server().await;
    let alert = "username=deploy&command=Changed: /usr/bin/rsync&server_id=server_identifier";
    let told = installation.api.form("/api/servers/alert", alert).await.expect(200).json();
    assert_eq!(told, json!({"success": "Alert received"}));
    let alerts = installation.api.get("/v1/crontab-servers/1/alerts").await.expect(200).data();
    assert_eq!(alerts[0]["command"], "Changed: /usr/bin/rsync");
}

/// The vendor's own client, unchanged but for its host and where its settings lie.
struct Client {
    folder: PathBuf,
}

impl Client {
    fn install(installation: &Installation) -> Self {
        let folder = installation.dir().join("cronguard");
        let crontabs = folder.join("crontabs");
        std::fs::create_dir_all(&crontabs).unwrap();
        let printed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cronly/client");
        for name in ["cronguard.sh", "cronguard-cli.sh", "patterns.conf"] {
            let text = std::fs::read_to_string(printed.join(name)).unwrap();
            let text = text.replace("https://cronly.app/api", &format!("{}/api", installation.api.base_url()));
            let script = folder.join(name);
            std::fs::write(&script, text.replace("/etc/cronguard", folder.to_str().unwrap())).unwrap();
            std::fs::set_permissions(script, Permissions::from_mode(0o755)).unwrap();
        }
        let at = folder.display();
        let settings = format!(
            "CONFIG_DIR={at}\nPATTERNS_FILE={at}/patterns.conf\nUSER_CRONTAB_DIR={at}/crontabs\nHASH_UTILITY=md5sum\n\
             WEB_BROWSER=curl\nREDACT_PWS=true\nJQ_PATH=jq\nINSTALL_DIR={at}\nCRONTAB_DB_FILE={at}/crontabs.db\n\
             SCRIPTS_DB_FILE={at}/scripts.db\nMONITOR_TOKEN=\nLOCAL_ID=host-1\n"
        );
        std::fs::write(folder.join("cronguard.conf"), settings).unwrap();
        let endpoint = format!("{}/api/servers/alert", installation.api.base_url());
        let access = format!("APIKEY={}\nALERT_ENDPOINT={endpoint}\n", installation.api.token());
        std::fs::write(folder.join("api.conf"), access).unwrap();
        Self { folder }
    }

    async fn run(&self, script: &str, words: &[&str]) -> Output {
        let mut bash = Command::new("bash");
        bash.arg(self.folder.join(script)).args(words).current_dir(&self.folder);
        let output = tokio::task::spawn_blocking(move || bash.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    async fn cli(&self, words: &[&str]) -> Value {
        let output = self.run("cronguard-cli.sh", words).await;
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words:?}: {output:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendor_s_client_just_works() {
    let installation = Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await;
    let client = Client::install(&installation);
    let server = client.cli(&["create-server", "host one", "127.0.0.1", "host-1"]).await;
    assert_eq!(server["identifier"], "host-1");
    assert_eq!(client.cli(&["list-servers"]).await[0], server);
    assert_eq!(client.cli(&["view-server", "host-1"]).await, server);

    let crontab = "# a+b\n5 * * * * /bin/true && echo 100%\n0 1 * * * no-such-program --password=hunter2\n";
    std::fs::write(client.folder.join("crontabs/deploy"), crontab).unwrap();
    client.run("cronguard.sh", &["-c", client.folder.join("cronguard.conf").to_str().unwrap()]).await;
    let shown = client.cli(&["view", "host-1", "deploy"]).await;
    assert_eq!((&shown["username"], &shown["server_id"]), (&json!("deploy"), &json!("host-1")), "{shown}");
    let kept = text_of(&installation, 1).await;
    assert!(kept.contains("/bin/true && echo 100%") && !kept.contains("hunter2"), "{kept}");
    let alerts = installation.api.get("/v1/crontab-servers/1/alerts").await.expect(200).data();
    let told = |words: &str| alerts.as_array().unwrap().iter().any(|one| one["command"] == words);
    assert!(told("Changed: /bin/true") && told("Missing or not executable: no-such-program"), "{alerts}");

    std::fs::write(client.folder.join("crontabs/more"), "@daily a & b").unwrap();
    client.cli(&["add-content", "1", "more"]).await;
    assert_eq!(text_of(&installation, 1).await, "@daily a & b");
    assert_eq!(client.cli(&["list"]).await.as_array().unwrap().len(), 1);
    assert_eq!(client.cli(&["delete", "host-1", "deploy"]).await, json!({"success": "Back-up deleted"}));
    assert_eq!(client.cli(&["delete-server", "host-1"]).await, json!({"success": "Server deleted"}));
}
