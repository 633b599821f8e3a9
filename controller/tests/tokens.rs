//! Tokens and the audit log from the command line, against a real `weir serve`.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::time::{Duration, Instant};
use support::{DOCUMENT, Ran, Serve, weir};

/// `weir` with a token.
fn with(serve: &Serve, token: &str, arguments: &[&str]) -> Ran {
    Ran::from(serve.command(arguments).env("WEIR_TOKEN", token.trim()).output().expect("`weir` runs"))
}

#[test]
fn the_first_token_is_made_on_the_ledgers_machine_and_the_rest_over_the_api() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    let made = serve.run(&["token", "create", "ada", "--role", "operator", "--ledger", "weir.db"]);
    assert!(made.ok() && made.out.starts_with("weir_") && made.err.contains("shown this once"), "{made:?}");
    // Until it does, the door that was open stays so.
    assert!(made.err.contains("lets everybody in for up to a second more"), "{made:?}");
    let ada = made.out;
    // A controller that runs learns of it.
    let begin = Instant::now();
    while serve.run(&["get"]).ok() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is still open");
    }
    assert!(with(&serve, &ada, &["apply", "-f", "checkout.yaml"]).ok());
    let eve = with(&serve, &ada, &["token", "create", "eve", "--role", "viewer", "--expires-in", "1h"]).out;
    let another = serve.run(&["token", "create", "bob", "--role", "viewer", "--ledger", "weir.db"]);
    assert!(another.ok() && !another.err.contains("lets everybody in"), "not the first: {another:?}");
    assert!(with(&serve, &eve, &["get", "checkout"]).ok());
    for arguments in [
        &["delete", "checkout", "--reason", "x"][..],
        &["pause", "checkout", "--reason", "x"],
        &["apply", "-f", "checkout.yaml"],
        &["token", "list"],
        &["token", "create", "mallory", "--role", "operator"],
        &["audit"],
    ] {
        let refused = with(&serve, &eve, arguments);
        assert!(!refused.ok() && refused.err.contains("(403)"), "{arguments:?}: {refused:?}");
    }
    let proxy = with(&serve, &ada, &["token", "create", "envoy", "--role", "proxy"]).out;
    assert!(with(&serve, &proxy, &["get"]).err.contains("(403)"));

    let listed = with(&serve, &ada, &["token", "list"]);
    assert!(listed.out.starts_with("NAME   ROLE "), "{listed:?}");
    let of_eve = listed.out.lines().find(|line| line.starts_with("eve ")).expect("her line");
    assert!(of_eve.contains(" viewer ") && of_eve.contains("in 59 m "), "{listed:?}");
    assert!(!listed.out.contains(eve.trim()) && !listed.out.contains("weir_"), "{listed:?}");
    assert_eq!(with(&serve, &ada, &["token", "revoke", "eve"]).out, "token eve revoked\n");
    assert!(with(&serve, &eve, &["get"]).err.contains("(401)"), "at once");
    assert!(with(&serve, &ada, &["token", "revoke", "eve"]).err.contains("no token `eve`"));

    let audit = with(&serve, &ada, &["audit"]);
    for part in [
        "LOCAL weir token",
        "create ada, operator",
        "checkout created",
        "refused (403)",
        "127.0.0.1",
        "DELETE /v1/tokens/eve",
    ] {
        assert!(audit.out.contains(part), "{part}: {audit:?}");
    }
    let offline = serve.run(&["audit", "--ledger", "weir.db"]);
    assert!(offline.ok() && offline.out.contains("create ada, operator"), "without a token: {offline:?}");
    let whole = |arguments: &[&str]| with(&serve, &ada, arguments).json()["entries"].as_array().cloned();
    assert_eq!(whole(&["audit", "-o", "json"]), whole(&["audit", "--ledger", "weir.db", "-o", "json"]));
    let none = serve.run(&["audit", "--ledger", "wier.db"]);
    assert!(none.code == Some(1) && none.err.contains("there is no ledger"), "{none:?}");
    let json = with(&serve, &ada, &["audit", "--limit", "2", "-o", "json"]).json();
    assert_eq!(json["entries"].as_array().map(Vec::len), Some(2));
}

#[test]
fn tokens_outlive_the_controller_and_the_last_one_revoked_opens_nothing() {
    let mut serve = Serve::start(&[]);
    let ledger = serve.folder.path().join("weir.db");
    let ledger = ledger.to_str().expect("a path");
    let ada = serve.run(&["token", "create", "ada", "--role", "operator", "--ledger", ledger]).out;
    serve.restart(&[]);
    assert!(with(&serve, &ada, &["get"]).ok());
    let own = with(&serve, &ada, &["token", "revoke", "ada"]);
    assert!(own.code == Some(1) && own.err.contains("--force"), "{own:?}");
    let last = serve.run(&["token", "revoke", "ada", "--ledger", ledger]);
    assert!(
        last.code == Some(1) && last.err.contains("the last operator's") && last.err.contains("--force"),
        "{last:?}"
    );
    let revoked = serve.run(&["token", "revoke", "ada", "--ledger", ledger, "--force"]);
    assert_eq!(revoked.out, "token ada revoked\n", "{revoked:?}");
    let begin = Instant::now();
    while with(&serve, &ada, &["get"]).ok() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is still known");
    }
    assert!(serve.run(&["get"]).err.contains("(401)"));
    let none = weir(&["token", "revoke", "ada", "--ledger", "/nowhere/weir.db"]).output().expect("`weir` runs");
    assert!(Ran::from(none).err.contains("there is no ledger"));
}

#[test]
fn nobody_is_locked_out_by_the_first_token_nor_taken_for_somebody_else_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("weir.db");
    let token = |arguments: &[&str]| {
        let mut command = weir(&["token"]);
        Ran::from(command.args(arguments).arg("--ledger").arg(&ledger).output().expect("`weir` runs"))
    };
    let locked = token(&["create", "eve", "--role", "viewer"]);
    assert!(locked.code == Some(1) && locked.err.contains("make an operator's first"), "{locked:?}");
    assert!(token(&["create", "eve", "--role", "viewer", "--force"]).ok(), "whoever says so has an operator elsewhere");
    for name in ["operator", ".."] {
        let refused = token(&["create", name, "--role", "viewer"]);
        assert!(refused.code == Some(2) && refused.err.contains("neither a role nor"), "{refused:?}");
    }
    let serve = |tokens: &str| {
        let mut command = weir(&["serve", "--listen", "127.0.0.1:0", "--token", tokens, "--ledger"]);
        Ran::from(command.arg(&ledger).output().expect("`weir` runs"))
    };
    let kept = serve("operator:eve=o");
    assert!(kept.code == Some(1) && kept.err.contains("(eve)") && kept.err.contains("weir token revoke"), "{kept:?}");
    let twice = serve("operator:ada=o,viewer:ada=v");
    assert!(twice.code == Some(2) && twice.err.contains("name of one before it"), "{twice:?}");
}

#[test]
fn beyond_loopback_nothing_is_served_before_there_is_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("weir.db");
    let refused = weir(&["serve", "--listen", "0.0.0.0:0", "--ledger"]).arg(&ledger).output().expect("`weir` runs");
    let refused = Ran::from(refused);
    assert!(!refused.ok() && refused.err.contains("weir token create"), "{refused:?}");
    assert!(!ledger.exists(), "nothing was made");
    let made =
        weir(&["token", "create", "ada", "--role", "operator", "--ledger"]).arg(&ledger).output().expect("`weir` runs");
    assert!(made.status.success());
    let mut serve = Serve::start(&[]);
    serve.folder = folder;
    serve.restart(&["--listen", "0.0.0.0:0"]);
    assert!(serve.run(&["get"]).err.contains("(401)"));
}
