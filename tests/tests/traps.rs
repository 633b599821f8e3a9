//! A worker's VM that traps under load, with a module made to: what FAIL_RELOAD does, that nothing counts twice, that at most an
//! interval is lost of the VM that died, and nothing of any other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};
use weir_core::plan::{PathMatch, PlannedExperiment};
use weir_core::report::Counts;
use weir_tests::load::Sent;
use weir_tests::plans::{experiment, plan};
use weir_tests::stand::reporting;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, FakeController, Load, Stand, eventually, paths};

/// Between two reports.
const INTERVAL: Duration = Duration::from_millis(200);
/// What a report may be late by on a busy machine: the tick (100 ms) and its own way.
const SLACK: Duration = Duration::from_millis(600);
/// How long a VM lives before it traps: longer than the two seconds after which Envoy replaces one at once, and so long that
/// what it may lose is a small part of what it counts.
const LIFE: Duration = Duration::from_secs(4);

/// The paths whose requests are counted apart, each by an experiment of its name: the load on either worker, and what traps.
const PATHS: [&str; 3] = ["/0", "/1", "/probe"];

/// All requests for a path go to v2. So do, with the last, those that take long.
fn for_path(path: &str) -> PlannedExperiment {
    let mut planned = experiment(path, &[("v1", 0), ("v2", 1)]);
    planned.matching.paths = vec![PathMatch::Exact(path.to_owned())];
    if path == "/probe" {
        planned.matching.paths.push(PathMatch::Exact("/delay/400".to_owned()));
    }
    planned
}

/// When a VM died: requests that had ended before the first surely met it, those that began after the second surely did not.
#[derive(Clone, Copy)]
struct Death(Instant, Instant);

/// A stand with a load on each of its two workers, told apart by its path, and a connection to one of them.
struct Scene {
    stand: Stand,
    loads: [Load; 2],
    trapping: Client,
}

impl Scene {
    async fn new() -> Self {
        let module = paths::trap_filter().unwrap_or_else(|error| panic!("{error}"));
        let interval = reporting(&format!("{}ms", INTERVAL.as_millis()));
        let stand =
            Stand::with(plan("1", PATHS.map(for_path).to_vec()), |envoy| envoy.plugin(&interval).module(module));
        let stand = stand.await;
        // Connections go round the workers.
        let address = stand.envoy.address();
        let zero = Load::start(address, 1, PATHS[0]);
        zero.more(1).await;
        let one = Load::start(address, 1, PATHS[1]);
        one.more(1).await;
        let mut trapping = Client::http2(address).await;
        assert_eq!(trapping.get("/probe", &[]).await.version(), "v2");
        Self { stand, loads: [zero, one], trapping }
    }

    /// Has the VM trap, with a request under way in it: what the request that does it was answered.
    async fn trap(&mut self, place: &str, in_flight: bool) -> (Death, u16) {
        let two = &self.stand.versions[1];
        let mut beside = self.trapping.beside();
        let before = two.requests_for("/delay/400");
        let other = in_flight.then(|| tokio::spawn(async move { beside.get("/delay/400", &[]).await }));
        if in_flight {
            eventually(PATIENCE, "it is under way", async || holds(two.requests_for("/delay/400") > before)).await;
        }
        let begin = Instant::now();
        let reply = self.trapping.get("/probe", &[("x-weir-trap", place)]).await;
        let death = Death(begin, Instant::now());
        if let Some(other) = other {
            let other = other.await.unwrap();
            assert_eq!((other.status.as_u16(), other.version()), (503, ""), "what was in flight: its VM is gone");
        }
        (death, reply.status.as_u16())
    }

    /// Requests on the connection that trapped until a version answers again: how many were answered 503, and for how long.
    async fn until_served(&mut self) -> (u64, Duration) {
        let (mut refused, began) = (0, Instant::now());
        eventually(PATIENCE, "the worker has a new VM with the plan", async || {
            let reply = self.trapping.get("/probe", &[]).await;
            if reply.version() == "v2" {
                return Some(());
            }
            assert_eq!((reply.status.as_u16(), reply.version()), (503, ""), "no VM, no answer but Envoy's own");
            refused += 1;
            None
        })
        .await;
        (refused, began.elapsed())
    }

    /// The incarnation that has counted something of a path and is not known yet.
    async fn incarnation(&self, path: &str, known: &[String]) -> String {
        eventually(PATIENCE, "an incarnation reports", async || {
            let found = self.stand.fake.incarnations_of(path);
            assert!(found.len() <= known.len() + 1, "{path}: a connection stays with its worker");
            found.into_iter().find(|incarnation| !known.contains(incarnation))
        })
        .await
    }
}

/// What one VM counted of a load, held against what the load knows was answered in its life.
struct Life<'a> {
    fake: &'a FakeController,
    load: &'a Sent,
    path: &'a str,
    incarnation: &'a str,
}

impl Life<'_> {
    fn counts(&self) -> Counts {
        self.fake.counts_of(self.incarnation, self.path, "v2")
    }

    /// Answered requests that began from one moment on and before another.
    fn sent(&self, from: Instant, to: Instant) -> u64 {
        self.load.before(to).saturating_sub(self.load.before(from))
    }

    /// A VM that died. How many of its requests were not reported, at most.
    fn ended(&self, from: Death, died: Death) -> u64 {
        let heard = self.fake.last_heard(self.incarnation).expect("it has reported");
        let counts = self.counts();
        // What a report holds began before the report came. One more may have been in flight: it was assigned, and answered by
        // Envoy when its VM was gone.
        let most = self.sent(from.0, died.1.min(heard));
        assert!(counts.assigned <= most + 1, "{counts:?}, but {most} were sent before its last report: counted twice");
        assert!(counts.completed <= most, "{counts:?}, {most}");
        // A report leaves every interval: what had ended by the last one before the end is in it.
        let least = self.sent(from.1, died.0 - INTERVAL - SLACK);
        let all = self.sent(from.0, died.1);
        assert!(least > all / 2, "what must not be lost is most of what there was: {least} of {all}");
        assert!(counts.completed >= least, "{counts:?}: more is lost than an interval, {least} of {all} came before");
        all - counts.completed.min(all)
    }

    /// A VM that lives: everything is counted.
    fn lives(&self, from: Death) {
        let counts = self.counts();
        let (least, most) =
            (self.load.answered() - self.load.before(from.1), self.load.answered() - self.load.before(from.0));
        assert!((least..=most).contains(&counts.assigned), "{counts:?}, {least} to {most} were sent");
        assert_eq!((counts.completed, counts.failed), (counts.assigned, 0));
    }
}

/// Traps a VM when it is old, and the next when it is young, both under load; `place`: as a request begins, or when it is logged.
/// `answer`: what that request gets.
async fn trapped_twice(place: &str, answer: u16) {
    let mut scene = Scene::new().await;
    let began = Instant::now();
    let probed = scene.incarnation("/probe", &[]).await;
    let firsts = [scene.incarnation(PATHS[0], &[]).await, scene.incarnation(PATHS[1], &[]).await];
    assert_ne!(firsts[0], firsts[1], "a load on each worker");
    let here = usize::from(probed == firsts[1]);
    let there = 1 - here;
    assert_eq!(probed, firsts[here], "the connection to trap with is on one of them");

    // The age of a VM is what its policy goes by: nothing to be awaited.
    tokio::time::sleep((began + LIFE).saturating_duration_since(Instant::now())).await;
    let (first, status) = scene.trap(place, true).await;
    assert_eq!(status, answer, "the request that trapped");
    let (refused, lasted) = scene.until_served().await;
    assert!(refused <= 1 && lasted < Duration::from_secs(1), "an old VM is replaced at once: {refused} in {lasted:?}");
    let second_vm = scene.incarnation(PATHS[here], &[firsts[here].clone()]).await;

    let (second, status) = scene.trap(place, true).await;
    assert_eq!(status, answer);
    let (refused, lasted) = scene.until_served().await;
    assert!(refused > 0 && lasted < Duration::from_secs(4), "a young one is not: {refused} in {lasted:?}");
    scene.loads[here].more(50).await;
    let known = [firsts[here].clone(), second_vm.clone()];
    let third_vm = scene.incarnation(PATHS[here], &known).await;

    let Scene { stand, loads: [zero, one], .. } = scene;
    let sent = [zero.stop().await, one.stop().await];
    let (fake, two) = (&stand.fake, &stand.versions[1]);
    // Each trap cost the load at most what it had in flight and, of the second, what came until there was a VM.
    assert_eq!((sent[here].broken, sent[there].broken), (0, 0));
    assert!(sent[here].refused > 0 && sent[there].refused == 0, "the other worker answers every request");
    let served = two.requests_for(PATHS[here]);
    assert!(
        (sent[here].answered()..=sent[here].answered() + 2).contains(&served),
        "{served}, {}",
        sent[here].answered()
    );
    let all = sent[there].answered();
    eventually(PATIENCE, "what those that live have counted has come", async || {
        let other = fake.counts(PATHS[there], "v2");
        let own = fake.counts_of(&third_vm, PATHS[here], "v2");
        let most = sent[here].answered() - sent[here].before(second.1);
        holds(other.completed >= all && own.completed >= most)
    })
    .await;
    let counts = fake.counts(PATHS[there], "v2");
    assert_eq!(
        (counts.assigned, counts.completed, two.requests_for(PATHS[there])),
        (all, all, all),
        "the other worker"
    );
    assert_eq!(fake.incarnations_of(PATHS[there]).len(), 1, "its VM has lived on");

    let life = |incarnation| Life { fake, load: &sent[here], path: PATHS[here], incarnation };
    let start = Death(began - Duration::from_secs(3_600), began - Duration::from_secs(3_600));
    let lost = life(&firsts[here]).ended(start, first);
    life(&third_vm).lives(second);
    // The second lived for a moment only: of it nothing is promised but that nothing counts twice.
    let short = fake.counts_of(&second_vm, PATHS[here], "v2").assigned;
    assert!(short <= sent[here].before(second.1) - sent[here].before(first.0) + 1, "{short}");
    let counted = fake.counts(PATHS[here], "v2");
    assert!(counted.assigned <= served && counted.completed + lost <= served, "{counted:?} of {served}");
    let log = stand.envoy.log();
    assert_eq!(log.matches("Uncaught RuntimeError").count(), 2, "the log says so, each time: {log}");
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_traps_as_a_request_begins_loses_at_most_an_interval_and_the_other_worker_nothing() {
    trapped_twice("request", 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_traps_as_a_request_ends_has_answered_it_and_loses_no_more() {
    trapped_twice("log", 200).await;
}
