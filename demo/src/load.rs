//! The users: requests at a constant rate over kept-alive connections, never waiting for the answers before (open loop).

use clap::Args;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

/// How many different users there are.
const USERS: u32 = 10_000;
/// Most requests in flight: beyond, the target is down and piling up helps nobody.
const IN_FLIGHT: usize = 2_000;

/// Arguments of `weir-demo load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Where Envoy listens: a host, by address or name, and a port.
    #[arg(long, value_name = "HOST:PORT")]
    target: String,
    /// The `Host` of requests.
    #[arg(long, default_value = "shop.example")]
    host: String,
    /// Requests a second.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Seed of which user comes next; drawn by the system when left out.
    #[arg(long)]
    seed: Option<u64>,
}

/// Sends until it is ended, and prints what it has sent every ten seconds.
pub(crate) async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector);
    let seed = args.seed.unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    let mut chance = SmallRng::seed_from_u64(seed);
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let (sent, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut pace = tokio::time::interval(Duration::from_secs(1) / args.rate);
    // Late ticks are made up for at once: the rate is kept whatever happens.
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut news = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = news.tick() => {
                let (sent, lost) = (sent.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
                println!("{sent} requests sent, {lost} without an answer");
                continue;
            }
        }
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            lost.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let request = Request::get(format!("http://{}/", args.target))
            .header("host", &args.host)
            .header("x-user", format!("user-{}", chance.random_range(0..USERS)))
            .body(Empty::new())?;
        sent.fetch_add(1, Ordering::Relaxed);
        let (client, lost) = (client.clone(), Arc::clone(&lost));
        tokio::spawn(async move {
            let _place = place;
            let answered = match client.request(request).await {
                Ok(response) => response.into_body().collect().await.is_ok(),
                Err(_) => false,
            };
            if !answered {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}
