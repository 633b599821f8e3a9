//! Rewards that come with a token count once, for the exposure that earned them, whoever sends them, in whatever order, and through
//! crashes of the controller; what is late, forged or unknown counts nowhere.

use super::history_tests::{Random, check};
use super::*;
use crate::mirror::{Claimed, MAX_WAITING};
use crate::testing::{Bench, START, cell, counts, document, experiment, report};
use std::collections::BTreeSet;
use weir_core::report::{Cell, Counts};
use weir_core::reward::Claim;
use weir_core::token::{Secret, Token};

/// An experiment whose rewards a service reports, or, of users, a later request makes.
fn rewarded(source: &str) -> Experiment {
    let text = document("shop").replace("responseHeader: x-weir-reward", source);
    let users = "  unit: {header: x-user}\n  strategy: ab\n";
    let text = if source.starts_with("request") { text + users } else { text };
    weir_engine::document::read(&text).unwrap_or_else(|problems| panic!("{text} {problems:?}")).remove(0)
}

fn by_api() -> Experiment {
    rewarded("api: {}")
}

fn secret(bench: &Bench) -> Secret {
    Secret::from_hex(bench.plan().experiments[0].secret.as_deref().unwrap()).unwrap()
}

/// An exposure to v2 of the first worker.
fn token(bin: u64, nonce: u64) -> Token {
    Token { incarnation: 1, epoch: 1, version: 1, bin, nonce, bucket: None }
}

fn send(bench: &mut Bench, tokens: &[String]) -> Result<Rewarded, RewardError> {
    let rewards = tokens.iter().map(|token| (token.clone(), 2.5)).collect();
    bench.ask(|reply| Command::Rewards("shop".to_owned(), rewards, reply)).expect("an answer")
}

/// A report of the first worker, counted.
fn count(bench: &mut Bench, id: &str, sequence: u64, watermark: u64, cells: Vec<Cell>) {
    let report = report(1, sequence, id, watermark, cells);
    bench.ask(|reply| Command::Report(Box::new(report), reply)).unwrap().unwrap();
}

/// Settled and unsettled counts of v2, over all epochs.
fn of_v2(bench: &mut Bench) -> (Counts, Counts) {
    let snapshots = bench.ask(Command::Snapshot).unwrap();
    let (mut settled, mut unsettled) = (Counts::default(), Counts::default());
    let shop = snapshots.iter().find(|snapshot| snapshot.spec.name == "shop").unwrap();
    for epoch in shop.observations.epochs.values() {
        settled.merge(&epoch.settled[1]);
        unsettled.merge(&epoch.unsettled[1]);
    }
    (settled, unsettled)
}

#[test]
fn a_reward_is_durable_when_it_is_acknowledged_and_joins_the_cell_that_earned_it_when_that_settles() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let tokens: Vec<String> = (0..3).map(|nonce| token(START, nonce).sign(&secret(&bench))).collect();
    // Even before the first report of the worker, which may be a second behind.
    let all = Rewarded { counted: 3, ..Rewarded::default() };
    assert_eq!(send(&mut bench, &tokens), Ok(all));
    bench.restart();
    assert_eq!(send(&mut bench, &tokens), Ok(Rewarded { duplicate: 3, ..Rewarded::default() }));
    count(&mut bench, &id, 1, START, vec![cell("v2", START, counts(10, 10))]);
    let (settled, unsettled) = of_v2(&mut bench);
    assert_eq!((settled.rewarded, unsettled.rewarded, unsettled.reward_sum), (0, 3, 7.5), "seen at once");
    bench.restart();
    count(&mut bench, &id, 2, START + 1_000, vec![]);
    let (settled, unsettled) = of_v2(&mut bench);
    assert_eq!((settled.assigned, settled.rewarded, settled.reward_sum), (10, 3, 7.5));
    assert_eq!((settled.reward_sum_squares, unsettled.rewarded), (18.75, 0));
    assert_eq!(send(&mut bench, &tokens), Ok(Rewarded { late: 3, ..Rewarded::default() }));
    assert!(bench.contents().iter().all(|row| !row.starts_with("claim")), "what has settled is not remembered");
    assert_eq!(of_v2(&mut bench).0, settled);
    bench.look();
    check(&mut bench, "shop");
}

#[test]
fn what_is_forged_unknown_or_late_counts_nowhere_and_is_told_apart() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    bench.apply(experiment("other"));
    let (ours, now) = (secret(&bench), START + 10_000);
    bench.set_time(now);
    count(&mut bench, &id, 1, START + 5_000, vec![cell("v2", START + 5_000, counts(10, 10))]);
    let (fresh, day) = (token(START + 5_000, 1), 86_400_000);
    let lists = [
        ("counted", fresh.sign(&ours)),
        ("duplicate", fresh.sign(&ours)),
        ("late", token(START + 4_000, 2).sign(&ours)),
        ("late", Token { incarnation: 9, bin: START - day, ..fresh }.sign(&ours)),
        ("unknown", Token { version: 2, ..fresh }.sign(&ours)),
        ("unknown", Token { epoch: 2, ..fresh }.sign(&ours)),
        ("unknown", Token { epoch: 0, ..fresh }.sign(&ours)),
        ("invalid", fresh.sign(&Secret::new([0; 16]))),
        ("invalid", "x".repeat(62)),
        ("invalid", String::new()),
    ];
    for (expected, text) in lists {
        let rewarded = send(&mut bench, &[text]).unwrap();
        let said = serde_json::to_value(rewarded).unwrap();
        assert_eq!(said[expected], 1, "{said}");
        assert_eq!(said.as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum::<u64>(), 1);
    }
    assert_eq!(of_v2(&mut bench).1.rewarded, 1);
    let text = bench.metrics.text().unwrap();
    for (result, times) in [("counted", 1), ("duplicate", 1), ("late", 2), ("unknown", 3), ("invalid", 3), ("full", 0)]
    {
        assert!(text.contains(&format!("weir_rewards_total{{result=\"{result}\"}} {times}\n")), "{text}");
    }
    let answer = bench.ask(|reply| Command::Rewards("other".to_owned(), vec![], reply)).unwrap();
    assert_eq!(answer, Err(RewardError::NotByApi("other".to_owned())));
    let answer = bench.ask(|reply| Command::Rewards("none".to_owned(), vec![], reply)).unwrap();
    assert_eq!(answer, Err(RewardError::Unknown("none".to_owned())));
}

#[test]
fn the_rewards_of_a_worker_count_as_its_exposures_do_however_far_its_clock_is_behind() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let ours = secret(&bench);
    bench.set_time(START + 2 * 86_400_000);
    let unknown = Rewarded { late: 1, ..Rewarded::default() };
    assert_eq!(send(&mut bench, &[token(START, 1).sign(&ours)]), Ok(unknown), "of a worker that nobody knows yet");
    count(&mut bench, &id, 1, START, vec![cell("v2", START, counts(10, 10))]);
    assert_eq!(send(&mut bench, &[token(START, 1).sign(&ours)]).unwrap().counted, 1);
    bench.set_time(START + 2 * 86_400_000 + 3_600_000);
    bench.look();
    count(&mut bench, &id, 2, START + 1_000, vec![]);
    let (settled, _) = of_v2(&mut bench);
    assert_eq!((settled.assigned, settled.rewarded), (10, 1));
    assert_eq!(send(&mut bench, &[token(START, 2).sign(&ours)]).unwrap().late, 1, "what is final stays final");
}

#[test]
fn a_token_of_a_time_that_no_report_may_speak_of_is_invalid_and_does_not_wait() {
    let mut bench = Bench::new();
    bench.apply(by_api());
    let ours = secret(&bench);
    let hour = 3_600_000;
    let [near, ahead, far] =
        [START + hour, START + hour + 1_000, 1 << 47].map(|bin| Token { incarnation: 99, ..token(bin, 1) }.sign(&ours));
    let answer = send(&mut bench, &[near, ahead, far]);
    assert_eq!(answer, Ok(Rewarded { counted: 1, invalid: 2, ..Rewarded::default() }));
    assert_eq!(bench.contents().iter().filter(|row| row.starts_with("claim")).count(), 1);
}

#[test]
fn a_reward_counts_once_although_another_node_reports_under_the_same_incarnation() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let rewarded = [token(START, 1).sign(&secret(&bench))];
    count(&mut bench, &id, 1, START, vec![cell("v2", START, counts(10, 10))]);
    assert_eq!(send(&mut bench, &rewarded).unwrap().counted, 1);
    count(&mut bench, &id, 2, START + 1_000, vec![]);
    let mut other = report(1, 1, &id, START, vec![]);
    other.node = "other".to_owned();
    let refused = bench.ask(|reply| Command::Report(Box::new(other), reply)).unwrap().unwrap_err();
    assert_eq!(refused.reason, crate::ingest::Reason::OtherNode);
    assert_eq!(send(&mut bench, &rewarded).unwrap().late, 1);
    count(&mut bench, &id, 3, START + 2_000, vec![]);
    assert_eq!(of_v2(&mut bench).0.rewarded, 1);
}

#[test]
fn rewards_that_find_no_room_may_be_sent_again_with_the_rest() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let ours = secret(&bench);
    let tokens: Vec<String> = (0..MAX_WAITING as u64 + 5).map(|nonce| token(START, nonce).sign(&ours)).collect();
    for list in tokens.chunks(1_000) {
        match send(&mut bench, list) {
            Ok(rewarded) => assert_eq!(rewarded.counted, 1_000),
            Err(error) => assert_eq!(error, RewardError::Full(5)),
        }
    }
    count(&mut bench, &id, 1, START, vec![cell("v2", START, counts(5_000, 5_000))]);
    count(&mut bench, &id, 2, START + 1_000, vec![]);
    assert_eq!(of_v2(&mut bench).0.rewarded, MAX_WAITING as u64);
    let later: Vec<String> = (0..5).map(|nonce| token(START + 1_000, nonce).sign(&ours)).collect();
    assert_eq!(send(&mut bench, &later).unwrap().counted, 5, "there is room again");
}

#[test]
fn of_rewards_of_exposures_that_do_not_count_what_is_too_much_is_left_out_and_the_rest_counts() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let ours = secret(&bench);
    // Six of v2 in two bins, with buckets; two of v1 in the same batch.
    let tokens =
        (0..6).map(|nonce| Token { bucket: Some(9 - nonce as u16), ..token(START + nonce / 3 * 1_000, nonce) });
    let others = (6..8).map(|nonce| Token { version: 0, ..token(START, nonce) });
    let tokens: Vec<String> = tokens.chain(others).map(|token| token.sign(&ours)).collect();
    assert_eq!(send(&mut bench, &tokens).unwrap().counted, 8);
    bench.restart();
    // One of five can have no reward, as its user kept a token.
    let repeated = Counts { repeats: 1, ..counts(3, 3) };
    let cells =
        vec![cell("v1", START, counts(9, 9)), cell("v2", START, repeated), cell("v2", START + 1_000, counts(2, 2))];
    count(&mut bench, &id, 1, START, cells);
    count(&mut bench, &id, 2, START + 2_000, vec![]);
    let (settled, unsettled) = of_v2(&mut bench);
    assert_eq!((settled.assigned, settled.rewarded, settled.reward_sum), (5, 4, 10.0));
    assert_eq!(settled.rewarded_buckets, [6, 7, 8, 9], "the latest are left out");
    assert_eq!((settled.is_contradictory(), unsettled.rewarded), (false, 0));
    let snapshots = bench.ask(Command::Snapshot).unwrap();
    assert_eq!(snapshots[0].observations.epochs[&1].settled[0].rewarded, 2, "of others nothing is");
    let text = bench.metrics.text().unwrap();
    assert!(text.contains("weir_forgotten_rewards_total 2\n"), "{text}");
    assert!(bench.contents().iter().all(|row| !row.starts_with("claim")));
    bench.look();
    check(&mut bench, "shop");
}

#[test]
fn what_waits_is_shown_as_one_sum_however_many_bins_it_waits_for_and_leaves_it_as_they_settle() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let ours = secret(&bench);
    let bins = 0..60;
    let tokens: Vec<String> = bins
        .clone()
        .flat_map(|second| {
            (0..5).map(move |at| Token { bucket: Some(at), ..token(START + second * 1_000, u64::from(at)) })
        })
        .map(|token| token.sign(&ours))
        .collect();
    assert_eq!(send(&mut bench, &tokens).unwrap().counted, 300);
    bench.set_time(START + 60_000);
    count(&mut bench, &id, 1, START, bins.map(|second| cell("v2", START + second * 1_000, counts(9, 9))).collect());
    for (sequence, final_bins) in [(2, 0), (3, 1), (4, 40), (5, 60)] {
        count(&mut bench, &id, sequence, START + final_bins * 1_000, vec![]);
        let (settled, unsettled) = of_v2(&mut bench);
        assert_eq!((settled.rewarded, unsettled.rewarded), (5 * final_bins, 300 - 5 * final_bins));
        assert_eq!(settled.reward_sum + unsettled.reward_sum, 750.0);
        assert!(unsettled.rewarded_buckets.is_empty(), "nobody looks at buckets of what has not settled");
        assert_eq!(settled.rewarded_buckets.len(), if final_bins == 0 { 0 } else { 5 });
    }
}

#[test]
fn what_waits_for_a_worker_that_never_comes_back_is_forgotten_with_it() {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let ours = secret(&bench);
    count(&mut bench, &id, 1, START, vec![cell("v2", START, counts(3, 3))]);
    let tokens = [token(START, 1), Token { incarnation: 9, ..token(START, 1) }].map(|token| token.sign(&ours));
    assert_eq!(send(&mut bench, &tokens).unwrap().counted, 2);
    bench.set_time(START + 86_400_000 + 3 * 3_600_000);
    bench.look();
    assert!(bench.contents().iter().all(|row| !row.starts_with("claim") && !row.starts_with("worker")));
    assert_eq!(of_v2(&mut bench).0, Counts::default());
    let text = bench.metrics.text().unwrap();
    assert!(text.contains("weir_forgotten_rewards_total 2\n"), "{text}");
}

#[test]
fn the_claims_of_filters_count_once_however_many_see_a_conversion_with_the_bucket_of_its_user() {
    let mut bench = Bench::new();
    let id = bench.apply(rewarded("request: {method: POST, path: {exact: /order}}"));
    let ours = secret(&bench);
    let claim = |nonce: u64, bucket: u16| Claim {
        experiment: id.clone(),
        assignment: Token { bucket: Some(bucket), ..token(START, nonce) }.sign(&ours),
        reward: 1.0,
    };
    count(&mut bench, &id, 1, START, vec![cell("v2", START, counts(10, 10))]);
    for (incarnation, sequence, nonces) in [(1, 2, vec![1, 2]), (2, 1, vec![2, 3]), (1, 3, vec![3, 1])] {
        let mut report = report(incarnation, sequence, &id, START, vec![]);
        report.claims = nonces.into_iter().map(|nonce| claim(nonce, 100 + u16::try_from(nonce / 3).unwrap())).collect();
        bench.ask(|reply| Command::Report(Box::new(report), reply)).unwrap().unwrap();
    }
    // A report that is sent again, and one whose watermark passes the bin that it claims a reward in.
    let mut last = report(1, 4, &id, START + 1_000, vec![]);
    last.claims = vec![claim(4, 7), Claim { assignment: "forged".to_owned(), ..claim(1, 1) }];
    for _ in 0..2 {
        let last = last.clone();
        bench.ask(|reply| Command::Report(Box::new(last), reply)).unwrap().unwrap();
    }
    let (settled, _) = of_v2(&mut bench);
    assert_eq!((settled.rewarded, settled.reward_sum), (4, 4.0));
    assert_eq!(settled.rewarded_buckets, [7, 100, 101]);
    let text = bench.metrics.text().unwrap();
    assert!(text.contains("weir_rewards_total{result=\"duplicate\"} 3\n"), "{text}");
    let answer = bench.ask(|reply| Command::Rewards("shop".to_owned(), vec![], reply)).unwrap();
    assert_eq!(answer, Err(RewardError::NotByApi("shop".to_owned())), "filters report these");
}

/// Rewards sent in random order, again and again, to a controller that crashes: how many settled.
fn random_life(seed: u64) -> u64 {
    let mut bench = Bench::new();
    let id = bench.apply(by_api());
    let (ours, mut random) = (secret(&bench), Random(seed));
    let (mut sent, mut rewarded) = (Vec::<Token>::new(), BTreeSet::new());
    let (mut sequence, mut watermark, mut expected) = (0, START, 0);
    for second in 0..60 {
        let bin = START + second * 1_000;
        bench.set_time(bin);
        let assigned = random.below(8);
        sent.extend((0..assigned).map(|at| token(bin, second * 100 + at)));
        for _ in 0..random.below(6) {
            if sent.is_empty() {
                break;
            }
            let token = sent[usize::try_from(random.below(sent.len() as u64)).unwrap()];
            // A crash before the commit: nothing has happened, and it is sent again.
            if random.below(4) == 0 {
                bench.fail_after(0);
                let failed =
                    bench.ask(|reply| Command::Rewards("shop".to_owned(), vec![(token.sign(&ours), 1.0)], reply));
                assert!(failed.is_err() || token.bin < watermark || rewarded.contains(&token.nonce), "{failed:?}");
                bench.fail_after(-1);
            }
            let answer = send(&mut bench, &[token.sign(&ours)]).unwrap();
            if token.bin < watermark {
                assert_eq!(answer.late, 1);
            } else {
                let new = rewarded.insert(token.nonce);
                assert_eq!((answer.counted, answer.duplicate), (u64::from(new), u64::from(!new)));
                expected += u64::from(new);
            }
        }
        if random.below(3) > 0 {
            bench.restart();
        }
        sequence += 1;
        if random.below(3) == 0 {
            watermark = watermark.max(bin.saturating_sub(2_000));
        }
        count(&mut bench, &id, sequence, watermark, vec![cell("v2", bin, counts(assigned, assigned))]);
        if random.below(5) == 0 {
            bench.look();
            check(&mut bench, "shop");
        }
    }
    count(&mut bench, &id, sequence + 1, START + 60_000, vec![]);
    let (settled, unsettled) = of_v2(&mut bench);
    assert_eq!((settled.rewarded, settled.reward_sum, unsettled.rewarded), (expected, expected as f64 * 2.5, 0));
    bench.look();
    check(&mut bench, "shop");
    expected
}

#[test]
fn through_crashes_and_repetitions_every_reward_on_time_counts_once_and_decisions_replay() {
    let total: u64 = (0..8).map(random_life).sum();
    assert!(total > 200, "{total}");
}

#[test]
fn every_kind_of_answer_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Claimed::ALL.iter().map(|claimed| claimed.name()).collect();
    assert_eq!(names.len(), Claimed::ALL.len());
}
