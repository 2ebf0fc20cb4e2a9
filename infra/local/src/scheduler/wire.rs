//! REST-JSON as the Scheduler SDKs speak it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router, middleware};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::store::{Listing, Put};
use super::{SchedulerStore, group, schedule, store, validation};
use crate::fault::Fault;
use crate::signature::{self, Credentials};

/// A query that may turn out unreadable.
type Asked<T> = Result<Query<T>, QueryRejection>;

type Answer = Result<Json<Value>, Fault>;

/// The group that a call about one schedule names in its query.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InGroup {
    #[serde(default = "schedule::default_group")]
    group_name: String,
}

impl SchedulerStore {
    /// The Scheduler surface, for whoever signs with `credentials`.
    pub fn router(&self, credentials: Credentials) -> Router {
        let schedule = get(get_schedule).post(create_schedule).put(update_schedule).delete(delete_schedule);
        let schedule_group = get(get_group).post(create_group).delete(delete_group);
        Router::new()
            .route("/schedules", get(list_schedules))
            .route("/schedules/{name}", schedule)
            .route("/schedule-groups", get(list_groups))
            .route("/schedule-groups/{name}", schedule_group)
            .layer(middleware::from_fn_with_state(Arc::new(credentials), signature::require))
            .with_state(self.clone())
    }

    async fn read(&self, work: impl FnOnce(&Connection) -> Result<Value, Fault> + Send + 'static) -> Answer {
        self.queues.transact(|db, _| work(db)).await.map(Json)
    }

    /// Writes, and lets the timer look again.
    async fn write(
        &self,
        work: impl FnOnce(&Connection, Timestamp) -> Result<Value, Fault> + Send + 'static,
    ) -> Answer {
        let answer = self.queues.transact(work).await?;
        self.wake();
        Ok(Json(answer))
    }
}

async fn create_schedule(State(store): State<SchedulerStore>, Path(name): Path<String>, body: Bytes) -> Answer {
    let put: Put = parse(&body)?;
    store.write(move |db, now| store::create(db, now, &name, put)).await
}

async fn update_schedule(State(store): State<SchedulerStore>, Path(name): Path<String>, body: Bytes) -> Answer {
    let put: Put = parse(&body)?;
    store.write(move |db, now| store::update(db, now, &name, put)).await
}

async fn get_schedule(State(store): State<SchedulerStore>, Path(name): Path<String>, query: Asked<InGroup>) -> Answer {
    let InGroup { group_name } = asked(query)?;
    store.read(move |db| store::get(db, &group_name, &name)).await
}

async fn delete_schedule(
    State(store): State<SchedulerStore>,
    Path(name): Path<String>,
    query: Asked<InGroup>,
) -> Answer {
    let InGroup { group_name } = asked(query)?;
    store.write(move |db, _| store::delete(db, &group_name, &name)).await
}

async fn list_schedules(State(store): State<SchedulerStore>, query: Asked<Listing>) -> Answer {
    let listing = asked(query)?;
    store.read(move |db| store::list(db, &listing)).await
}

async fn create_group(State(store): State<SchedulerStore>, Path(name): Path<String>) -> Answer {
    store.write(move |db, now| group::create(db, now, &name)).await
}

async fn get_group(State(store): State<SchedulerStore>, Path(name): Path<String>) -> Answer {
    store.read(move |db| group::get(db, &name)).await
}

async fn delete_group(State(store): State<SchedulerStore>, Path(name): Path<String>) -> Answer {
    store.write(move |db, _| group::delete(db, &name)).await
}

async fn list_groups(State(store): State<SchedulerStore>, query: Asked<Listing>) -> Answer {
    let listing = asked(query)?;
    store.read(move |db| group::list(db, &listing)).await
}

fn parse<R: DeserializeOwned>(body: &Bytes) -> Result<R, Fault> {
    serde_json::from_slice(body).map_err(|error| validation(format!("1 validation error detected: {error}.")))
}

fn asked<T>(query: Asked<T>) -> Result<T, Fault> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(validation(format!("1 validation error detected: {}.", rejection.body_text()))),
    }
}
