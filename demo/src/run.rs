//! `weir-demo run`: the main job from the first request to the winner, then everything ends.

use crate::screen::Screen;
use crate::stack::{HOST, NAME, NEXT, Stack, WORKERS};
use crate::view::View;
use anyhow::{Context, bail};
use clap::Args;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// The version that should win: the best of those that keep their objectives.
const WINNER: &str = "v2";
/// When the demo gives up.
const LIMIT: Duration = Duration::from_secs(110);
/// The exit code of what Ctrl-C ends in the middle.
const INTERRUPTED: u8 = 130;
/// How long the winner may take to have all traffic, once it is promoted.
const SWITCH: Duration = Duration::from_secs(5);
/// Visits that must all get the winner in the end.
const VISITS: usize = 50;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `weir-demo run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Leave everything running, to play with, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Requests a second.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Seed of every chance but Envoy's; drawn by the system when left out.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the demo until it has an end, or until it is told to end.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let (mut interrupt, mut terminate, mut hang_up) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let told_to_end = async {
        tokio::select! {
            _ = interrupt.recv() => INTERRUPTED,
            _ = terminate.recv() => 143,
            _ = hang_up.recv() => 129,
        }
    };
    let shown = OnceLock::new();
    tokio::select! {
        // Dropped in the middle, the demo ends what it has started.
        result = demonstrate(&args, &shown) => result,
        code = told_to_end => {
            println!("\nEverything is ended.");
            // Once everything was shown Ctrl-C is the end that was asked for, and no failure but that of what was shown.
            Ok(match shown.get() {
                Some(verdict) if code == INTERRUPTED => *verdict,
                _ => ExitCode::from(code),
            })
        }
    }
}

/// Shows the main job; what became of it is in `shown` once it is only kept.
async fn demonstrate(args: &RunArgs, shown: &OnceLock<ExitCode>) -> anyhow::Result<ExitCode> {
    println!("Starting three versions of a shop, the controller, and Envoy with {WORKERS} workers …");
    let mut stack = Stack::start(args.seed).await?;
    stack.open(args.rate, args.seed)?;
    println!(
        "Users come, {} requests a second. v3 sells best and breaks its error objective; v2 should win.\n",
        args.rate
    );
    let began = Instant::now();
    let mut screen = Screen::new(&format!("{NAME} · {WORKERS} workers"));
    let view = watch(&mut stack, &mut screen, began).await;
    let verdict = match view {
        Ok(view) => judge(&stack, &view, began).await,
        Err(error) => Err(error),
    };
    if args.keep {
        match verdict
            .as_ref()
            .map_err(|error| format!("{error:#}"))
            .and_then(|()| stack.go_on().map_err(|error| format!("{error:#}")))
        {
            Ok(()) => println!(
                "\nThe next one has begun, {NEXT}: {WINNER} is the baseline, and v3 may fail more often. If it wins, its promotion waits for you."
            ),
            Err(error) => eprintln!("weir-demo: {error}"),
        }
        let _ = shown.set(if verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        keep(&mut stack).await?;
    }
    stack.stop();
    verdict.map(|()| ExitCode::SUCCESS)
}

/// Shows the experiment until it has concluded.
async fn watch(stack: &mut Stack, screen: &mut Screen, began: Instant) -> anyhow::Result<View> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut last = View::default();
    loop {
        look.tick().await;
        stack.check()?;
        if let Some(experiment) = stack.experiment().await {
            last = View::read(&experiment);
            if last.outcome.is_some() {
                screen.finish(&last, began.elapsed())?;
                return Ok(last);
            }
            screen.show(&last, began.elapsed())?;
        }
        if began.elapsed() > LIMIT {
            screen.finish(&last, began.elapsed())?;
            bail!("no version has won within {} s", LIMIT.as_secs());
        }
    }
}

/// Whether the right version won, and really has all the traffic.
async fn judge(stack: &Stack, view: &View, began: Instant) -> anyhow::Result<()> {
    let (outcome, version) = view.outcome.as_ref().context("the experiment has not concluded")?;
    if outcome != "promoted" || version != WINNER {
        bail!("{WINNER} should have been promoted, but the outcome is: {outcome}, {version}");
    }
    let promoted = Instant::now();
    let mut in_a_row = 0;
    while in_a_row < VISITS {
        in_a_row = if stack.visit().await.as_deref() == Some(WINNER) { in_a_row + 1 } else { 0 };
        if promoted.elapsed() > SWITCH {
            bail!("{WINNER} was promoted but does not get all requests after {} s", SWITCH.as_secs());
        }
    }
    println!("\n✓ {WINNER} won after {} s, and all of {VISITS} more visitors got it.", began.elapsed().as_secs());
    Ok(())
}

/// Leaves everything running until it is told to end.
async fn keep(stack: &mut Stack) -> anyhow::Result<()> {
    println!(
        "\nEverything keeps running until Ctrl-C:\n  \
         the shop    curl -i -H 'host: {HOST}' http://{}/\n  \
         controller  WEIR_SERVER=http://{} weir get\n  \
         Envoy       http://{}/stats\n  \
         logs        {}\n  \
         dashboard   http://{}/",
        stack.envoy,
        stack.controller,
        stack.admin,
        stack.directory().display(),
        stack.controller
    );
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        stack.check()?;
    }
}
