//! What is committed is there after any end; what is not, is not; and nobody else gets in.

use super::*;
use crate::testing::{START, counts, experiment};
use weir_core::settling::OpenCell;

fn row(id: &str) -> ExperimentRow {
    let spec = experiment("shop");
    let state = State::begin(&spec, START);
    ExperimentRow { id: id.to_owned(), document: "document".to_owned(), spec, state, created_at: START }
}

/// A ledger's file as an earlier release made it, with these experiments.
fn old_ledger(path: &Path, version: usize, experiments: &[ExperimentRow]) -> Connection {
    let mut connection = Connection::open(path).unwrap();
    schema::migrate_to(&mut connection, version).unwrap();
    for row in experiments {
        connection
            .execute(
                "INSERT INTO experiment (id, name, document, spec, state, created_at) VALUES (?1, ?1, ?2, ?3, ?4, 1)",
                params![
                    row.id,
                    row.document,
                    serde_json::to_string(&row.spec).unwrap(),
                    serde_json::to_string(&row.state).unwrap()
                ],
            )
            .unwrap();
    }
    connection
}

/// One of a service, which ended at a time, if it did.
fn lived(id: &str, service: &str, ended: Option<u64>) -> ExperimentRow {
    use weir_engine::state::{Outcome, Phase};
    let mut row = row(id);
    id.clone_into(&mut row.spec.name);
    service.clone_into(&mut row.spec.service);
    if let Some(at) = ended {
        row.state.phase = Phase::Concluded { outcome: Outcome::Promoted, version: 1, at };
    }
    row
}

fn service(service: &str, experiments: u64, concluded: u64) -> ServiceRow {
    ServiceRow { service: service.to_owned(), experiments, concluded }
}

#[test]
fn what_was_committed_is_read_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let ledger = Ledger::open(&path).unwrap();
    let mut tricky = counts(7, 6);
    // Floats must survive bit for bit.
    tricky.reward_sum = 0.1 + 0.2;
    tricky.latency_sum = f64::MIN_POSITIVE;
    let body = WorkerBody {
        ignore_before: 1,
        latest_bin: START,
        experiments: [(
            "shop-1".to_owned(),
            OpenExperiment {
                watermark: START,
                cells: vec![OpenCell { bin: START, epoch: 1, version: 1, counts: tricky.clone() }],
            },
        )]
        .into(),
    };
    let worker =
        WorkerRow { node: "n".to_owned(), incarnation: "0".repeat(32), last_sequence: 3, last_seen: START, body };
    ledger.begin().unwrap();
    ledger.insert_experiment(&row("shop-1")).unwrap();
    ledger.put_settled("shop-1", 1, 0, &counts(1, 1), None).unwrap();
    ledger.put_settled("shop-1", 1, 0, &tricky, Some(&counts(1, 1))).unwrap();
    ledger.put_worker(&worker).unwrap();
    ledger.commit().unwrap();
    drop(ledger);

    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.experiments().unwrap(), [row("shop-1")]);
    let settled = SettledRow {
        experiment: "shop-1".to_owned(),
        epoch: 1,
        version: 0,
        counts: tricky,
        journaled: Some(counts(1, 1)),
    };
    assert_eq!(ledger.settled().unwrap(), [settled]);
    assert_eq!(ledger.workers().unwrap(), [worker]);
}

#[test]
fn what_was_not_committed_is_gone_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let ledger = Ledger::open(&path).unwrap();
    ledger.begin().unwrap();
    ledger.insert_experiment(&row("shop-1")).unwrap();
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().experiments().unwrap(), []);
}

#[test]
fn a_second_process_is_told_that_the_ledger_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let first = Ledger::open(&path).unwrap();
    let message = Ledger::open(&path).unwrap_err().to_string();
    assert!(message.contains("another `weir serve`") && message.contains("weir.db"), "{message}");
    drop(first);
    assert!(Ledger::open(&path).is_ok());
}

#[test]
fn a_ledger_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let ledger = Ledger::open(&path).unwrap();
    ledger.connection.execute("INSERT INTO migration (version) VALUES (1000)", []).unwrap();
    drop(ledger);
    assert!(matches!(Ledger::open(&path), Err(LedgerError::TooNew { found: 1_000, .. })));
}

#[test]
fn counts_of_before_repeats_are_read_as_having_none_and_the_ledger_is_no_earlier_programs_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    old_ledger(&path, 3, &[row("shop-1")]).execute_batch(
        r#"INSERT INTO settled (experiment, epoch, version, counts)
           VALUES ('shop-1', 1, 0, '{"assigned":7,"completed":7,"rewarded":2,"rewardSum":2.0,"rewardSumSquares":2.0}')"#,
    ).unwrap();
    let ledger = Ledger::open(&path).unwrap();
    let [settled] = &ledger.settled().unwrap()[..] else { panic!("one cell") };
    assert_eq!((settled.counts.assigned, settled.counts.rewarded, settled.counts.repeats), (7, 2, 0));
    let newest: i64 = ledger.connection.query_row("SELECT MAX(version) FROM migration", [], |row| row.get(0)).unwrap();
    assert!(newest >= 4, "an earlier program knows three, and refuses what it could not read");
    let repeats = Counts { repeats: 3, ..settled.counts.clone() };
    ledger.put_settled("shop-1", 1, 0, &repeats, Some(&settled.counts)).unwrap();
    let [settled] = &ledger.settled().unwrap()[..] else { panic!("one cell") };
    assert_eq!((&settled.counts, settled.journaled.as_ref().map(|counts| counts.repeats)), (&repeats, Some(0)));
}

#[test]
fn a_name_is_free_again_once_its_experiment_is_deleted_and_an_id_never() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("weir.db")).unwrap();
    ledger.insert_experiment(&row("shop-1")).unwrap();
    assert!(ledger.insert_experiment(&row("shop-2")).is_err(), "two of the same name");
    ledger.delete_experiment("shop-1", START).unwrap();
    ledger.insert_experiment(&row("shop-2")).unwrap();
    assert!(ledger.insert_experiment(&ExperimentRow { spec: experiment("other"), ..row("shop-1") }).is_err());
    assert_eq!(ledger.deleted().unwrap(), ["shop-1"]);
    assert_eq!(ledger.experiments().unwrap(), [row("shop-2")]);
}

#[test]
fn routine_decisions_are_forgotten_before_others() {
    use weir_engine::assess::assess;
    use weir_engine::decide::{Action, Decision};
    use weir_engine::state::Observations;
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("weir.db")).unwrap();
    let experiment = row("shop-1");
    let assessment = assess(&experiment.spec, &experiment.state, &<Observations>::default());
    for at in 0..100 {
        let action = if at % 10 == 0 { Action::Shift } else { Action::Renew };
        let decision = Decision { at, action, reasons: vec![], state: experiment.state.clone() };
        let row = DecisionRow { number: 0, told: Told::of(&decision, None), assessment: assessment.clone() };
        ledger.insert_decision("shop-1", &row, 5).unwrap();
    }
    let kept = ledger.decisions("shop-1", 1_000).unwrap();
    let numbers: Vec<u64> = kept.iter().map(|row| row.number).collect();
    assert_eq!(numbers, [100, 99, 98, 97, 96, 91, 81, 71, 61, 51], "newest first");
    let json = |assessment| serde_json::to_value(assessment).unwrap();
    assert_eq!(json(&kept[0].assessment), json(&assessment));
}

#[test]
fn a_story_leaves_out_looks_that_held_and_no_edit_whatever_it_led_to() {
    use weir_engine::decide::Action;
    use weir_engine::journal::{Actor, Entry, Event, Observed, Trace};
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("weir.db")).unwrap();
    let spec = Box::new(experiment("shop"));
    let by = Actor::default();
    let events = [
        Event::Edit { experiment: spec, by },
        Event::Look { observed: Observed::default(), health: weir_engine::health::Health::default() },
    ];
    let mut number = 0;
    for event in events {
        for action in [Action::Hold, Action::Renew, Action::Shift] {
            number += 1;
            let trace = Trace { action: Some(action), ..Trace::default() };
            ledger.insert_entry("shop", number, &Entry { at: START, event: event.clone(), trace }).unwrap();
        }
    }
    let told: Vec<u64> = ledger.story("shop", 10).unwrap().iter().map(|row| row.number).collect();
    assert_eq!(told, [1, 2, 3, 6]);
}

#[test]
fn the_decision_that_ended_an_experiment_is_known_after_all_else_of_it_is_forgotten() {
    use weir_engine::assess::assess;
    use weir_engine::decide::{Action, Decision};
    use weir_engine::state::{Observations, Outcome, Phase};
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("weir.db")).unwrap();
    let mut row = row("shop-1");
    ledger.insert_experiment(&row).unwrap();
    let assessment = assess(&row.spec, &row.state, &<Observations>::default());
    for (at, action) in [(1, Action::Shift), (2, Action::Promote), (3, Action::Hold)] {
        if action == Action::Promote {
            row.state.phase = Phase::Concluded { outcome: Outcome::Promoted, version: 1, at };
            ledger.update_state("shop-1", &row.state).unwrap();
        }
        let decision = Decision { at, action, reasons: vec![], state: row.state.clone() };
        let row = DecisionRow { number: 0, told: Told::of(&decision, None), assessment: assessment.clone() };
        ledger.insert_decision("shop-1", &row, 5).unwrap();
    }
    ledger.delete_experiment("shop-1", START).unwrap();
    ledger.prune_deleted(START).unwrap();
    assert_eq!(ledger.decisions("shop-1", 10).unwrap().len(), 3, "deleted then, not before");
    ledger.prune_deleted(START + 1).unwrap();
    let numbers: Vec<u64> = ledger.decisions("shop-1", 10).unwrap().iter().map(|row| row.number).collect();
    assert_eq!(numbers, [2]);
    let past = ledger.past(&row.spec.service, None, 10).unwrap();
    assert_eq!(past.len(), 1);
    assert!(past[0].assessment.is_some());
}

#[test]
fn services_of_an_old_ledger_are_told_from_columns_also_after_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let experiments = [
        lived("a-1", "shop", Some(START + 9)),
        lived("a-2", "shop", Some(START + 7)),
        lived("a-3", "shop", None),
        lived("b-1", "Bank", None),
    ];
    // One that nobody can read any more keeps no controller from starting.
    old_ledger(&path, 4, &experiments)
        .execute_batch(
            "INSERT INTO experiment (id, name, document, spec, state, created_at, deleted_at) VALUES ('x', 'x', '', '{', '{}', 1, 2)",
        )
        .unwrap();
    assert!(matches!(Ledger::read_only(&path), Err(LedgerError::TooOld { found: 4, .. })));
    let ledger = Ledger::open(&path).unwrap();
    let ids = |before: Option<&(u64, String)>, limit| {
        ledger.past("shop", before, limit).unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 10), ["a-2", "a-1"], "in the order in which they ended");
    assert_eq!(ledger.services(None, 10).unwrap(), [service("Bank", 1, 0), service("shop", 3, 2)]);

    ledger.update_experiment(&lived("a-3", "shop", Some(START + 8))).unwrap();
    ledger.update_state("b-1", &lived("b-1", "Bank", Some(START)).state).unwrap();
    ledger.insert_experiment(&lived("c-1", "zoo", None)).unwrap();
    ledger.delete_experiment("a-1", START).unwrap();
    assert_eq!(ids(None, 2), ["a-3", "a-1"], "the latest");
    assert_eq!(ids(Some(&(START + 8, "a-3".to_owned())), 2), ["a-2"]);
    let first = ledger.services(None, 2).unwrap();
    assert_eq!(first, [service("Bank", 1, 1), service("shop", 3, 3)]);
    assert_eq!(ledger.services(Some("shop"), 2).unwrap(), [service("zoo", 1, 0)]);
}

#[test]
fn no_past_and_no_list_of_services_reads_every_experiment() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("weir.db")).unwrap();
    for sql in [past::PAST, past::SERVICES] {
        let mut statement = ledger.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = statement.parameter_count();
        let steps: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(vec![7; count]), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let [only] = &steps[..] else { panic!("{steps:?}") };
        assert!(only.starts_with("SEARCH experiment USING") && only.contains("experiment_service (service"), "{only}");
    }
}
