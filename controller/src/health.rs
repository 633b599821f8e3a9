//! What the mirror knows of telemetry, as the engine asks for it. Reads, changes nothing: what is wrong here holds weights.

use crate::mirror::{Mirror, Worker};
use weir_engine::health::{Health, Heard, Watch};
use weir_engine::spec::Experiment;

/// What is known of telemetry for one experiment.
pub(crate) fn health(mirror: &Mirror, id: &str, experiment: &Experiment, now: u64) -> Health {
    let watch = Watch {
        now,
        back_at: mirror.loaded_at,
        published_at: mirror.published.as_ref().map(|(at, _)| *at),
        own_step: mirror.stepped,
        experiment,
    };
    watch.health(mirror.workers().map(|worker| heard(mirror, worker, id)), mirror.dropped.iter().copied())
}

/// What is known of one worker.
fn heard(mirror: &Mirror, worker: &Worker, id: &str) -> Heard {
    let said = &worker.said;
    let in_force = mirror.published.as_ref().map(|(_, revision)| revision);
    Heard {
        last_seen: worker.last_seen,
        gap_ms: said.gap,
        unfinished: worker.body.experiments.get(id).is_some_and(|open| !open.cells.is_empty()),
        stale: said.stale,
        other_plan: !said.plan.is_empty() && in_force.is_some_and(|revision| *revision != said.plan),
        clock: said.clocks.get(id).map(|said| (said.at, said.off)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::Command;
    use crate::testing::{Bench, START, cell, counts, experiment, report};
    use weir_core::report::Report;
    use weir_engine::health::{LATELY_MS, QUIET_MS, SILENCE_MS, STEP_MS};

    /// As the engine has them.
    const SILENT_MS: u64 = 15_000;
    const PLAN_MS: u64 = 15_000;

    /// A keeper with one experiment, and its id.
    fn bench() -> (Bench, String) {
        let mut bench = Bench::new();
        let id = bench.apply(experiment("shop"));
        (bench, id)
    }

    fn known(bench: &mut Bench) -> Health {
        bench.ask(Command::Snapshot).unwrap().remove(0).health
    }

    /// A worker's report of the plan in force; with an unfinished bin if `open`.
    fn say(bench: &mut Bench, worker: u32, sequence: u64, id: &str, open: bool, change: impl FnOnce(&mut Report)) {
        let cells = if open { vec![cell("v1", START, counts(5, 5))] } else { Vec::new() };
        let mut report = Report { plan: bench.plan().revision, ..report(worker, sequence, id, START, cells) };
        change(&mut report);
        bench.ask(|reply| Command::Report(Box::new(report), reply)).unwrap().unwrap();
    }

    #[test]
    fn a_worker_that_falls_silent_with_unfinished_counts_is_silent_until_it_is_taken_for_gone() {
        let (mut bench, id) = bench();
        say(&mut bench, 1, 1, &id, true, |_| ());
        say(&mut bench, 2, 1, &id, false, |_| ());
        assert_eq!((known(&mut bench).live, known(&mut bench).silent), (2, 0));
        let patience = SILENT_MS + 3_000;
        bench.set_time(START + patience - 1);
        assert_eq!(known(&mut bench).silent, 0);
        bench.set_time(START + patience);
        let health = known(&mut bench);
        assert_eq!((health.live, health.silent), (1, 1), "who had finished is idle, not silent");
        assert!(health.faults().iter().any(|fault| fault.contains("fell silent")), "{:?}", health.faults());
        bench.set_time(START + patience + SILENCE_MS);
        assert_eq!(known(&mut bench).silent, 0);
    }

    #[test]
    fn a_worker_that_reports_seldom_is_not_silent_sooner() {
        let (mut bench, id) = bench();
        say(&mut bench, 1, 1, &id, true, |_| ());
        bench.set_time(START + 20_000);
        say(&mut bench, 1, 2, &id, false, |_| ());
        bench.set_time(START + 20_000 + 59_000);
        assert_eq!(known(&mut bench).silent, 0, "it reports every 20 s");
        bench.set_time(START + 20_000 + 63_000);
        assert_eq!(known(&mut bench).silent, 1);
    }

    #[test]
    fn silence_while_the_controller_was_away_is_nobodys_fault() {
        let (mut bench, id) = bench();
        say(&mut bench, 1, 1, &id, true, |_| ());
        bench.set_time(START + 600_000);
        bench.restart();
        let health = known(&mut bench);
        assert_eq!((health.silent, health.newest_report_ms), (0, Some(0)));
        bench.set_time(START + 600_000 + QUIET_MS);
        assert!(known(&mut bench).faults().iter().any(|fault| fault.contains("no proxy has reported for 30 s")));
    }

    #[test]
    fn before_any_worker_is_known_nothing_is_wrong() {
        let (mut bench, _) = bench();
        bench.set_time(START + 3_600_000);
        assert_eq!(known(&mut bench), Health::default());
    }

    #[test]
    fn a_stale_plan_and_one_that_is_behind_are_counted_until_the_worker_has_the_plan_in_force() {
        let (mut bench, id) = bench();
        say(&mut bench, 1, 1, &id, false, |report| report.stale = true);
        assert_eq!(known(&mut bench).stale, 1);
        say(&mut bench, 1, 2, &id, false, |report| report.plan = "old".to_owned());
        assert_eq!((known(&mut bench).stale, known(&mut bench).behind), (0, 0), "the plan is new");
        bench.set_time(START + PLAN_MS);
        assert_eq!(known(&mut bench).behind, 0, "it has not reported since it should have it");
        say(&mut bench, 1, 3, &id, false, |report| report.plan = "old".to_owned());
        assert_eq!(known(&mut bench).behind, 0, "it reports seldom: the plan may be on its way");
        bench.set_time(START + PLAN_MS + 1_000);
        say(&mut bench, 1, 4, &id, false, |report| report.plan = "old".to_owned());
        assert_eq!(known(&mut bench).behind, 1);
        say(&mut bench, 1, 5, &id, false, |_| ());
        assert_eq!(known(&mut bench).behind, 0);
    }

    #[test]
    fn what_was_not_recorded_matters_for_a_while() {
        let (mut bench, id) = bench();
        say(&mut bench, 1, 1, &id, false, |report| report.dropped = 7);
        say(&mut bench, 1, 2, &id, false, |report| report.dropped = 5);
        assert_eq!(known(&mut bench).dropped, 12);
        bench.set_time(START + LATELY_MS);
        assert_eq!(known(&mut bench).dropped, 0);
    }

    #[test]
    fn clocks_that_run_ahead_matter_where_a_tenth_of_the_workers_has_one() {
        let (mut bench, id) = bench();
        let ahead = |report: &mut Report| {
            report.experiments[0].cells = vec![cell("v1", START + 60_000, counts(1, 1))];
        };
        say(&mut bench, 1, 1, &id, false, ahead);
        assert_eq!(known(&mut bench).clocks_off_ms, 60_000);
        (2..=10).for_each(|worker| say(&mut bench, worker, 1, &id, false, |_| ()));
        assert!(known(&mut bench).clocks_off_ms < STEP_MS, "one of ten");
        say(&mut bench, 2, 2, &id, false, ahead);
        assert_eq!(known(&mut bench).clocks_off_ms, 60_000, "two of ten");
    }

    #[test]
    fn a_clock_that_is_right_again_matters_no_more() {
        let (mut bench, id) = bench();
        say(&mut bench, 1, 1, &id, false, |report| {
            report.experiments[0].cells = vec![cell("v1", START + 60_000, counts(1, 1))];
        });
        assert_eq!(known(&mut bench).clocks_off_ms, 60_000);
        bench.set_time(START + 1_000);
        say(&mut bench, 1, 2, &id, true, |_| ());
        assert!(known(&mut bench).clocks_off_ms < STEP_MS, "{:?}", known(&mut bench));
    }

    #[test]
    fn clocks_that_are_behind_matter_but_not_what_was_long_under_way() {
        let (mut bench, id) = bench();
        let at = |behind: u64| {
            move |report: &mut Report| {
                report.experiments[0].watermark = START + 30_000 - behind - 3_000;
                report.experiments[0].cells = vec![cell("v1", START + 30_000 - behind, counts(1, 1))];
            }
        };
        bench.set_time(START + 30_000);
        // A report that was sent for half a minute until it was heard.
        say(&mut bench, 1, 1, &id, false, at(30_000));
        assert!(known(&mut bench).clocks_off_ms < STEP_MS, "{:?}", known(&mut bench));
        bench.set_time(START + 40_000);
        say(&mut bench, 1, 2, &id, false, at(0));
        assert!(known(&mut bench).clocks_off_ms < STEP_MS, "{:?}", known(&mut bench));
        // Another, whose counts are of a minute ago, report after report.
        say(&mut bench, 2, 1, &id, false, at(60_000));
        bench.set_time(START + 46_000);
        say(&mut bench, 2, 2, &id, false, at(55_000));
        let health = known(&mut bench);
        assert!((STEP_MS..=71_000).contains(&health.clocks_off_ms), "{health:?}");
        assert!(
            health.faults().iter().any(|fault| fault.contains("a tenth of the workers' clocks are off by")),
            "{health:?}"
        );
    }

    #[test]
    fn a_clock_matters_to_the_experiments_that_its_worker_counts_for() {
        let (mut bench, id) = bench();
        bench.apply(experiment("other"));
        say(&mut bench, 1, 1, &id, false, |report| {
            report.experiments[0].cells = vec![cell("v1", START + 60_000, counts(1, 1))];
        });
        let known = bench.ask(Command::Snapshot).unwrap();
        let steps: Vec<_> = known.iter().map(|snapshot| (snapshot.id == id, snapshot.health.clocks_off_ms)).collect();
        assert!(steps.contains(&(true, 60_000)) && steps.contains(&(false, 0)), "{steps:?}");
    }

    #[test]
    fn what_is_wrong_holds_the_weights_and_is_told_and_journaled() {
        let (mut bench, id) = bench();
        say(&mut bench, 1, 1, &id, true, |report| report.dropped = 7);
        bench.look();
        let last = bench.journal("shop").pop().expect("an entry").entry;
        assert!(last.trace.reasons[0].contains("7 exposures were not recorded"), "{:?}", last.trace.reasons);
        let weir_engine::journal::Event::Look { health, .. } = last.event else { panic!("{last:?}") };
        assert_eq!(health.dropped, 7);
    }
}
