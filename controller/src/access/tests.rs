//! Tokens and the audit log, through restarts and beside another process.

use super::*;

const DAY: u64 = 86_400_000;

fn open(folder: &tempfile::TempDir) -> Access {
    Access::open(&folder.path().join("weir.db")).unwrap()
}

#[test]
fn a_token_is_known_by_its_digest_until_it_is_revoked_also_by_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    assert!(!access.had_tokens());
    let (secret, _) = access.create("ada", Role::Operator, None, "", 1).unwrap();
    let digest = digest(secret.reveal().as_bytes());
    assert_eq!(access.find(&digest).map(|known| known.role), Some(Role::Operator));
    assert!(matches!(access.create("ada", Role::Viewer, None, "", 2), Err(AccessError::Exists(_))));

    let other = open(&folder);
    assert!(other.find(&digest).is_some(), "it is there after a restart");
    assert!(other.revoke("ada", "eve", 3, false).unwrap() && !other.revoke("ada", "eve", 4, false).unwrap());
    assert!(access.find(&digest).is_some(), "nobody has told this one yet");
    access.refresh().unwrap();
    assert!(access.find(&digest).is_none());
    assert!(access.had_tokens() && open(&folder).had_tokens(), "the door stays closed");
    assert!(access.create("ada", Role::Viewer, None, "", 5).is_ok(), "the name is free again");
}

#[test]
fn nothing_that_opens_anything_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    let (secret, _) = access.create("ada", Role::Operator, None, "", 1).unwrap();
    assert!(secret.reveal().starts_with("weir_") && secret.reveal().len() == 69, "256 bits");
    assert!(!format!("{secret:?}").contains(&secret.reveal()[5..]));
    let mut looked = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        looked += bytes.len();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&secret.reveal()[5..]));
    }
    assert!(looked > 1_000);
}

#[test]
fn a_token_expires_and_says_when_it_was_used_last() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    let (secret, row) = access.create("ci", Role::Service, Some(DAY), "ada", 1).unwrap();
    assert_eq!((row.created_by.as_str(), row.expires_at), ("ada", Some(DAY)));
    let known = access.find(&digest(secret.reveal().as_bytes())).unwrap();
    assert!(!known.is_expired(DAY - 1) && known.is_expired(DAY));
    assert_eq!(access.tokens().unwrap()[0].last_used_at, None);
    known.used(DAY / 2);
    assert_eq!(access.tokens().unwrap()[0].last_used_at, Some(DAY / 2), "as it is known here");
    assert_eq!(open(&folder).tokens().unwrap()[0].last_used_at, None, "not on disk yet");
    access.refresh().unwrap();
    assert_eq!(open(&folder).tokens().unwrap()[0].last_used_at, Some(DAY / 2));
}

#[test]
fn the_first_token_is_an_operators_and_the_last_operators_stays_unless_it_is_forced() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    assert!(matches!(access.check_operated(Role::Viewer, 1), Err(AccessError::NoOperator)));
    assert!(access.check_operated(Role::Operator, 1).is_ok());
    for (name, role, expires_at) in
        [("ada", Role::Operator, None), ("eve", Role::Viewer, None), ("bob", Role::Operator, Some(DAY))]
    {
        access.create(name, role, expires_at, "", 1).unwrap();
    }
    assert!(access.check_operated(Role::Viewer, 1).is_ok());
    let last = |name: &str, now: u64| matches!(access.revoke(name, "", now, true), Err(AccessError::LastOperator(_)));
    assert!(last("ada", DAY), "the other has expired");
    assert!(access.revoke("eve", "", DAY, true).unwrap(), "who is none may go");
    assert!(access.revoke("ada", "", 2, true).unwrap(), "there is another");
    assert!(last("bob", 3));
    assert!(access.revoke("bob", "", 3, false).unwrap());
    assert!(matches!(access.check_operated(Role::Proxy, 4), Err(AccessError::NoOperator)));
}

#[test]
fn the_audit_log_has_what_began_and_how_it_ended_and_forgets_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    let attempt =
        |target: &str| Attempt { at: 7, who: "ada".to_owned(), target: target.to_owned(), ..Attempt::default() };
    let first = access.attempt(&attempt("/a")).unwrap();
    let second = access.attempt(&attempt("/b")).unwrap();
    access.ended(first, 409, "no").unwrap();
    let told =
        |rows: Vec<AuditRow>| rows.into_iter().map(|row| (row.target, row.status, row.detail)).collect::<Vec<_>>();
    let rows = [("/b".to_owned(), None, String::new()), ("/a".to_owned(), Some(409), "no".to_owned())];
    assert_eq!(told(access.audit(None, 10).unwrap()), rows);
    assert_eq!(told(access.audit(Some(second), 10).unwrap()), rows[1..]);
    access.store().insert_audit(&attempt("/c"), 2).unwrap();
    let kept: Vec<u64> = access.audit(None, 10).unwrap().iter().map(|row| row.number).collect();
    assert_eq!(kept, [3, 2], "numbers are never used again");
}

#[test]
fn an_answer_is_kept_for_its_sender_for_a_day_and_so_many_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    let answer = KeptAnswer { fingerprint: [7; 32], status: 200, kind: "text".to_owned(), body: Some(vec![0, 255]) };
    let most = answers::Keep { answers: 6, bytes: 100 };
    let keep = |key: &str, at: u64| access.store().keep_answer("ada", key, at, &answer, most).unwrap();
    let kept = |who: &str, key: &str, now: u64| access.answer(who, key, now).unwrap();
    keep("1", DAY);
    assert_eq!(kept("ada", "1", DAY + 1), Some(answer.clone()));
    assert_eq!((kept("eve", "1", DAY + 1), kept("ada", "2", DAY + 1)), (None, None));
    assert_eq!(kept("ada", "1", 2 * DAY), None, "a day is over");
    for (at, key) in (1..).zip(["2", "3", "4", "5"]) {
        keep(key, DAY + at);
    }
    let left: Vec<bool> = ["1", "2", "3", "4", "5"].map(|key| kept("ada", key, DAY + 9).is_some()).to_vec();
    assert_eq!(left, [false, false, true, true, true]);
}

#[test]
fn of_answers_no_more_bytes_are_kept_than_may_be_those_of_an_earlier_release_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let mut old = rusqlite::Connection::open(&path).unwrap();
    store::migrate_to(&mut old, 1).unwrap();
    let insert = "INSERT INTO access_answer VALUES ('ada', ?1, ?2, ?3, 200, 'text', ?4)";
    for (at, key, body) in [(1, "old", Some(vec![0_u8; 40])), (2, "shown once", None)] {
        old.execute(insert, rusqlite::params![key, at, "07".repeat(32), body]).unwrap();
    }
    drop(old);
    let access = open(&folder);
    let left = || ["old", "shown once", "1", "2"].map(|key| access.answer("ada", key, 9).unwrap().is_some());
    let keep = |key: &str, at: u64, length: usize| {
        let body = Some(vec![0; length]);
        let answer = KeptAnswer { fingerprint: [7; 32], status: 200, kind: "text".to_owned(), body };
        // Half of it for one.
        let most = answers::Keep { answers: 18, bytes: 200 };
        access.store().keep_answer("ada", key, at, &answer, most).unwrap();
    };
    keep("1", 3, 60);
    assert_eq!(left(), [true, true, true, false], "a hundred");
    keep("1", 3, 60);
    assert_eq!(left(), [true, true, true, false], "what is kept again is not there twice");
    keep("2", 4, 1);
    assert_eq!(left(), [false, true, true, true], "the oldest, and no more than must");
    keep("2", 4, 99);
    assert_eq!(left(), [false, false, false, true]);
    let plan = |sql: &str| -> String {
        access.store().connection.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)).unwrap()
    };
    for sql in
        ["DELETE FROM access_answer WHERE at <= 7", "SELECT who FROM access_answer ORDER BY at, who, key LIMIT 1"]
    {
        assert!(plan(sql).contains("access_answer_at"), "{sql}");
    }
}

#[test]
fn whoever_may_do_nothing_pushes_out_their_own_refusals_and_nothing_that_others_did() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    let (keep, refusals) = (20, 2);
    let write = |who: &str, status: u16| {
        let attempt = Attempt { at: 7, who: who.to_owned(), ..Attempt::default() };
        let mut store = access.store();
        let number = store.insert_audit(&attempt, keep).unwrap();
        store.end_audit(number, status, "", refusals).unwrap();
    };
    write("ada", 200);
    write("ada", 409);
    for _ in 0..50 {
        write("eve", 403);
    }
    write("ada", 204);
    let left = || {
        let rows = access.audit(None, 100).unwrap();
        rows.into_iter().map(|row| (row.number, row.status.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(left(), [(53, 204), (52, 403), (51, 403), (2, 409), (1, 200)]);
    for _ in 0..16 {
        write("ada", 200);
    }
    // Now it is full, and what is oldest goes, whatever it is.
    assert_eq!(left().len(), 20);
    assert_eq!(left()[16..], [(53, 204), (52, 403), (51, 403), (2, 409)]);
}

#[test]
fn of_answers_one_sender_has_half_and_pushes_out_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(&folder);
    let keep = |who: &str, key: usize, at: u64, length: usize| {
        let body = Some(vec![0; length]);
        let answer = KeptAnswer { fingerprint: [7; 32], status: 200, kind: "text".to_owned(), body };
        let most = answers::Keep { answers: 10, bytes: 100 };
        access.store().keep_answer(who, &key.to_string(), at, &answer, most).unwrap();
    };
    let left = |who: &str| {
        (0..40).filter(|key| access.answer(who, &key.to_string(), 99).unwrap().is_some()).collect::<Vec<_>>()
    };
    (0..4).for_each(|key| keep("ada", key, 1, 10));
    (0..40).for_each(|key| keep("eve", key, 2 + u64::try_from(key).unwrap(), 1));
    assert_eq!((left("ada"), left("eve")), (vec![0, 1, 2, 3], vec![35, 36, 37, 38, 39]));
    (0..4).for_each(|key| keep("eve", key, 50 + u64::try_from(key).unwrap(), 20));
    assert_eq!((left("ada"), left("eve")), (vec![0, 1, 2, 3], vec![2, 3]), "of bytes, too");
    let plan = "EXPLAIN QUERY PLAN SELECT SUM(bytes) FROM access_answer WHERE who = 'eve'";
    let plan: String = access.store().connection.query_row(plan, [], |row| row.get(3)).unwrap();
    assert!(plan.contains("COVERING INDEX access_answer_who"), "{plan}");
}
