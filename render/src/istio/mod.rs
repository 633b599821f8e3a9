//! Resources of Istio for an experiment: which there are, and in which order. Each kind owns its own file.

pub mod access;
pub mod envoy_filter;
pub mod routes;
pub mod service_entry;
pub mod wasm_plugin;

use crate::options::{Delivery, Module, Options, Place};
use crate::resource::{Obsolete, Printed, Rendered};
pub(crate) use crate::wasm::FILTER;
use crate::{Refused, check, host, merge, names};
use weir_engine::spec::Experiment;

/// An experiment in a mesh: what every resource needs to know.
#[derive(Debug)]
pub struct Mesh<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// What was asked for.
    pub options: &'a Options,
    /// The service's full host.
    pub host: String,
    /// The subset of each version, in the experiment's order.
    pub subsets: Vec<String>,
}

impl<'a> Mesh<'a> {
    /// # Errors
    /// When document and options together do not say enough.
    pub fn new(experiment: &'a Experiment, options: &'a Options) -> Result<Self, Refused> {
        check::options(options)?;
        let host = options.service_host(&experiment.service)?;
        if let Some(unknown) =
            options.labels.keys().find(|name| experiment.versions.iter().all(|version| version.name != **name))
        {
            return Err(Refused::options(format!("--labels: {} has no version `{unknown}`", experiment.name)));
        }
        check::versions(experiment, options)?;
        Ok(Self { experiment, options, host, subsets: names::subsets(experiment) })
    }

    /// The subset of a version; empty beyond the last.
    #[must_use]
    pub fn subset(&self, version: usize) -> &str {
        self.subsets.get(version).map_or("", String::as_str)
    }
}

/// What a mesh needs while an experiment runs. `merge`: resources of the user's to be extended, as YAML.
///
/// # Errors
/// When document, options and those resources do not fit together; says what to do.
pub fn running(experiment: &Experiment, options: &Options, merge: Option<&str>) -> Result<Rendered, Refused> {
    let mut mesh = Mesh::new(experiment, options)?;
    if options.delivery == Delivery::EnvoyFilter && options.place == Place::Waypoint {
        let text = "Istio patches no waypoints: have the filter delivered with --filter wasmplugin";
        return Err(Refused::options(text));
    }
    refuse_everybody(&mesh)?;
    if options.delivery != Delivery::None {
        check::filter(&envoy_filter::configuration(&mesh))?;
    }
    let mut rendered = Rendered::default();
    routes(&mut mesh, None, merge, &mut rendered)?;
    if options.delivery != Delivery::None {
        rendered.resources.extend(delivered(&mesh));
        notes(&mesh, &mut rendered.notes);
    }
    Ok(rendered)
}

/// What remains when it has concluded with all traffic on a version.
///
/// # Errors
/// As [`running`].
pub fn concluded(
    experiment: &Experiment,
    options: &Options,
    outcome: usize,
    merge: Option<&str>,
) -> Result<Rendered, Refused> {
    let mut mesh = Mesh::new(experiment, options)?;
    let mut rendered = Rendered::default();
    routes(&mut mesh, Some(outcome), merge, &mut rendered)?;
    for resource in delivered(&mesh) {
        if let Some((kind, namespace, name)) = resource.identity()
            // Who operates the controller has nothing to do with this experiment.
            && name != access::OPERATORS
        {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            let unless = "unless another experiment has the same callers";
            rendered.delete.push(Obsolete { kind, namespace, name, unless });
        }
    }
    Ok(rendered)
}

/// The filter, and what it needs to reach the controller.
fn delivered(mesh: &Mesh<'_>) -> Vec<Printed> {
    let options = mesh.options;
    let mut resources = match options.delivery {
        Delivery::None => return Vec::new(),
        Delivery::EnvoyFilter => vec![Printed::EnvoyFilter(Box::new(envoy_filter::of(mesh)))],
        Delivery::WasmPlugin => vec![Printed::WasmPlugin(Box::new(wasm_plugin::of(mesh)))],
    };
    if options.delivery == Delivery::WasmPlugin && options.place != Place::Sidecar {
        resources.push(Printed::EnvoyFilter(Box::new(envoy_filter::reference(options))));
    }
    resources.extend(service_entry::of(options).map(Printed::ServiceEntry));
    resources.extend(access::of(options).into_iter().map(Printed::AuthorizationPolicy));
    resources
}

/// Subsets and routes: ours, or the user's with ours in them. `outcome`: the version that has all traffic.
fn routes(
    mesh: &mut Mesh<'_>,
    outcome: Option<usize>,
    merge: Option<&str>,
    rendered: &mut Rendered,
) -> Result<(), Refused> {
    let Some(text) = merge else {
        let subsets = Printed::DestinationRule(routes::subsets(mesh, outcome));
        let routes = Printed::VirtualService(routes::virtual_service(mesh, outcome)?);
        // Subsets before the routes that name them; and the routes that name them no longer before subsets go.
        rendered.resources.extend(if outcome.is_none() { [subsets, routes] } else { [routes, subsets] });
        return Ok(());
    };
    merge::extend(text, mesh, outcome, &delivered(mesh), rendered)
}

/// The name of the filter's resource: it belongs to its proxies and all of their experiments, so it is called by them.
#[must_use]
pub fn filter_name(options: &Options) -> String {
    match options.place {
        Place::Waypoint => format!("weir-{}", names::label(&options.waypoint)),
        Place::Sidecar | Place::Gateway => match callers(options) {
            callers if callers.is_empty() => "weir".to_owned(),
            callers => names::label(&format!("weir-{callers}")),
        },
    }
}

/// The callers' workload by all of its labels' values; empty: a whole namespace.
pub(crate) fn callers(options: &Options) -> String {
    options.workload.values().map(String::as_str).collect::<Vec<_>>().join("-")
}

/// A proxy of a mesh sees requests to all services: an experiment that matches every host would count them all.
fn refuse_everybody(mesh: &Mesh<'_>) -> Result<(), Refused> {
    let hosts = &mesh.experiment.matching.hosts;
    if !hosts.is_empty() && hosts.iter().all(|host| host != "*") {
        return Ok(());
    }
    let mut known = host::aliases(&mesh.host);
    known.push(mesh.host.clone());
    Err(Refused::options(format!(
        "{} matches requests to every host, and its filter would see, assign and count those to other services too: say in the document by \
         which names callers know {}, as `match: {{hosts: [{}]}}`",
        mesh.experiment.name,
        mesh.experiment.service,
        known.join(", ")
    )))
}

/// What nobody would see in the resources.
fn notes(mesh: &Mesh<'_>, notes: &mut Vec<String>) {
    let (options, hosts) = (mesh.options, &mesh.experiment.matching.hosts);
    let missing: Vec<String> = host::aliases(&mesh.host)
        .into_iter()
        .chain([mesh.host.clone()])
        .filter(|name| !hosts.iter().any(|host| matches_host(host, name)))
        .collect();
    let named = host::aliases(&mesh.host).into_iter().chain([mesh.host.clone()]).count();
    if options.place == Place::Sidecar && !missing.is_empty() && missing.len() < named {
        notes.push(format!(
            "callers that say {} take no part: the document's match.hosts does not have {}",
            missing.join(", "),
            if missing.len() == 1 { "it" } else { "them" }
        ));
    }
    if matches!(options.module(), Module::Remote(_)) && options.sha256.is_none() && !options.module.contains("@sha256:")
    {
        notes.push(format!(
            "{} is fetched without a digest: give --sha256, or whoever can change it there runs in your proxies",
            options.module
        ));
    }
    if options.token.is_some() {
        notes.push(
            "the proxies' token is a placeholder: fill it in when it is applied (docs/istio.md#the-token), or the controller refuses the filter and all \
             requests go to the baseline"
                .to_owned(),
        );
    }
}

/// Whether a host of a document means this name.
fn matches_host(host: &str, name: &str) -> bool {
    match host.strip_prefix('*') {
        Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
        None => host.eq_ignore_ascii_case(name),
    }
}
