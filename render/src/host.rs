//! Hosts of a mesh: the names by which callers know a service, and which of them mean the same one.

/// What follows the namespace in the name of a service of the cluster.
const CLUSTER: &str = "svc.cluster.local";

/// The full name of a service.
#[must_use]
pub fn of_service(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.{CLUSTER}")
}

/// The namespace of a service of the cluster, by its full name; `None` of any other host.
#[must_use]
pub fn namespace(host: &str) -> Option<&str> {
    let (_, rest) = host.split_once('.')?;
    let (namespace, rest) = rest.split_once('.')?;
    rest.starts_with("svc.").then_some(namespace)
}

/// A host in full, as it is meant by a resource of a namespace: Istio reads a name without a dot as a service of that
/// namespace. `a.b` and `a.b.svc` stand for a service only where the full name that is meant is known: see [`same`].
#[must_use]
pub fn in_full(host: &str, namespace: &str) -> String {
    if host.contains('.') || host == "*" { host.to_owned() } else { of_service(host, namespace) }
}

/// Whether a host, as a resource of a namespace names it, is the service of a full name.
#[must_use]
pub fn same(host: &str, namespace: &str, full: &str) -> bool {
    let host = in_full(host, namespace).to_ascii_lowercase();
    host == full || aliases(full).contains(&host)
}

/// The names by which a sidecar knows a service beside the full one, the shortest first; none of a host that is no
/// service of the cluster.
#[must_use]
pub fn aliases(full: &str) -> Vec<String> {
    let Some(namespace) = namespace(full) else { return Vec::new() };
    let Some((service, _)) = full.split_once('.') else { return Vec::new() };
    vec![service.to_owned(), format!("{service}.{namespace}"), format!("{service}.{namespace}.svc")]
}

/// Whether a text may stand as a host: labels of letters, digits and dashes with dots between them, perhaps a star in
/// the first.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let fine = |label: &str| {
        let bytes = label.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        bytes.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    let rest = text.strip_prefix("*.").unwrap_or(text);
    text.len() <= 253 && (text == "*" || rest.split('.').all(fine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_a_service_as_istio_reads_it() {
        let full = of_service("shop", "web");
        assert_eq!(full, "shop.web.svc.cluster.local");
        for (host, namespace, means) in [
            ("shop", "web", true),
            ("shop", "other", false),
            ("shop.web", "other", true),
            ("shop.web.svc", "other", true),
            ("Shop.web.svc.cluster.local", "other", true),
            ("shop.other", "web", false),
            ("shop.example", "web", false),
        ] {
            assert_eq!(same(host, namespace, &full), means, "{host} in {namespace}");
        }
        assert!(same("shop.example", "web", "shop.example"));
        assert!(!same("shop", "web", "shop.example"));
    }

    #[test]
    fn what_cannot_be_a_host_is_told() {
        for host in ["shop", "shop.example", "*.shop.example", "*", "10.0.0.1"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "-a", "a..b", "a_b", "a/b", "*a.b", "a:80"] {
            assert!(!is_host(host), "{host}");
        }
    }
}
