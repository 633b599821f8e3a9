//! `/` and its files: the dashboard, which is in the binary. It asks the API for whatever it shows, with the reader's own token, so its files are
//! nobody's secret.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// A file of the dashboard.
#[derive(Clone, Copy)]
struct Asset {
    /// As in a URL, after the slash.
    name: &'static str,
    body: &'static [u8],
}

// `ASSETS`: what was in ui/dist when this was compiled; nothing if the dashboard was not built.
include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The page that is there if the dashboard was not built.
const MISSING: &str = include_str!("missing.html");

/// The browser loads nothing and asks nobody but this controller; nobody shows it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Nothing of the machine that it runs on, either.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

/// Whether the dashboard is in this program.
pub(crate) fn is_built() -> bool {
    ASSETS.iter().any(|asset| asset.name == "index.html")
}

/// The routes of whatever there is.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let missing = [Asset { name: "index.html", body: MISSING.as_bytes() }];
    let assets: &[Asset] = if is_built() { ASSETS } else { &missing };
    assets.iter().fold(Router::new(), |router, &Asset { name, body }| {
        let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
        let revision = revision(body);
        router.route(
            &path,
            get(move |request: Request| {
                let answer = answer(name, body, &revision, request.headers());
                std::future::ready(answer)
            }),
        )
    })
}

fn revision(body: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    let hash = hasher.finish128();
    format!("\"{:016x}{:016x}\"", hash.h1, hash.h2)
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn answer(name: &str, body: &'static [u8], revision: &str, asked: &HeaderMap) -> Response {
    let known = asked.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == revision.as_bytes());
    let mut response = Response::new(if known { Body::empty() } else { Body::from(body) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, kind(name)),
        // Always asked for again: another release has other files of the same names.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Ok(revision) = HeaderValue::from_str(revision) {
        headers.insert(ETAG, revision);
    }
    response
}

#[cfg(test)]
#[path = "../../../build/sources.rs"]
mod sources;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use tower::ServiceExt;

    async fn ask(path: &str, known: &str) -> Response {
        let request = Request::builder().uri(path).header(IF_NONE_MATCH, known).body(Body::empty()).unwrap();
        routes::<()>().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn the_page_may_load_nothing_from_elsewhere_and_nobody_may_frame_it() {
        let response = ask("/", "").await;
        assert_eq!(response.status(), 200);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    }

    #[test]
    fn sources_of_the_dashboard_have_the_fingerprint_that_its_own_build_gives_them() {
        let root = tempfile::tempdir().unwrap();
        // As in ui/tests/units.test.ts.
        for (path, text) in
            [("src/b/c.css", "two\n"), ("src/a.ts", "one é\n"), ("package.json", "{}"), ("README.md", "x")]
        {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        assert_eq!(sources::fingerprint(root.path()).unwrap(), "14b4dbd5d3cb375a");
        std::fs::write(root.path().join("src/a.ts"), "one\n").unwrap();
        assert_ne!(sources::fingerprint(root.path()).unwrap(), "14b4dbd5d3cb375a");
    }

    #[tokio::test]
    async fn a_page_that_was_not_built_says_what_is_missing_and_the_command() {
        assert!(MISSING.contains("make ui") && MISSING.contains("Node"));
        let body = to_bytes(ask("/", "").await.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(page == MISSING, !ASSETS.iter().any(|asset| asset.name == "index.html"));
        for foreign in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let first = ask("/", "").await;
        let revision = first.headers()[ETAG].to_str().unwrap().to_owned();
        let again = ask("/", &revision).await;
        assert_eq!(again.status(), 304);
        assert!(to_bytes(again.into_body(), usize::MAX).await.unwrap().is_empty());
        assert_eq!(ask("/nothing", "").await.status(), 404);
    }
}
