//! How long beliefs take: not a test of correctness, so it runs only when asked for, in release.
//!
//!     cargo test --release -p weir-stats --test belief_speed -- --ignored --nocapture
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement, on a terminal"
)]

use std::time::Instant;
use weir_stats::belief::{Contender, Posterior, Profile, best_and_feasible, compare, expected_loss};
use weir_stats::beta::Beta;
use weir_stats::student::Student;

fn milliseconds(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let begin = Instant::now();
        work();
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    best
}

#[test]
#[ignore = "a measurement, for release builds"]
fn beliefs_about_five_versions() {
    let rates = |n: f64, p: f64| -> Vec<Posterior> {
        (0..5)
            .map(|i| {
                let k = n * p * (1.0 + 0.05 * f64::from(i));
                Beta::new(k + 0.5, n - k + 0.5).unwrap().into()
            })
            .collect()
    };
    let means = |degrees: f64| -> Vec<Posterior> {
        (0..5).map(|i| Student::new(10.0 + f64::from(i), 0.9, degrees).unwrap().into()).collect()
    };
    for (name, posteriors) in [
        ("rates of 10% in 5,000", rates(5e3, 0.1)),
        ("rates of 0.3% in 200,000", rates(2e5, 0.003)),
        ("rates of 0.3% in 300", rates(300.0, 0.003)),
        ("no rate seen", rates(0.0, 0.0)),
        ("means, 1,000 degrees", means(1000.0)),
        ("means, 3 degrees", means(3.0)),
        ("means, 10 degrees", means(10.0)),
        ("means, 30 degrees", means(30.0)),
        ("no event in 40", rates(40.0, 0.0)),
    ] {
        let contenders: Vec<Contender> =
            posteriors.iter().map(|reward| Contender { reward: *reward, feasible: 0.9 }).collect();
        let best = milliseconds(|| drop(best_and_feasible(&contenders, true)));
        let loss = milliseconds(|| drop(expected_loss(&posteriors, true)));
        let tables = milliseconds(|| posteriors.iter().for_each(|p| drop(Profile::new(*p))));
        let profiles: Vec<Profile> = posteriors.iter().map(|p| Profile::new(*p)).collect();
        let pairs = milliseconds(|| {
            for (i, a) in profiles.iter().enumerate() {
                for b in profiles.iter().skip(i + 1) {
                    assert!(compare(b, a, 0.95).greater >= 0.0);
                }
            }
        });
        println!(
            "{name}: best and feasible {best:.2} ms, loss {loss:.2} ms, tables {tables:.2} ms, all ten pairs {pairs:.2} ms"
        );
    }
}
