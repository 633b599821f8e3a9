//! Tests of the recorder: bounds, watermarks, and that nothing is lost by version.

mod units;

use super::room::largest_json;
use super::*;
use crate::matching::Compiled;
use crate::plan::Unit;
use crate::report::{Counts, Report};
use crate::testing::{FakeHost, plan};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn experiment(versions: usize) -> Rc<Experiment> {
    experiment_of(1, 1, versions)
}

fn experiment_of(number: u32, epoch: u32, versions: usize) -> Rc<Experiment> {
    let mut plan = plan(&vec![1; versions]);
    plan.experiments[0].id = format!("e{number}");
    plan.experiments[0].epoch = epoch;
    compiled(&plan)
}

fn compiled(plan: &crate::plan::Plan) -> Rc<Experiment> {
    let compiled = Compiled::new(plan, &[]);
    let mut host = FakeHost::default();
    Rc::clone(compiled.find(&mut compiled.reader(&mut host)).unwrap())
}

fn ok(milliseconds: u64) -> Observation {
    Observation { outcome: Outcome::Ok, age_nanos: milliseconds * 1_000_000, reward: 0.0 }
}

/// A report that a controller accepts.
fn valid(drained: &Drained) {
    let report = Report {
        format: 1,
        node: "n".repeat(256),
        incarnation: "0".repeat(32),
        sequence: 1,
        plan: "p".repeat(64),
        stale: true,
        dropped: drained.dropped,
        experiments: drained.experiments.clone(),
        claims: drained.claims.clone(),
        lost_claims: drained.lost_claims,
    };
    let json = serde_json::to_vec(&report).unwrap();
    let read = Report::from_json(&json).unwrap();
    assert_eq!(read, report);
}

#[test]
fn an_exposure_is_counted_in_the_bin_of_its_assignment_however_late_it_ends() {
    let mut recorder = Recorder::default();
    let experiment = experiment(2);
    let exposure = recorder.assign(&experiment, 1, None, 10_999).unwrap();
    recorder.complete(&exposure, Observation { reward: 2.5, ..ok(1_500) });
    let drained = recorder.drain(12_500);
    valid(&drained);
    let [reported] = &drained.experiments[..] else { panic!("one experiment") };
    let [cell] = &reported.cells[..] else { panic!("the other version's cell is empty") };
    assert_eq!((cell.version.as_str(), cell.bin, cell.epoch), ("v1", 10_000, 1));
    let counts = &cell.counts;
    assert_eq!((counts.assigned, counts.completed, counts.failed, counts.rewarded), (1, 1, 0, 1));
    assert_eq!((counts.latency_sum, counts.latency_sum_squares), (1.5, 2.25));
    assert_eq!((counts.reward_sum, counts.reward_sum_squares), (2.5, 6.25));
    assert_eq!(reported.watermark, 10_000, "12,500 - 2,000, to the bin below");
    assert_eq!(drained.assigned, 1);
}

#[test]
fn the_end_after_the_deadline_changes_nothing() {
    let mut recorder = Recorder::default();
    let experiment = experiment(2);
    let (on_time, late) =
        (recorder.assign(&experiment, 0, None, 0).unwrap(), recorder.assign(&experiment, 0, None, 0).unwrap());
    recorder.complete(&on_time, ok(2_000));
    recorder.complete(&late, Observation { age_nanos: 2_000_000_001, ..ok(0) });
    let drained = recorder.drain(2_000);
    assert_eq!(drained.experiments[0].cells[0].counts.overdue(), 1);
}

#[test]
fn a_watermark_passes_a_bin_only_when_no_request_in_it_can_still_count() {
    // Deadline 2 s, bin 1 s: a request of the last nanosecond of [0, 1 s) may count until just before 3 s.
    for (now, watermark) in [(0, 0), (1_000, 0), (2_999, 0), (3_000, 1_000), (3_999, 1_000), (4_000, 2_000)] {
        let mut recorder = Recorder::default();
        let experiment = experiment(2);
        recorder.assign(&experiment, 0, None, 0).unwrap();
        let drained = recorder.drain(now);
        assert_eq!(drained.experiments[0].watermark, watermark, "at {now}");
    }
}

#[test]
fn a_longer_bin_of_an_earlier_plan_holds_the_watermark_until_its_own_end() {
    for (unit, bucket) in [(Unit::Request, None), (Unit::Header("x-user".to_owned()), Some(7))] {
        let mut recorder = Recorder::default();
        let mut planned = plan(&[1, 1]);
        planned.experiments[0].unit = unit;
        planned.experiments[0].bin_ms = 10_000;
        let long = compiled(&planned);
        (planned.experiments[0].bin_ms, planned.experiments[0].epoch) = (1_000, 2);
        let (on_time, _overdue) =
            (recorder.assign(&long, 0, bucket, 9_000).unwrap(), recorder.assign(&long, 1, bucket, 9_000).unwrap());
        recorder.assign(&compiled(&planned), 0, None, 9_500).unwrap();
        assert_eq!(recorder.drain(10_000).experiments[0].watermark, 0);
        recorder.complete(&on_time, ok(1_900));
        let drained = recorder.drain(10_900);
        assert_eq!((drained.experiments[0].watermark, drained.experiments[0].cells[0].counts.completed), (0, 1));
        assert!(recorder.drain(11_999).is_empty());
        let passes = recorder.drain(12_000);
        assert_eq!(passes.experiments[0].watermark, 10_000);
        let overdue = passes.experiments[0].cells.first().map(|cell| cell.counts.failed_buckets.clone());
        assert_eq!(overdue, bucket.map(|bucket| vec![bucket]));
    }
}

#[test]
fn failures_and_aborts_are_told_apart_and_reports_stay_valid() {
    let mut recorder = Recorder::default();
    let experiment = experiment(2);
    for (outcome, reward) in [
        (Outcome::Ok, 0.0),
        (Outcome::Failed, 1.0),
        (Outcome::Aborted, 5.0),
        (Outcome::Ok, f64::MAX),
        (Outcome::Ok, -1.0),
    ] {
        let exposure = recorder.assign(&experiment, 0, None, 0).unwrap();
        recorder.complete(&exposure, Observation { outcome, reward, ..ok(5) });
    }
    let drained = recorder.drain(1);
    valid(&drained);
    let counts = &drained.experiments[0].cells[0].counts;
    assert_eq!((counts.assigned, counts.completed, counts.failed, counts.aborted), (5, 4, 1, 1));
    assert_eq!((counts.latency.total(), counts.abort_age.total()), (3, 1));
    assert_eq!((counts.rewarded, counts.reward_sum), (2, 0.0), "a square beyond f64 is no reward");
}

#[test]
fn the_watermark_follows_reported_bins_and_then_falls_silent() {
    let mut recorder = Recorder::default();
    let experiment = experiment(2);
    let exposure = recorder.assign(&experiment, 0, None, 5_000).unwrap();
    assert_eq!(recorder.drain(5_100).experiments[0].cells.len(), 1);
    assert!(recorder.drain(5_200).is_empty(), "nothing new");
    recorder.complete(&exposure, ok(1_000));
    assert_eq!(recorder.drain(6_000).experiments[0].cells[0].counts.completed, 1);
    let settled = recorder.drain(8_000);
    assert_eq!((settled.experiments[0].watermark, settled.experiments[0].cells.len()), (6_000, 0));
    assert!(recorder.drain(9_000).is_empty());
    assert!(recorder.experiments.is_empty() && recorder.cells == 0 && recorder.buckets == 0, "nothing is kept");
}

#[test]
fn memory_stays_flat_over_plan_changes() {
    let mut recorder = Recorder::default();
    for epoch in 1..5_000 {
        let experiment = experiment_of(epoch % 7, epoch, 3);
        let now = u64::from(epoch) * 500;
        let exposure = recorder.assign(&experiment, 0, None, now).unwrap();
        recorder.complete(&exposure, ok(10));
        recorder.drain(now + 100);
        assert!(recorder.cells <= 64 && recorder.experiments.len() <= 7, "{} cells", recorder.cells);
    }
}

#[test]
fn when_room_runs_out_final_bins_of_an_epoch_merge_and_only_then_are_exposures_dropped() {
    let mut recorder = Recorder::default();
    let experiment = experiment(16);
    // 512 bins of 16 cells fill 8,192; the controller is away, so nothing is drained.
    for bin in 0..2_000_u64 {
        let exposure = recorder.assign(&experiment, 0, None, bin * 1_000).expect("final bins make room");
        recorder.complete(&exposure, ok(1));
        assert!(recorder.cells <= CELLS);
    }
    let drained = recorder.drain(2_000_000);
    valid(&drained);
    assert_eq!((drained.assigned, drained.dropped), (2_000, 0));

    // Bins that are not final cannot merge.
    let many: Vec<Rc<Experiment>> = (0..600).map(|number| experiment_of(number, 1, 16)).collect();
    let assigned = many.iter().filter(|experiment| recorder.assign(experiment, 0, None, 3_000_000).is_some()).count();
    let drained = recorder.drain(3_000_001);
    valid(&drained);
    assert_eq!((assigned, drained.assigned, drained.dropped), (512, 512, 600 - 512));
}

#[test]
fn outcomes_stay_with_assignments_that_were_reported_before_room_ran_out() {
    let mut recorder = Recorder::default();
    let experiment = experiment(16);
    let in_flight: Vec<Exposure> =
        [0, 0, 0, 1_000, 1_000].iter().map(|at| recorder.assign(&experiment, 0, None, *at).unwrap()).collect();
    let before = recorder.drain(1_500);
    in_flight.iter().for_each(|exposure| recorder.complete(exposure, ok(1_000)));
    // The controller is away for longer than there is room for.
    for bin in 2..2_000_u64 {
        let exposure = recorder.assign(&experiment, 0, None, bin * 1_000).expect("final bins make room");
        recorder.complete(&exposure, ok(1));
    }
    let mut bins: BTreeMap<u64, Counts> = BTreeMap::new();
    for cell in [before, recorder.drain(2_000_000)].iter().flat_map(|drained| &drained.experiments[0].cells) {
        bins.entry(cell.bin).or_default().merge(&cell.counts);
    }
    assert_eq!(bins.values().map(|counts| counts.completed).sum::<u64>(), 5 + 1_998);
    for (bin, counts) in bins {
        assert!(!counts.is_contradictory(), "bin {bin}: {counts:?}");
    }
}

#[test]
fn an_experiment_is_found_wherever_others_come_and_go_and_whichever_recorder_and_plan_it_is_of() {
    let (mut one, mut two) = (Recorder::default(), Recorder::default());
    let experiments: Vec<Rc<Experiment>> = [5, 3, 7, 1].map(|number| experiment_of(number, 1, 2)).into();
    let again = experiment_of(5, 1, 2);
    let mut in_flight = Vec::new();
    for experiment in experiments.iter().chain([&experiments[0], &again, &experiments[2]]) {
        in_flight.push(one.assign(experiment, 0, None, 0).unwrap());
    }
    two.assign(&experiments[1], 1, None, 0).unwrap();
    in_flight.iter().for_each(|exposure| one.complete(exposure, ok(1)));
    let counts = |drained: &Drained| -> Vec<(String, u64, u64)> {
        let cell = |reported: &ReportedExperiment| {
            let counts = &reported.cells[0].counts;
            (reported.id.clone(), counts.assigned, counts.completed)
        };
        drained.experiments.iter().map(cell).collect()
    };
    let expected = [("e1", 1, 1), ("e3", 1, 1), ("e5", 3, 3), ("e7", 2, 2)];
    assert_eq!(counts(&one.drain(10)), expected.map(|(id, assigned, ended)| (id.to_owned(), assigned, ended)));
    assert_eq!(counts(&two.drain(10)), [("e3".to_owned(), 1, 0)]);
    // All but the last have gone from the recorder, and are found to be new.
    let last = one.assign(&experiments[2], 0, None, 60_000).unwrap();
    one.drain(60_001);
    let first = one.assign(&experiments[0], 0, None, 60_002).unwrap();
    one.complete(&last, ok(1));
    one.complete(&first, ok(1));
    assert_eq!(counts(&one.drain(60_003)), [("e5".to_owned(), 1, 1), ("e7".to_owned(), 0, 1)]);
}

#[test]
fn a_bin_has_room_for_every_version_or_for_none() {
    let mut recorder = Recorder::default();
    for number in 0..511 {
        recorder.assign(&experiment_of(number, 1, 16), 0, None, 0).unwrap();
    }
    recorder.assign(&experiment_of(1_000, 1, 15), 0, None, 0).unwrap();
    let two = experiment_of(1_001, 1, 2);
    assert!(recorder.assign(&two, 0, None, 0).is_none(), "one cell is left, two are needed");
    assert!(recorder.assign(&two, 1, None, 0).is_none());
    let known = experiment_of(5, 1, 16);
    assert!((0..16).all(|version| recorder.assign(&known, version, None, 0).is_some()));
}

#[test]
fn what_does_not_fit_into_one_report_follows_in_the_next_and_holds_the_watermark() {
    let mut recorder = Recorder::default();
    let experiment = experiment(16);
    for bin in 0..400_u64 {
        for version in 0..16 {
            for latency in 0..20_u64 {
                let exposure = recorder.assign(&experiment, version, None, bin * 1_000).unwrap();
                recorder.complete(&exposure, Observation { age_nanos: latency * 100_000_000, ..ok(0) });
            }
        }
    }
    let (mut assigned, mut watermark, mut reports) = (0, 0, 0);
    loop {
        let drained = recorder.drain(1_000_000);
        valid(&drained);
        let [reported] = &drained.experiments[..] else { panic!("one experiment") };
        assert!(reported.cells.iter().all(|cell| cell.bin >= watermark), "a bin below the watermark before");
        assert!(reported.watermark >= watermark);
        watermark = reported.watermark;
        assigned += drained.assigned;
        reports += 1;
        if !drained.more {
            break;
        }
        assert!(watermark < 400_000, "bins are left");
    }
    assert!(reports > 1);
    assert_eq!((assigned, watermark), (400 * 16 * 20, 998_000));
    assert_eq!(recorder.buckets, 0);
}

#[test]
fn starting_over_loses_everything_at_once_and_says_how_much() {
    let mut recorder = Recorder::default();
    let experiment = experiment(2);
    let in_flight = recorder.assign(&experiment, 0, None, 0).unwrap();
    recorder.assign(&experiment, 1, None, 0).unwrap();
    recorder.start_over(5);
    recorder.assign(&experiment, 1, None, 100).unwrap();
    recorder.complete(&in_flight, ok(100));
    let drained = recorder.drain(200);
    assert_eq!(drained.dropped, 7);
    let [cell] = &drained.experiments[0].cells[..] else { panic!("one cell") };
    assert_eq!((cell.counts.assigned, cell.counts.completed), (1, 0), "nothing of the life before");
}

proptest! {
    #[test]
    fn the_json_of_a_cell_is_never_larger_than_the_room_taken_for_it(
        latencies in proptest::collection::vec((any::<u64>(), 1..u64::MAX), 0..60),
        numbers in proptest::collection::vec(any::<u64>(), 7),
        sums in proptest::collection::vec(proptest::num::f64::NORMAL, 4),
        version in "[!-~]{1,128}",
        units in proptest::collection::vec(proptest::collection::btree_set(0..crate::report::UNIT_BUCKETS, 0..300), 3),
    ) {
        let mut counts = Counts {
            assigned: numbers[0], completed: numbers[1], failed: numbers[2], aborted: numbers[3], rewarded: numbers[4],
            new_units: numbers[5], repeats: numbers[6],
            latency_sum: sums[0], latency_sum_squares: sums[1], reward_sum: sums[2], reward_sum_squares: sums[3],
            failed_buckets: units[0].iter().copied().collect(), slow_buckets: units[1].iter().copied().collect(),
            rewarded_buckets: units[2].iter().copied().collect(), ..Counts::default()
        };
        for (latency, count) in latencies {
            counts.latency.add(crate::histogram::bucket_of(latency), count);
            counts.abort_age.add(crate::histogram::bucket_of(latency / 3), count);
        }
        let room = largest_json(&counts, &version);
        let cell = Cell { epoch: u32::MAX, version, bin: (1 << 53) - 1, counts };
        prop_assert!(serde_json::to_vec(&cell).unwrap().len() < room);
    }
}
