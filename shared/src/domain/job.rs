//! A job: what to back up, from where, how, when and to where.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::account::AccountId;
use super::field::{FieldReader, UNKNOWN, present};
use super::recipe::{Recipe, RecipeDefinition};
use super::schedule::{Schedule, ScheduleInput, ScheduleStatus};
use crate::error::FieldErrors;

const MAX_NAME_CHARS: usize = 255;
/// How many storages a job can copy to: each one is a stream of its own.
const MAX_STORAGES: usize = 5;
/// How many schedules a job can have: all of them change in one transaction.
const MAX_SCHEDULES: usize = 10;
const MAX_PRIORITY: u64 = 100;

/// Where the dump runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Compute {
    /// Over SSH, with the tools of that host.
    Server {
        /// The server's id.
        server_id: u64,
    },
}

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
    /// Which public key its backups are encrypted to; `None` leaves them in the clear.
    #[serde(default)]
    pub encryption_key_id: Option<u64>,
    /// Which jump host leads to where the dump runs; `None` goes straight.
    #[serde(default)]
    pub proxy_id: Option<u64>,
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

impl Job {
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
    /// `{type, server_id}`.
    pub compute: Option<Value>,
    /// `[{storage_id, priority}]`: replaces all.
    #[serde(alias = "storages")]
    pub storage: Option<Value>,
    /// A list of what [`ScheduleInput`] holds: replaces all. One with an `id` changes that schedule.
    pub schedules: Option<Value>,
    /// The public key to encrypt to; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub encryption_key_id: Option<Value>,
    /// The jump host to go through; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub proxy_id: Option<Value>,
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
    /// What to back up.
    pub recipe: Option<Recipe>,
    /// Where the dump runs.
    pub compute: Option<Compute>,
    /// Where copies go, each with its place in the input.
    pub storages: Option<Vec<(usize, JobStorage)>>,
    /// When it runs; a new schedule has the id 0 until it is numbered.
    pub schedules: Option<Vec<Schedule>>,
    /// Which public key backups are encrypted to; `Some(None)` is none.
    pub encryption_key_id: Option<Option<u64>>,
    /// Which jump host leads to where the dump runs; `Some(None)` is none.
    pub proxy_id: Option<Option<u64>>,
    /// What was found wrong, by field.
    pub faults: FieldErrors,
}

impl JobChange {
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
        let recipe = self.recipe(&mut fields, before);
        let compute = self.compute(&mut fields);
        let storages = self.storages(&mut fields);
        let schedules = self.schedules(&mut fields, before.map_or(&[], |job| &job.schedules));
        let encryption_key_id = link(&mut fields, "encryption_key_id", self.encryption_key_id.as_ref());
        let proxy_id = link(&mut fields, "proxy_id", self.proxy_id.as_ref());
        let faults = fields.faults;
        JobChange { name, recipe, compute, storages, schedules, encryption_key_id, proxy_id, faults }
    }

    fn recipe(&self, fields: &mut FieldReader, before: Option<&Job>) -> Option<Recipe> {
        let by_id = present(self.recipe_id.as_ref());
        let (field, word) =
            if by_id.is_some() { ("recipe_id", by_id) } else { ("recipe", present(self.recipe.as_ref())) };
        let word = word.map(|word| word.as_str().map_or_else(|| word.to_string(), |text| text.trim().to_owned()));
        let named = word.as_deref().map(RecipeDefinition::find);
        let empty = Map::new();
        let config = match present(self.config.as_ref()) {
            None => &empty,
            Some(config) => fields.object("config", Some(config))?,
        };
        let configured = match (named, before) {
            (Some(None), _) => {
                return fields
                    .refuse(field, format!("there is no such recipe; there are {}", RecipeDefinition::choices()));
            }
            (None, None) => {
                return fields.refuse("recipe_id", format!("is required, one of {}", RecipeDefinition::choices()));
            }
            (Some(Some(named)), Some(before)) if *named != *before.recipe.definition() => {
                return fields.refuse(field, "of a job cannot be changed; make another job");
            }
            // The seed of URL backups sends the number of file backups.
            (Some(Some(named)), None) if config.contains_key("url") && !config.contains_key("root_path") => {
                return fields.refuse(
                    "config.url",
                    format!("is not of {}; there are {}", named.slug, RecipeDefinition::choices()),
                );
            }
            (_, Some(before)) => before.recipe.reconfigure(config),
            (Some(Some(named)), None) => named.configure(config),
        };
        configured.map_err(|faults| fields.faults.extend("config", faults)).ok()
    }

    fn compute(&self, fields: &mut FieldReader) -> Option<Compute> {
        let compute = fields.object("compute", self.compute.as_ref())?;
        let kind = fields.text("compute.type", compute.get("type"));
        if kind.is_none() && compute.get("type").is_some_and(|kind| !kind.is_null()) {
            return None;
        }
        match kind.unwrap_or("server") {
            "server" => {}
            "ss_serverless" | "serverless" | "ss_agent" | "agent" => {
                return fields.refuse("compute.type", "is not available; use server");
            }
            _ => return fields.refuse("compute.type", "must be server"),
        }
        if present(compute.get("server_id")).is_none() {
            return fields.refuse("compute.server_id", "is required");
        }
        fields.id("compute.server_id", compute.get("server_id")).map(|server_id| Compute::Server { server_id })
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
    let entry = fields.object(&path, Some(entry))?;
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
fn link(fields: &mut FieldReader, field: &str, value: Option<&Value>) -> Option<Option<u64>> {
    match value {
        Some(Value::Null) => Some(None),
        value => fields.id(field, value).map(Some),
    }
}

fn schedule(fields: &mut FieldReader, path: &str, entry: &Value, before: &[Schedule]) -> Option<Schedule> {
    let members = fields.object(path, Some(entry))?;
    let Ok(input) = ScheduleInput::deserialize(entry) else {
        return fields.refuse(path, "names a field in two ways; leave one out");
    };
    let read = match present(members.get("id")) {
        None => Schedule::create(0, &input),
        Some(id) => {
            let id_field = format!("{path}.id");
            let id = fields.id(&id_field, Some(id))?;
            match before.iter().find(|schedule| schedule.id == id) {
                None => return fields.refuse(&id_field, "is not a schedule of this job"),
                Some(schedule) => schedule.apply(&input),
            }
        }
    };
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

    fn input(value: Value) -> JobInput {
        serde_json::from_value(value).unwrap()
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
        assert_eq!(change.recipe.as_ref().map(Recipe::id), Some(1));
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
            ("recipe_id", json!(28), "recipe_id"),
            ("config", json!("x"), "config"),
            ("config", json!({"url": "example.com"}), "config.url"),
            ("config", json!({"root_path": "etc"}), "config.root_path"),
            ("compute", json!({"type": "ss_serverless", "region": "eu"}), "compute.type"),
            ("compute", json!({"type": 3, "server_id": 1}), "compute.type"),
            ("compute", json!({"type": "server", "server_id": 0}), "compute.server_id"),
            ("storage", json!([]), "storage"),
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
        let change = with("recipe_id", json!("mysql-backups"));
        let (_, messages) = change.faults.iter().next().unwrap();
        assert!(messages[0].contains("1 (file-backups)"), "{messages:?}");
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
            recipe: change.recipe.clone().unwrap(),
            compute: change.compute.unwrap(),
            storages: change.storages_by_priority().unwrap(),
            schedules: schedules.collect(),
            encryption_key_id: None,
            proxy_id: None,
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
        assert_eq!(change, JobChange { recipe: Some(job().recipe), ..JobChange::default() });
        let change = input(json!({"recipe_id": 28, "name": "", "schedules": []})).read_change(&job());
        assert_eq!(told(&change), ["recipe_id"]);
        assert_eq!((change.name, change.schedules), (None, Some(vec![])));
    }

    #[test]
    fn null_takes_a_key_away_and_nothing_leaves_it() {
        let read = |body| {
            let change = input(body).read_change(&job());
            assert_eq!(told(&change), [""; 0]);
            (change.encryption_key_id, change.proxy_id)
        };
        assert_eq!(read(json!({"encryption_key_id": null, "proxy_id": "13"})), (Some(None), Some(Some(13))));
        assert_eq!(read(json!({"encryption_key_id": "", "name": "x"})), (None, None));
        assert_eq!(input(json!({"encryption_key_id": null})).read_new().encryption_key_id, Some(None));
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
