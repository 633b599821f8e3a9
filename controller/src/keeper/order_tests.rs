//! What people apply and command: carried out and recorded, or refused in so many words.

use super::history_tests::{Traffic, awaited_since, by_hand, canary, check, wanted};
use super::*;
use crate::testing::{Bench, experiment};
use weir_engine::command::Refusal;
use weir_engine::decide::Action;
use weir_engine::spec::{Approvals, Strategy};

#[test]
fn commands_are_carried_out_recorded_with_who_and_why_and_refused_in_so_many_words() {
    let mut bench = Bench::new();
    let mut waiting = canary("shop");
    waiting.approvals.start = true;
    bench.apply(waiting);
    let pending = OrderError::Refused(Refusal::Pending("shop".to_owned()));
    assert_eq!(bench.order("shop", WantedCommand::Pause {}), Err(pending));
    assert_eq!(bench.order("other", WantedCommand::Pause {}), Err(OrderError::Unknown("other".to_owned())));
    let error = bench.order("shop", WantedCommand::Promote { version: "v9".to_owned() }).unwrap_err();
    assert!(error.to_string().contains("v9") && error.to_string().contains("v1, v2"), "{error}");
    assert_eq!(bench.journal("shop").len(), 1, "what was refused has no entry");

    let weights = |bench: &Bench| {
        let versions = &bench.plan().experiments[0].versions;
        versions.iter().map(|version| version.weight).collect::<Vec<_>>()
    };
    bench.order("shop", WantedCommand::Start {}).unwrap();
    assert_eq!(weights(&bench), [9_500, 500]);
    bench.order("shop", by_hand(8_000, 2_000)).unwrap();
    assert_eq!(weights(&bench), [8_000, 2_000]);
    bench.order("shop", WantedCommand::Resume {}).unwrap();
    assert_eq!(weights(&bench), [9_500, 500]);
    let told = bench.order("shop", WantedCommand::RollBack { version: None }).unwrap();
    assert_eq!(weights(&bench), [1, 0], "concluded: all of it on the baseline");
    let order = told.ordered.unwrap();
    assert_eq!((order.by.who.as_str(), order.reason.as_str()), ("ada", "a test"));
    bench.restart();
    assert_eq!(weights(&bench), [1, 0]);
    let view = bench.ask(|reply| Command::Get("shop".to_owned(), reply)).unwrap().unwrap();
    let view = serde_json::to_value(&*view).unwrap();
    assert_eq!(view["lastChange"]["ordered"]["by"]["who"], "ada");
    assert_eq!(view["decision"]["ordered"]["command"], "rollBack");
    assert_eq!(check(&mut bench, "shop"), 4);
}

#[test]
fn what_is_approved_is_what_was_shown() {
    let mut bench = Bench::new();
    let mut asks = canary("shop");
    asks.approvals.step = true;
    let id = bench.apply(asks);
    let mut traffic = Traffic::new(5);
    let mut since = None;
    for _ in 0..200 {
        traffic.live(&mut bench, &id, 1);
        since = awaited_since(&mut bench);
        if since.is_some() {
            break;
        }
    }
    let decisions = bench.decisions("shop");
    let said: Vec<_> = decisions.iter().map(|row| &row.told.decision.reasons).collect();
    let since = since.unwrap_or_else(|| panic!("it asks for nothing: {said:?}"));
    let mut approve = |shown: u64| {
        let wanted = wanted(WantedCommand::Approve { awaited_since: shown });
        bench.ask(|reply| Command::Order(Box::new(wanted), reply)).unwrap()
    };
    assert_eq!(approve(since - 1), Err(OrderError::OtherAwaited { shown: since - 1, now: since }));
    assert_eq!(approve(since).unwrap().decision.action, Action::Shift);
    assert_eq!(bench.plan().experiments[0].versions[1].weight, 2_500);
    check(&mut bench, "shop");
}

#[test]
fn an_edit_of_an_experiment_that_runs_is_shown_as_its_last_change() {
    let mut bench = Bench::new();
    bench.apply(canary("shop"));
    let mut slower = canary("shop");
    slower.strategy = Strategy::Canary { steps: vec![100, 2_500] };
    let applied = bench.try_apply(vec![slower], false).unwrap();
    assert_eq!(applied[0].result, Change::Changed);
    let view = bench.ask(|reply| Command::Get("shop".to_owned(), reply)).unwrap().unwrap();
    let view = serde_json::to_value(&*view).unwrap();
    assert_eq!(view["lastChange"]["action"], "shift", "{view}");
    let said = view["decision"]["reasons"].to_string();
    assert!(said.contains("steps [5%, 25%") && said.contains("v2 5% → 1%"), "{said}");
    check(&mut bench, "shop");
}

#[test]
fn experiments_that_could_match_the_same_request_are_refused_unless_their_priorities_differ() {
    let mut bench = Bench::new();
    bench.apply(experiment("shop"));
    let mut other = experiment("other");
    other.matching = experiment("shop").matching;
    let error = bench.try_apply(vec![other.clone()], false).unwrap_err();
    assert!(matches!(error, ApplyError::Overlap(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("shop") && said.contains("other") && said.contains("priority"), "{said}");
    // Nor two of one document.
    let third = experiment("third");
    let fourth = Experiment { name: "fourth".to_owned(), ..third.clone() };
    assert!(matches!(bench.try_apply(vec![third, fourth], false), Err(ApplyError::Overlap(_))));
    other.priority = 5;
    bench.apply(other.clone());
    let names: Vec<String> = bench.plan().experiments.into_iter().map(|planned| planned.name).collect();
    assert_eq!(names, ["other", "shop"], "the higher priority is first");
    other.priority = 0;
    assert!(matches!(bench.try_apply(vec![other], false), Err(ApplyError::Overlap(_))), "an edit is no way around it");
}

#[test]
fn two_experiments_may_change_places_in_one_document() {
    let mut bench = Bench::new();
    let pending = |name: &str, of: &str| {
        let approvals = Approvals { start: true, ..Approvals::default() };
        Experiment { matching: experiment(of).matching, approvals, ..experiment(name) }
    };
    bench.try_apply(vec![pending("one", "one"), pending("two", "two")], false).unwrap();
    bench.try_apply(vec![pending("one", "two"), pending("two", "one")], false).unwrap();
    let error = bench.try_apply(vec![pending("two", "two")], false).unwrap_err();
    assert!(matches!(error, ApplyError::Overlap(_)), "{error:?}");
}

#[test]
fn a_command_that_makes_no_valid_plan_is_not_carried_out() {
    let mut bench = Bench::new();
    let id = bench.apply(experiment("shop"));
    let before = (bench.contents(), bench.plan());
    bench.spoil(&id, |spec| spec.override_header = Some("x".repeat(200)));
    assert_eq!(bench.order("shop", by_hand(6_000, 4_000)), Err(OrderError::Engine));
    assert_eq!((bench.contents(), bench.plan()), before);
    bench.spoil(&id, |spec| spec.override_header = None);
    bench.order("shop", by_hand(6_000, 4_000)).unwrap();
    assert_eq!(check(&mut bench, "shop"), 1);
}
