//! Traffic as counts: how many requests each version got, how they ended, how long they took, what they earned.

use rand_distr::{Binomial, Distribution, LogNormal};
use weir_core::report::Counts;
use weir_engine::state::Epoch;
pub(crate) use weir_simulator::random::{Random, seeded};

/// A time in a run: requests of all versions before the look that is being made.
pub(crate) type At = u64;

/// What is served between two looks.
pub(crate) trait Traffic {
    /// Adds `requests` requests to `cells`, one per version, split by the epoch's weights.
    fn serve(&mut self, random: &mut Random, at: At, requests: u64, epoch: &Epoch, cells: &mut [Counts]);
}

/// Requests that are independent of each other.
#[derive(Clone, Copy)]
pub(crate) struct Requests {
    /// Probability of failing, by time and version.
    pub(crate) fails: fn(At, usize) -> f64,
    /// How long the served take; `None` where no case asks.
    pub(crate) latency: Option<fn(At, usize) -> Latency>,
    /// What is earned.
    pub(crate) reward: Earning,
}

/// A log-normal latency.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    /// Median, in microseconds.
    pub(crate) median_us: f64,
    /// Standard deviation of the logarithm.
    pub(crate) sigma: f64,
}

/// What a request earns.
#[derive(Clone, Copy)]
pub(crate) enum Earning {
    Nothing,
    /// A conversion with this probability.
    Conversion(fn(At, usize) -> f64),
    /// With the probability, a log-normal amount of that standard deviation of the logarithm; its median by version.
    Amount {
        buys: f64,
        sigma: f64,
        median: fn(usize) -> f64,
    },
}

impl Requests {
    /// Requests that fail with these probabilities, and of which nothing else is known.
    pub(crate) fn failing(fails: fn(At, usize) -> f64) -> Self {
        Self { fails, latency: None, reward: Earning::Nothing }
    }
}

impl Traffic for Requests {
    fn serve(&mut self, random: &mut Random, at: At, requests: u64, epoch: &Epoch, cells: &mut [Counts]) {
        for (version, (n, counts)) in split(random, requests, epoch).into_iter().zip(cells).enumerate() {
            let failed = binomial(random, n, (self.fails)(at, version));
            counts.assigned += n;
            counts.completed += n;
            counts.failed += failed;
            if let Some(latency) = self.latency.and_then(|latency| (latency)(at, version).distribution()) {
                for _ in failed..n {
                    record(counts, latency.sample(random));
                }
            }
            match self.reward {
                Earning::Nothing => {}
                Earning::Conversion(rate) => counts.rewarded += binomial(random, n, rate(at, version)),
                Earning::Amount { buys, sigma, median } => {
                    let Ok(amount) = LogNormal::new(median(version).ln(), sigma) else { continue };
                    for _ in 0..binomial(random, n, buys) {
                        let earned: f64 = amount.sample(random);
                        counts.rewarded += 1;
                        counts.reward_sum += earned;
                        counts.reward_sum_squares += earned * earned;
                    }
                }
            }
        }
    }
}

impl Latency {
    fn distribution(self) -> Option<LogNormal<f64>> {
        LogNormal::new(self.median_us.ln(), self.sigma).ok()
    }
}

/// Records a latency in microseconds.
pub(crate) fn record(counts: &mut Counts, microseconds: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; latencies are positive")]
    counts.latency.record(microseconds as u64);
    let seconds = microseconds * 1e-6;
    counts.latency_sum += seconds;
    counts.latency_sum_squares += seconds * seconds;
}

/// How many of `requests` each version gets: a multinomial, one binomial after the other.
fn split(random: &mut Random, requests: u64, epoch: &Epoch) -> Vec<u64> {
    let (mut left, mut share) = (requests, 1.0);
    let versions = epoch.weights.len();
    (0..versions)
        .map(|version| {
            let p = epoch.propensity(version);
            let n = if version + 1 == versions { left } else { binomial(random, left, p / share) };
            left -= n;
            share -= p;
            n
        })
        .collect()
}

/// A binomial draw; `p` is clamped to \[0, 1\].
pub(crate) fn binomial(random: &mut Random, n: u64, p: f64) -> u64 {
    // NaN is no probability either.
    Binomial::new(n, p.clamp(0.0, 1.0)).map_or(0, |binomial| binomial.sample(random))
}

/// Requests of which some go where the weights do not send them.
pub(crate) struct Astray {
    /// What there is of requests.
    pub(crate) requests: Requests,
    /// The weights that are followed.
    pub(crate) weights: Vec<u32>,
}

impl Traffic for Astray {
    fn serve(&mut self, random: &mut Random, at: At, requests: u64, epoch: &Epoch, cells: &mut [Counts]) {
        let followed = Epoch { weights: self.weights.clone(), ..epoch.clone() };
        self.requests.serve(random, at, requests, &followed, cells);
    }
}
