//! What an exchange says, keeps and loses, with controllers of every kind.

use super::*;
use crate::matching::Compiled;
use crate::plan::{Status, Unit};
use crate::report::Counts;
use crate::request::Request;
use crate::testing::{FakeHost, plan};
use crate::unit::{Digest, UnitBuckets};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MS: u64 = 1_000_000;

fn controller() -> Controller {
    serde_json::from_str(r#"{"cluster":"ctl","reportInterval":"500ms","stalenessLimit":"30s"}"#).unwrap()
}

/// A controller in memory that counts each report once, and checks what the contract promises it.
#[derive(Default)]
struct FakeController {
    sequences: BTreeMap<String, u64>,
    watermarks: BTreeMap<(String, String), u64>,
    counts: BTreeMap<(String, String), Counts>,
    dropped: u64,
    incarnations: BTreeSet<String>,
}

impl FakeController {
    fn receive(&mut self, body: &[u8]) -> Vec<u8> {
        let report = Report::from_json(body).expect("a filter sends valid reports");
        let last = self.sequences.entry(report.incarnation.clone()).or_default();
        if report.sequence > *last {
            assert_eq!(report.sequence, *last + 1, "without a gap");
            *last = report.sequence;
            self.dropped += report.dropped;
            self.incarnations.insert(report.incarnation.clone());
            for experiment in report.experiments {
                let key = (report.incarnation.clone(), experiment.id.clone());
                let watermark = self.watermarks.entry(key).or_default();
                assert!(experiment.watermark >= *watermark, "a watermark goes back");
                for cell in experiment.cells {
                    assert!(cell.bin >= *watermark, "a bin below the watermark");
                    let key =
                        (format!("{}/{}/{}", experiment.id, cell.epoch, cell.version), report.incarnation.clone());
                    self.counts.entry(key).or_default().merge(&cell.counts);
                }
                *watermark = experiment.watermark;
            }
        }
        format!(r#"{{"acknowledged":{}}}"#, report.sequence).into_bytes()
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.counts.values().for_each(|counts| total.merge(counts));
        total
    }
}

struct Vm {
    host: FakeHost,
    exchange: Exchange,
    in_flight: Vec<(u64, Request)>,
}

impl Vm {
    fn new(seed: u64) -> Self {
        let mut host = FakeHost { seed, code: Some(200), ..FakeHost::default() };
        let exchange = Exchange::new(&mut host, controller(), "node".to_owned(), 1_700_000_000_000);
        Self { host, exchange, in_flight: Vec::new() }
    }

    fn arrive(&mut self, plan: &Compiled, ends: u64) -> bool {
        let request = Request::on_request_headers(&mut self.host, plan, self.exchange.worker());
        let recorded = request.is_recorded();
        self.in_flight.push((ends, request));
        recorded
    }

    /// Ends what ends by now; says how many did so by the deadline of 2 s, given when they began.
    fn end(&mut self) {
        let now = self.host.now;
        for (_, mut request) in self.in_flight.extract_if(.., |(ends, _)| *ends <= now) {
            request.on_log(&mut self.host, self.exchange.recorder());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Over lost requests, lost acknowledgements, outages and configuration pushes, what was recorded is reported once,
    /// and every user with a request overdue is.
    #[test]
    fn what_was_recorded_is_counted_exactly_once(
        seed: u64,
        steps in proptest::collection::vec((0..4_u8, 0..3_000_u64, 0..10_u8), 50..200),
    ) {
        let mut vm = Vm::new(seed);
        let mut far = FakeController::default();
        let mut planned = plan(&[5, 3, 2]);
        planned.experiments[0].unit = Unit::Header("x-user".to_owned());
        let (mut assigned, mut on_time, mut overdue) = (0, 0, BTreeSet::new());
        for (requests, lasts, luck) in steps {
            vm.host.now += 100 * MS;
            vm.end();
            if luck == 9 {
                planned.experiments[0].epoch += 1;
            }
            let compiled = Compiled::new(&planned, &[]);
            for _ in 0..requests {
                let user = format!("user-{}", assigned % 50).into_bytes();
                let bucket = UnitBuckets::new("salt").of(Digest::of(&user));
                vm.host.request = vec![("x-user".to_owned(), user)];
                if vm.arrive(&compiled, vm.host.now + lasts * MS) {
                    assigned += 1;
                    // Ends are seen every 100 ms.
                    if lasts.div_ceil(100) * 100 <= 2_000 {
                        on_time += 1;
                    } else {
                        overdue.insert(bucket);
                    }
                }
            }
            vm.exchange.on_tick(&mut vm.host);
            for (token, path, body) in std::mem::take(&mut vm.host.calls) {
                if path != "/v1/reports" {
                    vm.exchange.on_answer(&mut vm.host, token, 304, b"");
                    continue;
                }
                match luck {
                    0 => vm.exchange.on_answer(&mut vm.host, token, 0, b""),
                    1 => {
                        far.receive(&body);
                        vm.exchange.on_answer(&mut vm.host, token, 504, b"");
                    }
                    2 => {
                        far.receive(&body);
                    }
                    3 => {
                        far.receive(&body);
                        vm.exchange.reconfigure(&mut vm.host, controller(), "node".to_owned());
                    }
                    _ => {
                        let answer = far.receive(&body);
                        vm.exchange.on_answer(&mut vm.host, token, 200, &answer);
                    }
                }
            }
        }
        // Nothing is lost any more: within a minute everything has arrived and every bin is final.
        for _ in 0..600 {
            vm.host.now += 100 * MS;
            vm.end();
            vm.exchange.on_tick(&mut vm.host);
            for (token, path, body) in std::mem::take(&mut vm.host.calls) {
                let answer = if path == "/v1/reports" { far.receive(&body) } else { Vec::new() };
                let status = if path == "/v1/reports" { 200 } else { 304 };
                vm.exchange.on_answer(&mut vm.host, token, status, &answer);
            }
        }
        let total = far.total();
        prop_assert_eq!(total.assigned, assigned);
        prop_assert_eq!(total.completed, on_time);
        prop_assert_eq!(total.failed_buckets, overdue.into_iter().collect::<Vec<u16>>());
        prop_assert_eq!(far.dropped, 0);
        prop_assert_eq!(far.incarnations.len(), usize::from(assigned > 0));
        let now = vm.exchange.clock.at(vm.host.now);
        prop_assert!(far.watermarks.values().all(|watermark| *watermark + 61_000 > now - 60_000));
    }
}

#[test]
fn after_a_refusal_a_new_incarnation_begins_and_says_what_was_lost() {
    let mut vm = Vm::new(1);
    let compiled = Compiled::new(&plan(&[1, 1]), &[]);
    let mut far = FakeController::default();
    assert!(vm.arrive(&compiled, 0));
    let before = vm.exchange.incarnation().to_owned();
    let mut refused = false;
    for _ in 0..100 {
        vm.host.now += 100 * MS;
        vm.exchange.on_tick(&mut vm.host);
        for (token, path, body) in std::mem::take(&mut vm.host.calls) {
            if path != "/v1/reports" {
                vm.exchange.on_answer(&mut vm.host, token, 304, b"");
            } else if refused {
                let answer = far.receive(&body);
                vm.exchange.on_answer(&mut vm.host, token, 200, &answer);
            } else {
                refused = true;
                vm.exchange.on_answer(&mut vm.host, token, 422, b"unknown experiment");
                assert!(vm.arrive(&compiled, 0));
            }
        }
    }
    vm.end();
    assert_ne!(vm.exchange.incarnation(), before);
    assert!(!far.incarnations.contains(&before));
    assert_eq!((far.total().assigned, far.dropped), (1, 1));
    let now = vm.host.now;
    let Standing { news, silence_nanos, stale, .. } = vm.exchange.standing(now);
    assert_eq!((news.refused, news.lost, news.retried, news.polls_failed), (1, 1, 0, 0));
    assert!(news.acknowledged > 0 && news.sent == news.acknowledged + news.refused && !stale, "{news:?}");
    assert!(silence_nanos <= 1_000 * MS);
    assert_eq!(vm.exchange.standing(now).news, News::default(), "told once");
    assert!(vm.host.lines.iter().any(|line| line.contains("unknown experiment")), "{:?}", vm.host.lines);
}

/// What the next report says; it is answered with this status.
fn next_report(vm: &mut Vm, status: u32) -> Report {
    for _ in 0..200 {
        vm.host.now += 100 * MS;
        vm.exchange.on_tick(&mut vm.host);
        for (token, path, body) in std::mem::take(&mut vm.host.calls) {
            if path != "/v1/reports" {
                vm.exchange.on_answer(&mut vm.host, token, 304, b"");
                continue;
            }
            let report = Report::from_json(&body).expect("a filter sends valid reports");
            let answer = format!(r#"{{"acknowledged":{}}}"#, report.sequence);
            vm.exchange.on_answer(&mut vm.host, token, status, answer.as_bytes());
            return report;
        }
    }
    panic!("no report in 20 s");
}

#[test]
fn an_incarnation_that_has_reported_keeps_its_node_whatever_is_configured_then() {
    let mut vm = Vm::new(1);
    let compiled = Compiled::new(&plan(&[1, 1]), &[]);
    let push = |vm: &mut Vm, node: &str| vm.exchange.reconfigure(&mut vm.host, controller(), node.to_owned());
    push(&mut vm, "early");
    vm.arrive(&compiled, 0);
    let first = next_report(&mut vm, 200);
    assert_eq!((first.node.as_str(), first.sequence), ("early", 1));
    push(&mut vm, "late");
    vm.arrive(&compiled, 0);
    let second = next_report(&mut vm, 422);
    assert_eq!((second.node.as_str(), &second.incarnation, second.sequence), ("early", &first.incarnation, 2));
    let third = next_report(&mut vm, 200);
    assert_eq!((third.node.as_str(), third.sequence), ("late", 1));
    assert_ne!(third.incarnation, first.incarnation);
}

#[test]
fn claims_in_refused_reports_are_said_to_be_lost_once_however_many_are_refused() {
    let mut vm = Vm::new(1);
    for number in 0..9 {
        vm.exchange.recorder().claim(&"e1".into(), format!("token-{number}"), 1.0);
    }
    let mut said = |status| {
        let report = next_report(&mut vm, status);
        (report.claims.len(), report.lost_claims)
    };
    assert_eq!(said(422), (9, 0));
    assert_eq!(said(422), (0, 9), "nothing else is to be said");
    assert_eq!(said(200), (0, 9), "who was to be told never was");
    vm.arrive(&Compiled::new(&plan(&[1, 1]), &[]), 0);
    assert_eq!(next_report(&mut vm, 200).lost_claims, 0);
}

#[test]
fn a_worker_without_traffic_says_nothing_and_one_with_traffic_says_that_it_lives() {
    let reports = |vm: &mut Vm, ticks: u32| {
        let mut count = 0;
        for _ in 0..ticks {
            vm.host.now += 100 * MS;
            vm.exchange.on_tick(&mut vm.host);
            for (token, path, body) in std::mem::take(&mut vm.host.calls) {
                let is_report = path == "/v1/reports";
                count += u32::from(is_report);
                let sequence = if is_report { Report::from_json(&body).unwrap().sequence } else { 0 };
                let answer = format!(r#"{{"acknowledged":{sequence}}}"#);
                vm.exchange.on_answer(&mut vm.host, token, if is_report { 200 } else { 304 }, answer.as_bytes());
            }
        }
        count
    };
    let mut vm = Vm::new(1);
    assert_eq!(reports(&mut vm, 200), 0);
    let compiled = Compiled::new(&plan(&[1, 1]), &[]);
    vm.arrive(&compiled, 0);
    assert!(reports(&mut vm, 60) >= 2, "the counts, then the watermark");
    let heartbeats = reports(&mut vm, 200);
    assert!((3..=5).contains(&heartbeats), "{heartbeats} in 20 s, one every ten intervals of 500 ms");
}

#[test]
fn the_plan_goes_stale_and_comes_back_with_one_line_each() {
    let mut vm = Vm::new(1);
    vm.host.unreachable = true;
    for _ in 0..700 {
        vm.host.now += 100 * MS;
        vm.exchange.on_tick(&mut vm.host);
    }
    assert!(vm.exchange.worker().stale);
    let lines = |vm: &Vm, text: &str| vm.host.lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(lines(&vm, "stale"), 1);
    vm.host.unreachable = false;
    for _ in 0..100 {
        vm.host.now += 100 * MS;
        vm.exchange.on_tick(&mut vm.host);
        for (token, ..) in std::mem::take(&mut vm.host.calls) {
            vm.exchange.on_answer(&mut vm.host, token, 304, b"");
        }
    }
    assert!(!vm.exchange.worker().stale);
    assert_eq!(lines(&vm, "answers again"), 1);
}

#[test]
fn reports_name_the_plan_in_use() {
    let mut vm = Vm::new(1);
    vm.exchange.set_static_revision("static-1");
    let mut planned = plan(&[1, 1]);
    planned.experiments[0].status = Status::Running;
    vm.arrive(&Compiled::new(&planned, &[]), 0);
    planned.revision = "r7".to_owned();
    let mut plans = Vec::new();
    for _ in 0..60 {
        vm.host.now += 100 * MS;
        vm.exchange.on_tick(&mut vm.host);
        for (token, path, body) in std::mem::take(&mut vm.host.calls) {
            if path == "/v1/reports" {
                let report = Report::from_json(&body).unwrap();
                plans.push(report.plan);
                let answer = format!(r#"{{"acknowledged":{}}}"#, report.sequence);
                vm.exchange.on_answer(&mut vm.host, token, 200, answer.as_bytes());
            } else if plans.is_empty() {
                vm.exchange.on_answer(&mut vm.host, token, 304, b"");
            } else {
                let plan = serde_json::to_vec(&planned).unwrap();
                vm.exchange.on_answer(&mut vm.host, token, 200, &plan);
            }
        }
    }
    assert_eq!(plans.first().map(String::as_str), Some("static-1"));
    assert_eq!(plans.last().map(String::as_str), Some("r7"));
}

#[test]
fn of_reports_refused_one_after_the_other_each_exposure_is_lost_once() {
    let mut vm = Vm::new(1);
    let compiled = Compiled::new(&plan(&[1, 1]), &[]);
    for (arrivals, status, dropped) in [(3, 422, 0), (2, 422, 3), (1, 200, 5), (4, 422, 0), (0, 200, 4)] {
        for _ in 0..arrivals {
            assert!(vm.arrive(&compiled, 0));
        }
        let report = next_report(&mut vm, status);
        assert_eq!(report.dropped, dropped, "{arrivals}");
    }
    let now = vm.host.now;
    assert_eq!(vm.exchange.standing(now).news.lost, 9);
}

#[test]
fn a_poll_that_envoy_does_not_send_is_a_failed_one_and_names_its_cluster() {
    let mut vm = Vm::new(1);
    vm.host.unreachable = true;
    for _ in 0..50 {
        vm.host.now += 100 * MS;
        vm.exchange.on_tick(&mut vm.host);
    }
    let now = vm.host.now;
    assert!(vm.exchange.standing(now).news.polls_failed >= 3);
    let named: Vec<&String> = vm.host.lines.iter().filter(|line| line.contains("`ctl`")).collect();
    assert!(named.len() == 1 && named[0].contains("no such cluster"), "{:?}", vm.host.lines);
}
