//! Schedules in the database: put, read, listed, deleted.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::Deserialize;
use serde_json::{Value, json};

use super::plan::Plan;
use super::schedule::{Schedule, State};
use super::{group, validation};
use crate::fault::Fault;
use crate::queue::{ACCOUNT, REGION, json as to_json, json_column};

/// `CreateSchedule` and `UpdateSchedule`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put {
    client_token: Option<String>,
    #[serde(flatten)]
    schedule: Schedule,
}

/// `ListSchedules` and `ListScheduleGroups`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listing {
    schedule_group: Option<String>,
    #[serde(default)]
    pub(super) name_prefix: String,
    state: Option<State>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

/// A schedule's row.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) schedule: Schedule,
    pub(super) next_slot: Option<Timestamp>,
    client_token: Option<String>,
    created_ms: i64,
    modified_ms: i64,
}

/// The schedule's ARN.
pub(super) fn arn(group: &str, name: &str) -> String {
    format!("arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{group}/{name}")
}

impl Stored {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let next_slot_ms: Option<i64> = row.get("next_slot_ms")?;
        Ok(Self {
            name: row.get("name")?,
            schedule: json_column(row, "body")?,
            next_slot: next_slot_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            client_token: row.get("client_token")?,
            created_ms: row.get("created_ms")?,
            modified_ms: row.get("modified_ms")?,
        })
    }

    fn find(db: &Connection, group: &str, name: &str) -> Result<Option<Self>, Fault> {
        let mut select = db.prepare_cached("SELECT * FROM schedules WHERE group_name = ?1 AND name = ?2")?;
        Ok(select.query_row((group, name), Self::read).optional()?)
    }

    /// The schedule's ARN.
    pub(super) fn arn(&self) -> String {
        arn(&self.schedule.group_name, &self.name)
    }

    /// When it fires.
    pub(super) fn plan(&self) -> Result<Plan, Fault> {
        let created = Timestamp::from_millisecond(self.created_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Plan::new(&self.name, &self.schedule, created)
    }

    /// Records the next slot, or that there is none.
    pub(super) fn plan_slot(&self, db: &Connection, slot: Option<(Timestamp, Timestamp)>) -> Result<(), Fault> {
        let sql = "UPDATE schedules SET next_slot_ms = ?3, due_ms = ?4 WHERE group_name = ?1 AND name = ?2";
        let (slot_ms, due_ms) = slot.map(|(slot, due)| (slot.as_millisecond(), due.as_millisecond())).unzip();
        db.prepare_cached(sql)?.execute((&self.schedule.group_name, &self.name, slot_ms, due_ms))?;
        Ok(())
    }

    /// Plans the first slot after now; whatever was due before is forgotten.
    fn plan_anew(&self, db: &Connection, now: Timestamp) -> Result<(), Fault> {
        let plan = self.plan()?;
        plan.check_bounds(now)?;
        let slot = plan.next(now).filter(|_| self.schedule.state == State::Enabled);
        self.plan_slot(db, slot.map(|slot| (slot, plan.due(slot))))
    }

    /// Writes all but the plan.
    fn save(&self, db: &Connection) -> Result<(), Fault> {
        group::check(db, &self.schedule.group_name)?;
        check_target(&self.schedule)?;
        let upsert = "INSERT INTO schedules (group_name, name, state, body, client_token, created_ms, modified_ms)
                      VALUES (:group_name, :name, :state, :body, :client_token, :created_ms, :modified_ms)
                      ON CONFLICT DO UPDATE SET state = :state, body = :body, modified_ms = :modified_ms";
        db.prepare_cached(upsert)?.execute(named_params! {
            ":group_name": self.schedule.group_name,
            ":name": self.name,
            ":state": state_text(self.schedule.state),
            ":body": to_json(&self.schedule)?,
            ":client_token": self.client_token,
            ":created_ms": self.created_ms,
            ":modified_ms": self.modified_ms,
        })?;
        Ok(())
    }

    /// What `CreateSchedule` and `UpdateSchedule` answer.
    fn answer(&self) -> Value {
        json!({"ScheduleArn": self.arn()})
    }

    /// What `GetSchedule` answers.
    fn describe(&self) -> Value {
        let mut all = json!(self.schedule);
        all["Name"] = json!(self.name);
        all["Arn"] = json!(self.arn());
        all["CreationDate"] = seconds(self.created_ms);
        all["LastModificationDate"] = seconds(self.modified_ms);
        all
    }

    /// What `ListSchedules` answers for each.
    fn summarize(&self) -> Value {
        let mut all = self.describe();
        let mut summary = json!({"Target": {"Arn": self.schedule.target.arn}});
        for field in ["Name", "Arn", "GroupName", "State", "CreationDate", "LastModificationDate"] {
            summary[field] = all[field].take();
        }
        summary
    }
}

pub(super) fn create(db: &Connection, now: Timestamp, name: &str, put: Put) -> Result<Value, Fault> {
    check_name(name)?;
    if let Some(found) = Stored::find(db, &put.schedule.group_name, name)? {
        let repeated = put.client_token.is_some() && found.client_token == put.client_token;
        let same = repeated && found.schedule == put.schedule;
        return if same { Ok(found.answer()) } else { Err(conflict(format!("Schedule {name} already exists."))) };
    }
    let stored = Stored {
        name: name.to_owned(),
        schedule: put.schedule,
        next_slot: None,
        client_token: put.client_token,
        created_ms: now.as_millisecond(),
        modified_ms: now.as_millisecond(),
    };
    stored.save(db)?;
    stored.plan_anew(db, now)?;
    Ok(stored.answer())
}

pub(super) fn update(db: &Connection, now: Timestamp, name: &str, put: Put) -> Result<Value, Fault> {
    let found = Stored::find(db, &put.schedule.group_name, name)?.ok_or_else(|| missing(name))?;
    let same_times = found.schedule.fires_like(&put.schedule);
    let stored = Stored { schedule: put.schedule, modified_ms: now.as_millisecond(), ..found };
    stored.save(db)?;
    if !same_times {
        stored.plan_anew(db, now)?;
    }
    Ok(stored.answer())
}

pub(super) fn get(db: &Connection, group: &str, name: &str) -> Result<Value, Fault> {
    Stored::find(db, group, name)?.map(|stored| stored.describe()).ok_or_else(|| missing(name))
}

pub(super) fn delete(db: &Connection, group: &str, name: &str) -> Result<Value, Fault> {
    let sql = "DELETE FROM schedules WHERE group_name = ?1 AND name = ?2";
    match db.prepare_cached(sql)?.execute((group, name))? {
        0 => Err(missing(name)),
        _ => Ok(json!({})),
    }
}

pub(super) fn list(db: &Connection, listing: &Listing) -> Result<Value, Fault> {
    let (limit, cursor) = listing.limit_and_cursor()?;
    // Without a cursor the page begins at the group that is asked for, and no page leaves it.
    let group = listing.schedule_group.as_deref();
    let (after_group, after_name) = cursor.split_once('/').unwrap_or((group.unwrap_or_default(), ""));
    let sql = "SELECT * FROM schedules
               WHERE (group_name, name) > (:after_group, :after_name) AND group_name <= :last_group
                 AND name >= :prefix AND name < :prefix || char(127) AND state = ifnull(:state, state)
               ORDER BY group_name, name LIMIT :limit";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(
        named_params! {
            ":after_group": after_group,
            ":after_name": after_name,
            ":last_group": group.unwrap_or("\u{7f}"),
            ":prefix": listing.name_prefix,
            ":state": listing.state.map(state_text),
            ":limit": limit,
        },
        Stored::read,
    )?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let next = page(&rows, limit, |stored| format!("{}/{}", stored.schedule.group_name, stored.name));
    let schedules: Vec<Value> = rows.iter().map(Stored::summarize).collect();
    Ok(json!({"Schedules": schedules, "NextToken": next}))
}

impl Listing {
    /// How many to list, and after which.
    pub(super) fn limit_and_cursor(&self) -> Result<(i64, String), Fault> {
        let limit = self.max_results.unwrap_or(100);
        if !(1..=100).contains(&limit) {
            return Err(constraint("maxResults", &limit.to_string(), "Member must have value between 1 and 100"));
        }
        let read = |token: &String| String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok();
        let cursor = self.next_token.as_ref().map(|token| read(token).ok_or_else(|| validation("Invalid NextToken.")));
        Ok((limit, cursor.transpose()?.unwrap_or_default()))
    }
}

/// The token of the page after `rows`, unless these were the last.
pub(super) fn page<T>(rows: &[T], limit: i64, cursor: impl Fn(&T) -> String) -> Option<String> {
    let full = rows.len() as i64 == limit;
    rows.last().filter(|_| full).map(|row| URL_SAFE_NO_PAD.encode(cursor(row)))
}

/// Refuses names that are no names.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(letter) {
        return Err(constraint("name", name, "Member must satisfy regular expression pattern: ^[0-9a-zA-Z-_.]+$"));
    }
    if !(1..=64).contains(&name.len()) {
        return Err(constraint("name", name, "Member must have length between 1 and 64, inclusive"));
    }
    Ok(())
}

fn check_target(schedule: &Schedule) -> Result<(), Fault> {
    let target = &schedule.target;
    let dead_letters = target.dead_letter_config.as_ref().and_then(|config| config.arn.as_ref());
    for arn in [Some(&target.arn), dead_letters].into_iter().flatten() {
        if !arn.starts_with("arn:aws:sqs:") || arn.split(':').count() != 6 {
            return Err(validation(format!("Provided Arn {arn} is not in correct format or names no SQS queue.")));
        }
    }
    let retry = &target.retry_policy;
    if !(60..=86_400).contains(&retry.maximum_event_age_in_seconds) {
        let (value, rule) = (retry.maximum_event_age_in_seconds, "Member must have value between 60 and 86400");
        return Err(constraint("target.retryPolicy.maximumEventAgeInSeconds", &value.to_string(), rule));
    }
    if !(0..=185).contains(&retry.maximum_retry_attempts) {
        let (value, rule) = (retry.maximum_retry_attempts, "Member must have value between 0 and 185");
        return Err(constraint("target.retryPolicy.maximumRetryAttempts", &value.to_string(), rule));
    }
    Ok(())
}

fn constraint(member: &str, value: &str, rule: &str) -> Fault {
    let failed = "failed to satisfy constraint";
    validation(format!("1 validation error detected: Value '{value}' at '{member}' {failed}: {rule}"))
}

fn missing(name: &str) -> Fault {
    not_found(format!("Schedule {name} does not exist."))
}

/// What is not there.
pub(super) fn not_found(message: String) -> Fault {
    Fault::new("ResourceNotFoundException", message).with_status(StatusCode::NOT_FOUND)
}

/// What is there already.
pub(super) fn conflict(message: String) -> Fault {
    Fault::new("ConflictException", message).with_status(StatusCode::CONFLICT)
}

/// An instant as the wire writes it: seconds since the epoch, with a fraction.
pub(super) fn seconds(ms: i64) -> Value {
    json!(ms as f64 / 1000.0)
}

fn state_text(state: State) -> &'static str {
    match state {
        State::Enabled => "ENABLED",
        State::Disabled => "DISABLED",
    }
}
