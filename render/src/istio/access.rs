//! `AuthorizationPolicy`: who may reach the controller: these proxies the plan and the reports, operators all of it,
//! nobody else anything.

use crate::options::{Options, Place};
use crate::resource::{Metadata, Resource};
use crate::{host, names};
use serde::Serialize;
use std::collections::BTreeMap;

/// An `AuthorizationPolicy`, as far as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicy {
    /// The controller.
    pub selector: Selector,
    /// What fits a rule of any such policy is let in, all else is not.
    pub action: &'static str,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Workloads by their labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// All of them.
    pub match_labels: BTreeMap<String, String>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Who.
    pub from: Vec<From>,
    /// What; nothing: everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To>,
}

/// Who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct From {
    /// By their certificates.
    pub source: Source,
}

/// Who, by their certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Service accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
    /// Every one of these namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// What.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct To {
    /// Requests.
    pub operation: Operation,
}

/// Requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// With these methods.
    pub methods: Vec<&'static str>,
    /// To these paths.
    pub paths: Vec<&'static str>,
}

/// The policy about operators: one for the whole controller.
pub(crate) const OPERATORS: &str = "weir-operators";

/// The policies; none for a controller outside of the cluster, which Istio does not guard.
pub(crate) fn of(options: &Options) -> Vec<Resource<AuthorizationPolicy>> {
    let Some(namespace) = host::namespace(&options.controller_host) else { return Vec::new() };
    let policy = |name: String, rules: Vec<Rule>| Resource {
        api_version: "security.istio.io/v1",
        kind: "AuthorizationPolicy",
        metadata: Metadata::new(name, namespace, None),
        spec: AuthorizationPolicy {
            selector: Selector { match_labels: options.controller_labels.clone() },
            action: "ALLOW",
            rules,
        },
    };
    let from = |source| vec![From { source }];
    let to = |method, path| To { operation: Operation { methods: vec![method], paths: vec![path] } };
    let proxies = if options.service_accounts.is_empty() {
        Source { namespaces: vec![options.proxies().to_owned()], ..Source::default() }
    } else {
        let principal = |account: &String| principal(options, options.proxies(), account);
        Source { principals: options.service_accounts.iter().map(principal).collect(), ..Source::default() }
    };
    // Named by the proxies, so that those of several callers stand beside each other.
    let callers = match options.place {
        Place::Waypoint => options.waypoint.clone(),
        Place::Sidecar | Place::Gateway => super::callers(options),
    };
    // A dot is in no namespace: `web` of `shop-a` and `a-web` of `shop` are two. A part is at most 63 long, a name 253.
    let mut name = format!("weir-proxies-{}", options.proxies());
    if !callers.is_empty() {
        name = format!("{name}.{}", names::label(&callers));
    }
    let allowed = vec![to("GET", "/v1/plan"), to("POST", "/v1/reports")];
    let mut policies = vec![policy(name, vec![Rule { from: from(proxies), to: allowed }])];
    if !options.operators.is_empty() {
        let mut source = Source::default();
        for operator in &options.operators {
            match operator.split_once('/') {
                Some((namespace, account)) => source.principals.push(principal(options, namespace, account)),
                None => source.namespaces.push(operator.clone()),
            }
        }
        // What a source says must all be so: namespaces and service accounts are sources of their own.
        let mut sources = Vec::new();
        if !source.principals.is_empty() {
            sources.push(From { source: Source { principals: source.principals, ..Source::default() } });
        }
        if !source.namespaces.is_empty() {
            sources.push(From { source: Source { namespaces: source.namespaces, ..Source::default() } });
        }
        policies.push(policy(OPERATORS.to_owned(), vec![Rule { from: sources, to: Vec::new() }]));
    }
    policies
}

fn principal(options: &Options, namespace: &str, account: &str) -> String {
    format!("{}/ns/{namespace}/sa/{account}", options.trust_domain)
}
