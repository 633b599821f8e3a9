//! Load in the background of a test: clients that send one request after the other, and know exactly what became of each.

use crate::client::Client;
use hyper::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two requests of a client: two busy cores are also to do something else.
const REST: Duration = Duration::from_millis(2);

/// Clients at work. They end when dropped, or by [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<Sent>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

/// What became of the requests.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sent {
    /// When each that was answered by a version began, in order.
    pub began: Vec<Instant>,
    /// Answered by Envoy itself, with a status of 500 or more.
    pub refused: u64,
    /// Without an answer: the connection ended. Such a request may have arrived or not.
    pub broken: u64,
}

impl Sent {
    /// How many were answered by a version.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.began.len() as u64
    }

    /// How many of those began before a moment.
    #[must_use]
    pub fn before(&self, moment: Instant) -> u64 {
        self.began.iter().filter(|began| **began < moment).count() as u64
    }
}

impl Load {
    /// Starts so many clients, each on a connection of its own, and of a new one whenever it ends.
    #[must_use]
    pub fn start(address: SocketAddr, clients: usize, path: &str) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(run(address, path.to_owned(), Arc::clone(&stop), Arc::clone(&answered)));
        }
        Self { clients: running, stop, answered }
    }

    /// How many have been answered by now.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    pub async fn more(&self, requests: u64) {
        let until = self.answered() + requests;
        crate::eventually(crate::wait::PATIENCE, "more requests are answered", async || {
            crate::wait::holds(self.answered() >= until)
        })
        .await;
    }

    /// Lets every client end the request it is at, and says what became of all.
    pub async fn stop(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Sent::default();
        for sent in self.clients.join_all().await {
            all.began.extend(sent.began);
            all.refused += sent.refused;
            all.broken += sent.broken;
        }
        all.began.sort_unstable();
        all
    }
}

async fn run(address: SocketAddr, path: String, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> Sent {
    let mut sent = Sent::default();
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let open = match client.as_mut() {
            Some(open) => open,
            None => match Client::try_http1(address).await {
                Ok(new) => client.insert(new),
                // Nobody listens: nothing is sent.
                Err(_) => {
                    tokio::time::sleep(10 * REST).await;
                    continue;
                }
            },
        };
        let began = Instant::now();
        match open.send(Method::GET, &path, &[]).await {
            Ok(reply) if reply.version().is_empty() => sent.refused += 1,
            Ok(reply) => {
                sent.began.push(began);
                answered.fetch_add(1, Ordering::Relaxed);
                // Envoy drains this connection.
                if reply.headers.get("connection").is_some_and(|value| value == "close") {
                    client = None;
                }
            }
            Err(_) => {
                sent.broken += 1;
                client = None;
            }
        }
        tokio::time::sleep(REST).await;
    }
    sent
}
