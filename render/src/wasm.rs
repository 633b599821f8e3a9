//! Envoy's Wasm filter: how it is configured, wherever that stands.

use crate::options::{Failure, Module};
use serde::Serialize;
use weir_core::config::Config;

/// The name of the filter, of its plugin and of its root context.
pub const FILTER: &str = "weir";
/// The type of its configuration.
pub const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// The Wasm filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wasm {
    /// Which message this is.
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// The plugin.
    pub config: Plugin,
}

/// A Wasm plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plugin {
    /// Its name, in logs and stats.
    pub name: &'static str,
    /// Its root context.
    pub root_id: &'static str,
    /// What becomes of requests when it fails.
    pub failure_policy: &'static str,
    /// The machine that it runs in.
    pub vm_config: Vm,
    /// What it is told.
    pub configuration: Text,
}

/// A Wasm machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vm {
    /// Its name: plugins of one name share data.
    pub vm_id: &'static str,
    /// V8.
    pub runtime: &'static str,
    /// The module.
    pub code: Code,
}

/// Where a module is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// In the proxy's file system.
    Local {
        /// Where.
        filename: String,
    },
    /// Somewhere else: the proxy's agent fetches it.
    Remote {
        /// Where.
        http_uri: HttpUri,
        /// What it must be.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpUri {
    /// The address.
    pub uri: String,
    /// Envoy's cluster for it. The agent fetches it without.
    pub cluster: &'static str,
    /// How long that may take.
    pub timeout: &'static str,
}

/// A text, as a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Which message this is.
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// The text.
    pub value: String,
}

impl Wasm {
    /// Our filter, from a module, told this.
    pub(crate) fn new(module: Module<'_>, sha256: Option<&str>, failure: Failure, config: &Config) -> Self {
        let code = match module {
            Module::File(path) => Code::Local { filename: path.to_owned() },
            Module::Remote(uri) => Code::Remote {
                http_uri: HttpUri { uri: uri.to_owned(), cluster: "_", timeout: "30s" },
                sha256: sha256.map(str::to_owned),
            },
        };
        let failure_policy = match failure {
            Failure::Reload => "FAIL_RELOAD",
            Failure::Open => "FAIL_OPEN",
            Failure::Closed => "FAIL_CLOSED",
        };
        Self {
            kind: WASM,
            config: Plugin {
                name: FILTER,
                root_id: FILTER,
                failure_policy,
                vm_config: Vm { vm_id: FILTER, runtime: "envoy.wasm.runtime.v8", code },
                configuration: Text {
                    kind: "type.googleapis.com/google.protobuf.StringValue",
                    // A map of strings, numbers and lists cannot fail to be written.
                    value: serde_json::to_string_pretty(config).unwrap_or_default(),
                },
            },
        }
    }
}
