//! A world: one record of each kind in an account, and for every operation a path and bodies that its owner could send.
//!
//! The generated tests walk the list of operations and ask a world for the rest. An operation that this file and
//! `sound_bodies.rs` do not know ends them with its name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use holdfast_functions::http::operation::Call;
use holdfast_shared::clock::OffsetClock;
use holdfast_shared::domain::account::{AccountId, NewAccount};
use holdfast_shared::domain::timezone::Timezone;
use holdfast_shared::service::{Service, WINDOW_SECS};
use holdfast_tests::installation::id;
use holdfast_tests::table::RawTable;
use holdfast_tests::{Answer, Client, Installation, Setup};
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

/// What has a path of its own, in an order in which each needs only those before it.
const KINDS: [&str; 12] = [
    "tokens",
    "ssh-keys",
    "servers",
    "proxies",
    "storages",
    "encryption-keys",
    "stacks",
    "crontab-servers",
    "crontabs",
    "notification-streams",
    "jobs",
    "backups",
];
/// A number beyond all that a world counts up to by itself.
const BEYOND: u64 = 40_000;
/// How many calls a test makes before the clock moves on, so that none meets the limit of a window: what is made for
/// one counts for several.
const CALLS_A_WINDOW: u32 = 60;

/// Makes names that no other record has.
static SERIAL: AtomicU32 = AtomicU32::new(1);

/// A word that begins with `what` and was never used before.
pub fn unique(what: &str) -> String {
    format!("{what}-{}", SERIAL.fetch_add(1, Ordering::Relaxed))
}

/// Every call of the surface.
pub fn calls() -> Vec<Call> {
    holdfast_functions::api::operations().into_iter().map(|operation| operation.call).collect()
}

/// `POST /v1/jobs`: how the tests and the audit trail name a call.
pub fn route(call: &Call) -> String {
    format!("{} {}", call.method, call.path)
}

/// An installation for a world. Nothing runs in it, so that only calls change anything.
pub async fn installation() -> Installation {
    Installation::start_with(Setup { no_worker: true, ..Setup::default() }).await
}

/// One record of each kind in an account.
pub struct World {
    /// Its owner.
    pub api: Client,
    /// Whose it is.
    pub account: AccountId,
    /// How the records of each kind are named, by kind: mostly one id, for some kinds other names too.
    ids: BTreeMap<&'static str, Vec<Value>>,
    /// How many records there are of what is counted within another one.
    pub(super) nested: usize,
    service: Service,
    clock: Arc<OffsetClock>,
    calls: AtomicU32,
}

impl World {
    /// A world in the installation's first account.
    pub async fn first(installation: &Installation) -> Self {
        let mut world = Self::bare(installation, installation.api.clone(), installation.account());
        world.fill().await;
        world
    }

    /// A world in an account of its own, all of whose ids are beyond those of [`World::first`].
    pub async fn second(installation: &Installation) -> Self {
        let new = NewAccount { name: "second".to_owned(), timezone: Timezone::default() };
        let (account, token) = installation.service().open_account(new).await.unwrap();
        let api = installation.api.with_token(token.expose());
        let mut world = Self::bare(installation, api, account.id);
        // What is numbered is numbered once the first of it is there.
        world.fill().await;
        world.raise_counters(&RawTable::of(installation)).await;
        world.nested = 3;
        world.fill().await;
        world
    }

    fn bare(installation: &Installation, api: Client, account: AccountId) -> Self {
        let (service, clock) = (installation.service().clone(), installation.clock.clone());
        Self { api, account, ids: BTreeMap::new(), nested: 1, service, clock, calls: AtomicU32::new(0) }
    }

    async fn fill(&mut self) {
        self.ids.clear();
        for kind in KINDS {
            let made = self.make(kind).await;
            self.ids.insert(kind, vec![made]);
            self.fill_around(kind).await;
        }
    }

    /// What comes with a record of that kind, and its other names.
    async fn fill_around(&mut self, kind: &'static str) {
        match kind {
            "tokens" => self.ids.get_mut(kind).unwrap()[0] = self.acting_token().await,
            "servers" => {
                let other = self.make(kind).await;
                self.ids.insert("other servers", vec![other]);
                let host = self.show(kind).await["host"].clone();
                self.ids.insert("hosts", vec![host]);
            }
            "stacks" => {
                let shown = self.show(kind).await;
                self.ids.get_mut(kind).unwrap().push(shown["uid"].clone());
                self.ids
                    .insert("databases", vec![shown["databases"].as_array().unwrap().last().unwrap()["id"].clone()]);
            }
            "crontab-servers" => {
                let identifier = self.show(kind).await["identifier"].clone();
                self.ids.insert("identifiers", vec![identifier]);
            }
            "crontabs" => {
                let shown = self.show(kind).await;
                for text in 1..self.nested {
                    let more =
                        json!({"server": shown["server"], "username": shown["username"], "content": text.to_string()});
                    self.api.post("/v1/crontabs", more).await.expect(201);
                }
                self.ids.insert("snapshots", vec![json!(self.nested)]);
                self.ids.insert("usernames", vec![shown["username"].clone()]);
            }
            "jobs" => {
                // So that the audit trail knows it by its path.
                let rename = json!({"name": unique("renamed")});
                self.api.patch(&format!("/v1/jobs/{}", text(self.id(kind))), rename).await.expect(204);
                let schedule = self.show(kind).await["schedule"][0]["id"].clone();
                self.ids.insert("schedules", vec![schedule]);
                self.ids.insert("subjects", vec![json!(format!("/v1/jobs/{}", text(self.id(kind))))]);
            }
            _ => {}
        }
    }

    /// A token that did something, so that the audit trail knows it.
    async fn acting_token(&self) -> Value {
        let made = self.api.post("/v1/tokens", json!({"name": unique("acting"), "abilities": ["*"]})).await;
        let made = made.expect(201).data();
        let acting = self.api.with_token(made["token"].as_str().unwrap());
        acting.post("/v1/ssh-keys", json!({"name": unique("key")})).await.expect(201);
        made["id"].clone()
    }

    async fn show(&self, kind: &str) -> Value {
        self.api.get(&format!("/v1/{kind}/{}", text(self.id(kind)))).await.expect(200).data()
    }

    async fn raise_counters(&self, table: &RawTable) {
        for mut item in table.items().await {
            let starts = |name: &str, with: &str| item[name].as_s().is_ok_and(|text| text.starts_with(with));
            if starts("pk", &format!("A#{}", self.account)) && starts("sk", "COUNTER#") && item.contains_key("last") {
                item.insert("last".to_owned(), AttributeValue::N(BEYOND.to_string()));
                table.put(item).await;
            }
        }
    }

    /// The id of the record of that kind.
    pub fn id(&self, kind: &str) -> &Value {
        &self.names(kind)[0]
    }

    /// All names of the record of that kind.
    pub fn names(&self, kind: &str) -> &[Value] {
        self.ids.get(kind).unwrap_or_else(|| panic!("world.rs makes no {kind}"))
    }

    /// Makes one more record of a kind and answers its id.
    async fn make(&self, kind: &str) -> Value {
        match kind {
            "backups" => self.import_backup().await,
            _ => self.create(kind).await,
        }
    }

    async fn create(&self, kind: &str) -> Value {
        let path = format!("/v1/{kind}");
        let body = self.bodies(&path).remove(0);
        self.api.post(&path, body).await.expect(201).data()["id"].clone()
    }

    /// A backup of a job of its own that ended well, without anything behind it.
    async fn import_backup(&self) -> Value {
        let job = id(self.create("jobs").await.as_str().unwrap());
        let number = SERIAL.fetch_add(1, Ordering::Relaxed);
        let now = self.service.clock.now();
        let file = json!({
            "id": 1, "name": "site.tar", "plain_bytes": 1, "stored_bytes": 1, "plain_sha256": "00", "stored_sha256": "00",
        });
        let backup = json!({
            "id": Uuid::new_v4(), "number": 1_000_000 + number, "account": self.account, "job": job, "name": "imported",
            "tags": {"manual": true}, "status": "completed", "attempt": 1, "created_at": now, "started_at": now,
            "completed_at": now, "files": [file],
            "copies": [{"storage_id": self.id("storages"), "keys": ["none"]}],
        });
        let backup = [serde_json::from_value(backup).unwrap()];
        self.service.aws.table.import_backups(&backup).await.unwrap();
        json!(backup[0].id)
    }

    /// The operation's path to the records of this world.
    pub fn path(&self, call: &Call) -> String {
        let ids = parameters(call).into_iter().map(|kind| text(self.id(kind))).collect::<Vec<_>>();
        fill_in(call, &ids)
    }

    /// The operation's path to records that were made for it alone.
    pub async fn fresh_path(&self, call: &Call) -> String {
        let parameters = parameters(call);
        let Some(kind) = parameters.first() else { return call.path.to_owned() };
        let made = match call.path {
            // What has ended cannot be cancelled.
            "/v1/backups/{id}/cancel" => self.start_backup().await,
            "/v1/jobs/{id}/resume" => self.paused_job().await,
            "/v1/jobs/{id}/preview" => self.file_job().await,
            _ => self.make(kind).await,
        };
        let nested = match parameters.get(1) {
            None => None,
            Some(&"snapshots") => Some("1".to_owned()),
            Some(&"schedules") => {
                let job = self.api.get(&format!("/v1/jobs/{}", text(&made))).await.expect(200).data();
                Some(text(&job["schedule"][0]["id"]))
            }
            Some(other) => panic!("{}: world.rs makes no fresh {other}", route(call)),
        };
        fill_in(call, &[Some(text(&made)), nested].into_iter().flatten().collect::<Vec<_>>())
    }

    async fn paused_job(&self) -> Value {
        let job = self.create("jobs").await;
        self.api.post(&format!("/v1/jobs/{}/pause", text(&job)), json!({})).await.expect(200);
        job
    }

    async fn file_job(&self) -> Value {
        let body = json!({
            "name": unique("files"), "recipe": "file-backups", "config": {"root_path": "/etc"},
            "compute": {"type": "server", "server_id": self.id("servers")},
            "storage": [{"storage_id": self.id("storages")}],
        });
        self.api.post("/v1/jobs", body).await.expect(201).data()["id"].clone()
    }

    async fn start_backup(&self) -> Value {
        let job = text(&self.create("jobs").await);
        let started = self.api.post(&format!("/v1/jobs/{job}/backups/start"), json!({})).await.expect(202).json();
        started["backup_id"].clone()
    }

    /// Makes a call as the owner. Without a body nothing is sent.
    pub async fn call(&self, method: &Method, path: &str, body: Option<&Value>) -> Answer {
        self.call_as(&self.api, method, path, body).await
    }

    /// Makes a call as somebody else.
    pub async fn call_as(&self, api: &Client, method: &Method, path: &str, body: Option<&Value>) -> Answer {
        if self.calls.fetch_add(1, Ordering::Relaxed) % CALLS_A_WINDOW == CALLS_A_WINDOW - 1 {
            self.clock.advance(SignedDuration::from_secs(WINDOW_SECS));
        }
        match body {
            Some(body) => api.json(method.clone(), path, body.clone()).await,
            None => api.send(api.request(method.clone(), path), Bytes::new()).await,
        }
    }

    /// The first body that fits an operation; none where it reads none.
    pub fn body(&self, call: &Call) -> Option<Value> {
        call.body.as_ref().map(|_| self.bodies(call.path).remove(0))
    }
}

/// The kinds of a path's parameters, in order: what they are follows from the segment before.
pub fn parameters(call: &Call) -> Vec<&'static str> {
    let segments = || call.path.split('/');
    let pairs = segments().zip(segments().skip(1)).filter(|(_, segment)| segment.starts_with('{'));
    pairs.map(|(before, _)| if before == "storage" { "storages" } else { before }).collect()
}

/// The operation's path with these in place of its parameters, in order.
pub fn fill_in(call: &Call, ids: &[String]) -> String {
    let mut ids = ids.iter();
    let fill = |segment: &str| match segment.starts_with('{') {
        true => ids.next().unwrap_or_else(|| panic!("too few ids for {}", route(call))).clone(),
        false => segment.to_owned(),
    };
    call.path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// An id as paths and queries hold it.
pub fn text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
