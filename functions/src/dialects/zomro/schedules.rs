//! `instances.fleio_bckps.…`: schedules by which whole servers are backed up. Each is the schedule of a job.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::aws::table::{JobFilter, Order, SortBy, Window};
use holdfast_shared::domain::ability::{Ability, Resource};
use holdfast_shared::domain::account::Account;
use holdfast_shared::domain::job::{Job, JobInput};
use holdfast_shared::domain::recipe::BESIDE_A_WHOLE_SERVER;
use holdfast_shared::domain::revision::Expected;
use holdfast_shared::domain::schedule::Schedule;
use holdfast_shared::domain::server::Server;
use holdfast_shared::service::Service;
use holdfast_shared::{Error, FieldErrors, Result};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::value;
use crate::http::audit::Told;
use crate::http::schema::{Member, anything, id, integer_in, line, object, one_of, optional, required, text};
use crate::http::{Answer, Body, Caller, Fields, Operation};

/// The vendor's bound for a name.
const MAX_NAME_CHARS: usize = 100;
/// How many backups a schedule keeps, which the vendor does not say.
const KEPT: u32 = 7;
/// How many schedules a page has unless asked for otherwise.
const PAGE: i64 = 50;
/// The days of the week by their numbers.
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Every function.
pub(super) fn operations() -> Vec<Operation> {
    let (read, write) = (Ability::Read(Resource::Jobs), Ability::Write(Resource::Jobs));
    let doc = || object([required("doc", anything())]);
    let elid = || id().described("the schedule");
    let edit = |path: &'static str| {
        Operation::post(path, edit)
            .summary("Back a whole server up on certain days, or change a schedule")
            .needs(write)
            .body([
                required("sok", one_of(&["ok"]).described("without it nothing is done")),
                optional("elid", elid().described("the schedule to change; without it a new one is made")),
                optional("plid", id().described("the server; only for a new schedule")),
                optional("name", line(MAX_NAME_CHARS)),
                optional("rotation_days", text().described("1,2,3: 0 is Sunday")),
                optional("rotation_time", text().described("HH:MM in the account's time zone")),
            ])
            .answers(StatusCode::OK, doc())
    };
    let list = Operation::get("/instances.fleio_bckps.schedule", list)
        .summary("List the schedules of a server")
        .needs(read)
        .body(list_members())
        .answers(StatusCode::OK, doc());
    let delete = |path: &'static str| {
        Operation::post(path, delete)
            .summary("Delete a schedule; with the last one of its job, the job and its backups")
            .needs(write)
            .body([required("elid", elid())])
            .answers(StatusCode::OK, doc())
    };
    vec![
        edit("/instances.fleio_bckps.schedule.edit"),
        edit("/instances.fleio_bckps.edit"),
        list,
        delete("/instances.fleio_bckps.schedule.delete"),
        delete("/image.delete"),
    ]
}

fn list_members() -> [Member; 5] {
    [
        optional("plid", id().described("the server")),
        optional("elid", id().described("the server too, as the vendor's example has it")),
        optional("p_num", integer_in(1..=10_000).described("the page").default(1)),
        optional("p_cnt", integer_in(1..=500).described("how many jobs a page has").default(PAGE)),
        optional("p_col", one_of(&["+name", "-name", "+create_date", "-create_date", "+id", "-id"])),
    ]
}

/// What is said of a schedule.
#[derive(Default)]
struct Wanted {
    name: Option<String>,
    /// In order, each once.
    days: Option<Vec<u8>>,
    /// Hour and minute.
    time: Option<(u8, u8)>,
}

impl Wanted {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.optional_text("name", MAX_NAME_CHARS),
            days: fields.optional("rotation_days", days),
            time: fields.optional("rotation_time", time),
        }
    }

    /// The five fields of cron; what is not said is as in `before`.
    fn cron(&self, before: Option<&Weekly>) -> Option<String> {
        let days = self.days.as_ref().or(before.map(|before| &before.days))?;
        let (hour, minute) = self.time.or(before.map(|before| before.time))?;
        let days = days.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        Some(format!("{minute} {hour} * * {days}"))
    }
}

/// Reads `1,2,3`: any order, each counts once.
fn days(text: &str) -> std::result::Result<Vec<u8>, String> {
    let day = |word: &str| word.trim().parse::<u8>().ok().filter(|day| usize::from(*day) < DAYS.len());
    let days = text.split(',').map(day).collect::<Option<Vec<_>>>();
    let mut days = days.ok_or_else(|| "must be days from 0 (Sunday) to 6 with commas between, as 1,2,3".to_owned())?;
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// Reads `HH:MM`.
fn time(text: &str) -> std::result::Result<(u8, u8), String> {
    let part = |word: &str, end: u8| {
        let is_number = (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
        word.parse::<u8>().ok().filter(|number| is_number && *number < end)
    };
    let parts = text.trim().split_once(':').and_then(|(hour, minute)| Some((part(hour, 24)?, part(minute, 60)?)));
    parts.ok_or_else(|| "must be a time from 00:00 to 23:59".to_owned())
}

/// A schedule that this surface can say: at one time, on some days of the week.
struct Weekly {
    days: Vec<u8>,
    time: (u8, u8),
}

impl Weekly {
    /// `None` for a schedule that needs more words.
    fn of(schedule: &Schedule) -> Option<Self> {
        if schedule.frequency().is_some() || schedule.run_offset() != 0 {
            return None;
        }
        let fields: Vec<_> = schedule.cron().split(' ').collect();
        let [minute, hour, "*", "*", days] = *fields.as_slice() else { return None };
        let days = match days {
            "*" => (0..7).collect(),
            days => self::days(days).ok()?,
        };
        Some(Self { days, time: (hour.parse().ok()?, minute.parse().ok()?) })
    }
}

async fn edit(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let _ = fields.required("sok", |sok| if sok == "ok" { Ok(()) } else { Err("must be ok") });
    let (elid, plid) = (fields.optional_id("elid"), fields.optional_id("plid"));
    let wanted = Wanted::read(&mut fields);
    if elid.is_none() {
        for name in ["plid", "name", "rotation_days", "rotation_time"] {
            if !fields.has(name) {
                fields.fault(name, "is required");
            }
        }
    }
    let wanted = fields.finish(|| Some(wanted))?;
    let account = service.account(&caller.account).await?;
    let before = match elid {
        Some(elid) => Some(service.job_of_schedule(&caller.account, elid).await?),
        None => None,
    };
    let job = match &before {
        Some(job) => change(&service, &account, job, elid, plid, &wanted).await,
        None => create(&service, &account, plid, wanted).await,
    };
    let job = job.map_err(in_our_words)?;
    let known = |schedule: &&Schedule| elid.is_none_or(|elid| schedule.id == elid);
    let schedule = job.schedules.iter().find(known).ok_or_else(|| Error::not_found("schedule"))?;
    let shown =
        |job: &Job| job.schedules.iter().find(|one| one.id == schedule.id).map(|one| view(job, one, "", &account));
    let told = Told { before: before.as_ref().and_then(shown), after: shown(&job) };
    Ok((Extension(told), Json(json!({"doc": {"id": value(schedule.id), "ok": value("")}}))))
}

/// A job that takes the whole server, with this one schedule.
async fn create(service: &Service, account: &Account, plid: Option<u64>, wanted: Wanted) -> Result<Job> {
    let server = service.server(&account.id, plid.unwrap_or_default()).await?;
    let storages = service.list_storages(&account.id, Order { by: SortBy::Id, descending: false }, 1, None).await?;
    let storage =
        storages.records.first().ok_or_else(|| Error::conflict("the account has no storage; add one first"))?;
    let input = JobInput {
        name: Some(json!(wanted.name)),
        recipe: Some(json!("file-backups")),
        config: Some(json!({
            "root_path": "/",
            "exclude": BESIDE_A_WHOLE_SERVER.join("\n"),
            "use_sudo": &*server.login.user != "root",
        })),
        compute: Some(json!({"type": "server", "server_id": server.id})),
        storage: Some(json!([{"storage_id": storage.id, "priority": 1}])),
        schedules: Some(json!([{
            "schedule_name": wanted.name,
            "cron": wanted.cron(None),
            "timezone": account.timezone,
            "retention_keep_last": KEPT,
        }])),
        ..JobInput::default()
    };
    Ok(service.create_job(&account.id, &input).await?.job)
}

/// The job with this one schedule changed as far as it is said; all else of it stays.
async fn change(
    service: &Service,
    account: &Account,
    job: &Job,
    elid: Option<u64>,
    plid: Option<u64>,
    wanted: &Wanted,
) -> Result<Job> {
    if plid.is_some_and(|plid| job.compute.server_id() != Some(plid)) {
        return Err(Error::invalid("plid", "is not the server of this schedule, which stays where it is"));
    }
    let schedules = job.schedules.iter().map(|schedule| {
        let is_meant = Some(schedule.id) == elid && (wanted.days.is_some() || wanted.time.is_some());
        if !is_meant {
            return Ok(json!({"id": schedule.id}));
        }
        let cron = wanted.cron(Weekly::of(schedule).as_ref()).ok_or_else(|| {
            let message = "are both needed: the schedule has been made by other words than days and a time";
            Error::invalid("rotation_days, rotation_time", message)
        })?;
        Ok(json!({"id": schedule.id, "cron": cron, "timezone": account.timezone}))
    });
    let input = JobInput {
        name: wanted.name.as_ref().map(|name| json!(name)),
        schedules: Some(json!(schedules.collect::<Result<Vec<_>>>()?)),
        ..JobInput::default()
    };
    service.update_job(&account.id, job.id, &input, &Expected::Any).await
}

/// Faults of the job that was made of a request, under the names that the request has for them.
fn in_our_words(error: Error) -> Error {
    let Some(fields) = error.fields() else { return error };
    let name = |field: &str| match field {
        "name" => "name",
        field if field.starts_with("compute") => "plid",
        field if field.starts_with("schedules") => "rotation_days",
        _ => "request",
    };
    let mut faults = FieldErrors::default();
    for (field, words) in fields.iter() {
        words.iter().for_each(|one| faults.push(name(field), one.clone()));
    }
    faults.into()
}

async fn list(caller: Caller, State(service): State<Service>, body: Body) -> Answer<Json<Value>> {
    let mut fields = body.fields();
    let (plid, elid) = (fields.optional_id("plid"), fields.optional_id("elid"));
    if !fields.has("plid") && !fields.has("elid") {
        fields.fault("plid", "is required");
    }
    let page = fields.optional_integer("p_num", 1..=10_000).unwrap_or(1);
    let size = fields.optional_integer("p_cnt", 1..=500).unwrap_or(PAGE);
    let order = fields.optional("p_col", order);
    let (page, size) = fields.finish(|| Some((page, size)))?;
    let server = service.server(&caller.account, plid.or(elid).unwrap_or_default()).await?;
    let account = service.account(&caller.account).await?;
    let filter = JobFilter { server: Some(server.id), ..JobFilter::default() };
    let order = order.unwrap_or(Order { by: SortBy::Created, descending: false });
    let number = |number: i64| i32::try_from(number).map_err(Error::internal);
    let window = Window { size: number(size)?, skip: u32::try_from(page - 1).map_err(Error::internal)?, after: None };
    let jobs = service.list_jobs(&caller.account, &filter, order, &window).await?;
    let elements: Vec<_> = jobs.records.iter().flat_map(|detail| elements(&detail.job, &server, &account)).collect();
    let total = jobs.total.unwrap_or_default();
    Ok(Json(json!({"doc": {
        "elem": elements,
        "plid": value(server.id),
        "p_num": value(page),
        "p_cnt": value(size),
        "p_elems": value(total),
    }})))
}

fn elements(job: &Job, server: &Server, account: &Account) -> Vec<Value> {
    job.schedules.iter().map(|schedule| view(job, schedule, &server.name, account)).collect()
}

fn order(text: &str) -> std::result::Result<Order, &'static str> {
    let (descending, column) =
        text.strip_prefix('-').map_or((false, text.trim_start_matches(['+', ' '])), |rest| (true, rest));
    let by = match column {
        "name" => SortBy::Name,
        // Numbers are given in the order in which jobs are made.
        "id" | "create_date" => SortBy::Created,
        _ => return Err("must be name, create_date or id, with + or - in front"),
    };
    Ok(Order { by, descending })
}

/// A schedule as it is listed. Days and time are empty where this surface has no words for them.
fn view(job: &Job, schedule: &Schedule, server: &str, account: &Account) -> Value {
    let weekly = Weekly::of(schedule);
    let days = weekly.iter().flat_map(|weekly| &weekly.days).map(|day| format!("{} ", DAYS[usize::from(*day)]));
    let time = weekly.as_ref().map(|Weekly { time: (hour, minute), .. }| format!("{hour:02}:{minute:02}"));
    json!({
        "create_date": value(date(job.created_at, account)),
        "id": value(schedule.id),
        "instance_id": value(job.compute.server_id().unwrap_or_default()),
        "name": value(&job.name),
        "rotation_days": value(days.collect::<String>()),
        "rotation_time": value(time.unwrap_or_default()),
        "servername": value(server),
    })
}

fn date(at: Timestamp, account: &Account) -> String {
    at.to_zoned(account.timezone.rules().clone()).date().to_string()
}

async fn delete(caller: Caller, State(service): State<Service>, body: Body) -> Answer<impl IntoResponse> {
    let mut fields = body.fields();
    let elid = fields.required_id("elid");
    let elid = fields.finish(|| elid)?;
    let account = service.account(&caller.account).await?;
    let job = service.job_of_schedule(&caller.account, elid).await?;
    let before = job.schedules.iter().find(|one| one.id == elid).map(|one| view(&job, one, "", &account));
    let left: Vec<_> = job.schedules.iter().filter(|one| one.id != elid).map(|one| json!({"id": one.id})).collect();
    match left.is_empty() {
        true => service.delete_job(&caller.account, job.id, &Expected::Any).await?,
        false => {
            let input = JobInput { schedules: Some(json!(left)), ..JobInput::default() };
            service.update_job(&caller.account, job.id, &input, &Expected::Any).await?;
        }
    }
    let told = Told { before, after: None };
    Ok((Extension(told), Json(json!({"doc": {"id": value(elid), "ok": value("")}}))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_come_in_any_order_and_count_once() {
        assert_eq!(days("3, 1,3,0"), Ok(vec![0, 1, 3]));
        for text in ["", ",", "7", "1,,2", "1-5", "-1", "Mon", "1;2", "256"] {
            assert!(days(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_hours_and_minutes() {
        assert_eq!((time("02:01"), time("2:01"), time("23:59")), (Ok((2, 1)), Ok((2, 1)), Ok((23, 59))));
        for text in ["", "24:00", "12:60", "1201", "+1:00", "12:1:1", "aa:bb", "012:00", ":"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
