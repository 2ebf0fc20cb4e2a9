//! Roads: what a tool on the worker connects to is what the guard judged, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use holdfast_shared::domain::host::Host;
use holdfast_shared::domain::retry::Retry;
use holdfast_shared::guard::{Guard, Resolve};
use holdfast_worker::remote::{RemoteError, Road};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers one address when it is asked first, and another one ever after.
#[derive(Debug)]
struct Fickle {
    first: &'static str,
    then: &'static str,
    asked: Arc<AtomicUsize>,
}

impl Resolve for Fickle {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let address = if self.asked.fetch_add(1, Ordering::SeqCst) == 0 { self.first } else { self.then };
        Box::pin(async move { Ok(vec![address.parse().unwrap()]) })
    }
}

/// A road from here to 127.0.0.1 and nowhere else, and how often its names were looked up.
fn road(first: &'static str, then: &'static str) -> (Road, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = Arc::new(Fickle { first, then, asked: asked.clone() });
    (Road::straight(Guard::with_resolver("127.0.0.1/32".parse().unwrap(), resolver)), asked)
}

fn database() -> Host {
    Host::parse("db.example").unwrap()
}

/// Sends back what it gets, to everyone who comes.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    port
}

#[tokio::test]
async fn a_local_port_leads_to_the_address_that_was_judged_and_nothing_else() {
    let (road, asked) = road("127.0.0.1", "127.0.0.2");
    let port = echo().await;
    let local = road.local_port(&database(), port).await.unwrap();
    assert!(local.ip().is_loopback() && local.port() != port);
    assert_eq!(road.local_port(&database(), port).await.unwrap(), local, "one place has one port");
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(local).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
        streams.push(stream);
    }
    // The far end learns that the near one has ended, and the other way round.
    streams[0].shutdown().await.unwrap();
    assert_eq!(streams[0].read(&mut [0]).await.unwrap(), 0);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a name was looked up again");
    assert!(road.trouble().is_none());

    road.close().await;
    assert_eq!(streams[1].read(&mut [0]).await.unwrap_or(0), 0, "a connection outlived its road");
    assert!(TcpStream::connect(local).await.is_err(), "a port outlived its road");
}

#[tokio::test]
async fn what_is_forbidden_is_not_led_to() {
    let (road, _) = road("127.0.0.2", "127.0.0.1");
    let refused = road.local_port(&database(), 5432).await.unwrap_err();
    assert!(matches!(refused, RemoteError::Guarded(_)), "{refused}");
    let inner = Host::parse("10.0.0.1").unwrap();
    assert!(matches!(road.connect(&inner, 80).await, Err(RemoteError::Guarded(_))));
}

#[tokio::test]
async fn that_nobody_answers_is_known_to_the_road() {
    let (road, _) = road("127.0.0.1", "127.0.0.1");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let local = road.local_port(&database(), closed).await.unwrap();
    let mut stream = TcpStream::connect(local).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "a tool sees an end");
    let trouble = road.trouble().unwrap();
    assert!(trouble.to_string().contains("no answer from db.example"), "{trouble}");
    assert_eq!((trouble.retry(), trouble.step()), (Retry::Later, "connect"));
}
