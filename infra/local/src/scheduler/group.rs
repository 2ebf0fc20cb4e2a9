//! Schedule groups: names under which schedules live and are deleted together.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params};
use serde_json::{Value, json};

use super::store::{Listing, check_name, conflict, not_found, page, seconds};
use super::{schedule, validation};
use crate::fault::Fault;
use crate::queue::{ACCOUNT, REGION};

/// The group's ARN.
fn arn(name: &str) -> String {
    format!("arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{name}")
}

pub(super) fn create(db: &Connection, now: Timestamp, name: &str) -> Result<Value, Fault> {
    check_name(name)?;
    let insert = "INSERT INTO schedule_groups (name, created_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    match db.prepare_cached(insert)?.execute((name, now.as_millisecond()))? {
        0 => Err(conflict(format!("Schedule group {name} already exists."))),
        _ => Ok(json!({"ScheduleGroupArn": arn(name)})),
    }
}

pub(super) fn get(db: &Connection, name: &str) -> Result<Value, Fault> {
    let sql = "SELECT created_ms FROM schedule_groups WHERE name = ?1";
    let created_ms = db.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    created_ms.map(|created_ms| describe(name, created_ms)).ok_or_else(|| missing(name))
}

/// Deletes the group and every schedule in it, at once.
pub(super) fn delete(db: &Connection, name: &str) -> Result<Value, Fault> {
    if name == schedule::default_group() {
        return Err(validation("The default schedule group cannot be deleted."));
    }
    match db.prepare_cached("DELETE FROM schedule_groups WHERE name = ?1")?.execute([name])? {
        0 => Err(missing(name)),
        _ => Ok(json!({})),
    }
}

pub(super) fn list(db: &Connection, listing: &Listing) -> Result<Value, Fault> {
    let (limit, after) = listing.limit_and_cursor()?;
    let sql = "SELECT name, created_ms FROM schedule_groups
               WHERE name > :after AND name >= :prefix AND name < :prefix || char(127) ORDER BY name LIMIT :limit";
    let mut select = db.prepare_cached(sql)?;
    let parameters = named_params! {":after": after, ":prefix": listing.name_prefix, ":limit": limit};
    let rows = select.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<(String, i64)>>>()?;
    let next = page(&rows, limit, |(name, _)| name.clone());
    let groups: Vec<Value> = rows.iter().map(|(name, created_ms)| describe(name, *created_ms)).collect();
    Ok(json!({"ScheduleGroups": groups, "NextToken": next}))
}

/// Refuses a group that is not there.
pub(super) fn check(db: &Connection, name: &str) -> Result<(), Fault> {
    get(db, name).map(drop)
}

fn describe(name: &str, created_ms: i64) -> Value {
    json!({
        "Arn": arn(name),
        "Name": name,
        "State": "ACTIVE",
        "CreationDate": seconds(created_ms),
        "LastModificationDate": seconds(created_ms),
    })
}

fn missing(name: &str) -> Fault {
    not_found(format!("Schedule group {name} does not exist."))
}
