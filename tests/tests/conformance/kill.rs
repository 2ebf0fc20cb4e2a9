//! What SQS acknowledged survives SIGKILL; asked of the embedded one only.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Credentials;
use tokio_util::sync::CancellationToken;

use crate::messaging::{embedded, sqs};

/// Names the folder that the child serves.
const FOLDER: &str = "HOLDFAST_CONFORMANCE_FOLDER";

/// Not a test by itself: the process that the test below kills.
#[tokio::test]
async fn child_that_serves() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let endpoint = embedded(Path::new(&folder), &CancellationToken::new()).await;
    writeln!(std::io::stdout(), "\n{endpoint}").unwrap();
    std::future::pending::<()>().await;
}

/// The child; it ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts the child on `folder`; answers it with a client.
fn serve(folder: &Path) -> (Server, Client) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_serves", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let endpoint = lines.into_iter().find(|line| line.starts_with("http://")).unwrap();
    (Server(child), sqs(&endpoint, Credentials::new("conformance", "conformance", None, None, "test")))
}

/// Sends numbered messages until the queue is gone; notes those that were acknowledged, and kills at the 50th.
async fn send_until_killed(client: Client, url: String, sender: usize, kept: Arc<Mutex<Vec<String>>>, pid: u32) {
    for number in 0.. {
        let body = format!("{pid}-{sender}-{number}");
        if client.send_message().queue_url(&url).message_body(&body).send().await.is_err() {
            return;
        }
        let mut kept = kept.lock().unwrap();
        kept.push(body);
        if kept.len().is_multiple_of(50) {
            Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    if std::env::var("HOLDFAST_CONFORMANCE_ENDPOINT").is_ok() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (mut server, mut client) = serve(folder.path());
    let url = client.create_queue().queue_name("work").send().await.unwrap().queue_url.unwrap();
    for _ in 0..3 {
        let senders = (0..4).map(|sender| {
            tokio::spawn(send_until_killed(client.clone(), url.clone(), sender, kept.clone(), server.0.id()))
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
        (server, client) = serve(folder.path());
    }
    let mut found = Vec::new();
    loop {
        let receive = client.receive_message().queue_url(&url).max_number_of_messages(10).visibility_timeout(600);
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        found.extend(messages.into_iter().filter_map(|message| message.body));
    }
    drop(server);
    let kept = kept.lock().unwrap();
    let lost: Vec<_> = kept.iter().filter(|body| !found.contains(body)).collect();
    assert!(kept.len() >= 150 && lost.is_empty(), "{} kept, lost {lost:?}", kept.len());
}
