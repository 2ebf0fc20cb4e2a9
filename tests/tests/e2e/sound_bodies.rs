//! Bodies that each operation takes, by its path, with every secret in them marked.

use serde_json::{Value, json};

use crate::world::{World, unique};

/// Is in every secret that a world sends.
pub const CANARY: &str = "cAnArY5ecret";

const AGE_KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
const HOST_KEY: &str = "SHA256:uNiVztksCsDhcc0u9e8BrwINnABYiFeq+mc2VTRhEAo";

impl World {
    /// Bodies for the operations with that path that read one. The first is the fullest; each other one holds members that
    /// cannot stand beside some of the first.
    pub fn bodies(&self, path: &str) -> Vec<Value> {
        let again = path.strip_prefix("/v1/storage").filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let path = again.map_or_else(|| path.to_owned(), |rest| format!("/v1/storages{rest}"));
        let name = unique("name");
        vec![match path.as_str() {
            "/v1/account" => json!({"name": name, "timezone": "Europe/Berlin", "company_id": 7}),
            "/v1/tokens" => json!({"name": name, "abilities": ["read-jobs"], "expires_at": "2999-01-01T00:00:00Z"}),
            "/v1/tokens/{id}" => json!({"name": name, "abilities": ["read-servers"]}),
            "/v1/servers" | "/v1/servers/{id}" => self.login(&name, Some(3)),
            "/v1/proxies" | "/v1/proxies/{id}" => self.login(&name, None),
            "/v1/servers/{id}/host-key" | "/v1/proxies/{id}/host-key" => json!({"host_key": HOST_KEY}),
            "/v1/storages" => storage(&name, Some("custom")),
            "/v1/storages/{id}" => storage(&name, None),
            "/v1/encryption-keys" => json!({"name": name, "public_key": AGE_KEY}),
            "/v1/ssh-keys" | "/v1/encryption-keys/{id}" | "/v1/jobs/{id}/clone" => json!({"name": name}),
            "/v1/stacks" | "/v1/stacks/{id}" => self.stack(&name),
            "/v1/crontab-servers" => json!({"name": name, "ip_address": "127.0.0.1", "identifier": unique("web")}),
            "/v1/crontab-servers/{id}" => json!({"name": name, "ip_address": "203.0.113.8"}),
            "/v1/crontab-servers/{id}/alerts" => json!({"username": "deploy", "command": CANARY}),
            "/v1/crontabs" => json!({"server": self.id("identifiers"), "username": unique("user"), "content": CANARY}),
            "/v1/notification-streams" => return streams(&name),
            "/v1/notification-streams/{id}" => webhook(&name),
            "/v1/jobs" => return vec![self.job(&name), self.serverless_job(&name), self.job_with_passphrase(&name)],
            "/v1/jobs/{id}" => {
                let config = json!({"mysql_host": "db.example.net", "mysql_username": "u", "mysql_password": CANARY});
                let mut serverless = without(self.serverless_job(&name), &["recipe_id"]);
                serverless["config"] = config;
                // What the job has of them by the first body needs a server.
                serverless["pre_script"] = Value::Null;
                serverless["post_script"] = Value::Null;
                let with_passphrase = without(self.job_with_passphrase(&name), &["recipe"]);
                return vec![without(self.job(&name), &["recipe"]), serverless, with_passphrase];
            }
            "/v1/jobs/{id}/storage" => json!({"storage": self.storages()}),
            "/v1/jobs/{id}/encryption-key" => json!({"encryption_key_id": self.id("encryption-keys")}),
            "/v1/jobs/{id}/proxy" => json!({"proxy_id": self.id("proxies")}),
            "/v1/jobs/{id}/schedules/{schedule}" => {
                let cron = schedule(&name, json!({"cron": "30 2 * * *"}));
                return vec![cron, schedule(&name, json!({"frequency": 12, "frequency_mode": "hour"}))];
            }
            "/v1/jobs/{id}/backups/start" => json!({"is_daily": true, "is_weekly": false}),
            _ => panic!("{path} has no sound body in sound_bodies.rs"),
        }]
    }

    fn login(&self, name: &str, max_parallel: Option<u32>) -> Value {
        let mut login = json!({
            "name": name, "host": format!("{}.example.net", unique("host")), "port": 2222, "user": "backup",
            "ssh_key": self.id("ssh-keys"), "host_key": HOST_KEY,
        });
        if let Some(count) = max_parallel {
            login["max_parallel"] = json!(count);
        }
        login
    }

    fn stack(&self, name: &str) -> Value {
        let database = |number: usize| {
            json!({
                "type": "mysql", "server_id": self.id("servers"), "replica_server_id": self.id("other servers"),
                "name": format!("shop{number}"), "username": "shop", "password": CANARY,
            })
        };
        let databases: Vec<_> = (0..self.nested).map(database).collect();
        json!({"name": name, "servers": [self.id("servers"), self.id("other servers")], "databases": databases})
    }

    fn storages(&self) -> Value {
        json!([{"storage_id": self.id("storages"), "priority": 1}])
    }

    fn job(&self, name: &str) -> Value {
        json!({
            "name": name, "recipe": "mysql-backups", "config": {"mysql_password": CANARY},
            "compute": {"type": "server", "server_id": self.id("servers")}, "storage": self.storages(),
            "schedules": [schedule(name, json!({"cron": "30 2 * * *"}))],
            "encryption_key_id": self.id("encryption-keys"), "encryption_password": null, "proxy_id": self.id("proxies"),
            "path_template": "{job}/{yyyy}-{mm}", "manual_retention": {"keep_last": 5, "days": 6},
            "limits": {
                "run_seconds": 3_600, "stall_seconds": 60, "bandwidth_limit": 1 << 20, "max_bytes": 1 << 30,
                "nice": true,
            },
            "pre_script": format!("backup -p{CANARY}"), "post_script": format!("backup -p{CANARY}"),
        })
    }

    fn serverless_job(&self, name: &str) -> Value {
        json!({
            "name": name, "recipe_id": 1001, "config": {"url": format!("https://example.net/{CANARY}")},
            "compute": {"type": "ss_serverless", "region": "EU"}, "storage": self.storages(),
            "schedules": [schedule(name, json!({"frequency": 12, "frequency_mode": "hour"}))],
            "compression": "gzip", "encryption_key_ids": [self.id("encryption-keys")], "accept_key_loss": true,
            "encryption_password": null,
        })
    }

    /// The first job with a passphrase in place of its key.
    fn job_with_passphrase(&self, name: &str) -> Value {
        let mut job = without(self.job(name), &["encryption_key_id"]);
        job["encryption_key_ids"] = Value::Null;
        job["encryption_password"] = json!(CANARY);
        job
    }
}

fn schedule(name: &str, when: Value) -> Value {
    let mut schedule = json!({
        "schedule_name": name, "timezone": "Europe/Berlin", "run_offset": 1, "order": 1, "retention_hourly": 1,
        "retention_daily": 2, "retention_weekly": 3, "retention_monthly": 4,
        "retention_keep_last": 5, "retention_days": 6, "retention": {"daily": 2},
    });
    schedule.as_object_mut().unwrap().extend(when.as_object().unwrap().clone());
    schedule
}

fn storage(name: &str, provider: Option<&str>) -> Value {
    let mut storage = json!({
        "name": name, "bucket": "backups", "region": "eu-central-1", "endpoint": "https://s3.example.net",
        "key": CANARY, "secret": CANARY, "storage_class": "STANDARD_IA", "server_side_encryption": "aws:kms",
        "object_lock": {"mode": "GOVERNANCE", "days": 7},
    });
    if let Some(provider) = provider {
        storage["provider"] = json!(provider);
    }
    storage
}

fn webhook(name: &str) -> Value {
    let url = format!("https://hooks.example.net/{CANARY}");
    json!({"name": name, "url": url, "secret": CANARY, "events": ["failed"], "enabled": true})
}

/// A stream of each type that has settings of its own.
fn streams(name: &str) -> Vec<Value> {
    let mut webhook = webhook(name);
    webhook["type"] = json!("webhook");
    let bot_token = format!("123456789:{CANARY}{}", "x".repeat(35 - CANARY.len()));
    let pushover = format!("{CANARY}{}", "x".repeat(30 - CANARY.len()));
    vec![
        webhook,
        json!({"name": name, "type": "email", "email": "ops@example.net"}),
        json!({"name": name, "type": "telegram", "bot_token": bot_token, "chat_id": "-1001234"}),
        json!({"name": name, "type": "pushover", "app_token": pushover, "user_key": pushover}),
    ]
}

fn without(mut body: Value, members: &[&str]) -> Value {
    for member in members {
        body.as_object_mut().unwrap().remove(*member);
    }
    body
}
