//! Istio's own control plane on a folder of resources, without Kubernetes (`make setup-istio`), and an Envoy that is a proxy
//! of its mesh.
//!
//! What Weir renders is asked of its command line, in `render` alone.

mod mesh;
mod ports;
mod render;
mod site;

pub use mesh::{Mesh, plan};
pub use ports::free_port;
pub use render::change_plugin;
pub use site::{Delivery, Place, Site};

use crate::wait::{PATIENCE, eventually};
use crate::{paths, process::Process};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Without what is only in Istio's own build of Envoy (its filters for ALPN and for telemetry's metadata), and without mutual TLS,
/// for which a proxy's agent gets certificates.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PILOT_ENABLE_METADATA_EXCHANGE", "false"), ("PILOT_ENABLE_ALPN_FILTER", "false")];
const MESH: &str = "{\"enableAutoMtls\": false}";

/// A running control plane. Killed on drop.
#[derive(Debug)]
pub struct Istiod {
    process: Process,
    directory: TempDir,
    address: SocketAddr,
}

impl Istiod {
    /// Starts one on these files, name and resources, with variables of its environment.
    ///
    /// # Panics
    /// When it ends instead, with its log: so when a resource is invalid.
    pub async fn start(files: &[(&str, &[Value])], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("weir-istiod-").tempdir().expect("a folder");
        let path = directory.path();
        fs::create_dir(path.join("config")).expect("a folder");
        fs::write(path.join("mesh.yaml"), MESH).expect("a file");
        for (name, resources) in files {
            write(path, name, resources);
        }
        let binary = paths::istiod().unwrap_or_else(|error| panic!("Istio's control plane: {error}"));
        let mut command = Command::new(binary);
        command.arg("--config").arg(path.join("config")).arg("--mesh").arg(path.join("mesh.yaml")).envs(ENVIRONMENT);
        command.envs(environment.iter().copied());
        let log = path.join("istiod.log");
        let mut process = Process::start("istiod", &mut command, &log).unwrap_or_else(|error| panic!("{error}"));
        let address = eventually(PATIENCE, "istiod serves", async || {
            if let Some(status) = process.ended() {
                panic!("istiod ended ({status}) instead of serving:\n{}", process.tail());
            }
            let output = process.output();
            output
                .lines()
                .find_map(|line| line.split_once("starting gRPC discovery service at ")?.1.trim().parse().ok())
        })
        .await;
        Self { process, directory, address }
    }

    /// Where Envoys connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a file of resources, anew if there is one; it is served within a second.
    pub fn put(&self, name: &str, resources: &[Value]) {
        write(self.directory.path(), name, resources);
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// What it could not read, and what an Envoy refused, in Envoy's words, from a place in the log on.
    #[must_use]
    pub fn refusals(&self, from: usize) -> Vec<String> {
        let log = self.log();
        let words = ["ACK ERROR", "Failed to parse", "unable to reload"];
        let lines = log.get(from..).unwrap_or_default().lines();
        lines.filter(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
    }
}

/// Moved into place, so that no half of it is read. JSON is YAML too.
fn write(directory: &std::path::Path, name: &str, resources: &[Value]) {
    let text: String = resources.iter().map(|resource| format!("---\n{resource}\n")).collect();
    let temporary: PathBuf = directory.join("new");
    fs::write(&temporary, text).expect("a file");
    fs::rename(temporary, directory.join("config").join(format!("{name}.yaml"))).expect("a file");
}
