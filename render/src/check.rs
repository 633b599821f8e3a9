//! Whether what is asked for can stand in a resource: names and labels that Kubernetes refuses, or Istio reads as
//! patterns, are told before anything is printed.

use crate::options::{Module, Options};
use crate::{Refused, host};
use std::collections::BTreeMap;
use weir_core::config::Config;
use weir_engine::spec::Experiment;

/// Longest value of a label, and longest name in it.
const LONGEST: usize = 63;
/// Names of headers that Istio's API says it ignores in a match, which would then hold for every request.
const NO_HEADERS: [&str; 4] = ["authority", "method", "scheme", "uri"];

/// Names and labels of the options.
///
/// # Errors
/// When one is not what Kubernetes takes; says which option it is.
pub(crate) fn options(options: &Options) -> Result<(), Refused> {
    let mut names = vec![("--namespace", options.namespace.as_str()), ("--waypoint", options.waypoint.as_str())];
    names.extend(options.caller_namespace.as_deref().map(|name| ("--caller-namespace", name)));
    for gateway in options.gateways.iter().filter(|gateway| *gateway != "mesh") {
        names.extend(gateway.split('/').map(|name| ("--gateway", name)));
    }
    names.extend(options.service_accounts.iter().map(|name| ("--service-account", name.as_str())));
    for operator in &options.operators {
        names.extend(operator.splitn(2, '/').map(|name| ("--operator", name)));
    }
    names.push(("--trust-domain", options.trust_domain.as_str()));
    for (option, name) in names {
        // A star would be a pattern: everybody, where somebody is to be let in.
        if !host::is_host(name) || name.contains('*') {
            return Err(Refused::options(format!("{option}: `{}` cannot be a name in Kubernetes", shown(name))));
        }
    }
    if options.port == Some(0) {
        return Err(Refused::options("--port: ports begin at 1"));
    }
    let controller = options.controller_host.as_str();
    if !controller.contains('.') || (host::namespace(controller).is_none() && controller.ends_with(".svc")) {
        // Taken for a host outside, it would be called in plain text, past the mesh's certificates and policies.
        return Err(Refused::options(format!(
            "--controller: `{controller}` is no full name: write NAME.NAMESPACE.svc.cluster.local"
        )));
    }
    module(options)?;
    labels("--workload", &options.workload)?;
    labels("--subset-label", &BTreeMap::from([(options.subset_label.clone(), String::new())]))
}

/// Where the module is: a whole path, or what Istio's agent can fetch.
fn module(options: &Options) -> Result<(), Refused> {
    let fine = match options.module() {
        Module::File(path) => path.starts_with('/'),
        Module::Remote(uri) => ["oci://", "https://", "http://"].iter().any(|scheme| uri.starts_with(scheme)),
    };
    if fine {
        return Ok(());
    }
    let text = format!(
        "--module: `{}` is neither oci://…, https://…, http://…, nor a path from the root of the proxies' file system",
        shown(&options.module)
    );
    Err(Refused::options(text))
}

/// What the filter is told, read as it reads it; the token apart, for which something else stands yet.
///
/// # Errors
/// When the filter would refuse it.
pub(crate) fn filter(config: &Config) -> Result<(), Refused> {
    let mut config = config.clone();
    if let Some(token) = config.controller.as_mut().and_then(|controller| controller.token.as_mut()) {
        *token = "token".to_owned();
    }
    let text = serde_json::to_vec(&config).map_err(|error| Refused::Unwritable(error.to_string()))?;
    match Config::from_json(&text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refused::options(format!("the filter would refuse what it is told: {error}"))),
    }
}

/// The labels and headers of the versions.
///
/// # Errors
/// When a version's workloads cannot have such a label, or Istio cannot route by such a header.
pub(crate) fn versions(experiment: &Experiment, options: &Options) -> Result<(), Refused> {
    for version in &experiment.versions {
        let name = &version.name;
        labels("--labels", &options.labels_of(name)).map_err(|error| {
            Refused::options(format!(
                "version {name}: {error}; say which workloads are {name}'s: --labels {name}=LABEL=VALUE"
            ))
        })?;
        if let Some(header) =
            version.headers.iter().find(|header| NO_HEADERS.iter().any(|known| header.name.eq_ignore_ascii_case(known)))
        {
            return Err(Refused::options(format!(
                "version {name} has the routing header `{}`, which Istio may ignore in a route: use another",
                header.name
            )));
        }
    }
    Ok(())
}

fn labels(option: &str, labels: &BTreeMap<String, String>) -> Result<(), Refused> {
    for (name, value) in labels {
        let (prefix, last) = name.rsplit_once('/').map_or((None, name.as_str()), |(prefix, last)| (Some(prefix), last));
        if last.is_empty()
            || !is_label(last)
            || prefix.is_some_and(|prefix| !host::is_host(prefix) || prefix.contains('*'))
        {
            return Err(Refused::options(format!("{option}: `{}` cannot be the name of a label", shown(name))));
        }
        if !is_label(value) {
            return Err(Refused::options(format!("{option}: `{}` cannot be the value of a label", shown(value))));
        }
    }
    Ok(())
}

/// At most 63 letters, digits, dashes, dots and underscores, the first and the last a letter or digit.
fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte))
}

/// A text without what would be more than one line.
fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}
