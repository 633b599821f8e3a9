//! What is compared: the same Envoy, routes and versions, with another way to split each time.

use crate::load::{HOST, Upstream};
use anyhow::Context;
use serde_json::{Value, json};
use weir_core::plan::{Match, PathMatch, Plan, PlannedExperiment, Unit};
use weir_tests::envoy::CONTROLLER;
use weir_tests::{Envoy, EnvoyBuilder, FakeController, plans};

/// The versions and their shares, in every variant that splits.
pub(crate) const VERSIONS: [(&str, u32); 3] = [("v1", 34), ("v2", 33), ("v3", 33)];

/// A way to split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Everything to the first version.
    None,
    /// Envoy's own `weighted_clusters`.
    Native,
    /// A Lua filter that only sets the routing header, always the same.
    Lua,
    /// A Wasm filter that does nothing, by the SDK; everything to the first version.
    Noop,
    /// The same without the SDK and with no more callbacks than our filter has.
    Bare,
    /// Only the host calls that no filter like ours can do without: reads host and status, sets the routing header.
    Floor,
    /// Our filter, with a plan that no request matches.
    Unmatched,
    /// Our filter on a static plan: splits, records nothing.
    Splitting,
    /// Our filter at its whole work: splits by request, records, reports each second, polls.
    Whole,
    /// The same, with a reward in each response.
    Rewards,
    /// The same, sticky on a header.
    StickyHeader,
    /// The same, sticky on a cookie.
    StickyCookie,
}

impl Variant {
    pub(crate) const ALL: [Self; 12] = [
        Self::None,
        Self::Native,
        Self::Lua,
        Self::Noop,
        Self::Bare,
        Self::Floor,
        Self::Unmatched,
        Self::Splitting,
        Self::Whole,
        Self::Rewards,
        Self::StickyHeader,
        Self::StickyCookie,
    ];

    /// Those with our filter in them.
    pub(crate) const OURS: [Self; 6] =
        [Self::Unmatched, Self::Splitting, Self::Whole, Self::Rewards, Self::StickyHeader, Self::StickyCookie];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::Native => "native weighted_clusters",
            Self::Lua => "Lua filter that only sets the header",
            Self::Noop => "Wasm filter that does nothing, by the SDK",
            Self::Bare => "Wasm filter that does nothing, without",
            Self::Floor => "Wasm filter that only reads and sets",
            Self::Unmatched => "Weir, no experiment matches",
            Self::Splitting => "Weir, static plan, splits only",
            Self::Whole => "Weir, splits, records, reports",
            Self::Rewards => "Weir, the same, a reward in each response",
            Self::StickyHeader => "Weir, the same, sticky on a header",
            Self::StickyCookie => "Weir, the same, sticky on a cookie",
        }
    }

    const fn splits(self) -> bool {
        !matches!(self, Self::None | Self::Lua | Self::Noop | Self::Bare | Self::Unmatched)
    }

    const fn records(self) -> bool {
        matches!(self, Self::Unmatched | Self::Whole | Self::Rewards | Self::StickyHeader | Self::StickyCookie)
    }

    fn experiment(self) -> PlannedExperiment {
        let host = if self == Self::Unmatched { "another.example" } else { HOST };
        let unit = match self {
            Self::StickyHeader => Unit::Header("x-user".to_owned()),
            Self::StickyCookie => Unit::Cookie("uid".to_owned()),
            _ => Unit::Request,
        };
        let matching =
            Match { hosts: vec![host.to_owned()], paths: vec![PathMatch::Prefix("/".to_owned())], ..Match::default() };
        let planned = plans::experiment("checkout", &VERSIONS);
        let reward = planned.reward.clone().filter(|_| self == Self::Rewards);
        PlannedExperiment { matching, unit, reward, bin_ms: 1_000, ..planned }
    }

    fn plan(self) -> Plan {
        Plan { experiments: vec![self.experiment()], ..Plan::empty("bench") }
    }
}

/// A variant at work. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) variant: Variant,
    pub(crate) envoy: Envoy,
    controller: Option<FakeController>,
    versions: Vec<Upstream>,
}

impl Running {
    /// Starts versions, controller and an Envoy with one worker, and waits until they serve.
    pub(crate) async fn start(variant: Variant) -> anyhow::Result<Self> {
        let mut versions = Vec::new();
        let mut builder = Envoy::builder().concurrency(1);
        for (name, _) in VERSIONS {
            let upstream = Upstream::start().await?;
            builder = builder.version_at(name, upstream.address);
            versions.push(upstream);
        }
        let controller = if variant.records() { Some(FakeController::start(variant.plan()).await) } else { None };
        let envoy = configure(variant, builder, controller.as_ref())?.start().await;
        let running = Self { variant, envoy, controller, versions };
        running.warm_up().await?;
        Ok(running)
    }

    /// Serves until the plan is in force, connections to versions are open and code is compiled.
    async fn warm_up(&self) -> anyhow::Result<()> {
        let begin = std::time::Instant::now();
        loop {
            crate::load::drive(self.envoy.address(), 2_000).await?;
            let ready = match &self.controller {
                Some(controller) if self.variant.splits() => controller.assigned("checkout") > 0,
                // Nothing to report: the next poll says that the plan has come.
                Some(controller) => controller.polls() > 1,
                None => true,
            };
            if ready {
                return Ok(());
            }
            anyhow::ensure!(
                begin.elapsed() < weir_tests::wait::PATIENCE,
                "{}: no report came:\n{}",
                self.variant.name(),
                self.envoy.log()
            );
        }
    }

    /// Publishes the same experiment in another epoch.
    pub(crate) fn change_plan(&self, number: u64) {
        if let Some(controller) = &self.controller {
            let mut plan = self.variant.plan();
            plan.revision = format!("bench-{number}");
            for experiment in &mut plan.experiments {
                experiment.epoch = u32::try_from(number).unwrap_or(u32::MAX);
            }
            controller.publish(plan);
        }
    }

    /// What every version has answered so far.
    pub(crate) fn served(&self) -> Vec<u64> {
        self.versions.iter().map(Upstream::served).collect()
    }

    /// Whether the load went where the variant should send it: a benchmark of something that does not work is worthless.
    pub(crate) fn check(&self, before: &[u64]) -> anyhow::Result<()> {
        let counts: Vec<u64> = self.served().iter().zip(before).map(|(now, then)| now - then).collect();
        let all: u64 = counts.iter().sum();
        let right = if self.variant.splits() {
            // A third each; a quarter is far outside what chance does to hundreds of requests and users.
            counts.iter().all(|count| count * 4 > all)
        } else {
            counts.contains(&all)
        };
        anyhow::ensure!(right, "{}: the versions answered {counts:?} requests", self.variant.name());
        Ok(())
    }
}

fn configure(
    variant: Variant,
    builder: EnvoyBuilder,
    controller: Option<&FakeController>,
) -> anyhow::Result<EnvoyBuilder> {
    Ok(match variant {
        Variant::None => builder,
        Variant::Native => builder.route(native()),
        Variant::Lua => builder.http_filter(lua()),
        Variant::Noop => builder.http_filter(noop("WEIR_NOOP", "weir-noop.wasm")?),
        Variant::Bare => builder.http_filter(noop("WEIR_NOOP_BARE", "weir-noop-bare.wasm")?),
        Variant::Floor => builder.http_filter(noop("WEIR_FLOOR", "weir-floor.wasm")?),
        Variant::Splitting => builder.plugin(&json!({"plan": variant.plan()})),
        _ => {
            let controller = controller.context("recording needs a controller")?;
            builder.controller(controller.address()).plugin(&json!({"controller": {"cluster": CONTROLLER}}))
        }
    })
}

fn native() -> Value {
    let clusters: Vec<Value> = VERSIONS.iter().map(|(name, weight)| json!({"name": name, "weight": weight})).collect();
    json!({
        "match": {"prefix": "/"},
        "route": {"weighted_clusters": {"clusters": clusters}, "timeout": "15s"},
    })
}

fn lua() -> Value {
    json!({"name": "lua", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string":
            "function envoy_on_request(handle) handle:headers():replace('x-weir-version', 'v1') end"},
    }})
}

fn noop(variable: &str, name: &str) -> anyhow::Result<Value> {
    let default = weir_tests::paths::repository().join("target").join(name);
    let path = std::env::var_os(variable).map_or(default, Into::into);
    anyhow::ensure!(path.is_file(), "{} is not there: run `make wasm`, or set {variable}", path.display());
    Ok(json!({"name": "noop", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "noop",
            "root_id": "noop",
            "vm_config": {
                "vm_id": "noop",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": path}},
            },
        },
    }}))
}
