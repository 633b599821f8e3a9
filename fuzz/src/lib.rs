//! What fuzz targets share: experiments, states and counts out of bytes, and what must hold of every assessment.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use weir_core::plan::{FailureRules, Match, Measure, RewardSource, Unit};
use weir_core::report::Counts;
use weir_engine::assess::{Assessment, assess};
use weir_engine::decide::decide;
use weir_engine::health::Health;
use weir_engine::spec::{
    Alpha, Approvals, Bound, Direction, Experiment, Guardrail, Limit, Objective, OnTimeout, Reward, RewardKind, Rule,
    Strategy, TOTAL_WEIGHT, Version,
};
use weir_engine::state::{Epoch, EpochCounts, Frozen, Observations, Phase, State, Verdict};

const HUGE: u64 = 1_000_000_000_000;

/// A share within [0, 1].
pub fn share(bytes: &mut Unstructured<'_>) -> Result<f64> {
    Ok(f64::from(bytes.arbitrary::<u32>()?) / f64::from(u32::MAX))
}

/// A count up to 10¹², of any size alike.
pub fn count(bytes: &mut Unstructured<'_>) -> Result<u64> {
    let size: u32 = bytes.int_in_range(0..=40)?;
    Ok((bytes.arbitrary::<u64>()? & ((1 << size) - 1)).min(HUGE))
}

/// A number: seldom one that is none.
pub fn number(bytes: &mut Unstructured<'_>) -> Result<f64> {
    Ok(match bytes.int_in_range(0..=3)? {
        0 => share(bytes)?,
        1 => f64::from(bytes.arbitrary::<i32>()?) / 1_000.0,
        2 => count(bytes)? as f64,
        _ => f64::from_bits(bytes.arbitrary()?),
    })
}

fn weights(bytes: &mut Unstructured<'_>, versions: usize) -> Result<Vec<u32>> {
    let parts: Vec<u32> = (0..versions).map(|_| Ok(u32::from(bytes.arbitrary::<u8>()?))).collect::<Result<_>>()?;
    let sum = parts.iter().sum::<u32>().max(1);
    let mut weights: Vec<u32> = parts.iter().map(|part| part * TOTAL_WEIGHT / sum).collect();
    weights[0] += TOTAL_WEIGHT - weights.iter().sum::<u32>();
    Ok(weights)
}

/// What a document may say.
pub fn experiment(bytes: &mut Unstructured<'_>) -> Result<Experiment> {
    let versions = bytes.int_in_range(2..=5_usize)?;
    let strategy = match bytes.int_in_range(0..=2)? {
        0 => Strategy::Ab { weights: weights(bytes, versions)? },
        1 => Strategy::Bandit {
            rule: *bytes.choose(&[Rule::Thompson, Rule::TopTwo, Rule::Uniform])?,
            floor: bytes.int_in_range(1..=2_000)?,
            max_step: bytes.int_in_range(1..=10_000)?,
            half_life_ms: if bytes.ratio(1, 4)? { Some(count(bytes)?) } else { None },
        },
        _ => {
            let mut steps =
                (0..bytes.int_in_range(1..=4)?).map(|_| bytes.int_in_range(1..=2_000)).collect::<Result<Vec<u32>>>()?;
            steps.sort_unstable();
            Strategy::Canary { steps }
        }
    };
    let mut objectives = Vec::new();
    for at in 0..bytes.int_in_range(0..=3)? {
        let limit = if bytes.arbitrary()? {
            Limit::ErrorRate { max: share(bytes)?.clamp(1e-6, 0.999_999) }
        } else {
            Limit::Latency {
                quantile: share(bytes)?.clamp(1e-6, 0.999_999),
                max_us: bytes.int_in_range(1..=3_600_000_000)?,
            }
        };
        objectives.push(Objective { name: format!("objective {at}"), limit });
    }
    let mut guardrails = Vec::new();
    for at in 0..bytes.int_in_range(0..=3)? {
        let ratio = 1.0 + 99.0 * share(bytes)?;
        let bound = match bytes.int_in_range(0..=2)? {
            0 => Bound::Latency { ratio },
            1 => Bound::ErrorRate { ratio, margin: 0.0 },
            _ => Bound::ErrorRate { ratio, margin: 0.999 * share(bytes)? },
        };
        guardrails.push(Guardrail { name: format!("guardrail {at}"), bound });
    }
    let reward = if bytes.arbitrary()? {
        Some(Reward {
            source: RewardSource::ResponseHeader("x".into()),
            kind: if bytes.arbitrary()? { RewardKind::Binary } else { RewardKind::Real },
            direction: if bytes.arbitrary()? { Direction::Maximize } else { Direction::Minimize },
        })
    } else {
        None
    };
    Ok(Experiment {
        name: "shop".into(),
        service: "shop".into(),
        matching: Match::default(),
        unit: if bytes.ratio(1, 4)? { Unit::Cookie("uid".into()) } else { Unit::Request },
        versions: (0..versions).map(|n| Version { name: format!("v{n}"), headers: Vec::new() }).collect(),
        baseline: bytes.int_in_range(0..=versions - 1)?,
        strategy,
        objectives,
        guardrails,
        reward,
        alpha: Alpha { roll_back: 1e-6 + 0.499 * share(bytes)?, promotion: 1e-6 + 0.499 * share(bytes)? },
        deadline_ms: 2_000,
        bin_ms: 1_000,
        measure: Measure::End,
        failure: FailureRules::default(),
        override_header: None,
        min_exposures: count(bytes)?,
        max_duration_ms: count(bytes)?,
        on_timeout: OnTimeout::default(),
        approvals: Approvals { start: bytes.ratio(1, 8)?, step: bytes.ratio(1, 8)?, promotion: bytes.ratio(1, 8)? },
        priority: 0,
    })
}

/// A state that an experiment may be in, and some that it may not.
pub fn state(bytes: &mut Unstructured<'_>, experiment: &Experiment) -> Result<State> {
    let versions = experiment.versions.len();
    let mut state = State::begin(experiment, 0);
    state.epochs.clear();
    for epoch in 1..=bytes.int_in_range(1..=6_u32)? {
        let latency_grid = (0..bytes.int_in_range(0..=5)?).map(|_| count(bytes)).collect::<Result<_>>()?;
        let weights = weights(bytes, versions)?;
        state.epochs.push(Epoch { epoch, began_at: 0, weights, centre: number(bytes)?, latency_grid });
    }
    for out in &mut state.out {
        *out = bytes.ratio(1, 8)?;
    }
    for verdict in state.latched.iter_mut().flatten() {
        *verdict = match bytes.int_in_range(0..=9)? {
            0 => Verdict::Met,
            1 => Verdict::Violated,
            _ => Verdict::NotEnoughEvidence,
        };
    }
    for _ in 0..bytes.int_in_range(0..=2)? {
        let (a, b) = (bytes.int_in_range(0..=versions)?, bytes.int_in_range(0..=versions)?);
        state.frozen.push(Frozen { a, b, variance: number(bytes)? });
    }
    state.sample_ratio_broken = bytes.ratio(1, 8)?;
    state.rung = bytes.int_in_range(0..=5)?;
    Ok(state)
}

fn counts(bytes: &mut Unstructured<'_>) -> Result<Counts> {
    let mut counts = Counts { assigned: count(bytes)?, ..Counts::default() };
    // Mostly what a settled cell may say, sometimes whatever comes.
    let wild = bytes.ratio(1, 8)?;
    let below = |most: u64, bytes: &mut Unstructured<'_>| -> Result<u64> {
        if wild { count(bytes) } else { bytes.int_in_range(0..=most) }
    };
    counts.completed = below(counts.assigned, bytes)?;
    counts.failed = below(counts.completed, bytes)?;
    counts.aborted = below(counts.assigned.saturating_sub(counts.completed), bytes)?;
    counts.rewarded = below(counts.assigned, bytes)?;
    for _ in 0..bytes.int_in_range(0..=4)? {
        counts.latency.add(bytes.arbitrary()?, count(bytes)?);
        counts.abort_age.add(bytes.arbitrary()?, count(bytes)?);
    }
    counts.latency_sum = number(bytes)?;
    counts.latency_sum_squares = number(bytes)?;
    counts.reward_sum = number(bytes)?;
    counts.reward_sum_squares = number(bytes)?;
    for set in [&mut counts.failed_buckets, &mut counts.slow_buckets, &mut counts.rewarded_buckets] {
        for _ in 0..bytes.int_in_range(0..=3)? {
            set.push(bytes.arbitrary()?);
        }
        set.sort_unstable();
        set.dedup();
    }
    Ok(counts)
}

/// Counts of epochs, too many and too few of them.
pub fn observations(bytes: &mut Unstructured<'_>, versions: usize) -> Result<Observations> {
    let mut observations = Observations::default();
    for epoch in 1..=bytes.int_in_range(0..=7_u32)? {
        let cells = |bytes: &mut Unstructured<'_>| -> Result<Vec<Counts>> {
            let number = if bytes.ratio(1, 8)? { bytes.int_in_range(0..=versions + 1)? } else { versions };
            (0..number).map(|_| counts(bytes)).collect()
        };
        let settled = cells(bytes)?;
        let unsettled = if bytes.arbitrary()? { cells(bytes)? } else { Vec::new() };
        observations.epochs.insert(epoch, EpochCounts { settled, unsettled });
    }
    Ok(observations)
}

/// Assesses and decides; panics when an answer is no number, no probability or no plan.
pub fn check(experiment: &Experiment, state: &State, observations: &Observations, now: u64) {
    let assessment = assess(experiment, state, observations);
    check_assessment(&assessment);
    let decision = decide(experiment, state, &assessment, &Health::default(), now);
    let next = &decision.state;
    if decision.action.moves_traffic() && next.is_running() {
        assert_eq!(next.weights().iter().sum::<u32>(), TOTAL_WEIGHT, "{:?}", next.weights());
    }
    assert!(state.out.iter().zip(&next.out).all(|(before, after)| *after || !before), "who is out stays out");
    if let Phase::Concluded { version, .. } = next.phase {
        assert!(version < experiment.versions.len());
    }
}

/// Panics when an assessment holds what is no number, no probability or no interval.
pub fn check_assessment(assessment: &Assessment) {
    // NaN and the infinities become null, and null is no number.
    let stored = serde_json::to_string(assessment).expect("an assessment is JSON");
    let again: Assessment = serde_json::from_str(&stored).unwrap_or_else(|error| panic!("{error}: {stored}"));
    assert_eq!(serde_json::to_string(&again).expect("JSON"), stored);
    let probability = |p: f64| assert!((0.0..=1.0).contains(&p), "{p} in {stored}");
    assessment.probability_none_feasible.into_iter().for_each(probability);
    for version in &assessment.versions {
        for p in [
            version.probability_feasible,
            version.probability_best,
            version.probability_best_and_feasible,
            version.probability_beats_baseline,
        ] {
            p.into_iter().for_each(probability);
        }
        for gate in &version.gates {
            probability(gate.p_met);
            probability(gate.p_violated);
        }
        for comparison in version.metrics.iter().flat_map(|metric| &metric.comparisons) {
            comparison.probability_better.into_iter().for_each(probability);
            let intervals =
                [comparison.lift, comparison.difference, comparison.ratio_sequence, comparison.difference_sequence];
            for interval in intervals.into_iter().flatten() {
                assert!(interval.low.zip(interval.high).is_none_or(|(low, high)| low <= high), "{comparison:?}");
            }
        }
    }
}
