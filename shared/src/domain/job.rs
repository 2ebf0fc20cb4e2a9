//! A job: what to back up, from where, how, when and to where.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::account::AccountId;
use super::compression::{Compression, CompressionMethod};
pub use super::compute::{Compute, Region};
use super::encryption::{read_keys, read_password, refuse_both};
use super::field::{FieldReader, UNKNOWN, present};
use super::hooks::{Hook, Hooks, HooksChange};
use super::limits::Limits;
use super::object_key::ReadablePath;
use super::path_template::PathTemplate;
use super::recipe::{Reached, Recipe, RecipeDefinition, RecipeDraft};
use super::retention::{MAX_KEPT, ManualRetention};
use super::schedule::{Schedule, ScheduleInput, ScheduleStatus};
use super::sealed::{Sealed, Secret};
use crate::error::FieldErrors;

const MAX_NAME_CHARS: usize = 255;
/// How many storages a job can copy to: each one is a stream of its own.
const MAX_STORAGES: usize = 5;
/// How many schedules a job can have: all of them change in one transaction.
const MAX_SCHEDULES: usize = 10;
const MAX_PRIORITY: u64 = 100;

/// One storage of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStorage {
    /// The storage's id.
    pub storage_id: u64,
    /// 1 is first.
    pub priority: u32,
}

/// What to back up, from where, how, when and to where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The id of the native surface.
    pub id: Uuid,
    /// The id of the other surfaces, counted per account.
    pub number: u64,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// What to back up.
    pub recipe: Recipe,
    /// Where the dump runs.
    pub compute: Compute,
    /// Where copies go; at least one, by priority.
    pub storages: Vec<JobStorage>,
    /// When it runs; may be empty.
    pub schedules: Vec<Schedule>,
    /// How its backups are compressed, at the level that the recipe's config says.
    #[serde(default)]
    pub compression: CompressionMethod,
    /// Which public keys its backups are encrypted to, any of which opens them; none leaves them in the clear.
    #[serde(default, rename = "encryption_key_id", deserialize_with = "one_or_several")]
    pub encryption_key_ids: Vec<u64>,
    /// The passphrase that its backups are encrypted with; never together with keys.
    #[serde(default)]
    pub encryption_password: Option<Sealed>,
    /// What the readable part of its backups' keys says; `None` is their day.
    #[serde(default)]
    pub path_template: Option<PathTemplate>,
    /// Which jump host leads to where the dump runs; `None` goes straight.
    #[serde(default)]
    pub proxy_id: Option<u64>,
    /// How many of the backups to keep that were started by hand.
    #[serde(default)]
    pub manual_retention: ManualRetention,
    /// What a run may take.
    #[serde(default)]
    pub limits: Limits,
    /// What runs on its server before and after each run.
    #[serde(default)]
    pub hooks: Hooks,
    /// Since when no schedule fires; `None` while it is active.
    #[serde(default)]
    pub paused_at: Option<Timestamp>,
    /// When a backup of it last started. Written by runs, never by edits.
    #[serde(default)]
    pub last_ran_at: Option<Timestamp>,
    /// Bytes that its last good backup stored in each of its storages; `None` before the first. Written by runs, never by
    /// edits, and an estimate: it stays when that backup goes.
    #[serde(default)]
    pub last_stored_bytes: Option<u64>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// Counts edits: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
}

/// Ids, or the one id or null that older records have under this name.
fn one_or_several<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        Several(Vec<u64>),
        One(Option<u64>),
    }
    Ok(match Ids::deserialize(deserializer)? {
        Ids::Several(ids) => ids,
        Ids::One(id) => id.into_iter().collect(),
    })
}

impl Job {
    /// How its backups are compressed.
    pub fn compressed(&self) -> Compression {
        Compression::new(self.compression, self.recipe.compression_level())
    }

    /// The readable part of the keys of a backup that was due, or asked for, at `due`.
    pub fn readable_path(&self, due: Timestamp) -> Option<ReadablePath> {
        self.path_template.as_ref().and_then(|template| template.render(&self.name, self.recipe.slug(), due))
    }

    /// One of its schedules, if that fires: neither the job nor the schedule is paused.
    pub fn active_schedule(&self, id: u64) -> Option<&Schedule> {
        let fires = |schedule: &&Schedule| schedule.id == id && schedule.status == ScheduleStatus::Active;
        self.schedules.iter().find(fires).filter(|_| self.paused_at.is_none())
    }

    /// What a copy of it is called.
    pub fn name_of_copy(&self) -> String {
        format!("Copy of {}", self.name).chars().take(MAX_NAME_CHARS).collect()
    }

    /// Its next `count` runs strictly after `after` over all schedules that fire, the soonest first.
    pub fn next_runs(&self, after: Timestamp, count: usize) -> Vec<(Timestamp, &Schedule)> {
        let active = self.schedules.iter().filter_map(|schedule| self.active_schedule(schedule.id));
        let runs =
            active.flat_map(|schedule| schedule.next_runs(after, count).into_iter().map(move |at| (at, schedule)));
        let mut runs: Vec<_> = runs.collect();
        runs.sort_by_key(|(at, schedule)| (*at, schedule.id));
        runs.truncate(count);
        runs
    }
}

/// A job as a client writes it: every field can be missing, numbers can be text as in a form.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct JobInput {
    /// Its name.
    pub name: Option<Value>,
    /// Its recipe by number; only for a new job.
    pub recipe_id: Option<Value>,
    /// Its recipe by name, or by number; only for a new job.
    pub recipe: Option<Value>,
    /// The recipe's config: members that are missing keep what they were.
    pub config: Option<Value>,
    /// `{type, server_id}` or `{type, region}`; replaces the whole.
    pub compute: Option<Value>,
    /// `[{storage_id, priority}]`: replaces all.
    #[serde(alias = "storages")]
    pub storage: Option<Value>,
    /// A list of what [`ScheduleInput`] holds: replaces all. One with an `id` changes that schedule.
    pub schedules: Option<Value>,
    /// `none`, `gzip` or `zstd`.
    pub compression: Option<Value>,
    /// The one public key to encrypt to; `null` takes all away.
    #[serde(deserialize_with = "given")]
    pub encryption_key_id: Option<Value>,
    /// The public keys to encrypt to: replaces all. `null` or an empty list takes them away.
    #[serde(deserialize_with = "given")]
    pub encryption_key_ids: Option<Value>,
    /// Says that a list of one key is meant: whoever loses its private half loses the backups.
    pub accept_key_loss: Option<Value>,
    /// The passphrase to encrypt with; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub encryption_password: Option<Value>,
    /// The readable part of keys, see [`PathTemplate`]; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub path_template: Option<Value>,
    /// The jump host to go through; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub proxy_id: Option<Value>,
    /// `{keep_last, days}`: members that are missing keep what they were.
    pub manual_retention: Option<Value>,
    /// What [`Limits`] holds: members that are missing keep what they were.
    pub limits: Option<Value>,
    /// What runs before each run; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub pre_script: Option<Value>,
    /// What runs after each run; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub post_script: Option<Value>,
    /// Whether who sends it may say what scripts run where. Nothing on the wire sets it.
    #[serde(skip)]
    pub may_script: bool,
    /// Everything else that was sent: each is a fault.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// A member that was sent, be it `null`.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What an input says, as far as it can be read. Nothing of it may be used while `faults` holds any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobChange {
    /// Its name; `None` is no change, here and below.
    pub name: Option<String>,
    /// What to back up, with new secrets in the open.
    pub recipe: Option<RecipeDraft>,
    /// Where the dump runs.
    pub compute: Option<Compute>,
    /// Where copies go, each with its place in the input.
    pub storages: Option<Vec<(usize, JobStorage)>>,
    /// When it runs; a new schedule has the id 0 until it is numbered.
    pub schedules: Option<Vec<Schedule>>,
    /// How backups are compressed.
    pub compression: Option<CompressionMethod>,
    /// Which public keys backups are encrypted to, each with the field that names it; may be none.
    pub encryption_keys: Option<Vec<(String, u64)>>,
    /// The passphrase that backups are encrypted with, in the open; `Some(None)` is none.
    pub encryption_password: Option<Option<Secret>>,
    /// What the readable part of keys says; `Some(None)` is the day.
    pub path_template: Option<Option<PathTemplate>>,
    /// Which jump host leads to where the dump runs; `Some(None)` is none.
    pub proxy_id: Option<Option<u64>>,
    /// What a worker would connect to by itself because of this change, by field: somebody has to let it. What a server
    /// connects to is that server's affair.
    pub reached: Vec<(String, Reached)>,
    /// How many of the backups to keep that were started by hand.
    pub manual_retention: Option<ManualRetention>,
    /// What a run may take.
    pub limits: Option<Limits>,
    /// What runs before and after each run, with new scripts in the open.
    pub hooks: HooksChange,
    /// What was found wrong, by field.
    pub faults: FieldErrors,
}

impl JobChange {
    /// Whether it says what scripts run where, given the job `before` it: sets or removes one, or leads one elsewhere.
    pub fn is_about_scripts(&self, before: Option<&Job>) -> bool {
        let leads_elsewhere =
            before.is_some_and(|job| job.hooks.any() && self.compute.as_ref().is_some_and(|next| *next != job.compute));
        self.hooks.any() || leads_elsewhere
    }

    /// Where copies go, by priority.
    pub fn storages_by_priority(&self) -> Option<Vec<JobStorage>> {
        let mut storages: Vec<_> = self.storages.as_ref()?.iter().map(|(_, storage)| *storage).collect();
        storages.sort_by_key(|storage| storage.priority);
        Some(storages)
    }
}

impl JobInput {
    /// Reads a new job: what it cannot do without must be there.
    pub fn read_new(&self) -> JobChange {
        let mut change = self.read(None);
        let missing = [
            ("name", present(self.name.as_ref()).is_none()),
            ("compute", present(self.compute.as_ref()).is_none()),
            ("storage", present(self.storage.as_ref()).is_none()),
        ];
        for (field, _) in missing.into_iter().filter(|(_, missing)| *missing) {
            change.faults.push(field, "is required");
        }
        change
    }

    /// Reads a change of `before`.
    pub fn read_change(&self, before: &Job) -> JobChange {
        self.read(Some(before))
    }

    fn read(&self, before: Option<&Job>) -> JobChange {
        let mut fields = FieldReader::default();
        for name in self.others.keys() {
            fields.faults.push(name, UNKNOWN);
        }
        let name = fields.line("name", self.name.as_ref(), MAX_NAME_CHARS);
        let compute = Compute::read(&mut fields, self.compute.as_ref());
        let runs_on = compute.as_ref().or(before.map(|job| &job.compute));
        let recipe = self.recipe(&mut fields, before, runs_on);
        let storages = self.storages(&mut fields);
        let schedules = self.schedules(&mut fields, before.map_or(&[], |job| &job.schedules));
        let compression = self.compression(&mut fields, before, recipe.as_ref());
        let [one, several] = [&self.encryption_key_id, &self.encryption_key_ids].map(Option::as_ref);
        let encryption_keys = read_keys(&mut fields, one, several, self.accept_key_loss.as_ref());
        let encryption_password = read_password(&mut fields, self.encryption_password.as_ref());
        refuse_both(&mut fields, encryption_keys.as_deref(), encryption_password.as_ref(), before);
        let path_template = PathTemplate::read(&mut fields, self.path_template.as_ref());
        let proxy_id = link(&mut fields, "proxy_id", self.proxy_id.as_ref());
        let goes_through = proxy_id.unwrap_or_else(|| before.and_then(|job| job.proxy_id)).is_some();
        let goes_straight = !goes_through && runs_on.is_some_and(Compute::is_serverless);
        let reached = recipe.as_ref().filter(|_| self.leads_elsewhere() && goes_straight);
        let reached = reached.map(RecipeDraft::reached).unwrap_or_default();
        let reached = reached.into_iter().map(|(key, reached)| (format!("config.{key}"), reached)).collect();
        let manual_before = before.map(|job| job.manual_retention).unwrap_or_default();
        let manual_retention = manual_retention(&mut fields, self.manual_retention.as_ref(), manual_before);
        let limits = Limits::read(&mut fields, self.limits.as_ref(), before.map(|job| job.limits).unwrap_or_default());
        let hooks = HooksChange::read(&mut fields, self.pre_script.as_ref(), self.post_script.as_ref());
        let hooks_before = before.map(|job| job.hooks.clone()).unwrap_or_default();
        if runs_on.is_some_and(|compute| compute.server_id().is_none()) {
            refuse_hooks(&mut fields, &hooks, &hooks_before);
        }
        let faults = fields.faults;
        JobChange {
            name,
            recipe,
            compute,
            storages,
            schedules,
            compression,
            encryption_keys,
            encryption_password,
            path_template,
            proxy_id,
            reached,
            manual_retention,
            limits,
            hooks,
            faults,
        }
    }

    /// The method, unless the level is too high for it.
    fn compression(
        &self,
        fields: &mut FieldReader,
        before: Option<&Job>,
        recipe: Option<&RecipeDraft>,
    ) -> Option<CompressionMethod> {
        let given = match present(self.compression.as_ref()) {
            None => None,
            Some(word) => match word.as_str().and_then(CompressionMethod::parse) {
                Some(method) => Some(method),
                None => {
                    return fields
                        .refuse("compression", format!("must be one of {}", CompressionMethod::NAMES.join(", ")));
                }
            },
        };
        let method = given.or(before.map(|job| job.compression)).unwrap_or_default();
        let level = recipe.map(RecipeDraft::compression_level)?;
        if level > method.max_level() {
            let message = format!("goes up to {} for {}", method.max_level(), method.as_str());
            return fields.refuse("config.compression_level", message);
        }
        given
    }

    /// Whether it can change what is connected to.
    fn leads_elsewhere(&self) -> bool {
        present(self.config.as_ref()).or(present(self.compute.as_ref())).is_some()
    }

    fn recipe(&self, fields: &mut FieldReader, before: Option<&Job>, compute: Option<&Compute>) -> Option<RecipeDraft> {
        let by_id = present(self.recipe_id.as_ref());
        let (field, word) =
            if by_id.is_some() { ("recipe_id", by_id) } else { ("recipe", present(self.recipe.as_ref())) };
        let word = word.map(|word| word.as_str().map_or_else(|| word.to_string(), |text| text.trim().to_owned()));
        let empty = Map::new();
        let config = match present(self.config.as_ref()) {
            None => &empty,
            Some(config) => fields.object("config", Some(config))?,
        };
        let before = before.map(|job| &job.recipe);
        let named = match word.as_deref().map(RecipeDefinition::find) {
            None => None,
            Some(Some(named)) => Some(named.meant(config, before)),
            Some(None) => {
                return fields
                    .refuse(field, format!("there is no such recipe; there are {}", RecipeDefinition::choices()));
            }
        };
        let serverless = compute.is_some_and(Compute::is_serverless);
        let (definition, configured) = match (named, before) {
            (None, None) => {
                return fields.refuse("recipe_id", format!("is required, one of {}", RecipeDefinition::choices()));
            }
            (Some(named), Some(before)) if named.id != before.id() => {
                return fields.refuse(field, "of a job cannot be changed; make another job");
            }
            (_, Some(before)) => (before.definition(), before.reconfigure(config, serverless)),
            (Some(named), None) => (named, named.configure(config, serverless)),
        };
        if serverless && !definition.serverless {
            fields.refuse::<()>("compute.type", format!("must be server for {}", definition.slug));
        }
        configured.map_err(|faults| fields.faults.extend("config", faults)).ok()
    }

    fn storages(&self, fields: &mut FieldReader) -> Option<Vec<(usize, JobStorage)>> {
        let entries = fields.list("storage", self.storage.as_ref(), MAX_STORAGES)?;
        if entries.is_empty() {
            return fields.refuse("storage", "must have at least one entry");
        }
        let mut storages: Vec<(usize, JobStorage)> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let Some(storage) = storage(fields, index, entry) else { continue };
            if storages.iter().any(|(_, earlier)| earlier.storage_id == storage.storage_id) {
                fields.refuse::<()>(&format!("storage.{index}.storage_id"), "stands there twice");
            }
            storages.push((index, storage));
        }
        Some(storages)
    }

    fn schedules(&self, fields: &mut FieldReader, before: &[Schedule]) -> Option<Vec<Schedule>> {
        // Here an empty list is no missing field: it takes all schedules away.
        let entries = fields.list("schedules", self.schedules.as_ref(), MAX_SCHEDULES)?;
        let mut schedules: Vec<Schedule> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("schedules.{index}");
            let Some(schedule) = schedule(fields, &path, entry, before) else { continue };
            if schedules.iter().any(|earlier| is_twice(earlier, &schedule)) {
                fields.refuse::<()>(&path, "stands there twice");
            }
            schedules.push(schedule);
        }
        Some(schedules)
    }
}

fn storage(fields: &mut FieldReader, index: usize, entry: &Value) -> Option<JobStorage> {
    let path = format!("storage.{index}");
    let entry = fields.element(&path, entry)?;
    fields.known(&path, entry, &["storage_id", "priority"]);
    let (id_field, priority_field) = (format!("storage.{index}.storage_id"), format!("storage.{index}.priority"));
    if present(entry.get("storage_id")).is_none() {
        return fields.refuse(&id_field, "is required");
    }
    let storage_id = fields.id(&id_field, entry.get("storage_id"));
    let priority = match present(entry.get("priority")) {
        None => Some(index as u64 + 1),
        given => fields.integer(&priority_field, given, 1..=MAX_PRIORITY),
    };
    Some(JobStorage { storage_id: storage_id?, priority: u32::try_from(priority?).ok()? })
}

/// The id of what a job can do without: `null` takes it away.
pub(super) fn link(fields: &mut FieldReader, field: &str, value: Option<&Value>) -> Option<Option<u64>> {
    match value {
        Some(Value::Null) => Some(None),
        value => fields.id(field, value).map(Some),
    }
}

/// A job without a server has nowhere to run a script.
fn refuse_hooks(fields: &mut FieldReader, change: &HooksChange, before: &Hooks) {
    for hook in Hook::ALL.into_iter().filter(|hook| change.leaves(*hook, before)) {
        let field = hook.field();
        match change.get(hook) {
            Some(_) => fields.refuse::<()>(field, "runs on a server; compute.type must be server"),
            None => {
                fields.refuse("compute.type", format!("must be server while the job has a {field}; send null for it"))
            }
        };
    }
}

fn manual_retention(
    fields: &mut FieldReader,
    value: Option<&Value>,
    before: ManualRetention,
) -> Option<ManualRetention> {
    let members = fields.object("manual_retention", value)?;
    fields.known("manual_retention", members, &["keep_last", "days"]);
    let mut number = |name: &str, before: u32| {
        let given = fields.integer(&format!("manual_retention.{name}"), members.get(name), 0..=u64::from(MAX_KEPT));
        given.and_then(|given| u32::try_from(given).ok()).unwrap_or(before)
    };
    Some(ManualRetention { keep_last: number("keep_last", before.keep_last), days: number("days", before.days) })
}

fn schedule(fields: &mut FieldReader, path: &str, entry: &Value, before: &[Schedule]) -> Option<Schedule> {
    let members = fields.element(path, entry)?;
    let Ok(input) = ScheduleInput::deserialize(entry) else {
        return fields.refuse(path, "names a field in two ways; leave one out");
    };
    let id_field = format!("{path}.id");
    let named = fields.id(&id_field, members.get("id"));
    let own = named.and_then(|id| before.iter().find(|schedule| schedule.id == id));
    if named.is_some() && own.is_none() {
        fields.refuse::<()>(&id_field, "is not a schedule of this job");
    }
    let read = own.map_or_else(|| Schedule::create(0, &input), |schedule| schedule.apply(&input));
    read.map_err(|faults| fields.faults.extend(path, faults)).ok()
}

/// Whether two schedules of one job are the same one, or would always run together.
fn is_twice(one: &Schedule, other: &Schedule) -> bool {
    (one.id != 0 && one.id == other.id) || one.timing == other.timing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::sealed::{Sealed, Secret};

    fn input(value: Value) -> JobInput {
        serde_json::from_value(value).unwrap()
    }

    /// The recipe with its secrets "sealed", so that each still says what it was.
    fn sealed(change: &JobChange) -> Recipe {
        let seal = |key: &str, secret: &Secret| Ok::<_, ()>(Sealed(format!("{key}={}", secret.expose())));
        change.recipe.clone().unwrap().seal(seal).unwrap()
    }

    fn told(change: &JobChange) -> Vec<&str> {
        change.faults.iter().map(|(field, _)| field).collect()
    }

    /// The create example of the API's documentation.
    fn example() -> Value {
        json!({
            "recipe_id": 1, "name": "Demo File Backup",
            "config": {"root_path": "/", "compression_level": 6},
            "compute": {"type": "server", "server_id": 1},
            "storage": [{"priority": 1, "storage_id": 1232}],
            "schedules": [{"order": 1, "timezone": "UTC", "retention_daily": 7}],
        })
    }

    fn with(field: &str, value: Value) -> JobChange {
        let mut body = example();
        body[field] = value;
        input(body).read_new()
    }

    #[test]
    fn the_documented_example_is_read() {
        let change = input(example()).read_new();
        assert_eq!(told(&change), [""; 0]);
        assert_eq!(change.name.as_deref(), Some("Demo File Backup"));
        assert_eq!(sealed(&change).id(), 1);
        assert_eq!(change.compute, Some(Compute::Server { server_id: 1 }));
        assert_eq!(change.storages_by_priority(), Some(vec![JobStorage { storage_id: 1232, priority: 1 }]));
        let schedules = change.schedules.unwrap();
        assert_eq!((schedules.len(), schedules[0].id, schedules[0].order), (1, 0, 1));
    }

    #[test]
    fn a_form_says_the_same() {
        let change = input(json!({
            "recipe": "file-backups", "name": "Demo File Backup",
            "config": {"root_path": "/", "compression_level": "6"},
            "compute": {"type": "server", "server_id": "1"},
            "storage": [{"priority": "1", "storage_id": "1232"}],
            "schedules": [{"order": "1", "timezone": "UTC", "retention_daily": "7"}],
        }));
        assert_eq!(change.read_new(), input(example()).read_new());
    }

    #[test]
    fn a_passphrase_stands_alone() {
        let both = json!({"encryption_key_id": 1, "encryption_password": "12345678"});
        let told_of = |before: &Job, body: Value| -> Vec<String> {
            told(&input(body).read_change(before)).into_iter().map(str::to_owned).collect()
        };
        let plain = job();
        assert_eq!(told_of(&plain, both.clone()), ["encryption_password"]);
        let keyed = Job { encryption_key_ids: vec![1], ..plain.clone() };
        assert_eq!(told_of(&keyed, json!({"encryption_password": "12345678"})), ["encryption_password"]);
        let change = json!({"encryption_password": "12345678", "encryption_key_ids": null});
        assert_eq!(told_of(&keyed, change), [""; 0]);
        let known = Job { encryption_password: Some(Sealed("sealed".into())), ..plain };
        assert_eq!(told_of(&known, json!({"encryption_key_id": 1})), ["encryption_key_id"]);
        assert_eq!(told_of(&known, json!({"encryption_key_ids": [1, 2]})), ["encryption_key_ids"]);
        assert_eq!(told_of(&known, json!({"encryption_key_id": 1, "encryption_password": null})), [""; 0]);
        assert_eq!(told_of(&known, json!({"name": "other"})), [""; 0]);
        let change = input(both).read_new();
        assert!(told(&change).contains(&"encryption_password"));
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        assert_eq!(told(&input(json!({})).read_new()), ["compute", "name", "recipe_id", "storage"]);
        let change = input(json!({"recipe_id": 1, "compute": {}, "storage": [{}, 3]})).read_new();
        let expected = ["compute.server_id", "config.root_path", "name", "storage.0.storage_id", "storage.1"];
        assert_eq!(told(&change), expected);
    }

    #[test]
    fn each_fault_is_told_under_its_field() {
        let cases = [
            ("name", json!("a\nb"), "name"),
            ("name", json!("x".repeat(256)), "name"),
            ("recipe_id", json!(4711), "recipe_id"),
            ("recipe_id", json!(28), "config.root_path"),
            ("config", json!("x"), "config"),
            ("config", json!({"url": "ftp://example.com"}), "config.url"),
            ("config", json!({"root_path": "/", "url": "example.com"}), "config.url"),
            ("config", json!({"root_path": "/", "sudo": true}), "config.sudo"),
            ("config", json!({"root_path": "etc"}), "config.root_path"),
            ("compute", json!({"type": "ss_serverless", "region": "eu"}), "compute.type"),
            ("compute", json!({"type": 3, "server_id": 1}), "compute.type"),
            ("compute", json!({"type": "server", "server_id": 0}), "compute.server_id"),
            ("storage", json!([]), "storage"),
            ("storage", json!([null]), "storage.0"),
            ("storage", json!([{"storage_id": 1}, ""]), "storage.1"),
            ("schedules", json!([null]), "schedules.0"),
            ("schedules", json!([{"retention": 7}]), "schedules.0.retention"),
            ("schedules", json!([{"retention": {"yearly": 7}}]), "schedules.0.retention.yearly"),
            ("storage", json!([{"storage_id": 1, "priority": 0}]), "storage.0.priority"),
            ("storage", json!([{"storage_id": 1}, {"storage_id": "1"}]), "storage.1.storage_id"),
            ("storage", json!(vec![json!({"storage_id": 1}); 6]), "storage"),
            ("schedules", json!([{"cron": "* * * *"}]), "schedules.0.cron"),
            ("schedules", json!([{"timezone": "Mars/Olympus"}]), "schedules.0.timezone"),
            ("schedules", json!([{"id": 5}]), "schedules.0.id"),
            ("schedules", json!([{"order": 1, "schedule_order": 1}]), "schedules.0"),
            ("schedules", json!([{}, {"frequency": "h24"}]), "schedules.1"),
            ("schedules", json!(vec![json!({}); 11]), "schedules"),
            ("encryption_key_id", json!("gpg"), "encryption_key_id"),
            ("proxy_id", json!(0), "proxy_id"),
        ];
        for (field, value, expected) in cases {
            assert_eq!(told(&with(field, value.clone())), [expected], "{field} {value}");
        }
    }

    #[test]
    fn a_recipe_that_does_not_exist_names_those_that_do() {
        let change = with("recipe_id", json!("tape-backups"));
        let (_, messages) = change.faults.iter().next().unwrap();
        assert!(
            messages[0].contains("1 (file-backups), 8 (laravel-forge-backups), 28 (mysql-backups)"),
            "{messages:?}"
        );
    }

    #[test]
    fn the_documented_examples_of_other_sources_are_read() {
        let mysql = json!({
            "mysql_username": "snapshooter-demo", "mysql_password": "<Database Password>",
            "mysql_host": "demo-mysql.example.com", "mysql_port": 3306,
            "mysql_database": "my-popular-minecraft-server", "compression_level": 6,
        });
        let forge = json!({"backup_storage_folder": true, "compression_level": 6});
        let url = json!({"url": "example.com", "use_compression": true, "compression_level": 6});
        let serverless = json!({"type": "ss_serverless", "region": "eu"});
        let server = json!({"type": "server", "server_id": 1});
        let cases = [
            (28, "mysql-backups", mysql, serverless),
            (8, "laravel-forge-backups", forge, server.clone()),
            (1, "url-backups", url, server),
        ];
        for (id, slug, config, compute) in cases {
            let mut body = example();
            (body["recipe_id"], body["config"], body["compute"]) = (json!(id), config, compute);
            let change = input(body).read_new();
            assert_eq!(told(&change), [""; 0], "{slug}");
            assert_eq!(sealed(&change).slug(), slug);
        }
    }

    #[test]
    fn a_recipe_that_needs_a_server_says_so_with_everything_else() {
        let serverless = json!({"type": "ss_serverless", "region": "US"});
        for recipe in super::super::recipe::RECIPES {
            let mut body = example();
            (body["recipe_id"], body["config"], body["compute"]) =
                (json!(recipe.id), json!({"compression_level": 20}), serverless.clone());
            let change = input(body).read_new();
            assert_eq!(change.faults.contains("compute.type"), !recipe.serverless, "{}", recipe.slug);
            assert!(change.faults.contains("config.compression_level"), "{}", recipe.slug);
        }
    }

    #[test]
    fn a_job_moves_to_a_worker_only_with_all_that_this_needs() {
        let mut before = job();
        let mut new = example();
        (new["recipe_id"], new["config"]) = (json!(28), json!({"mysql_password": "p"}));
        before.recipe = sealed(&input(new).read_new());
        let away = json!({"compute": {"type": "serverless", "region": "EU"}});
        assert_eq!(told(&input(away.clone()).read_change(&before)), ["config.mysql_host"]);
        let mut with_host = away;
        with_host["config"] = json!({"mysql_host": "db.example.com"});
        let change = input(with_host).read_change(&before);
        assert_eq!(told(&change), [""; 0]);
        before = Job { recipe: sealed(&change), compute: change.compute.unwrap(), ..before };
        let change = input(json!({"config": {"mysql_host": ""}})).read_change(&before);
        assert_eq!(told(&change), ["config.mysql_host"], "a job that runs there cannot lose its host");
        let change = input(json!({"compute": {"server_id": 1}, "config": {"mysql_host": ""}})).read_change(&before);
        assert_eq!(told(&change), [""; 0]);
    }

    #[test]
    fn the_number_of_file_backups_goes_on_meaning_a_url_job() {
        let mut before = job();
        let made = with("config", json!({"url": "example.com"}));
        before.recipe = sealed(&made);
        for body in [json!({"recipe_id": 1}), json!({"recipe_id": 1, "config": {"url": "other.example"}})] {
            let change = input(body).read_change(&before);
            assert_eq!((told(&change), sealed(&change).slug()), (vec![], "url-backups"));
        }
        let change = input(json!({"recipe_id": 1, "config": {"root_path": "/"}})).read_change(&before);
        assert_eq!(told(&change), ["recipe_id"]);
        let change = input(json!({"recipe_id": 1, "config": {"url": "example.com"}})).read_change(&job());
        assert_eq!(told(&change), ["recipe_id"]);
    }

    fn job() -> Job {
        let change = input(example()).read_new();
        let at: Timestamp = "2022-01-11T06:40:31Z".parse().unwrap();
        let schedules = change.schedules.clone().unwrap().into_iter().map(|schedule| Schedule { id: 15, ..schedule });
        Job {
            id: Uuid::from_u128(1),
            number: 1,
            account: AccountId::parse("acme").unwrap(),
            name: "Demo".into(),
            recipe: sealed(&change),
            compute: change.compute.clone().unwrap(),
            storages: change.storages_by_priority().unwrap(),
            schedules: schedules.collect(),
            compression: CompressionMethod::default(),
            encryption_key_ids: Vec::new(),
            encryption_password: None,
            path_template: None,
            proxy_id: None,
            manual_retention: ManualRetention { keep_last: 3, days: 0 },
            limits: Limits::default(),
            hooks: Hooks::default(),
            paused_at: None,
            last_ran_at: None,
            last_stored_bytes: None,
            created_at: at,
            updated_at: at,
            revision: 1,
        }
    }

    #[test]
    fn a_change_says_only_what_changes() {
        let change = input(json!({"recipe_id": 1})).read_change(&job());
        assert_eq!(sealed(&change), job().recipe);
        assert_eq!(JobChange { recipe: None, ..change }, JobChange::default());
        let change = input(json!({"recipe_id": 28, "name": "", "schedules": []})).read_change(&job());
        assert_eq!(told(&change), ["recipe_id"]);
        assert_eq!((change.name, change.schedules), (None, Some(vec![])));
    }

    #[test]
    fn the_rule_for_manual_ones_is_changed_member_by_member() {
        let read = |value: Value| input(json!({"manual_retention": value})).read_change(&job());
        assert_eq!(read(json!({"days": "9"})).manual_retention, Some(ManualRetention { keep_last: 3, days: 9 }));
        assert_eq!(read(json!({"keep_last": 0})).manual_retention, Some(ManualRetention::default()));
        assert_eq!(read(Value::Null).manual_retention, None);
        let bad = read(json!({"days": 10_000, "daily": 1}));
        assert_eq!(told(&bad), ["manual_retention.daily", "manual_retention.days"]);
        assert_eq!(told(&read(json!([1]))), ["manual_retention"]);
    }

    #[test]
    fn scripts_need_a_server_and_somebody_who_may_set_them() {
        let mut mysql = example();
        mysql["recipe_id"] = json!(28);
        mysql["config"] = json!({"mysql_host": "db.example.com", "mysql_username": "u", "mysql_password": "p"});
        let with_script = Job {
            hooks: Hooks { pre_script: Some(Sealed("sealed".into())), post_script: None },
            recipe: sealed(&input(mysql).read_new()),
            ..job()
        };
        let serverless = json!({"type": "ss_serverless", "region": "eu"});
        let read = |body| input(body).read_change(&with_script);
        assert_eq!(told(&read(json!({"compute": serverless}))), ["compute.type"]);
        assert_eq!(told(&read(json!({"compute": serverless, "pre_script": null}))), [""; 0]);
        let both = json!({"compute": serverless, "pre_script": null, "post_script": "true"});
        assert_eq!(told(&read(both)), ["post_script"]);

        let about = |body| read(body).is_about_scripts(Some(&with_script));
        assert!(about(json!({"post_script": "true"})) && about(json!({"pre_script": null})));
        assert!(about(json!({"compute": {"server_id": 2}})), "that would run the script elsewhere");
        assert!(!about(json!({"compute": {"server_id": 1}, "name": "x", "pre_script": "**set**"})));
        assert!(!input(json!({"compute": {"server_id": 2}})).read_change(&job()).is_about_scripts(Some(&job())));
    }

    #[test]
    fn null_takes_a_key_away_and_nothing_leaves_it() {
        let read = |body| {
            let change = input(body).read_change(&job());
            assert_eq!(told(&change), [""; 0]);
            (change.encryption_keys, change.proxy_id)
        };
        assert_eq!(read(json!({"encryption_key_id": null, "proxy_id": "13"})), (Some(vec![]), Some(Some(13))));
        assert_eq!(read(json!({"encryption_key_id": "", "name": "x"})), (None, None));
        assert_eq!(input(json!({"encryption_key_id": null})).read_new().encryption_keys, Some(vec![]));
        for none in [json!(null), json!([])] {
            assert_eq!(read(json!({"encryption_key_ids": none})), (Some(vec![]), None));
        }
    }

    #[test]
    fn several_keys_are_named_at_once_and_one_alone_is_asked_about() {
        let read = |body| input(body).read_change(&job());
        let ids = |change: &JobChange| -> Option<Vec<u64>> {
            change.encryption_keys.as_ref().map(|keys| keys.iter().map(|(_, id)| *id).collect())
        };
        let several = read(json!({"encryption_key_ids": [2, "5"]}));
        assert_eq!((told(&several), ids(&several)), (vec![], Some(vec![2, 5])));
        assert_eq!(told(&read(json!({"encryption_key_ids": [2]}))), ["accept_key_loss"]);
        let accepted = read(json!({"encryption_key_ids": [2], "accept_key_loss": true}));
        assert_eq!((told(&accepted), ids(&accepted)), (vec![], Some(vec![2])));
        // As answers show them.
        let both = read(json!({"encryption_key_ids": [2, 3], "encryption_key_id": 2}));
        assert_eq!((told(&both), ids(&both)), (vec![], Some(vec![2, 3])));
        // The documented way to name one asks nothing.
        let documented = read(json!({"encryption_key_id": 2}));
        assert_eq!((told(&documented), ids(&documented)), (vec![], Some(vec![2])));
        let faults = [
            (json!({"encryption_key_ids": [2, 2]}), "encryption_key_ids.1"),
            (json!({"encryption_key_ids": [1, 2, 0]}), "encryption_key_ids.2"),
            (json!({"encryption_key_ids": (1..=11).collect::<Vec<_>>()}), "encryption_key_ids"),
            (json!({"encryption_key_ids": [2, 3], "encryption_key_id": 4}), "encryption_key_id"),
            (json!({"encryption_key_ids": [2, null]}), "encryption_key_ids.1"),
            (json!({"encryption_key_id": 2, "accept_key_loss": "perhaps"}), "accept_key_loss"),
        ];
        for (body, field) in faults {
            assert_eq!(told(&read(body.clone())), [field], "{body}");
        }
    }

    #[test]
    fn the_one_key_of_an_older_record_is_not_forgotten() {
        let mut record = serde_json::to_value(job()).unwrap();
        for (stored, expected) in [(json!(5), vec![5]), (json!(null), vec![])] {
            record["encryption_key_id"] = stored;
            let read: Job = serde_json::from_value(record.clone()).unwrap();
            assert_eq!(read.encryption_key_ids, expected);
        }
    }

    #[test]
    fn a_level_fits_its_method() {
        let change = |body| input(body).read_change(&job());
        assert_eq!(change(json!({"compression": "gzip"})).compression, Some(CompressionMethod::Gzip));
        assert_eq!(change(json!({"name": "x"})).compression, None);
        assert_eq!(told(&change(json!({"compression": "lzma"}))), ["compression"]);
        let high = json!({"compression": "gzip", "config": {"compression_level": 12}});
        assert_eq!(told(&change(high)), ["config.compression_level"]);
        let gzip = Job { compression: CompressionMethod::Gzip, ..job() };
        let higher = input(json!({"config": {"compression_level": 10}})).read_change(&gzip);
        assert_eq!(told(&higher), ["config.compression_level"]);
        assert_eq!(gzip.compressed(), Compression::Gzip(6));
        let none = Job { compression: CompressionMethod::None, ..job() };
        assert_eq!(none.compressed(), Compression::None);
    }

    #[test]
    fn next_runs_are_those_of_all_schedules_that_fire() {
        let schedule = |id, cron: &str| {
            let input: ScheduleInput = serde_json::from_value(json!({"cron": cron})).unwrap();
            Schedule::create(id, &input).unwrap()
        };
        let paused = Schedule { status: ScheduleStatus::Paused, ..schedule(3, "* * * * *") };
        let job = Job { schedules: vec![schedule(2, "0 * * * *"), schedule(1, "0 */2 * * *"), paused], ..job() };
        let after: Timestamp = "2026-03-01T00:30:00Z".parse().unwrap();
        let told = |runs: Vec<(Timestamp, &Schedule)>| -> Vec<(String, u64)> {
            runs.into_iter().map(|(at, schedule)| (at.to_string(), schedule.id)).collect()
        };
        let expected = [("01", 2), ("02", 1), ("02", 2), ("03", 2)];
        let expected = expected.map(|(hour, id)| (format!("2026-03-01T{hour}:00:00Z"), id));
        assert_eq!(told(job.next_runs(after, 4)), expected);
        assert_eq!(Job { paused_at: Some(after), ..job.clone() }.next_runs(after, 4), []);
    }

    #[test]
    fn a_schedule_with_an_id_keeps_it_and_what_is_not_given() {
        let body = json!({"schedules": [{"id": 15, "timezone": "Europe/Berlin"}, {"cron": "0 0 * * MON"}]});
        let schedules = input(body).read_change(&job()).schedules.unwrap();
        assert_eq!(schedules.iter().map(|schedule| schedule.id).collect::<Vec<_>>(), [15, 0]);
        assert_eq!((schedules[0].order, schedules[0].timezone().as_str()), (1, "Europe/Berlin"));
    }
}
