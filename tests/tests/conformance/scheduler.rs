//! What jobs and the maintenance rely on in EventBridge Scheduler.

use aws_sdk_scheduler::operation::create_schedule::CreateScheduleError;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleError;
use aws_sdk_scheduler::operation::update_schedule::UpdateScheduleError;
use aws_sdk_scheduler::primitives::DateTime;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, SqsParameters, Target,
};
use jiff::SignedDuration;

use crate::messaging::{Messaging, unique};

fn target(queue_arn: &str, input: &str) -> Target {
    // Against a real AWS this names a role that may send to the queue.
    let role = std::env::var("HOLDFAST_CONFORMANCE_ROLE_ARN");
    let role = role.unwrap_or_else(|_| "arn:aws:iam::000000000000:role/scheduler".to_owned());
    let group = SqsParameters::builder().message_group_id("account-7").build();
    Target::builder().arn(queue_arn).role_arn(role).input(input).sqs_parameters(group).build().unwrap()
}

fn at_once() -> FlexibleTimeWindow {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().unwrap()
}

const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:queue";

#[tokio::test]
async fn a_due_slot_arrives_in_the_queue_with_its_true_time() {
    let aws = Messaging::start().await;
    let url = aws.queue(&[]).await;
    let (name, clock) = (unique("once"), holdfast_shared::clock::SystemClock);
    let slot = holdfast_shared::clock::Clock::now(&clock) + SignedDuration::from_secs(2);
    let slot = jiff::Timestamp::from_second(slot.as_second()).unwrap();
    let expression = format!("at({})", slot.strftime("%Y-%m-%dT%H:%M:%S"));
    let input = r#"{"slot": "<aws.scheduler.scheduled-time>"}"#;
    let create = aws.scheduler.create_schedule().name(&name).schedule_expression(expression);
    let create = create.flexible_time_window(at_once()).target(target(&aws.arn(&url).await, input));
    create.action_after_completion(ActionAfterCompletion::Delete).send().await.unwrap();
    let message = loop {
        // AWS promises no more than the minute; each poll waits up to 20 s.
        let receive = aws.sqs.receive_message().queue_url(&url).wait_time_seconds(20).send().await.unwrap();
        if let Some(message) = receive.messages.unwrap_or_default().pop() {
            break message;
        }
    };
    assert_eq!(message.body(), Some(format!(r#"{{"slot": "{slot}"}}"#).as_str()));
    let gone = aws.scheduler.get_schedule().name(&name).send().await;
    assert!(gone.is_err() || std::env::var("HOLDFAST_CONFORMANCE_ENDPOINT").is_ok());
}

#[tokio::test]
async fn schedules_are_made_read_changed_listed_and_deleted() {
    let aws = Messaging::start().await;
    let (group, name) = (unique("group"), unique("schedule"));
    aws.scheduler.create_schedule_group().name(&group).send().await.unwrap();
    let start = DateTime::from_secs(4_000_000_000);
    let create = aws.scheduler.create_schedule().name(&name).group_name(&group).flexible_time_window(at_once());
    let create = create.schedule_expression("cron(30 2 ? * MON-FRI *)").schedule_expression_timezone("Europe/Berlin");
    let create = create.start_date(start).target(target(QUEUE, "a")).client_token("token");
    let arn = create.clone().send().await.unwrap().schedule_arn;
    assert!(arn.ends_with(&format!(":schedule/{group}/{name}")), "{arn}");
    assert_eq!(create.clone().send().await.unwrap().schedule_arn, arn);
    let conflict = create.client_token("other").send().await.unwrap_err().into_service_error();
    assert!(matches!(conflict, CreateScheduleError::ConflictException(_)), "{conflict:?}");

    let get = || aws.scheduler.get_schedule().name(&name).group_name(&group).send();
    let found = get().await.unwrap();
    assert_eq!(found.schedule_expression_timezone(), Some("Europe/Berlin"));
    assert_eq!(found.start_date(), Some(&start));
    assert_eq!(found.state(), Some(&ScheduleState::Enabled));
    assert_eq!(found.target().unwrap().sqs_parameters().unwrap().message_group_id(), Some("account-7"));
    assert_eq!(found.target().unwrap().retry_policy().unwrap().maximum_retry_attempts(), Some(185));

    // What an update leaves out goes back to its default.
    let update = aws.scheduler.update_schedule().name(&name).group_name(&group).flexible_time_window(at_once());
    let update = update.schedule_expression("rate(5 minutes)").target(target(QUEUE, "b"));
    update.state(ScheduleState::Disabled).send().await.unwrap();
    let found = get().await.unwrap();
    assert_eq!((found.schedule_expression_timezone(), found.start_date()), (Some("UTC"), None));
    assert_eq!(found.state(), Some(&ScheduleState::Disabled));

    let list = aws.scheduler.list_schedules().group_name(&group).name_prefix("schedule-");
    let listed = list.state(ScheduleState::Disabled).send().await.unwrap();
    assert_eq!((listed.schedules()[0].name(), listed.schedules().len()), (Some(name.as_str()), 1));
    aws.scheduler.delete_schedule().name(&name).group_name(&group).send().await.unwrap();
    let missing = get().await.unwrap_err().into_service_error();
    assert!(matches!(missing, GetScheduleError::ResourceNotFoundException(_)), "{missing:?}");
    aws.scheduler.delete_schedule_group().name(&group).send().await.unwrap();
}

#[tokio::test]
async fn lists_come_in_pages() {
    let aws = Messaging::start().await;
    let group = unique("group");
    aws.scheduler.create_schedule_group().name(&group).send().await.unwrap();
    for number in 0..5 {
        let create = aws.scheduler.create_schedule().name(format!("s-{number}")).group_name(&group);
        let create = create.flexible_time_window(at_once()).schedule_expression("cron(0 0 1 1 ? *)");
        create.target(target(QUEUE, "a")).send().await.unwrap();
    }
    let mut pages = aws.scheduler.list_schedules().group_name(&group).into_paginator().page_size(2).send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        names.extend(page.unwrap().schedules.into_iter().filter_map(|schedule| schedule.name));
    }
    assert_eq!(names, ["s-0", "s-1", "s-2", "s-3", "s-4"]);
    let groups = aws.scheduler.list_schedule_groups().name_prefix(&group).send().await.unwrap();
    assert_eq!(groups.schedule_groups().len(), 1);
    aws.scheduler.delete_schedule_group().name(&group).send().await.unwrap();
}

#[tokio::test]
async fn errors_reach_the_sdk_under_their_names() {
    let aws = Messaging::start().await;
    let create = aws.scheduler.create_schedule().name(unique("bad")).flexible_time_window(at_once());
    let create = create.target(target(QUEUE, "a"));
    let bad = create.clone().schedule_expression("cron(0 0 * * *)").send().await.unwrap_err().into_service_error();
    assert!(matches!(bad, CreateScheduleError::ValidationException(_)), "{bad:?}");
    let absent = create.schedule_expression("rate(1 day)").group_name("absent").send().await.unwrap_err();
    let absent = absent.into_service_error();
    assert!(matches!(absent, CreateScheduleError::ResourceNotFoundException(_)), "{absent:?}");
    let update = aws.scheduler.update_schedule().name(unique("absent")).flexible_time_window(at_once());
    let update = update.schedule_expression("rate(1 day)").target(target(QUEUE, "a")).send().await;
    let update = update.unwrap_err().into_service_error();
    assert!(matches!(update, UpdateScheduleError::ResourceNotFoundException(_)), "{update:?}");
}
