//! How many reports the real controller makes durable in a second, on SQLite.
//!
//! Many proxies at once, each over a connection of its own and sending its next report when the last is acknowledged, so
//! each second holds more of them than a fleet of that many workers would send.

use crate::results::{heading, quantile, table};
use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weir_core::histogram::Histogram;
use weir_core::plan::{FORMAT, Plan, PlannedExperiment};
use weir_core::report::{Cell, Counts, Report, ReportedExperiment};
use weir_tests::Controller;

/// The outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ingest {
    proxies: u32,
    experiments: usize,
    cells_per_report: usize,
    bytes_per_report: usize,
    seconds: f64,
    reports: usize,
    reports_per_second: f64,
    median_millis: f64,
    p99_millis: f64,
}

const PROXIES: u32 = 64;
const EXPERIMENTS: usize = 4;

/// Measures.
pub(crate) async fn measure(seconds: u32) -> anyhow::Result<Ingest> {
    heading("Reports that the controller makes durable");
    let controller = Controller::start().await;
    for number in 0..EXPERIMENTS {
        controller.apply(&document(number));
    }
    let plan = controller.get("/v1/plan").await.context("the controller gives no plan")?;
    let plan = Arc::new(Plan::from_json(plan.to_string().as_bytes())?);
    ensure!(plan.experiments.len() == EXPERIMENTS, "{} experiments in the plan", plan.experiments.len());
    let begin = Instant::now();
    let until = begin + Duration::from_secs(u64::from(seconds));
    let mut proxies = JoinSet::new();
    for number in 0..PROXIES {
        proxies.spawn(proxy(controller.address(), number, Arc::clone(&plan), until));
    }
    let mut times = Vec::new();
    while let Some(result) = proxies.join_next().await {
        times.extend(result.context("a proxy failed")??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let sample = report(&plan, 0, 1, 0, 0);
    let result = Ingest {
        proxies: PROXIES,
        experiments: EXPERIMENTS,
        cells_per_report: sample.experiments.iter().map(|experiment| experiment.cells.len()).sum(),
        bytes_per_report: serde_json::to_vec(&sample)?.len(),
        seconds,
        reports: times.len(),
        reports_per_second: times.len() as f64 / seconds,
        median_millis: quantile(&times, 0.5),
        p99_millis: quantile(&times, 0.99),
    };
    result.show();
    Ok(result)
}

fn document(number: usize) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {{name: bench-{number}}}
spec:
  service: bench
  match: {{hosts: [bench-{number}.example]}}
  unit: request
  versions:
    - {{name: v1, baseline: true}}
    - {{name: v2}}
    - {{name: v3}}
  strategy: {{bandit: {{floor: 5%, maxStep: 20%}}}}
  objectives: [{{name: errors, errorRate: {{max: 2%}}}}]
  reward: {{responseHeader: x-weir-reward, direction: maximize}}
"
    )
}

/// Sends reports one after the other; milliseconds that each took to be acknowledged.
async fn proxy(address: SocketAddr, number: u32, plan: Arc<Plan>, until: Instant) -> anyhow::Result<Vec<f64>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut times = Vec::new();
    for sequence in 1.. {
        if Instant::now() >= until {
            break;
        }
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        // One bin of the last seconds, in all of which the watermark stays behind: the costliest reports, never final.
        let body = serde_json::to_vec(&report(&plan, number, sequence, now, now.saturating_sub(60_000)))?;
        let request = hyper::Request::post("/v1/reports")
            .header("host", "weir")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let begin = Instant::now();
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status == 200, "the controller answered {status}: {}", String::from_utf8_lossy(&answer));
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// What a busy worker sends each second: a cell for every version of every experiment.
fn report(plan: &Plan, proxy: u32, sequence: u64, now: u64, watermark: u64) -> Report {
    Report {
        format: FORMAT,
        node: format!("bench-{proxy}"),
        incarnation: format!("{proxy:032x}"),
        sequence,
        plan: plan.revision.clone(),
        stale: false,
        dropped: 0,
        experiments: plan.experiments.iter().map(|experiment| counted(experiment, now, watermark)).collect(),
        claims: Vec::new(),
        lost_claims: 0,
    }
}

fn counted(experiment: &PlannedExperiment, now: u64, watermark: u64) -> ReportedExperiment {
    let bin = |time: u64| time / experiment.bin_ms * experiment.bin_ms;
    let cells = experiment.versions.iter().map(|version| Cell {
        epoch: experiment.epoch,
        version: version.name.clone(),
        bin: bin(now),
        counts: counts(),
    });
    ReportedExperiment { id: experiment.id.clone(), watermark: bin(watermark), cells: cells.collect() }
}

/// A hundred exposures between 5 and 55 ms, one failed, twelve rewarded.
fn counts() -> Counts {
    let mut latency = Histogram::default();
    let (mut sum, mut squares) = (0.0, 0.0);
    for index in 0..99_u32 {
        let micros = 5_000 + 500 * index;
        let seconds = f64::from(micros) / 1e6;
        latency.record(u64::from(micros));
        sum += seconds;
        squares += seconds * seconds;
    }
    Counts {
        assigned: 100,
        completed: 100,
        failed: 1,
        latency,
        latency_sum: sum,
        latency_sum_squares: squares,
        rewarded: 12,
        reward_sum: 12.0,
        reward_sum_squares: 12.0,
        ..Counts::default()
    }
}

impl Ingest {
    fn show(&self) {
        println!(
            "{} proxies at once for {:.0} s, {} experiments, {} cells and {} bytes a report\n",
            self.proxies, self.seconds, self.experiments, self.cells_per_report, self.bytes_per_report
        );
        table(&[
            vec!["reports per second".to_owned(), format!("{:.0}", self.reports_per_second)],
            vec!["acknowledged after, median".to_owned(), format!("{:.1} ms", self.median_millis)],
            vec!["acknowledged after, 99%".to_owned(), format!("{:.1} ms", self.p99_millis)],
        ]);
    }
}
