//! Holdfast's parts as processes of their own, so that a test can kill or stop them.

use std::process::Stdio;

use holdfast_local::stack::Stack;
use holdfast_shared::aws::Endpoints;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::Installation;

/// What a worker on the stack's services finds in its environment.
pub fn worker_environment(stack: &Stack) -> Vec<(&'static str, String)> {
    let aws = stack.aws();
    let config = aws.config(stack.base_url());
    let Endpoints { dynamodb, sqs, scheduler, s3 } = aws.endpoints.clone();
    let keys = aws.data().keys();
    vec![
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
        ("AWS_ENDPOINT_URL_SQS", sqs),
        ("AWS_ENDPOINT_URL_SCHEDULER", scheduler),
        ("AWS_ENDPOINT_URL_S3", s3),
        ("AWS_REGION", config.region),
        ("AWS_ACCESS_KEY_ID", keys.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_key.expose().to_owned()),
        ("HOLDFAST_TABLE", config.table),
        ("HOLDFAST_QUEUE_URL", config.queue_url),
        ("HOLDFAST_QUEUE_ARN", config.queue_arn),
        ("HOLDFAST_DEAD_LETTER_QUEUE_URL", config.dead_letter_queue_url),
        ("HOLDFAST_DEAD_LETTER_QUEUE_ARN", config.dead_letter_queue_arn),
        ("HOLDFAST_SCHEDULE_GROUP", config.schedule_group),
        ("HOLDFAST_SCHEDULE_ROLE_ARN", config.schedule_role_arn),
        ("HOLDFAST_BUCKET", config.bucket),
        ("HOLDFAST_PUBLIC_URL", config.public_url),
        ("HOLDFAST_SEALING_KEYS", config.sealing_keys.to_text()),
        ("HOLDFAST_ALLOW_NETWORKS", config.allow_networks.to_string()),
    ]
}

/// A worker in a process of its own, on the installation's services. It goes by the system's clock.
#[derive(Debug)]
pub struct Worker(Child);

impl Worker {
    /// Starts `program`, which must be the worker's binary.
    pub fn start(program: &str, installation: &Installation) -> Self {
        Self::start_with(program, installation, &[])
    }

    /// The same with more in its environment.
    pub fn start_with(program: &str, installation: &Installation, more: &[(&str, &str)]) -> Self {
        let child = Command::new(program)
            .envs(worker_environment(&installation.stack))
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it has ended"), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) {
        self.0.kill().await.unwrap();
    }

    /// Tells it to end and waits until it did, in good order.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().await, Some(0));
    }

    /// Waits for it to end by itself and answers its exit code; `None` when a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        self.0.wait().await.unwrap().code()
    }
}
