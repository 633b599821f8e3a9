//! How a request ended: completed well, failed, or left by its client.
//!
//! Owns the meaning of Envoy's response flags, codes and gRPC statuses together. A body that is reset after the headers
//! still says 200, and a client that leaves is not the version's fault: no single one of them is enough.

use crate::bytes::same_letters;
use crate::host::{Ending, Host};
use crate::plan::FailureRules;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer that is no failure.
    Ok,
    /// With a failure.
    Failed,
    /// By its client, before it had an outcome.
    Aborted,
}

/// Envoy's response flags (bits of `response.flags`) by which the upstream failed, whatever code was sent:
/// UH, UT, LR, UR, UF, UC, UO, URX, UMSDR, DT, UPE, NC, DF.
const UPSTREAM_FAILED: u64 = 0x2 // UH no healthy upstream
    | 0x4 // UT upstream request time-out
    | 0x8 // LR local reset
    | 0x10 // UR upstream remote reset
    | 0x20 // UF upstream connection failure
    | 0x40 // UC upstream connection termination
    | 0x80 // UO upstream overflow
    | 0x8000 // URX retry limit exceeded
    | 0x8_0000 // UMSDR upstream maximal stream duration reached
    | 0x40_0000 // DT duration time-out
    | 0x80_0000 // UPE upstream protocol error
    | 0x100_0000 // NC no cluster
    | 0x400_0000; // DF no DNS answer

/// Flags by which the client ended the request: DC (connection termination), DPE (protocol error).
const CLIENT_LEFT: u64 = 0x4000 | 0x4_0000;

/// UR, UC: the version's side of the connection ended.
const VERSION_CLOSED: u64 = 0x10 | 0x40;

/// The code of an upgrade.
const SWITCHING_PROTOCOLS: u32 = 101;

/// The status of an answer without a body; also what Envoy may send in place of a time-out
/// (`x-envoy-upstream-rq-timeout-alt-response`).
const NO_CONTENT: u32 = 204;

/// SI: the stream idle time-out.
const STREAM_IDLE: u64 = 0x1_0000;

/// The gRPC status UNKNOWN, for a gRPC answer that names none.
const GRPC_UNKNOWN: u32 = 2;

/// How a request that has ended did so.
pub fn at_end(host: &mut impl Host, rules: &FailureRules) -> Outcome {
    let whole = host.has_whole_body();
    let grpc = is_grpc(host, rules, whole);
    if whole && !grpc {
        let code = host.response_header(":status").and_then(|value| status(&value));
        // Others may be Envoy's own, for what the version or the client did.
        if code.is_some_and(|code| (200..400).contains(&code) && code != NO_CONTENT) {
            return by_code(code, rules).unwrap_or(Outcome::Ok);
        }
    }
    if is_well_if_plain(rules, grpc) && host.ended_plainly(grpc) {
        return Outcome::Ok;
    }
    let Ending { flags, code, grpc: status } = host.ending(grpc);
    // So ends every upgraded connection that its version ends, and no other that had this code.
    if code == Some(SWITCHING_PROTOCOLS)
        && flags & UPSTREAM_FAILED != 0
        && flags & UPSTREAM_FAILED & !VERSION_CLOSED == 0
    {
        return Outcome::Ok;
    }
    if let Some(outcome) = by_flags(flags) {
        return outcome;
    }
    if stalled(flags, code) {
        return Outcome::Failed;
    }
    by_code(code, rules).unwrap_or_else(|| if grpc { by_grpc(status, rules) } else { Outcome::Ok })
}

/// How a request does whose response headers have arrived. The gRPC status is known only if it is among them. Looks at nothing of
/// the request: Envoy has its headers at hand only before it sends them and when it logs.
pub fn at_headers(host: &mut impl Host, rules: &FailureRules) -> Outcome {
    if let Some(outcome) = by_flags(host.ending(false).flags) {
        return outcome;
    }
    let code = host.response_header(":status").and_then(|value| number(&value));
    by_code(code, rules).unwrap_or_else(|| {
        if rules.grpc.is_empty() || !host.response_header("content-type").is_some_and(|kind| names_grpc(&kind)) {
            return Outcome::Ok;
        }
        // Otherwise the status comes with the trailers, which this experiment does not wait for.
        host.response_header("grpc-status").map_or(Outcome::Ok, |value| by_grpc(number(&value), rules))
    })
}

/// Whether every ending that [`Host::ended_plainly`] names is no failure by these rules.
fn is_well_if_plain(rules: &FailureRules, grpc: bool) -> bool {
    rules.codes.iter().all(|(from, _)| *from >= 500) && !(grpc && rules.grpc.contains(&0))
}

fn by_flags(flags: u64) -> Option<Outcome> {
    if flags & UPSTREAM_FAILED != 0 {
        return Some(Outcome::Failed);
    }
    (flags & CLIENT_LEFT != 0).then_some(Outcome::Aborted)
}

/// A stream that went idle after a good status: the answer stalled in its middle. Before any answer the code says it.
fn stalled(flags: u64, code: Option<u32>) -> bool {
    flags & STREAM_IDLE != 0 && code.is_some_and(|code| code < 400)
}

/// `None`: the code is no failure.
fn by_code(code: Option<u32>, rules: &FailureRules) -> Option<Outcome> {
    let Some(code) = code else { return Some(Outcome::Failed) };
    rules.codes.iter().any(|(from, to)| (*from..=*to).contains(&code)).then_some(Outcome::Failed)
}

fn by_grpc(status: Option<u32>, rules: &FailureRules) -> Outcome {
    if rules.grpc.contains(&status.unwrap_or(GRPC_UNKNOWN)) { Outcome::Failed } else { Outcome::Ok }
}

/// Whether gRPC statuses count: Envoy derives one for every answer, so only where the request is gRPC. Its answers end with trailers or
/// with the headers. One that ended with its body is none; that it should have been one, a request says by `te` as well, which few
/// others have: what is asked for first is seldom there, and so costs little.
fn is_grpc(host: &mut impl Host, rules: &FailureRules, whole_body: bool) -> bool {
    !rules.grpc.is_empty()
        && (!whole_body || host.request_header("te").is_some())
        && host.request_header("content-type").is_some_and(|kind| names_grpc(&kind))
}

/// `application/grpc`, `application/grpc+proto`, `application/grpc; …`, but not `application/grpc-web`.
fn names_grpc(value: &[u8]) -> bool {
    let Some((kind, rest)) = value.split_at_checked("application/grpc".len()) else { return false };
    same_letters(kind, b"application/grpc") && rest.first().is_none_or(|next| b"+; \t".contains(next))
}

/// A status as Envoy writes it: three digits. For every request, so without what reads any number.
fn status(value: &[u8]) -> Option<u32> {
    let &[hundreds, tens, ones] = value else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    Some(digit(hundreds)? * 100 + digit(tens)? * 10 + digit(ones)?)
}

fn number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;

    fn ended(flags: u64, code: Option<u32>) -> FakeHost {
        FakeHost { flags, code, ..FakeHost::default() }
    }

    fn grpc(mut host: FakeHost, status: Option<u32>) -> FakeHost {
        host.request.push(("te".to_owned(), b"trailers".to_vec()));
        host.request.push(("content-type".to_owned(), b"application/grpc+proto".to_vec()));
        host.grpc = status;
        host
    }

    #[test]
    fn every_way_to_end_is_counted_as_what_it_is() {
        use Outcome::{Aborted, Failed, Ok};
        let rules = FailureRules::default();
        for (what, mut host, outcome) in [
            ("answered", ended(0, Some(200)), Ok),
            ("not found", ended(0, Some(404)), Ok),
            ("error", ended(0, Some(500)), Failed),
            ("reset mid-body after a 200", ended(0x80_0000, Some(200)), Failed),
            ("upstream reset", ended(0x40, Some(503)), Failed),
            ("upgrade that its version ended", ended(0x40, Some(101)), Ok),
            ("upgrade that nobody answered any more", ended(0x1_0000, Some(101)), Failed),
            ("upgrade that its client ended", ended(0x4000, Some(101)), Aborted),
            ("time-out", ended(0x4, Some(504)), Failed),
            ("refused connection", ended(0x20, Some(503)), Failed),
            ("no cluster", ended(0x100_0000, Some(503)), Failed),
            ("stalled in the middle of a 200", ended(0x1_0000, Some(200)), Failed),
            ("the client stalled: Envoy's own 408", ended(0x1_0000, Some(408)), Ok),
            ("no route: a 404 of Envoy's own", ended(0x100, Some(404)), Ok),
            ("fault filter's 503", ended(0x400, Some(503)), Failed),
            ("rate limited", ended(0x800, Some(429)), Ok),
            ("client left before the answer", ended(0x4000, None), Aborted),
            ("client left during the answer", ended(0x4000, Some(200)), Aborted),
            ("client broke the protocol", ended(0x4_0000, Some(400)), Aborted),
            ("client left after the upstream failed", ended(0x4000 | 0x40, None), Failed),
            ("no code and nobody left", ended(0, None), Failed),
            ("gRPC well", grpc(ended(0, Some(200)), Some(0)), Ok),
            ("gRPC not found", grpc(ended(0, Some(200)), Some(5)), Ok),
            ("gRPC unavailable", grpc(ended(0, Some(200)), Some(14)), Failed),
            ("gRPC without a status", grpc(ended(0, Some(200)), None), Failed),
            ("not gRPC, whatever status Envoy derives", FakeHost { grpc: Some(2), ..ended(0, Some(200)) }, Ok),
        ] {
            for plainly in [false, true] {
                host.plainly = plainly;
                assert_eq!(at_end(&mut host, &rules), outcome, "{what}, by a host that tells plain endings: {plainly}");
            }
        }
    }

    #[test]
    fn a_whole_body_makes_an_answer_of_the_version_and_of_nothing_else_good_without_asking_more() {
        use Outcome::{Aborted, Failed, Ok};
        let rules = FailureRules::default();
        let own = FailureRules { codes: vec![(302, 302)], grpc: vec![] };
        for (what, status, flags, rules, outcome) in [
            ("answered", "200", 0, &rules, Ok),
            ("moved elsewhere", "302", 0, &rules, Ok),
            ("moved elsewhere, which is a failure here", "302", 0, &own, Failed),
            ("left while what Envoy had was on its way", "200", 0x4000, &rules, Ok),
            ("error", "503", 0, &rules, Failed),
            ("a 204 of Envoy's own in place of a time-out", "204", 0x4, &rules, Failed),
            ("a 408 of Envoy's own for the version's longest stream", "408", 0x8_0000, &rules, Failed),
            ("a 400 of Envoy's own for a broken request", "400", 0x4_0000, &rules, Aborted),
            ("not found", "404", 0, &rules, Ok),
        ] {
            let mut host = ended(flags, status.parse().ok());
            host.whole_body = true;
            host.response.push((":status".to_owned(), status.into()));
            assert_eq!(at_end(&mut host, rules), outcome, "{what}");
        }
        // An answer to gRPC that ends with its body has no status.
        let mut host = grpc(ended(0, Some(200)), None);
        host.whole_body = true;
        host.response.push((":status".to_owned(), b"200".to_vec()));
        assert_eq!(at_end(&mut host, &rules), Failed);
        // Without `te` it is known by its end.
        let mut host = grpc(ended(0, Some(200)), Some(14));
        host.request.retain(|(name, _)| name != "te");
        assert_eq!(at_end(&mut host, &rules), Failed);
    }

    #[test]
    fn grpc_web_and_look_alikes_are_not_grpc() {
        for (kind, is) in [
            (&b"application/grpc"[..], true),
            (b"Application/gRPC+json", true),
            (b"application/grpc; charset=utf-8", true),
            (b"application/grpc-web", false),
            (b"application/json", false),
            (b"application/gr\xff", false),
            (b"", false),
        ] {
            let mut host = FakeHost::with_request(&[("te", b"trailers"), ("content-type", kind)]);
            for whole_body in [false, true] {
                assert_eq!(
                    is_grpc(&mut host, &FailureRules::default(), whole_body),
                    is,
                    "{}",
                    String::from_utf8_lossy(kind)
                );
            }
        }
    }

    #[test]
    fn the_experiments_own_rules_replace_the_default_ones() {
        let rules = FailureRules { codes: vec![(404, 404)], grpc: vec![0, 5] };
        for plainly in [false, true] {
            let ended = |flags, code| FakeHost { plainly, ..ended(flags, code) };
            assert_eq!(at_end(&mut ended(0, Some(404)), &rules), Outcome::Failed);
            assert_eq!(at_end(&mut ended(0, Some(500)), &rules), Outcome::Ok);
            assert_eq!(at_end(&mut grpc(ended(0, Some(200)), Some(5)), &rules), Outcome::Failed);
            let rules = FailureRules { codes: Vec::new(), ..rules.clone() };
            assert_eq!(at_end(&mut grpc(ended(0, Some(200)), Some(0)), &rules), Outcome::Failed);
        }
    }

    #[test]
    fn at_the_headers_the_status_header_speaks() {
        let rules = FailureRules::default();
        let with = |headers: &[(&str, &str)]| {
            let bytes = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
            FakeHost { response: headers.iter().map(bytes).collect(), ..FakeHost::default() }
        };
        let kind = ("content-type", "application/grpc");
        assert_eq!(at_headers(&mut with(&[(":status", "200")]), &rules), Outcome::Ok);
        assert_eq!(at_headers(&mut with(&[(":status", "503")]), &rules), Outcome::Failed);
        assert_eq!(at_headers(&mut with(&[(":status", "200"), kind]), &rules), Outcome::Ok);
        assert_eq!(at_headers(&mut with(&[(":status", "200"), kind, ("grpc-status", "14")]), &rules), Outcome::Failed);
        assert_eq!(at_headers(&mut with(&[(":status", "200"), ("grpc-status", "14")]), &rules), Outcome::Ok);
        // Envoy has none of the request's headers in this phase, and an SDK that is asked for them may trap.
        let mut host = with(&[(":status", "200"), kind]);
        at_headers(&mut host, &rules);
        assert_eq!(host.reads, Vec::<String>::new());
    }
}
