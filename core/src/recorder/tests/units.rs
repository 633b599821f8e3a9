//! Tests of unit buckets: complete, never late, each once, bounded, and free where the unit is the request.

use super::*;
use crate::report::UNIT_BUCKETS;
use std::collections::BTreeSet;

/// Sticky, deadline 2 s, bin 1 s; every version but `v0` is slow from half a second on.
fn sticky(epoch: u32, versions: usize) -> Rc<Experiment> {
    let mut plan = plan(&vec![1; versions]);
    plan.experiments[0].epoch = epoch;
    plan.experiments[0].unit = Unit::Header("x-user".to_owned());
    plan.experiments[0].versions.iter_mut().skip(1).for_each(|version| version.slow_us = Some(500_000));
    compiled(&plan)
}

fn ended(outcome: Outcome, milliseconds: u64, reward: f64) -> Observation {
    Observation { outcome, reward, ..ok(milliseconds) }
}

fn cells(drained: &Drained) -> Vec<&Cell> {
    drained.experiments.iter().flat_map(|reported| &reported.cells).collect()
}

fn books_balance(recorder: &Recorder) {
    let groups = recorder.experiments.iter().flat_map(|recorded| &recorded.groups);
    assert_eq!(recorder.buckets, groups.map(Group::buckets).sum::<usize>());
}

#[test]
fn an_overdue_unit_is_in_the_report_whose_watermark_passes_its_bin() {
    let mut recorder = Recorder::default();
    let experiment = sticky(1, 2);
    let late = recorder.assign(&experiment, 1, Some(7), 999).unwrap();
    let on_time = recorder.assign(&experiment, 1, Some(8), 0).unwrap();
    recorder.complete(&on_time, ok(499));
    assert!(cells(&recorder.drain(1_500))[0].counts.failed_buckets.is_empty());
    // The end of a request beyond its deadline says nothing of its unit either.
    recorder.complete(&late, Observation { age_nanos: 2_000_000_001, ..ok(0) });
    assert!(recorder.drain(2_999).is_empty());
    let passes = recorder.drain(3_000);
    valid(&passes);
    assert_eq!(passes.experiments[0].watermark, 1_000);
    let [cell] = cells(&passes)[..] else { panic!("one cell") };
    assert_eq!((cell.version.as_str(), cell.bin, cell.counts.assigned), ("v1", 0, 0));
    assert_eq!((cell.counts.failed_buckets.as_slice(), cell.counts.slow_buckets.as_slice()), (&[7][..], &[7][..]));
    recorder.complete(&late, ended(Outcome::Failed, 1_999, 1.0));
    assert!(recorder.drain(60_000).is_empty());
    assert!(recorder.experiments.is_empty() && recorder.buckets == 0, "nothing is kept");
}

#[test]
fn of_two_requests_of_a_unit_the_one_overdue_shows() {
    let mut recorder = Recorder::default();
    let experiment = sticky(1, 2);
    let (one, _overdue) = (recorder.assign(&experiment, 0, Some(7), 0), recorder.assign(&experiment, 0, Some(7), 0));
    let (two, three) = (recorder.assign(&experiment, 0, Some(9), 0), recorder.assign(&experiment, 0, Some(9), 0));
    [one, two, three].iter().for_each(|exposure| recorder.complete(exposure.as_ref().unwrap(), ok(600)));
    let drained = recorder.drain(3_000);
    let counts = &cells(&drained)[0].counts;
    assert_eq!((counts.overdue(), counts.failed_buckets.as_slice()), (1, &[7][..]));
    assert!(counts.slow_buckets.is_empty(), "nobody asked from when v0 is slow");
}

#[test]
fn where_each_request_is_a_unit_nothing_is_kept_of_units() {
    let mut recorder = Recorder::default();
    let experiment = experiment(2);
    let failing = recorder.assign(&experiment, 0, None, 0).unwrap();
    recorder.assign(&experiment, 0, None, 0).unwrap();
    assert!(recorder.experiments[0].groups[0].in_flight.is_empty());
    recorder.complete(&failing, ended(Outcome::Failed, 1, 1.0));
    assert_eq!(recorder.buckets, 0);
    let drained = recorder.drain(3_000);
    let counts = &cells(&drained)[0].counts;
    assert_eq!((counts.failed, counts.overdue(), counts.rewarded), (1, 1, 1));
    assert!(counts.failed_buckets.is_empty() && counts.rewarded_buckets.is_empty());
}

#[test]
fn every_unit_of_sixteen_versions_failing_is_reported_within_bounds() {
    let mut recorder = Recorder::default();
    let experiment = sticky(1, 16);
    for version in 0..16 {
        for bucket in (0..UNIT_BUCKETS).rev() {
            // One in three never ends; one in three is rewarded all the same.
            let exposure = recorder.assign(&experiment, version, Some(bucket), 0).unwrap();
            if bucket % 3 > 0 {
                recorder.complete(&exposure, ended(Outcome::Failed, 1, f64::from(bucket % 3 - 1)));
            }
        }
    }
    books_balance(&recorder);
    let mut seen: BTreeMap<String, Counts> = BTreeMap::new();
    let mut reports = 0;
    loop {
        let drained = recorder.drain(10_000);
        valid(&drained);
        books_balance(&recorder);
        for cell in cells(&drained) {
            seen.entry(cell.version.clone()).or_default().merge(&cell.counts);
        }
        reports += 1;
        if !drained.more {
            assert_eq!(drained.experiments[0].watermark, 8_000);
            break;
        }
        assert_eq!(drained.experiments[0].watermark, 0, "units are left");
    }
    assert!(reports > 1);
    let all: Vec<u16> = (0..UNIT_BUCKETS).collect();
    assert_eq!(seen.len(), 16);
    for (version, counts) in seen {
        assert_eq!(counts.failed_buckets, all);
        assert_eq!(counts.slow_buckets, if version == "v0" { vec![] } else { all.clone() });
        assert_eq!(counts.rewarded_buckets.len(), all.len() / 3);
    }
}

#[test]
fn units_survive_the_merging_of_final_bins_and_then_exposures_are_dropped_before_their_version_is_known() {
    let mut recorder = Recorder::default();
    let experiment = sticky(1, 16);
    let mut assigned = 0_u64;
    for bin in 0..2_000_u64 {
        // The controller is away. One unit of each bin fails, one is overdue.
        let bucket = u16::try_from(2 * bin).unwrap();
        let failing = recorder.assign(&experiment, 1, Some(bucket), bin * 1_000).expect("final bins make room");
        recorder.assign(&experiment, 2, Some(bucket + 1), bin * 1_000 + 1).expect("the bin has room");
        recorder.complete(&failing, ended(Outcome::Failed, 1, 0.0));
        assigned += 2;
        assert!(recorder.cells <= CELLS);
    }
    books_balance(&recorder);
    let drained = recorder.drain(3_000_000);
    valid(&drained);
    assert_eq!((drained.assigned, drained.dropped), (assigned, 0));
    for (version, rest) in [("v1", 0), ("v2", 1)] {
        let mut counts = Counts::default();
        cells(&drained).iter().filter(|cell| cell.version == version).for_each(|cell| counts.merge(&cell.counts));
        let expected: Vec<u16> = (0..2_000).map(|bin| 2 * bin + rest).collect();
        assert_eq!(counts.failed_buckets, expected, "{version}");
    }
}

#[test]
fn starting_over_forgets_units_too() {
    let mut recorder = Recorder::default();
    let experiment = sticky(1, 2);
    let before = recorder.assign(&experiment, 0, Some(1), 0).unwrap();
    recorder.assign(&experiment, 0, Some(2), 0).unwrap();
    recorder.start_over(0);
    recorder.complete(&before, ended(Outcome::Failed, 1, 1.0));
    recorder.assign(&experiment, 0, Some(3), 500).unwrap();
    let drained = recorder.drain(5_000);
    assert_eq!(drained.dropped, 2);
    assert_eq!(cells(&drained)[0].counts.failed_buckets, [3]);
    books_balance(&recorder);
}

/// Failed, slow and rewarded units of each (bin, epoch, version).
type Shown = BTreeMap<(u64, u32, String), [BTreeSet<u16>; 3]>;

#[derive(Debug, Clone)]
struct Step {
    waits: u64,
    version: usize,
    bucket: u16,
    lasts: u64,
    outcome: Outcome,
    reward: f64,
    epoch: u32,
    /// Room for so many cells in a report now, or no report.
    report: Option<usize>,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Ok), Just(Outcome::Failed), Just(Outcome::Aborted)];
    let reward = prop_oneof![Just(0.0), Just(-1.5), Just(f64::MAX)];
    // Few buckets, so that units return; ends on either side of the deadline of 2 s and of half a second.
    let lasts = prop_oneof![0..1_000_u64, 1_900..2_100_u64, Just(1_000_000)];
    let report = proptest::option::weighted(0.3, 0..6_usize);
    (0..300_u64, 0..3_usize, 0..12_u16, lasts, outcome, reward, 1..3_u32, report).prop_map(
        |(waits, version, bucket, lasts, outcome, reward, epoch, report)| Step {
            waits,
            version,
            bucket,
            lasts,
            outcome,
            reward,
            epoch,
            report,
        },
    )
}

/// Notes what a report says, and that it adds to no bin that an earlier one called final.
fn receive(drained: &Drained, watermark: &mut u64, shown: &mut Shown) {
    valid(drained);
    for reported in &drained.experiments {
        assert!(reported.watermark >= *watermark, "the watermark goes back");
        for cell in &reported.cells {
            assert!(cell.bin >= *watermark, "{} came after the watermark {watermark}", cell.bin);
            let sets = shown.entry((cell.bin, cell.epoch, cell.version.clone())).or_default();
            let counts = &cell.counts;
            for (set, buckets) in
                sets.iter_mut().zip([&counts.failed_buckets, &counts.slow_buckets, &counts.rewarded_buckets])
            {
                set.extend(buckets);
            }
        }
        *watermark = reported.watermark;
    }
}

proptest! {
    #[test]
    fn each_cells_reports_show_exactly_its_units_and_none_after_the_watermark(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut recorder = Recorder::default();
        let epochs = [1, 2].map(|epoch| sticky(epoch, 3));
        let (mut now, mut watermark) = (5_000, 0);
        let (mut expected, mut shown) = (Shown::new(), Shown::new());
        let mut in_flight: Vec<(u64, Exposure, Observation)> = Vec::new();
        for Step { waits, version, bucket, lasts, outcome, reward, epoch, report } in steps {
            now += waits;
            in_flight.sort_by_key(|(ends, ..)| *ends);
            for (_, exposure, observation) in in_flight.extract_if(.., |(ends, ..)| *ends <= now) {
                recorder.complete(&exposure, observation);
            }
            let exposure = recorder.assign(&epochs[epoch as usize - 1], version, Some(bucket), now).unwrap();
            in_flight.push((now + lasts, exposure, ended(outcome, lasts, reward)));
            let [failed, slow, rewarded] =
                expected.entry((now - now % 1_000, epoch, format!("v{version}"))).or_default();
            let overdue = lasts > 2_000;
            let bad = overdue || outcome == Outcome::Failed;
            if bad {
                failed.insert(bucket);
            }
            if version > 0 && (bad || lasts >= 500) {
                slow.insert(bucket);
            }
            // A reward whose square is beyond f64 is none.
            if !overdue && outcome != Outcome::Aborted && reward == -1.5 {
                rewarded.insert(bucket);
            }
            if let Some(cells) = report {
                let room = Room { bytes: 1 << 20, cells, experiments: 1 };
                receive(&recorder.drain_into(now, room), &mut watermark, &mut shown);
            }
            books_balance(&recorder);
        }
        in_flight.sort_by_key(|(ends, ..)| *ends);
        for (ends, exposure, observation) in in_flight {
            now = now.max(ends);
            if ends % 7 == 0 {
                receive(&recorder.drain(now), &mut watermark, &mut shown);
            }
            recorder.complete(&exposure, observation);
        }
        receive(&recorder.drain(now + 10_000), &mut watermark, &mut shown);
        prop_assert_eq!(shown, expected);
        books_balance(&recorder);
        prop_assert_eq!(recorder.buckets, 0);
    }

    #[test]
    fn merging_sets_of_buckets_is_their_union(
        sets in proptest::collection::vec(proptest::collection::btree_set(0..UNIT_BUCKETS, 0..40), 0..8),
    ) {
        let mut merged = Vec::new();
        for set in &sets {
            crate::report::merge_buckets(&mut merged, &set.iter().copied().collect::<Vec<u16>>());
        }
        let union: BTreeSet<u16> = sets.into_iter().flatten().collect();
        prop_assert_eq!(merged, union.into_iter().collect::<Vec<u16>>());
    }
}
