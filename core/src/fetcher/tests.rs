//! Tests of plan fetching: leases, polls, staleness, in virtual time.

use super::*;
use crate::testing::{FakeHost, plan};

const MS: u64 = MILLISECOND;

fn controller() -> Controller {
    serde_json::from_str(r#"{"cluster":"ctl","stalenessLimit":"60s"}"#).unwrap()
}

fn json(revision: &str) -> Vec<u8> {
    let mut plan = plan(&[1, 1]);
    plan.revision = revision.to_owned();
    serde_json::to_vec(&plan).unwrap()
}

/// VMs that share data, each with its queue.
struct Vms {
    host: FakeHost,
    fetchers: Vec<PlanFetcher>,
}

impl Vms {
    fn new(count: u32) -> Self {
        let fetchers = (0..count).map(|vm| {
            let mut fetcher = PlanFetcher::new(&controller(), 0, u64::from(vm) + 1);
            fetcher.set_queue(vm);
            fetcher
        });
        Self { host: FakeHost::default(), fetchers: fetchers.collect() }
    }

    fn tick(&mut self, now: u64) {
        for fetcher in &mut self.fetchers {
            fetcher.on_tick(&mut self.host, &controller(), now);
        }
    }

    /// Answers the one poll under way.
    fn answer(&mut self, now: u64, status: u32, body: &[u8]) -> Fetched {
        let [(token, ..)] = self.host.calls[..] else { panic!("{} polls", self.host.calls.len()) };
        self.host.calls.clear();
        let fetcher = self.fetchers.iter_mut().find(|fetcher| fetcher.awaits(token)).unwrap();
        fetcher.on_answer(&mut self.host, now, status, body)
    }

    fn revisions(&self) -> Vec<Option<&str>> {
        self.fetchers.iter().map(|fetcher| fetcher.plan().map(|plan| plan.revision.as_str())).collect()
    }
}

#[test]
fn one_vm_polls_and_every_vm_gets_the_plan() {
    let mut vms = Vms::new(4);
    for now in (0..2_000).step_by(100) {
        vms.tick(now * MS);
    }
    assert_eq!(vms.host.calls.len(), 1);
    assert_eq!(vms.host.calls[0].1, "/v1/plan?revision=&wait=20s");
    assert_eq!(vms.answer(2_000 * MS, 200, &json("r1")), Fetched::New);
    vms.host.woken.sort_unstable();
    assert_eq!(vms.host.woken, [1, 2, 3], "everybody but the one that has it");
    vms.fetchers[2].look(&mut vms.host);
    assert_eq!(vms.revisions()[2], Some("r1"));
}

#[test]
fn a_vm_that_starts_later_begins_with_the_plan() {
    let mut vms = Vms::new(1);
    vms.tick(0);
    vms.answer(MS, 200, &json("r1"));
    let mut late = PlanFetcher::new(&controller(), 2 * MS, 99);
    assert!(late.look(&mut vms.host));
    assert_eq!(late.plan().unwrap().revision, "r1");
    assert!(!late.look(&mut vms.host), "and looks at it once");
}

#[test]
fn the_next_poll_names_the_revision_and_follows_at_once() {
    let mut vms = Vms::new(2);
    vms.tick(0);
    vms.answer(MS, 200, &json("r&1"));
    vms.tick(2 * MS);
    assert_eq!(vms.host.calls[0].1, "/v1/plan?revision=r%261&wait=20s");
    assert_eq!(vms.answer(20_000 * MS, 304, b""), Fetched::Unchanged);
    vms.tick(20_001 * MS);
    assert_eq!(vms.host.calls.len(), 1);
}

#[test]
fn a_controller_that_does_not_hold_the_poll_is_asked_once_a_second() {
    let mut vms = Vms::new(2);
    vms.tick(0);
    vms.answer(MS, 304, b"");
    vms.tick(500 * MS);
    assert!(vms.host.calls.is_empty());
    vms.tick(1_001 * MS);
    assert_eq!(vms.host.calls.len(), 1);
}

#[test]
fn after_a_failure_the_first_poll_is_not_held_so_that_an_outage_ends_at_once() {
    let mut vms = Vms::new(1);
    vms.tick(0);
    vms.answer(MS, 503, b"");
    vms.tick(10_000 * MS);
    assert_eq!(vms.host.calls[0].1, "/v1/plan?revision=&wait=0ms");
    vms.answer(10_001 * MS, 304, b"");
    vms.tick(10_002 * MS);
    assert_eq!(vms.host.calls[0].1, "/v1/plan?revision=&wait=20s");
}

#[test]
fn after_failures_the_lease_holder_waits_longer_and_nobody_steps_in() {
    let mut vms = Vms::new(3);
    let mut now = 0;
    vms.tick(now);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        vms.answer(now, 503, b"");
        let failed = now;
        while vms.host.calls.is_empty() {
            now += 50 * MS;
            vms.tick(now);
        }
        assert_eq!(vms.host.calls.len(), 1, "one VM alone");
        pauses.push(now - failed);
    }
    assert!(
        pauses[0] <= 300 * MS && pauses[7] >= 2_500 * MS && pauses.iter().all(|pause| *pause <= 5_050 * MS),
        "{pauses:?}"
    );
}

#[test]
fn the_lease_of_a_vm_that_dies_expires() {
    let mut vms = Vms::new(2);
    vms.tick(0);
    let dead = vms.fetchers.iter().position(|fetcher| fetcher.poll.is_some()).unwrap();
    vms.fetchers.remove(dead);
    vms.host.calls.clear();
    vms.tick(26_000 * MS);
    assert!(vms.host.calls.is_empty(), "20 s of poll, 5 s of patience, 2 s more");
    vms.tick(27_001 * MS);
    assert_eq!(vms.host.calls.len(), 1);
}

#[test]
fn a_call_back_that_never_comes_is_given_up() {
    let mut vms = Vms::new(1);
    vms.tick(0);
    vms.host.calls.clear();
    vms.tick(25_999 * MS);
    assert!(vms.host.calls.is_empty());
    vms.tick(26_000 * MS);
    assert_eq!(vms.host.calls.len(), 1);
}

#[test]
fn an_answer_that_is_no_valid_plan_changes_nothing_and_is_not_fresh() {
    let mut vms = Vms::new(1);
    vms.tick(0);
    vms.answer(0, 200, &json("r1"));
    let mut now = 0;
    for body in [&b"{}"[..], b"not json", b"\xff", br#"{"format":2,"revision":"r2","experiments":[]}"#] {
        now += 10_000 * MS;
        vms.tick(now);
        assert!(matches!(vms.answer(now, 200, body), Fetched::Failed(_)));
        assert_eq!(vms.revisions(), [Some("r1")]);
    }
    assert!(vms.fetchers[0].is_stale(60_001 * MS, 60_000));
}

#[test]
fn a_plan_is_stale_for_all_when_nobody_got_an_answer_and_fresh_for_all_when_one_did() {
    let mut vms = Vms::new(3);
    assert!(vms.fetchers.iter().all(|fetcher| !fetcher.is_stale(60_000 * MS, 60_000)));
    assert!(vms.fetchers.iter().all(|fetcher| fetcher.is_stale(60_001 * MS, 60_000)), "never any answer");
    vms.tick(60_001 * MS);
    vms.answer(60_002 * MS, 304, b"");
    vms.tick(60_003 * MS);
    assert!(vms.fetchers.iter().all(|fetcher| !fetcher.is_stale(100_000 * MS, 60_000)));
}

#[test]
fn garbage_in_shared_data_does_no_harm() {
    for garbage in [&b""[..], b"x", &[0xff; 16], &[0xff; 17]] {
        let mut vms = Vms::new(1);
        for key in ["lease", "head", "plan", "queues"] {
            vms.host.shared.insert(format!("weir/1/ctl/weir/{key}"), (garbage.to_vec(), 1));
        }
        vms.host.versions = 1;
        vms.tick(0);
        assert_eq!(vms.host.calls.len(), 1);
        vms.answer(MS, 200, &json("r1"));
        assert_eq!(vms.revisions(), [Some("r1")]);
    }
}

/// Istio gives no `vm_id` to a plugin: it shares data with every other that has none.
#[test]
fn what_is_shared_has_a_name_that_no_other_filter_has() {
    let mut vms = Vms::new(2);
    vms.tick(0);
    vms.answer(MS, 200, &json("r1"));
    vms.tick(2 * MS);
    let mut keys: Vec<&str> = vms.host.shared.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["head", "lease", "plan", "queues"].map(|key| format!("weir/1/ctl/weir/{key}")));
}

#[test]
fn queues_of_vms_that_are_gone_are_forgotten() {
    let mut vms = Vms::new(300);
    vms.tick(0);
    let entry = |vms: &Vms| vms.host.shared["weir/1/ctl/weir/queues"].0.len() / 16;
    assert_eq!(entry(&vms), MAX_QUEUES);
    vms.fetchers.truncate(2);
    vms.tick(40_000 * MS);
    assert_eq!(entry(&vms), 2);
}
