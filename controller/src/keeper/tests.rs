//! A batch is durable or did not happen; a restart is invisible; an edit never changes what evidence means.

use super::*;
use crate::apply::Conflict;
use crate::testing::{Bench, START, cell, counts, experiment, report};
use std::sync::Arc;
use weir_engine::assess::assess;
use weir_engine::decide::{Action, Decision, decide};
use weir_engine::health::Health;
use weir_engine::spec::{Rule, Strategy};
use weir_engine::state::{Epoch, Outcome, Phase, State};

fn judged(snapshot: &Snapshot, decision: Option<Decision>) -> Judged {
    let assessment = Arc::new(assess(&snapshot.spec, &snapshot.state, &snapshot.observations));
    Judged {
        id: snapshot.id.clone(),
        generation: snapshot.generation,
        assessment,
        observations: Arc::clone(&snapshot.observations),
        unsettled: Arc::clone(&snapshot.unsettled),
        health: snapshot.health,
        decision,
    }
}

fn shifted(state: &State, weights: &[u32], at: u64) -> Decision {
    let mut state = state.clone();
    let epoch = state.epoch().unwrap().epoch + 1;
    state.epochs.push(Epoch { epoch, began_at: at, weights: weights.to_vec(), ..state.epochs[0].clone() });
    Decision { at, action: Action::Shift, reasons: vec!["because".to_owned()], state }
}

fn shift(bench: &mut Bench, weights: &[u32]) {
    let snapshot = bench.ask(Command::Snapshot).unwrap().remove(0);
    let decision = shifted(&snapshot.state, weights, START);
    bench.ask(|reply| Command::Decide(vec![judged(&snapshot, Some(decision))], reply)).unwrap();
}

fn hold(bench: &mut Bench) {
    let snapshot = bench.ask(Command::Snapshot).unwrap().remove(0);
    let state = snapshot.state.clone();
    let decision = Decision { at: START + 1_000, action: Action::Hold, reasons: vec!["wait".to_owned()], state };
    bench.ask(|reply| Command::Decide(vec![judged(&snapshot, Some(decision))], reply)).unwrap();
}

fn weights(bench: &Bench) -> Vec<u32> {
    bench.plan().experiments[0].versions.iter().map(|version| version.weight).collect()
}

#[test]
fn a_restart_is_invisible_in_plan_state_decisions_and_counts() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    let cells = vec![cell("v1", START - 1_000, counts(5, 5)), cell("v2", START, counts(3, 1))];
    bench.ask(|reply| Command::Report(Box::new(report(1, 1, &id, START, cells)), reply)).unwrap().unwrap();
    shift(&mut bench, &[4_000, 6_000]);
    // After this the last decision is not the last change any more.
    hold(&mut bench);
    let show = |bench: &mut Bench| {
        let plan = bench.plan();
        let view = bench.ask(|reply| Command::Get("shop".to_owned(), reply)).unwrap().unwrap();
        let decisions = bench.decisions("shop");
        let totals = bench.totals(&id);
        (plan, serde_json::to_value(&*view).unwrap(), serde_json::to_value(decisions).unwrap(), totals)
    };
    let before = show(&mut bench);
    assert_eq!(before.1["lastChange"]["action"], "shift");
    assert_eq!(before.1["decision"]["action"], "hold");
    assert_eq!(weights(&bench), [4_000, 6_000]);
    bench.restart();
    assert_eq!(show(&mut bench), before);
}

#[test]
fn when_a_transaction_fails_nobody_is_acknowledged_and_the_same_report_counts_later() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    let first = report(1, 1, &id, START, vec![cell("v1", START - 1_000, counts(5, 5))]);
    let before = bench.contents();
    let other = rusqlite::Connection::open(bench.ledger_file()).unwrap();
    other.execute_batch("ALTER TABLE settled RENAME TO hidden").unwrap();
    let send = |bench: &mut Bench| bench.ask(|reply| Command::Report(Box::new(first.clone()), reply));
    assert!(matches!(send(&mut bench), Err(KeeperError::Ledger(_))));
    assert!(send(&mut bench).is_err(), "it cannot even be read again");
    other.execute_batch("ALTER TABLE hidden RENAME TO settled").unwrap();
    assert_eq!(bench.contents(), before);
    assert_eq!(send(&mut bench).unwrap().unwrap().acknowledged, 1);
    assert_eq!(bench.totals(&id).settled[0], (5, 5));
    send(&mut bench).unwrap().unwrap();
    assert_eq!(bench.totals(&id).settled[0], (5, 5));
}

#[test]
fn a_decision_on_what_has_changed_since_is_void() {
    let mut bench = Bench::new();
    bench.apply(experiment("shop"));
    let snapshot = bench.ask(Command::Snapshot).unwrap().remove(0);
    let mut edited = experiment("shop");
    edited.min_exposures += 1;
    bench.apply(edited);
    let plan = bench.plan();
    let decision = shifted(&snapshot.state, &[1_000, 9_000], START);
    bench.ask(|reply| Command::Decide(vec![judged(&snapshot, Some(decision))], reply)).unwrap();
    assert_eq!(bench.plan(), plan);
}

#[test]
fn a_decision_that_makes_no_sense_is_not_carried_out() {
    let mut bench = Bench::new();
    bench.apply(experiment("shop"));
    let (plan, contents) = (bench.plan(), bench.contents());
    for wrong in [vec![0, 0], vec![1, 2], vec![10_000], vec![10_000, 10_000]] {
        shift(&mut bench, &wrong);
        assert_eq!((bench.plan(), bench.contents()), (plan.clone(), contents.clone()), "{wrong:?}");
    }
}

#[test]
fn what_the_engine_says_is_carried_out_until_it_concludes_and_stays_so() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    // v2 fails all the time: no objective of 2% survives that.
    let mut bad = counts(5_000, 0);
    (bad.completed, bad.failed) = (5_000, 5_000);
    let cells = vec![cell("v1", START - 1_000, counts(5_000, 5_000)), cell("v2", START - 1_000, bad)];
    bench.ask(|reply| Command::Report(Box::new(report(1, 1, &id, START, cells)), reply)).unwrap().unwrap();
    let snapshot = bench.ask(Command::Snapshot).unwrap().remove(0);
    let assessment = assess(&snapshot.spec, &snapshot.state, &snapshot.observations);
    let decision = decide(&snapshot.spec, &snapshot.state, &assessment, &Health::default(), START + 1);
    assert_eq!(decision.action, Action::RollBack, "{:?}", decision.reasons);
    bench.ask(|reply| Command::Decide(vec![judged(&snapshot, Some(decision.clone()))], reply)).unwrap();
    assert_eq!(weights(&bench), [1, 0], "all of it on the baseline");
    bench.restart();
    assert_eq!(weights(&bench), [1, 0]);
    let view = bench.ask(|reply| Command::Get("shop".to_owned(), reply)).unwrap().unwrap();
    let view = serde_json::to_value(&*view).unwrap();
    assert_eq!(view["phase"], "concluded");
    assert_eq!(view["weights"][0]["weight"], 10_000);
    assert_eq!(view["decision"]["reasons"], serde_json::json!(decision.reasons));
}

#[test]
fn applying_the_same_twice_changes_nothing() {
    let mut bench = Bench::new();
    bench.apply(experiment("shop"));
    let (plan, contents) = (bench.plan(), bench.contents());
    let applied = bench.try_apply(vec![experiment("shop")], false).unwrap();
    assert_eq!(applied[0].result, Change::Unchanged);
    assert_eq!((bench.plan(), bench.contents()), (plan, contents));
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let mut bench = Bench::new();
    bench.apply(experiment("shop"));
    let (plan, contents) = (bench.plan(), bench.contents());
    let mut edited = experiment("shop");
    edited.max_duration_ms *= 2;
    let applied = bench.try_apply(vec![edited, experiment("other")], true).unwrap();
    assert_eq!(applied.iter().map(|one| one.result).collect::<Vec<_>>(), [Change::Changed, Change::Created]);
    assert_eq!((bench.plan(), bench.contents()), (plan, contents));
}

#[test]
fn bounds_and_durations_may_change_and_begin_an_epoch() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    let mut edited = experiment("shop");
    edited.max_duration_ms *= 2;
    edited.strategy = Strategy::Bandit { rule: Rule::Thompson, floor: 1_000, max_step: 500, half_life_ms: None };
    assert_eq!(bench.apply(edited), id);
    assert_eq!(bench.plan().experiments[0].epoch, 2);
    assert_eq!(weights(&bench), [5_000, 5_000]);
}

#[test]
fn what_changes_the_meaning_of_evidence_is_refused_by_name_and_nothing_of_the_batch_happens() {
    let mut bench = Bench::new();
    bench.apply(experiment("shop"));
    let (plan, contents) = (bench.plan(), bench.contents());
    type Spoil = fn(&mut Experiment);
    let spoilt: [(&str, Spoil); 7] = [
        ("spec.alpha", |edited| edited.alpha.promotion = 0.2),
        ("spec.versions", |edited| edited.baseline = 1),
        ("spec.objectives", |edited| edited.objectives.clear()),
        ("spec.guardrails", |edited| {
            let bound = weir_engine::spec::Bound::Latency { ratio: 2.0 };
            edited.guardrails.push(weir_engine::spec::Guardrail { name: "latency".to_owned(), bound });
        }),
        ("spec.reward", |edited| edited.reward = None),
        ("spec.deadline", |edited| edited.deadline_ms += 1),
        ("spec.strategy", |edited| edited.strategy = Strategy::Ab { weights: vec![5_000, 5_000] }),
    ];
    for (field, spoil) in spoilt {
        let mut edited = experiment("shop");
        spoil(&mut edited);
        let error = bench.try_apply(vec![experiment("other"), edited], false).unwrap_err();
        let conflict = Conflict::ChangesEvidence { field };
        assert_eq!(error, ApplyError::Conflict { name: "shop".to_owned(), conflict });
    }
    assert_eq!((bench.plan(), bench.contents()), (plan, contents));
}

#[test]
fn a_concluded_experiment_is_deleted_before_another_takes_its_name() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    let snapshot = bench.ask(Command::Snapshot).unwrap().remove(0);
    let mut state = snapshot.state.clone();
    state.phase = Phase::Concluded { outcome: Outcome::Promoted, version: 1, at: START };
    let decision = Decision { at: START, action: Action::Promote, reasons: vec![], state };
    bench.ask(|reply| Command::Decide(vec![judged(&snapshot, Some(decision))], reply)).unwrap();
    let mut other = experiment("shop");
    other.max_duration_ms += 1;
    let error = bench.try_apply(vec![other.clone()], false).unwrap_err();
    // Nor is one of another name in its way without a word of how to get by.
    let mut beside = Experiment { matching: other.matching.clone(), ..experiment("beside") };
    let said = bench.try_apply(vec![beside.clone()], true).unwrap_err().to_string();
    assert!(said.contains("shop has concluded and still routes") && said.contains("delete shop"), "{said}");
    beside.priority = 1;
    bench.try_apply(vec![beside], true).unwrap();
    assert_eq!(error, ApplyError::Conflict { name: "shop".to_owned(), conflict: Conflict::Concluded });
    assert_eq!(bench.delete("shop", "a new one comes"), Some(id.clone()));
    assert!(bench.contents().iter().any(|row| row.contains(r#"\"reason\":\"a new one comes\""#)), "it is journaled");
    assert_eq!(bench.plan().experiments, []);
    assert_ne!(bench.apply(other), id);
}

#[test]
fn experiments_that_make_no_plan_together_are_refused() {
    let mut bench = Bench::new();
    let many = |from: usize, to: usize| -> Vec<Experiment> {
        (from..to)
            .map(|number| {
                let mut one = experiment(&format!("shop-{number}"));
                one.versions[1].headers[0].name = format!("x-version-{number}");
                one
            })
            .collect()
    };
    // With the baseline's, sixteen different routing headers are there.
    bench.try_apply(many(0, 15), false).unwrap();
    let contents = bench.contents();
    assert!(matches!(bench.try_apply(many(15, 16), false), Err(ApplyError::Plan(_))));
    let twice = vec![experiment("twice"), experiment("twice")];
    assert_eq!(bench.try_apply(twice, false), Err(ApplyError::Twice("twice".to_owned())));
    assert_eq!(bench.contents(), contents);
}

#[test]
fn the_plan_lists_experiments_in_the_order_in_which_they_came() {
    let mut bench = Bench::new();
    bench.try_apply(vec![experiment("zebra"), experiment("ant")], false).unwrap();
    bench.apply(experiment("bee"));
    bench.restart();
    let names: Vec<String> = bench.plan().experiments.into_iter().map(|planned| planned.name).collect();
    assert_eq!(names, ["zebra", "ant", "bee"]);
}

#[test]
fn decisions_to_hold_are_kept_only_when_their_reasons_change_and_not_often() {
    let mut bench = Bench::new();
    bench.apply(experiment("shop"));
    let mut hold = |at: u64, reason: &str| {
        bench.set_time(at);
        let snapshot = bench.ask(Command::Snapshot).unwrap().remove(0);
        let decision =
            Decision { at, action: Action::Hold, reasons: vec![reason.to_owned()], state: snapshot.state.clone() };
        bench.ask(|reply| Command::Decide(vec![judged(&snapshot, Some(decision))], reply)).unwrap();
        bench.decisions("shop").len()
    };
    assert_eq!(hold(START, "one"), 1);
    assert_eq!(hold(START + 1_000, "two"), 1, "too soon");
    assert_eq!(hold(START + 60_000, "one"), 1, "the same");
    assert_eq!(hold(START + 61_000, "two"), 2);
}

#[test]
fn users_are_shuffled_anew_by_an_experiment_of_the_same_name_however_long_that_is() {
    let mut bench = Bench::new();
    let name = "a".repeat(63);
    bench.apply(experiment(&name));
    let salt = bench.plan().experiments[0].salt.clone();
    bench.delete(&name, "");
    bench.apply(experiment(&name));
    assert_ne!(bench.plan().experiments[0].salt, salt);
}
