//! The journal holds everything that a decision depended on; a failure at any write leaves nothing behind; people's commands are
//! carried out once, recorded, and say who gave them.

use super::*;
use crate::ledger::JournalRow;
use crate::testing::{Bench, START, cell, counts, experiment, report};
use std::collections::BTreeMap;
use weir_core::plan::Unit;
use weir_core::report::Counts;
use weir_engine::decide::Action;
use weir_engine::journal::{Event, Rehearsal, Replay, Share};
use weir_engine::spec::{Approvals, Strategy};
use weir_engine::state::{Phase, State};

/// SplitMix64 (Steele, Lea & Flood 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Traffic of two workers, whose bins settle behind their time; v2 may be bad for a while.
pub(super) struct Traffic {
    random: Random,
    now: u64,
    sequences: [u64; 2],
    bad: bool,
}

impl Traffic {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random(seed), now: START, sequences: [0; 2], bad: false }
    }

    pub(super) fn report(&mut self, bench: &mut Bench, id: &str) {
        let worker = usize::try_from(self.random.below(2)).unwrap();
        let mut plan = bench.plan();
        let planned = plan.experiments.remove(0);
        let bin = self.now / 1_000 * 1_000;
        let mut cells = Vec::new();
        let requests = 200 + self.random.below(600);
        let whole: u32 = planned.versions.iter().map(|version| version.weight).sum();
        for planned_version in &planned.versions {
            let version = planned_version.name.as_str();
            let assigned = requests * u64::from(planned_version.weight) / u64::from(whole);
            let failed =
                if self.bad && version == "v2" { assigned / 3 } else { u64::from(self.random.below(500) < assigned) };
            let mut counts: Counts = counts(assigned, assigned - failed);
            counts.completed = assigned;
            counts.failed = failed;
            counts.latency_sum = 0.1 * (assigned - failed) as f64;
            counts.rewarded = self.random.below(assigned / 10 + 1).min(assigned);
            counts.reward_sum = counts.rewarded as f64 / 3.0;
            counts.reward_sum_squares = counts.rewarded as f64 / 9.0;
            if planned.unit != Unit::Request {
                let buckets = (0..failed).map(|_| u16::try_from(self.random.below(16_384)).unwrap());
                counts.failed_buckets = buckets.collect();
                counts.failed_buckets.sort_unstable();
                counts.failed_buckets.dedup();
            }
            cells.push(weir_core::report::Cell { epoch: planned.epoch, ..cell(version, bin, counts) });
        }
        self.sequences[worker] += 1;
        let incarnation = u32::try_from(worker).unwrap() + 1;
        let report = report(incarnation, self.sequences[worker], id, bin - 3_000, cells);
        let report = weir_core::report::Report { plan: plan.revision, ..report };
        bench.ask(|reply| Command::Report(Box::new(report), reply)).unwrap().unwrap();
    }

    pub(super) fn pass(&mut self, bench: &Bench, milliseconds: u64) {
        self.now += milliseconds;
        bench.set_time(self.now);
    }

    /// So many seconds' halves of reports and looks.
    pub(super) fn live(&mut self, bench: &mut Bench, id: &str, times: u32) {
        for _ in 0..times {
            self.pass(bench, 2_000);
            self.report(bench, id);
            bench.look();
        }
    }
}

/// Compares the state and the settled counts, as the ledger has them, with what the journal leads to. How many decisions that were.
pub(super) fn check(bench: &mut Bench, name: &str) -> u64 {
    let mut replay = Replay::default();
    for row in bench.journal(name) {
        replay.push(row.number, &row.entry).unwrap_or_else(|difference| panic!("{difference}"));
    }
    let ledger = Ledger::read_only(&bench.ledger_file()).unwrap();
    let id = ledger.find(name).unwrap().unwrap();
    let (state, settled) = ledger.journaled(&id).unwrap();
    assert_eq!(replay.state(), Some(&state));
    for row in settled {
        let mine = replay.observations().unwrap().epochs.get(&row.epoch);
        let mine = mine.map(|counts| counts.settled[row.version].clone()).unwrap_or_default();
        assert_eq!(mine, row.counts, "epoch {} version {}", row.epoch, row.version);
    }
    replay.decisions()
}

/// Since when something waits for approval, as people see it.
pub(super) fn awaited_since(bench: &mut Bench) -> Option<u64> {
    let view = bench.ask(|reply| Command::Get("shop".to_owned(), reply)).unwrap().unwrap();
    serde_json::to_value(&*view).unwrap()["state"]["awaited"]["since"].as_u64()
}

/// A random life: reports, looks, commands, edits, restarts. How many decisions came out again, and how often what happened.
fn random_life(seed: u64, experiment: Experiment) -> (u64, BTreeMap<&'static str, u32>) {
    let mut bench = Bench::new();
    let id = bench.apply(experiment.clone());
    let mut traffic = Traffic::new(seed);
    for _ in 0..120 {
        let wait = 500 + traffic.random.below(3_000);
        traffic.pass(&bench, wait);
        match traffic.random.below(40) {
            0..20 => traffic.report(&mut bench, &id),
            20..34 => bench.look(),
            34 => bench.restart(),
            35 => traffic.bad = !traffic.bad && traffic.random.below(3) == 0,
            36 => {
                let mut edited = experiment.clone();
                edited.min_exposures += traffic.random.below(50);
                // It may have concluded.
                let _ = bench.try_apply(vec![edited], false);
            }
            37 => drop(bench.order("shop", WantedCommand::Pause {})),
            38 => drop(
                bench.order("shop", WantedCommand::Resume {}).or_else(|_| bench.order("shop", WantedCommand::Start {})),
            ),
            _ if traffic.random.below(3) == 0 => {
                if let Some(awaited_since) = awaited_since(&mut bench) {
                    drop(bench.order("shop", WantedCommand::Approve { awaited_since }));
                }
            }
            _ => {
                let weights = [("v1".to_owned(), 7_000), ("v2".to_owned(), 3_000)].into();
                drop(bench.order("shop", WantedCommand::SetWeights { weights }));
            }
        }
    }
    let mut events = BTreeMap::new();
    for row in bench.journal("shop") {
        *events.entry(row.entry.event.name()).or_default() += 1;
    }
    (check(&mut bench, "shop"), events)
}

pub(super) fn canary(name: &str) -> Experiment {
    Experiment { strategy: Strategy::Canary { steps: vec![500, 2_500, 5_000] }, reward: None, ..experiment(name) }
}

pub(super) fn by_hand(v1: u32, v2: u32) -> WantedCommand {
    WantedCommand::SetWeights { weights: [("v1".to_owned(), v1), ("v2".to_owned(), v2)].into() }
}

pub(super) fn wanted(command: WantedCommand) -> Wanted {
    Wanted { name: "shop".to_owned(), command, by: Actor::default(), reason: "a test".to_owned() }
}

#[test]
fn every_decision_comes_out_again_to_the_bit_whatever_happened_in_between() {
    let (mut decisions, mut events) = (0, BTreeMap::new());
    for seed in 0..12 {
        let mut experiment = if seed % 2 == 0 { experiment("shop") } else { canary("shop") };
        if seed % 3 == 0 {
            experiment.unit = Unit::Cookie("uid".to_owned());
        }
        experiment.approvals = Approvals { start: seed % 4 == 3, step: seed % 4 == 1, promotion: seed % 5 == 0 };
        let (recomputed, happened) = random_life(seed, experiment);
        decisions += recomputed;
        happened.into_iter().for_each(|(event, count)| *events.entry(event).or_insert(0) += count);
    }
    assert!(decisions > 100, "{decisions}");
    for event in ["begin", "look", "command", "edit"] {
        assert!(events.get(event).is_some_and(|count| *count > 5), "{event}: {events:?}");
    }
}

#[test]
fn a_look_that_changes_nothing_and_is_not_told_has_no_entry_and_takes_nothing_from_the_next() {
    let mut bench = Bench::new();
    let id = bench.apply(Experiment { min_exposures: 1_000_000, ..canary("shop") });
    let mut traffic = Traffic::new(1);
    let told = |bench: &mut Bench| {
        let journal = bench.journal("shop").into_iter();
        journal.filter(|row| row.entry.event.name() == "look" && row.entry.trace.changed.is_empty()).count()
    };
    traffic.live(&mut bench, &id, 1);
    assert_eq!(told(&mut bench), 1, "the first");
    traffic.live(&mut bench, &id, 20);
    assert_eq!(told(&mut bench), 1, "nothing was told within a minute");
    assert!(bench.journal("shop").len() < 10);
    traffic.pass(&bench, 60_000);
    traffic.live(&mut bench, &id, 1);
    assert_eq!(told(&mut bench), 2);
    check(&mut bench, "shop");
}

#[test]
fn a_changed_journal_is_noticed_and_says_where() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    let mut traffic = Traffic::new(2);
    traffic.bad = true;
    traffic.live(&mut bench, &id, 20);
    let journal = bench.journal("shop");
    let fell = journal.iter().position(|row| row.entry.trace.action == Some(Action::RollBack));
    let at = fell.expect("it is rolled back");
    let push = |journal: &[JournalRow]| {
        let mut replay = Replay::default();
        journal.iter().try_for_each(|row| replay.push(row.number, &row.entry).map(|_| ()))
    };
    assert_eq!(push(&journal), Ok(()));
    let mut changed = journal.clone();
    for row in &mut changed {
        if let Event::Look { observed, .. } = &mut row.entry.event {
            observed.settled.iter_mut().for_each(|cell| cell.counts.failed = 0);
        }
    }
    assert!(push(&changed).is_err());
    let mut changed = journal.clone();
    changed[at].entry.trace.action = Some(Action::Hold);
    let difference = push(&changed).unwrap_err();
    assert_eq!((difference.number, difference.part.as_str()), (journal[at].number, "action"));
    let mut changed = journal.clone();
    changed[at].entry.trace.changed.insert("out".to_owned(), "0".repeat(16));
    assert_eq!(push(&changed).unwrap_err().part, "state.out");
    assert!(push(&journal[1..]).is_err(), "nothing was before");
}

#[test]
fn a_ledger_that_fails_at_any_write_leaves_nothing_of_a_batch_behind() {
    let mut failures = 0;
    for writes in 0.. {
        let mut bench = Bench::new();
        let id = bench.apply(experiment("shop"));
        let mut traffic = Traffic::new(3);
        traffic.live(&mut bench, &id, 3);
        traffic.pass(&bench, 4_000);
        traffic.report(&mut bench, &id);
        let before = (bench.contents(), bench.plan());
        bench.fail_after(writes);
        let failed = bench.ask(|reply| Command::Order(Box::new(wanted(by_hand(6_000, 4_000))), reply)).is_err();
        bench.fail_after(-1);
        if failed {
            failures += 1;
            assert_eq!((bench.contents(), bench.plan()), before, "after {writes} writes");
            bench.ask(|reply| Command::Order(Box::new(wanted(by_hand(6_000, 4_000))), reply)).unwrap().unwrap();
        }
        assert_eq!(bench.plan().experiments[0].versions[1].weight, 4_000);
        traffic.live(&mut bench, &id, 2);
        bench.restart();
        check(&mut bench, "shop");
        if !failed {
            break;
        }
    }
    assert!(failures >= 4, "state, decision, journal, commit: {failures}");
}

#[test]
fn another_document_is_answered_on_the_same_observations_and_says_where_other_weights_were_sent() {
    let mut bench = Bench::new();
    let was = experiment("shop");
    let id = bench.apply(was.clone());
    Traffic::new(9).live(&mut bench, &id, 40);
    let journal = bench.journal("shop");
    let ask = |with: &Experiment| {
        let mut rehearsal = Rehearsal::new(with.clone());
        journal.iter().for_each(|row| rehearsal.push(row.number, &row.entry).unwrap());
        rehearsal
    };
    let same = ask(&was);
    assert_eq!(same.answer().divergence, None);
    assert_eq!(same.answer().phase.as_ref(), same.actual().state().map(|state| &state.phase));
    let decided = journal.iter().filter(|row| matches!(row.entry.event, Event::Look { .. }));
    let decided = decided.filter(|row| !matches!(row.entry.trace.action, Some(Action::Hold | Action::Renew))).count();
    assert_eq!(same.answer().turns.len(), decided);

    let canary = Experiment { strategy: canary("shop").strategy, ..was.clone() };
    let answer = ask(&canary);
    let divergence = answer.answer().divergence.clone().expect("other weights");
    assert_eq!((divergence.number, divergence.would, divergence.was), (1, vec![9_500, 500], vec![5_000, 5_000]));
    assert!(!answer.answer().turns.is_empty(), "it would have climbed: {:?}", answer.answer());
    let total = |of: fn(&Share) -> u64| answer.answer().shares.iter().map(of).sum::<u64>();
    assert!(total(|share| share.seen) > 0 && total(|share| share.would) > 0);

    let alien = Experiment { deadline_ms: was.deadline_ms + 1, ..was.clone() };
    assert_eq!(Rehearsal::comparable(&was, &alien).unwrap_err().field, "spec.deadline");
    assert!(Rehearsal::comparable(&was, &canary).is_ok());
    let mut elsewhere = was.clone();
    elsewhere.matching.hosts.push("other.example".to_owned());
    assert_eq!(Rehearsal::comparable(&was, &elsewhere).unwrap_err().field, "spec.match");
}

#[test]
fn another_document_is_compared_with_what_was_started_version_by_version() {
    let mut bench = Bench::new();
    let doc = |versions: &str| {
        let text = crate::testing::document("shop").replace("    - {name: v2}\n", versions);
        weir_engine::document::read(&text).unwrap().remove(0)
    };
    let mut first = doc("    - {name: v2}\n");
    first.approvals.start = true;
    bench.apply(first.clone());
    // While it waits another version comes in between.
    let mut edited = doc("    - {name: v3}\n    - {name: v2}\n");
    edited.approvals.start = true;
    bench.apply(edited.clone());
    bench.order("shop", WantedCommand::Start {}).unwrap();
    bench.order("shop", WantedCommand::RollBack { version: Some("v3".to_owned()) }).unwrap();
    let journal = bench.journal("shop");
    let ask = |with: &Experiment| {
        let mut rehearsal = Rehearsal::new(with.clone());
        journal.iter().for_each(|row| rehearsal.push(row.number, &row.entry).unwrap());
        rehearsal
    };
    assert_eq!(ask(&first).not_comparable().map(|error| error.field), Some("spec.versions"));
    let same = ask(&edited);
    assert_eq!((same.not_comparable(), &same.answer().divergence), (None, &None));
    // The same versions, otherwise ordered.
    let mut turned = doc("    - {name: v2}\n    - {name: v3}\n");
    turned.strategy = Strategy::Ab { weights: vec![5_000, 4_000, 1_000] };
    let turned = ask(&turned);
    assert_eq!(turned.not_comparable(), None);
    let weights: Vec<_> = turned.answer().turns.iter().map(|turn| turn.weights.clone()).collect();
    assert_eq!(weights[0], [5_000, 1_000, 4_000], "v1, v3, v2");
    assert_eq!(weights[1][1], 0, "v3 is the one that is rolled back: {weights:?}");
    let other = ask(&Experiment { name: "other".to_owned(), ..edited });
    assert_eq!(other.not_comparable().map(|error| error.field), Some("metadata.name"));
}

#[test]
fn an_experiment_of_an_older_release_gets_a_journal_that_begins_in_the_middle() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    let mut traffic = Traffic::new(7);
    traffic.live(&mut bench, &id, 10);
    bench.crash();
    let other = rusqlite::Connection::open(bench.ledger_file()).unwrap();
    other.execute_batch("DELETE FROM journal; UPDATE settled SET journaled = NULL").unwrap();
    drop(other);
    bench.restart();
    traffic.live(&mut bench, &id, 10);
    assert_eq!(bench.journal("shop")[0].entry.event.name(), "continue");
    check(&mut bench, "shop");
}

#[test]
fn a_state_of_an_older_release_is_read() {
    let state = State::begin(&experiment("shop"), START);
    let mut old = serde_json::to_value(&state).unwrap();
    let object = old.as_object_mut().unwrap();
    for new in ["ranMs", "runningSince", "awaited", "trips", "units"] {
        object.remove(new);
    }
    let read: State = serde_json::from_value(old).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.phase, Phase::Running);
}
