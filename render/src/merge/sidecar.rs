//! A `Sidecar` that says whom its proxies know: the controller is one of them.

use crate::host;
use crate::options::Options;
use crate::yaml::Yaml;

/// Adds the controller to a `Sidecar`'s egress, if it is not there. Whether its proxies know the controller then.
pub(super) fn extend(document: &mut Yaml, options: &Options) -> bool {
    let own = document.text_at(&["metadata", "namespace"]).unwrap_or_else(|| options.proxies()).to_owned();
    let controller = options.controller_host.as_str();
    let namespace = host::namespace(controller).unwrap_or(&own).to_owned();
    let Some(Yaml::List(egress)) = document.get_mut("spec").and_then(|spec| spec.get_mut("egress")) else {
        // Without any they know everybody.
        return true;
    };
    // A listener with a port of its own is for services that have this port.
    let has_port = |listener: &Yaml| {
        listener.at(&["port", "number"]).is_none_or(|port| port.whole() == Some(i64::from(options.controller_port)))
    };
    let is_there = |host: &Yaml| match host {
        Yaml::Text(text) => text.split_once('/').is_some_and(|(of, name)| {
            let here = of == "*" || of == namespace || (of == "." && namespace == own);
            let named = name == "*"
                || name == controller
                || name.strip_prefix('*').is_some_and(|suffix| controller.ends_with(suffix));
            here && named
        }),
        _ => false,
    };
    if egress.iter().any(|listener| has_port(listener) && listener.items_at(&["hosts"]).iter().any(is_there)) {
        return true;
    }
    // Only one without a port takes what is not said elsewhere.
    if let Some(listener) = egress.iter_mut().find(|listener| listener.get("port").is_none())
        && let Some(hosts) = listener.list_mut("hosts")
    {
        hosts.push(Yaml::Text(format!("{namespace}/{controller}")));
        return true;
    }
    false
}
