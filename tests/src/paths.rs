//! Where the things under test are. Overridden by environment variables; errors name the command that makes what is missing.

use std::io;
use std::path::{Path, PathBuf};

/// The Envoy release that tests and demo are made for.
pub const ENVOY_VERSION: &str = "1.40.0";

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The Envoy binary: `ENVOY`, or what `make setup` installed.
///
/// # Errors
/// When there is none, saying what to do.
pub fn envoy() -> io::Result<PathBuf> {
    found("ENVOY", &[repository().join(format!(".weir/envoy-{ENVOY_VERSION}"))], "run `make setup`")
}

/// The filter: `WEIR_FILTER`, or what `make wasm` built.
///
/// # Errors
/// When there is none, saying what to do.
pub fn filter() -> io::Result<PathBuf> {
    found("WEIR_FILTER", &[repository().join("target/weir-filter.wasm")], "run `make wasm`")
}

/// The filter's copy that traps when a request asks for it: `WEIR_TRAP_FILTER`, or what `make wasm` built.
///
/// # Errors
/// When there is none, saying what to do.
pub fn trap_filter() -> io::Result<PathBuf> {
    found("WEIR_TRAP_FILTER", &[repository().join("target/weir-filter-trap.wasm")], "run `make wasm`")
}

/// Istio's control plane for tests: `WEIR_ISTIOD`, or what `make setup-istio` built.
///
/// # Errors
/// When there is none, saying what to do.
pub fn istiod() -> io::Result<PathBuf> {
    let tools = repository().join(".weir");
    let built = std::fs::read_dir(&tools).into_iter().flatten().flatten().map(|entry| entry.path());
    let built =
        built.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"istiod-")));
    let mut candidates: Vec<PathBuf> = built.collect();
    candidates.push(tools.join("istiod-*"));
    found("WEIR_ISTIOD", &candidates, "run `make setup-istio`")
}

/// The controller's binary `weir`: `WEIR_BIN`, or the one beside the running program (tests run one folder below).
///
/// # Errors
/// When there is none, saying what to do.
pub fn weir() -> io::Result<PathBuf> {
    found("WEIR_BIN", &beside("weir")?, "run `cargo build -p weir-controller`")
}

/// The demo's binary: `WEIR_DEMO_BIN`, or the one beside the running program.
///
/// # Errors
/// When there is none, saying what to do.
pub fn demo() -> io::Result<PathBuf> {
    found("WEIR_DEMO_BIN", &beside("weir-demo")?, "run `cargo build -p weir-demo`")
}

fn beside(name: &str) -> io::Result<Vec<PathBuf>> {
    let program = std::env::current_exe()?;
    Ok(program.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect())
}

fn found(variable: &str, candidates: &[PathBuf], remedy: &str) -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            path.canonicalize()
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("{variable}={} is not a file", path.display())))
        };
    }
    candidates.iter().find(|path| path.is_file()).map_or_else(
        || {
            let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
            let message = format!("not found: {} — {remedy}, or set {variable}", looked.join(", "));
            Err(io::Error::new(io::ErrorKind::NotFound, message))
        },
        |path| path.canonicalize(),
    )
}
