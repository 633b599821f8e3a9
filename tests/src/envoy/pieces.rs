//! Parts of Envoy's configuration.

use serde_json::{Value, json};
use std::net::SocketAddr;

pub(super) fn wasm(configuration: &str, module: &std::path::Path) -> Value {
    json!({"name": "weir", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "weir",
            "root_id": "weir",
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "weir",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
        },
    }})
}

/// A cluster of one address, which speaks to it as the client speaks to Envoy if asked to.
#[must_use]
pub fn cluster(name: &str, address: SocketAddr, as_downstream: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": socket(address)}}]},
        ]},
        // A cluster that fails on purpose must not be cut off by Envoy's defaults.
        "circuit_breakers": {"thresholds": [{"max_connections": 10_000, "max_pending_requests": 10_000,
            "max_requests": 10_000}]},
    });
    if as_downstream {
        cluster["typed_extension_protocol_options"] = protocols(&json!({
            "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
        }));
    }
    cluster
}

/// A cluster that is spoken to in HTTP/1.1 or HTTP/2, whatever the client speaks.
#[must_use]
pub fn cluster_speaking(name: &str, address: SocketAddr, http2: bool) -> Value {
    let mut cluster = cluster(name, address, false);
    let options = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
    cluster["typed_extension_protocol_options"] = protocols(&json!({"explicit_http_config": {options: {}}}));
    cluster
}

fn protocols(options: &Value) -> Value {
    let mut options = options.clone();
    options["@type"] = json!("type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options})
}

pub(super) fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
