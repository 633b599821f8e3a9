//! TLS of a real `weir serve`: with the right certificate, the wrong one, and one that is renewed.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::time::{Duration, Instant};
use support::{DOCUMENT, Ran, Serve, weir};

/// Writes a certificate of its own for 127.0.0.1, and its key.
fn certificate(folder: &std::path::Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("one");
    std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).expect("a file");
    std::fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).expect("a file");
}

#[test]
fn the_command_line_speaks_tls_with_whom_it_trusts_and_with_nobody_else() {
    let certificates = tempfile::tempdir().expect("a folder");
    let path = |name: &str| certificates.path().join(name).to_str().expect("a path").to_owned();
    for name in ["serves", "other"] {
        certificate(certificates.path(), name);
    }
    let serve = Serve::start(&["--tls-cert", &path("serves.pem"), "--tls-key", &path("serves.key")]);
    assert!(serve.url.starts_with("https://127.0.0.1:"), "{}", serve.url);
    serve.write("checkout.yaml", DOCUMENT);
    let trusting = |name: &str, arguments: &[&str]| {
        Ran::from(serve.command(arguments).env("WEIR_CA_FILE", path(name)).output().expect("`weir` runs"))
    };
    let applied = trusting("serves.pem", &["apply", "-f", "checkout.yaml"]);
    assert!(applied.ok(), "{applied:?}");
    assert!(trusting("serves.pem", &["get", "checkout"]).ok());
    for (refused, why) in [
        (trusting("other.pem", &["get"]), "another key than that of the issuer who is trusted"),
        (
            serve.run(&["get"]),
            "issuer who is not trusted here): if it is your own, name the issuer's certificate with --ca-file",
        ),
        (trusting("other.key", &["get"]), "holds no certificate"),
    ] {
        assert!(!refused.ok() && refused.err.contains(why), "{refused:?}");
    }
    let plain = serve.url.replace("https", "http");
    let refused = Ran::from(weir(&["get", "--server", &plain]).output().expect("`weir` runs"));
    assert!(!refused.ok() && refused.err.contains("write https:// instead"), "{refused:?}");
    let unencrypted = Serve::start(&[]);
    let tls = unencrypted.url.replace("http", "https");
    let refused = Ran::from(weir(&["get", "--server", &tls]).output().expect("`weir` runs"));
    assert!(!refused.ok() && refused.err.contains("write http:// instead"), "{refused:?}");

    // A context keeps whom to trust.
    let config = path("config.yaml");
    let kept =
        |arguments: &[&str]| Ran::from(weir(arguments).env("WEIR_CONFIG", &config).output().expect("`weir` runs"));
    let set = kept(&["context", "set", "lab", "--server", &serve.url, "--ca-file", &path("serves.pem")]);
    assert!(set.ok() && kept(&["get"]).ok(), "{set:?}");
    let set = kept(&["context", "set", "lab", "--ca-file", &path("serves.key")]);
    assert!(!set.ok() && set.err.contains("holds no certificate"), "{set:?}");
    assert!(kept(&["context", "set", "lab", "--no-ca-file"]).ok() && kept(&["get"]).err.contains("issuer"));

    // Renewed, in the order in which tools write: for a moment the two do not belong together.
    certificate(certificates.path(), "new");
    std::fs::copy(path("new.pem"), path("serves.pem")).expect("a copy");
    assert!(trusting("new.pem", &["get"]).code == Some(1));
    std::fs::copy(path("new.key"), path("serves.key")).expect("a copy");
    let begin = Instant::now();
    while !trusting("new.pem", &["get"]).ok() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the new certificate is not used");
    }
}

/// The header by which an answer has browsers come by TLS alone.
fn lasting(url: &str, certificate: &str) -> Option<String> {
    let pem = std::fs::read(certificate).expect("a certificate");
    let trusted = ureq::tls::Certificate::from_pem(&pem).expect("PEM");
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::new_with_certs(&[trusted]))
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().proxy(None).tls_config(tls).build());
    let answer = agent.get(format!("{url}/healthz")).call().expect("an answer");
    answer.headers().get("strict-transport-security").map(|value| value.to_str().expect("text").to_owned())
}

#[test]
fn browsers_are_told_to_come_by_tls_alone_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    certificate(folder.path(), "a");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let (pem, key) = (path("a.pem"), path("a.key"));
    let plain = Serve::start(&["--tls-cert", &pem, "--tls-key", &key]);
    assert_eq!(lasting(&plain.url, &pem), None);
    let asked = Serve::start(&["--tls-cert", &pem, "--tls-key", &key, "--hsts"]);
    assert_eq!(lasting(&asked.url, &pem).as_deref(), Some("max-age=31536000"));
    let alone = Ran::from(weir(&["serve", "--hsts"]).output().expect("`weir` runs"));
    assert!(alone.code == Some(2) && alone.err.contains("--tls-cert"), "{alone:?}");
}

#[test]
fn what_is_no_certificate_and_its_key_is_not_served_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    certificate(folder.path(), "a");
    certificate(folder.path(), "b");
    let ledger = path("weir.db");
    for (file, key, why) in [
        ("a.pem", "b.key", "do not belong together"),
        ("a.key", "a.key", "holds no certificate"),
        ("a.pem", "a.pem", "no private key"),
        ("none.pem", "a.key", "cannot read"),
    ] {
        let (file, key) = (path(file), path(key));
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--ledger", &ledger, "--tls-cert", &file, "--tls-key", &key];
        let refused = Ran::from(weir(&arguments).output().expect("`weir` runs"));
        assert!(!refused.ok() && refused.err.contains(why), "{why}: {refused:?}");
    }
    let alone = Ran::from(weir(&["serve", "--tls-cert", &path("a.pem")]).output().expect("`weir` runs"));
    assert!(!alone.ok() && alone.err.contains("--tls-key"), "{alone:?}");
}

/// Serves with a certificate made so, trusts it, and says what a client says of it.
fn said_of(name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    change(&mut params);
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    std::fs::write(path("a.pem"), made.pem()).expect("a file");
    std::fs::write(path("a.key"), key.serialize_pem()).expect("a file");
    let serve = Serve::start(&["--tls-cert", &path("a.pem"), "--tls-key", &path("a.key")]);
    serve.run(&["get", "--ca-file", &path("a.pem")])
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_with_what_to_do() {
    let fine = said_of("127.0.0.1", |_| {});
    assert!(fine.ok(), "{fine:?}");
    let cases = [
        (said_of("weir.example", |_| {}), "is for another name", "subjectAltName"),
        (said_of("127.0.0.1", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)), "has expired", "renew"),
        (
            said_of("127.0.0.1", |params| params.not_before = rcgen::date_time_ymd(2900, 1, 1)),
            "is not valid yet",
            "clocks",
        ),
        (
            said_of("127.0.0.1", |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            "is one of an authority (CA:TRUE)",
            "CA:FALSE",
        ),
    ];
    for (ran, why, next) in cases {
        assert!(!ran.ok() && ran.err.contains(why) && ran.err.contains(next), "{why}: {ran:?}");
    }
}
