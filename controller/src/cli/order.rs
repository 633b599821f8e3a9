//! What people ask of an experiment: `weir start`, `pause`, `resume`, `approve`, `set-weights`, `promote`, `roll-back`, `stop`.

use super::WrongUse;
use super::client::{Server, ServerArgs, View, experiment_name};
use super::output::{OutputArgs, now, print, print_value, stretch};
use super::show::{action, step};
use crate::ledger::Told;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use weir_engine::decide::Action;
use weir_engine::state::{Cause, Phase};

/// What every command has.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The experiment's name.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    /// Why, in 1 to 1,000 characters: kept in the experiment's journal beside who did it, when and from where.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// A command without anything of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    pub(super) common: Common,
}

/// Approval.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Since when what you approve has waited, as `weir get` shows it; without it, what waits now is shown and approved.
    #[arg(long, value_name = "MILLISECONDS")]
    awaited_since: Option<u64>,
}

/// A command about one version.
#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// The version that gets all traffic.
    #[arg(id = "of", value_name = "VERSION")]
    version: String,
}

/// A command about one version or all.
#[derive(Debug, clap::Args)]
pub(crate) struct RollBackArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// The version that gets no more traffic; every candidate without it, which ends the experiment.
    #[arg(id = "of", value_name = "VERSION")]
    version: Option<String>,
}

/// Weights by hand.
#[derive(Debug, clap::Args)]
pub(crate) struct SetWeightsArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// A version's part of the traffic; 100% in all, who is not named gets none.
    #[arg(value_name = "VERSION=PERCENT", required = true, value_parser = share)]
    weights: Vec<(String, u32)>,
}

/// `v2=12.5%`, in basis points.
fn share(text: &str) -> Result<(String, u32), String> {
    let wrong = || "write it as `v2=12.5%`".to_owned();
    let (version, percent) = text.rsplit_once('=').ok_or_else(wrong)?;
    let percent = percent.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, part) = percent.split_once('.').unwrap_or((percent, ""));
    if version.is_empty() || part.len() > 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{}; the finest step is 0.01%", wrong()));
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let part: u32 = format!("{part:0<2}").parse().map_err(|_| wrong())?;
    let basis_points = whole.checked_mul(100).and_then(|whole| whole.checked_add(part)).filter(|all| *all <= 10_000);
    Ok((version.to_owned(), basis_points.ok_or("more than 100%")?))
}

/// Commands that have nothing of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plain {
    Start,
    Pause,
    Resume,
    Stop,
}

/// Runs one of them.
pub(crate) fn plain(what: Plain, args: OrderArgs) -> anyhow::Result<ExitCode> {
    let command = match what {
        Plain::Start => "start",
        Plain::Pause => "pause",
        Plain::Resume => "resume",
        Plain::Stop => "stop",
    };
    send(args.common, json!({ "command": command }))
}

/// Runs `weir approve`: what is sent is what was shown.
pub(crate) fn approve(args: ApproveArgs) -> anyhow::Result<ExitCode> {
    let ApproveArgs { common, awaited_since } = args;
    let server = Server::new(common.server.clone())?;
    let view: View = server.typed(&server.get(&format!("/v1/experiments/{}", common.name))?)?;
    if view.state.phase == Phase::Pending {
        let name = &common.name;
        let waits = format!("{name} has not started, and nothing but its start waits: weir start {name} --reason WHY");
        if common.output.structured() {
            return refused(common.output, name, &waits);
        }
        anyhow::bail!(waits);
    }
    let mut since = awaited_since;
    if let Some(awaited) = &view.state.awaited
        && since.is_none()
    {
        since = Some(awaited.since);
        if !common.output.structured() {
            let age = stretch(now().saturating_sub(awaited.since));
            print(&format!("waits for approval since {age}: {}\n", step(&view.experiment, &awaited.step)))?;
        }
    }
    // Where nothing waits the server says so, whatever is sent.
    send(common, json!({ "command": "approve", "awaitedSince": since.unwrap_or(0) }))
}

/// Runs `weir promote`.
pub(crate) fn promote(args: PromoteArgs) -> anyhow::Result<ExitCode> {
    send(args.common, json!({ "command": "promote", "version": args.version }))
}

/// Runs `weir roll-back`.
pub(crate) fn roll_back(args: RollBackArgs) -> anyhow::Result<ExitCode> {
    send(args.common, json!({ "command": "rollBack", "version": args.version }))
}

/// Runs `weir set-weights`.
pub(crate) fn set_weights(args: SetWeightsArgs) -> anyhow::Result<ExitCode> {
    let count = args.weights.len();
    let weights: BTreeMap<String, u32> = args.weights.into_iter().collect();
    if weights.len() < count {
        return Err(WrongUse("a version is there twice".to_owned()).into());
    }
    let sum: u32 = weights.values().sum();
    if sum != 10_000 {
        return Err(WrongUse(format!("the weights are {:.2}% in all: give 100%", f64::from(sum) / 100.0)).into());
    }
    send(args.common, json!({ "command": "setWeights", "weights": weights }))
}

fn send(common: Common, mut command: Value) -> anyhow::Result<ExitCode> {
    let Common { name, reason, server, output } = common;
    if let Some(object) = command.as_object_mut() {
        object.insert("reason".to_owned(), Value::String(reason));
    }
    let server = Server::new(server)?;
    let answer = match server.command(&format!("/v1/experiments/{name}/commands"), &command) {
        Err(error) if output.structured() => return refused(output, &name, &error),
        answer => answer?,
    };
    if output.structured() {
        print_value(output, &answer)?;
    } else {
        let Told { decision, .. } = server.typed(&answer)?;
        let by_hand = matches!(decision.state.phase, Phase::Paused { cause: Cause::Weights, .. });
        let paused = if decision.action == Action::Shift && by_hand { ", and paused until it is resumed" } else { "" };
        let action = action(decision.action);
        print(&format!("experiment {name}: {action}{paused}\n  {}\n", decision.reasons.join("\n  ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// That nothing was done, and why, for programs.
pub(crate) fn refused(output: OutputArgs, name: &str, error: &impl std::fmt::Display) -> anyhow::Result<ExitCode> {
    print_value(output, &json!({ "name": name, "error": error.to_string() }))?;
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_percentages_to_a_hundredth() {
        for (text, expected) in
            [("v2=5%", 500), ("v2=0.01%", 1), ("v2=12.5%", 1_250), ("v2=100%", 10_000), ("a=b=7%", 700)]
        {
            assert_eq!(share(text).map(|(_, weight)| weight), Ok(expected), "{text}");
        }
        for text in ["v2=5", "v2", "=5%", "v2=0.001%", "v2=101%", "v2=-1%", "v2=%", "v2=1e1%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
