//! What an assessment costs: five versions, four gates, a reward, by the number of epochs; from scratch, and again after one
//! epoch has grown. `cargo bench -p weir-engine`, or `make bench`.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_sign_loss, reason = "a benchmark may panic")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::{Random, error_rate, experiment, guardrail, latency, reward};
use weir_core::report::Counts;
use weir_engine::assess::{Assessor, Depth, assess};
use weir_engine::spec::{Bound, Direction, Experiment, RewardKind, Rule, Strategy, TOTAL_WEIGHT};
use weir_engine::state::{Epoch, EpochCounts, Observations, State};

const VERSIONS: usize = 5;

/// Time on the processor where the system tells it (Linux), so that what else runs on the machine counts less.
struct CpuTime(WallTime);

fn on_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

impl Measurement for CpuTime {
    type Intermediate = (Instant, Option<Duration>);
    type Value = Duration;

    fn start(&self) -> Self::Intermediate {
        (Instant::now(), on_cpu())
    }

    fn end(&self, (began, before): Self::Intermediate) -> Duration {
        before.zip(on_cpu()).map_or_else(|| began.elapsed(), |(before, after)| after.saturating_sub(before))
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

/// Four gates of every kind that requests have: errors and tail latency, absolute and relative.
fn goals(kind: RewardKind) -> Experiment {
    Experiment {
        strategy: Strategy::Bandit { rule: Rule::Thompson, floor: 500, max_step: 2_000, half_life_ms: None },
        objectives: vec![error_rate(0.02), latency(0.99, 400_000)],
        guardrails: vec![
            guardrail("errors", Bound::ErrorRate { ratio: 1.2, margin: 0.003 }),
            guardrail("slower", Bound::Latency { ratio: 1.25 }),
        ],
        reward: reward(kind, Direction::Maximize),
        ..experiment(VERSIONS)
    }
}

/// A thousand exposures of each version in each epoch, whose weights differ: what a bandit leaves behind.
fn history(epochs: u32, kind: RewardKind) -> (Experiment, State, Observations) {
    let goals = goals(kind);
    let mut state = State::begin(&goals, 0);
    let mut observations = Observations::default();
    let mut random = Random(1);
    state.epochs.clear();
    for epoch in 1..=epochs {
        let mut weights: Vec<u32> = (0..VERSIONS).map(|_| 500 + (random.bits() % 30) as u32 * 50).collect();
        weights[0] += TOTAL_WEIGHT - weights.iter().sum::<u32>();
        let mut settled = Vec::new();
        for weight in &weights {
            let mut counts = Counts::default();
            for _ in 0..weight / 2 {
                counts.assigned += 1;
                counts.completed += 1;
                if random.happens(0.005) {
                    counts.failed += 1;
                } else {
                    let us = 20_000.0 - 50_000.0 * (1.0 - random.unit()).ln();
                    counts.latency.record(us as u64);
                    counts.latency_sum += us * 1e-6;
                    counts.latency_sum_squares += us * us * 1e-12;
                }
                if random.happens(0.1) {
                    let paid = 1.0 + 9.0 * random.unit();
                    counts.rewarded += 1;
                    counts.reward_sum += paid;
                    counts.reward_sum_squares += paid * paid;
                }
            }
            settled.push(counts);
        }
        let latency_grid = vec![55_000, 135_000, 170_000, 250_000];
        state.epochs.push(Epoch { epoch, began_at: u64::from(epoch), weights, centre: 0.1, latency_grid });
        observations.epochs.insert(epoch, EpochCounts { settled, unsettled: Vec::new() });
    }
    (goals, state, observations)
}

fn assessments(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("assessment of 5 versions, 4 gates, a reward");
    group.sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for epochs in [10, 50, 100, 200, 400] {
        let (goals, state, mut observations) = history(epochs, RewardKind::Binary);
        group.throughput(Throughput::Elements(u64::from(epochs)));
        group.bench_function(BenchmarkId::new("from scratch", epochs), |bencher| {
            bencher.iter(|| assess(black_box(&goals), &state, &observations));
        });
        group.bench_function(BenchmarkId::new("from scratch, for a decision alone", epochs), |bencher| {
            bencher.iter(|| Assessor::default().assess(black_box(&goals), &state, &observations, Depth::Decision));
        });
        let mut assessor = Assessor::default();
        for (name, depth) in
            [("one epoch has grown", Depth::Complete), ("one epoch has grown, for a decision alone", Depth::Decision)]
        {
            let _ = assessor.assess(&goals, &state, &observations, depth);
            group.bench_function(BenchmarkId::new(name, epochs), |bencher| {
                bencher.iter(|| {
                    let cell = &mut observations.epochs.get_mut(&epochs).unwrap().settled[1];
                    (cell.assigned, cell.completed) = (cell.assigned + 1, cell.completed + 1);
                    cell.latency.record(60_000);
                    assessor.assess(black_box(&goals), &state, &observations, depth)
                });
            });
        }
    }
    let (goals, state, observations) = history(100, RewardKind::Real);
    group.bench_function(BenchmarkId::new("from scratch, rewards that are amounts", 100), |bencher| {
        bencher.iter(|| assess(black_box(&goals), &state, &observations));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime(WallTime));
    targets = assessments
}
criterion_main!(benches);
