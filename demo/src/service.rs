//! One version of the shop: how slow it is, how often it fails, how often a visit becomes a purchase.
//!
//! Knows nothing of Weir: it answers `x-weir-reward: 1` when a visitor buys, and names itself in `x-served-by`.

use clap::{Args, ValueEnum};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// Arguments of `weir-demo service`.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Which version to be.
    #[arg(long)]
    version: Version,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Seed of its chances; drawn by the system when left out.
    #[arg(long)]
    seed: Option<u64>,
}

/// The versions of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// What runs today: 10% buy, 0.5% errors.
    V1,
    /// 14% buy, 0.5% errors: the one that should win.
    V2,
    /// 18% buy, but 6% errors: sells best and breaks its objective.
    V3,
}

impl Version {
    /// All of them, the baseline first.
    pub(crate) const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// Its name in the experiment.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    const fn conversion(self) -> f64 {
        match self {
            Self::V1 => 0.10,
            Self::V2 => 0.14,
            Self::V3 => 0.18,
        }
    }

    const fn errors(self) -> f64 {
        match self {
            Self::V1 | Self::V2 => 0.005,
            Self::V3 => 0.06,
        }
    }

    /// Mean milliseconds beyond the least.
    const fn latency(self) -> f64 {
        match self {
            Self::V1 => 18.0,
            Self::V2 => 12.0,
            Self::V3 => 30.0,
        }
    }
}

/// What one visit comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Visit {
    latency: Duration,
    fails: bool,
    buys: bool,
}

impl Visit {
    /// Latency: 5 ms and an exponential tail, cut at half a second. Who sees an error does not buy; the share of all
    /// visitors who buy is still the version's conversion.
    fn draw(version: Version, chance: &mut SmallRng) -> Self {
        let tail = -version.latency() * (1.0 - chance.random::<f64>()).ln();
        let fails = chance.random_bool(version.errors());
        let buys = !fails && chance.random_bool(version.conversion() / (1.0 - version.errors()));
        Self { latency: Duration::from_secs_f64((5.0 + tail).min(500.0) / 1_000.0), fails, buys }
    }
}

/// Serves until it is ended.
pub(crate) async fn run(args: ServiceArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let seed = args.seed.unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    let chance = Arc::new(Mutex::new(SmallRng::seed_from_u64(seed)));
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let chance = Arc::clone(&chance);
        let service = service_fn(move |_: Request<Incoming>| {
            let visit = Visit::draw(args.version, &mut chance.lock().unwrap_or_else(PoisonError::into_inner));
            answer(args.version, visit)
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(version: Version, visit: Visit) -> Result<Response<Full<Bytes>>, Infallible> {
    tokio::time::sleep(visit.latency).await;
    let text = match visit {
        Visit { fails: true, .. } => "out of order\n",
        Visit { buys: true, .. } => "thank you for your purchase\n",
        Visit { .. } => "just looking\n",
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    if visit.fails {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response.headers_mut().insert("x-served-by", hyper::header::HeaderValue::from_static(version.name()));
    if visit.buys {
        response.headers_mut().insert("x-weir-reward", hyper::header::HeaderValue::from_static("1"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_tests::bounds::assert_share;

    #[test]
    fn versions_sell_and_fail_as_often_as_they_say() {
        for version in Version::ALL {
            let mut chance = SmallRng::seed_from_u64(1);
            let visits: Vec<Visit> = (0..20_000).map(|_| Visit::draw(version, &mut chance)).collect();
            let count = |which: fn(&Visit) -> bool| visits.iter().filter(|visit| which(visit)).count() as u64;
            assert_share("conversion", count(|visit| visit.buys), 20_000, version.conversion());
            assert_share("errors", count(|visit| visit.fails), 20_000, version.errors());
            assert!(visits.iter().all(|visit| !(visit.buys && visit.fails)));
        }
    }
}
