//! Generated cookies: given once, to whoever has none.

use super::*;
use crate::cookie::GeneratedCookie;

/// A plan of users who are given a cookie.
fn generated(weights: &[u32]) -> Plan {
    let mut plan = plan(weights);
    plan.experiments[0].unit = Unit::GeneratedCookie(GeneratedCookie::named("weir-uid"));
    plan
}

#[test]
fn who_has_no_cookie_is_given_one_and_stays_with_the_version_it_was_given_by() {
    let mut path = Path::new(&generated(&[1, 1, 1]));
    let mut host = FakeHost::default();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let (version, cookies) = serve(&mut path, &mut host, &[]);
        let [cookie] = cookies.as_slice() else { panic!("{cookies:?}") };
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=2592000; Path=/; SameSite=Lax; Secure; HttpOnly");
        let again = serve(&mut path, &mut host, &[("cookie", format!("a=b; {pair}").as_bytes())]);
        assert_eq!(again, (version.clone(), vec![]), "{pair}");
        seen.insert((version, pair.to_owned()));
    }
    assert_eq!(seen.len(), 50, "every unit has a key of its own");
    let drained = path.recorder.drain(1_000_000);
    let counts = drained.experiments[0].cells.iter().map(|cell| &cell.counts);
    let (assigned, new) = counts.fold((0, 0), |sum, counts| (sum.0 + counts.assigned, sum.1 + counts.new_units));
    assert_eq!((assigned, new), (100, 50));
}

#[test]
fn what_no_cookie_may_hold_is_taken_for_none_and_replaced() {
    let mut path = Path::new(&generated(&[1, 1]));
    let mut host = FakeHost::default();
    let long = format!("weir-uid={}", "x".repeat(129));
    for (header, given) in [
        (&b"weir-uid=an-older-system's-key"[..], false),
        (b"weir-uid=\xff", true),
        (b"weir-uid=a b", true),
        (b"weir-uid=", true),
        (long.as_bytes(), true),
        // Of several the first that can be meant.
        (b"weir-uid=a b; weir-uid=ann", false),
    ] {
        let (_, cookies) = serve(&mut path, &mut host, &[("cookie", header)]);
        assert_eq!(!cookies.is_empty(), given, "{}", header.escape_ascii());
    }
}

#[test]
fn a_cookie_is_given_for_as_long_as_the_experiment_runs_also_to_those_outside_its_share() {
    let mut planned = generated(&[0, 1]);
    planned.experiments[0].matching.share_ppm = 1;
    let mut path = Path::new(&planned);
    let mut host = FakeHost::default();
    let (version, cookies) = serve(&mut path, &mut host, &[]);
    assert_eq!((version.as_str(), cookies.len(), path.assigned()), ("v0", 1, 0));
    path.stale = true;
    assert_eq!(serve(&mut path, &mut host, &[]), ("v0".to_owned(), vec![]));
    let mut planned = generated(&[0, 1]);
    planned.experiments[0].override_header = Some("x-tester".to_owned());
    let mut path = Path::new(&planned);
    assert_eq!(serve(&mut path, &mut host, &[("x-tester", b"v0")]), ("v0".to_owned(), vec![]));
    planned.experiments[0].status = Status::Concluded;
    let mut path = Path::new(&planned);
    assert_eq!(serve(&mut path, &mut host, &[]), ("v1".to_owned(), vec![]));
}
