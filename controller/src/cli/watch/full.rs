//! The full-screen view: a picture of the experiment, always up to date, and keys that ask for something.
//!
//! One thread talks to the server and never the one that draws: a server that does not answer holds no key up.

use super::super::client::{ApiError, Server, View};
use super::super::output::{now, weight};
use super::super::plain::plain;
use super::super::show;
use super::dialog::{self, Dialog, Key, Next};
use super::{INTERVAL, WatchArgs};
use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use ratatui::{DefaultTerminal, Frame};
use serde_json::Value;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often keys are looked for while nothing comes.
const KEYS: Duration = Duration::from_millis(100);

/// How long the view may take to leave when a signal says so.
const LEAVES: Duration = Duration::from_secs(1);

/// What the server said.
enum News {
    View(Box<View>),
    /// It does not answer.
    Away(ApiError),
    /// It says that there is no such experiment, or what nobody here understands.
    End(anyhow::Error),
    /// What became of a command.
    Done(Result<String, String>),
}

/// Everything that is drawn.
struct Model {
    view: View,
    away: Option<String>,
    /// What became of the last command.
    said: Option<Result<String, String>>,
    dialog: Option<Dialog>,
    /// A command is under way.
    sending: bool,
    scroll: u16,
}

/// Runs it until it is left, or has nothing more to show.
pub(super) fn run(args: WatchArgs) -> anyhow::Result<ExitCode> {
    let server = Server::new(args.server)?;
    let path = format!("/v1/experiments/{}", args.name);
    let first: View = server.typed(&server.get(&path)?)?;
    if first.state.is_concluded() {
        super::print(&show::detail(&first, now()))?;
        eprintln!("weir: {} has concluded: there is nothing more to watch", args.name);
        return Ok(ExitCode::SUCCESS);
    }
    let (orders, asked) = channel();
    let (told, news) = channel();
    std::thread::spawn(move || converse(&server, &path, &asked, &told));
    let mut model = Model { view: first, away: None, said: None, dialog: None, sending: false, scroll: 0 };
    // Before the terminal is another: a signal from now on is one that leaves it as it was.
    let signal = signals();
    let mut terminal = ratatui::try_init().context("this terminal takes no full-screen view: pipe it through `cat`")?;
    let left = follow(&mut terminal, &mut model, (&orders, &news), &signal, args.until_concluded);
    // Where there is no terminal any more there is none to restore.
    let _ = ratatui::try_restore();
    let code = match (signal.load(Ordering::Relaxed), left) {
        (0, left) => left.map(|()| 0)?,
        // Whoever ended it may have taken the terminal along.
        (signal, _) => 128_u8.saturating_add(signal),
    };
    // What was seen last stays on the terminal.
    let shown = super::print(&show::detail(&model.view, now()));
    if code == 0 {
        shown?;
    }
    Ok(ExitCode::from(code))
}

/// The number of the signal that told this process to end; 0 as long as none did. In raw mode Ctrl-C is a key and none of them.
fn signals() -> Arc<AtomicU8> {
    let told = Arc::new(AtomicU8::new(0));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            let within = runtime.enter();
            let all = (signal(SignalKind::hangup()), signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
            drop(within);
            // Without one of them it ends at once, as any program does.
            if let (Ok(mut hang_up), Ok(mut interrupt), Ok(mut terminate)) = all {
                let says = Arc::clone(&told);
                let wait = async move {
                    let number = tokio::select! {
                        _ = hang_up.recv() => 1,
                        _ = interrupt.recv() => 2,
                        _ = terminate.recv() => 15,
                    };
                    says.store(number, Ordering::Relaxed);
                    // Reading keys of a terminal that is gone never returns: then it is left from here.
                    tokio::time::sleep(LEAVES).await;
                    let _ = ratatui::try_restore();
                    std::process::exit(128 + i32::from(number));
                };
                std::thread::spawn(move || runtime.block_on(wait));
            }
        }
    }
    told
}

/// Asks the server again and again, and sends what is ordered meanwhile; ends when nobody listens.
fn converse(server: &Server, path: &str, orders: &Receiver<Value>, told: &Sender<News>) {
    loop {
        let news = match server.get(path) {
            Ok(answer) => server.typed(&answer).map_or_else(|error| News::End(error.into()), News::View),
            Err(error) if error.may_pass() => News::Away(error),
            Err(error) => News::End(error.into()),
        };
        if told.send(news).is_err() {
            return;
        }
        match orders.recv_timeout(INTERVAL) {
            Ok(command) => {
                let answer = server.command(&format!("{path}/commands"), &command);
                let done = answer.map_err(|error| error.to_string()).map(|answer| reasons(&answer));
                if told.send(News::Done(done)).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn reasons(answer: &Value) -> String {
    let reasons = answer.get("reasons").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    reasons.iter().filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(" ")
}

fn follow(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    (orders, news): (&Sender<Value>, &Receiver<News>),
    signal: &AtomicU8,
    until_concluded: bool,
) -> anyhow::Result<()> {
    while signal.load(Ordering::Relaxed) == 0 {
        terminal.draw(|frame| draw(frame, model, now()))?;
        if event::poll(KEYS)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            if interrupt || !pressed(model, key.code, orders)? {
                return Ok(());
            }
        }
        for news in news.try_iter() {
            match news {
                News::View(view) => {
                    model.view = *view;
                    model.away = None;
                }
                News::Away(error) => model.away = Some(error.to_string()),
                News::End(error) => return Err(error),
                News::Done(done) => {
                    model.sending = false;
                    model.said = Some(done);
                }
            }
        }
        if until_concluded && model.view.state.is_concluded() {
            return Ok(());
        }
    }
    Ok(())
}

/// Takes a key. Whether to go on.
fn pressed(model: &mut Model, code: KeyCode, orders: &Sender<Value>) -> anyhow::Result<bool> {
    if let Some(dialog) = model.dialog.take() {
        let key = match code {
            KeyCode::Char(character) => Key::Char(character),
            KeyCode::Enter => Key::Enter,
            KeyCode::Esc => Key::Escape,
            KeyCode::Backspace => Key::Backspace,
            _ => {
                model.dialog = Some(dialog);
                return Ok(true);
            }
        };
        match dialog.key(key) {
            Next::Ask(dialog) => model.dialog = Some(dialog),
            Next::Leave => {}
            Next::Send(command) => {
                model.sending = true;
                model.said = None;
                orders.send(command).context("nobody talks to the server any more")?;
            }
        }
        return Ok(true);
    }
    match code {
        KeyCode::Char('q') | KeyCode::Esc => return Ok(false),
        KeyCode::Down | KeyCode::Char('j') => model.scroll = model.scroll.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => model.scroll = model.scroll.saturating_sub(1),
        KeyCode::PageDown => model.scroll = model.scroll.saturating_add(10),
        KeyCode::PageUp => model.scroll = model.scroll.saturating_sub(10),
        KeyCode::Home => model.scroll = 0,
        KeyCode::Char(key) if !model.sending => model.dialog = dialog::open(key, &model.view),
        _ => {}
    }
    Ok(true)
}

fn draw(frame: &mut Frame<'_>, model: &mut Model, now: u64) {
    let weights = bars(&model.view, frame.area().width);
    let bars_height = u16::try_from(weights.len()).unwrap_or(u16::MAX);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(bars_height), Constraint::Min(3), Constraint::Length(2)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(weights), top);

    let detail = show::with_keys(&show::detail(&model.view, now), &model.view.experiment.name);
    // Nobody scrolls past the end.
    let lines = u16::try_from(detail.lines().count()).unwrap_or(u16::MAX);
    model.scroll = model.scroll.min(lines.saturating_sub(1));
    let text: Vec<Line<'_>> = detail.lines().map(styled).collect();
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).scroll((model.scroll, 0)), middle);

    // First how to leave, which has room on any terminal.
    let mut keys = vec!["q leave".to_owned()];
    keys.extend(dialog::keys(&model.view).into_iter().map(|(key, does)| format!("{key} {does}")));
    keys.push("↑↓ scroll".to_owned());
    let said = match (&model.away, model.sending, &model.said) {
        (Some(away), ..) => Line::from(format!("not up to date: {away}")).red(),
        (_, true, _) => Line::from("sent, waiting for the answer …").yellow(),
        (.., Some(Ok(said))) => Line::from(format!("done: {said}")).green(),
        (.., Some(Err(said))) => Line::from(format!("refused: {said}")).red(),
        _ => Line::default(),
    };
    frame.render_widget(Paragraph::new(vec![said, Line::from(keys.join(" · ")).dim()]), bottom);

    if let Some(dialog) = &model.dialog {
        let lines: Vec<Line<'_>> = dialog.lines().into_iter().map(Line::from).collect();
        let area = frame.area();
        let width = area.width.saturating_sub(4).min(100);
        let height = u16::try_from(lines.len()).unwrap_or(8).saturating_add(4).min(area.height);
        let area = area.centered(Constraint::Length(width), Constraint::Length(height));
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(Block::bordered()), area);
    }
}

/// Each version's weight as a bar.
fn bars(view: &View, width: u16) -> Vec<Line<'static>> {
    let names = view.experiment.versions.iter().map(|version| version.name.as_str());
    let widest = names.clone().map(|name| name.chars().count()).max().unwrap_or(0);
    let room = usize::from(width).saturating_sub(widest + 10).min(60);
    let weights = view.state.weights_in_force(&view.experiment);
    let bar = |(name, share): (&str, &u32)| {
        let filled = (room * usize::try_from(*share).unwrap_or(0) + 5_000) / 10_000;
        let bar = format!("{}{}", "█".repeat(filled), "·".repeat(room.saturating_sub(filled)));
        Line::from(format!("{name:<widest$} {bar} {:>7}", weight(*share)))
    };
    let mut lines: Vec<Line<'static>> = names.zip(&weights).map(bar).collect();
    lines.push(Line::default());
    lines
}

/// What is wrong stands out, and so does what waits for somebody.
fn styled(line: &str) -> Line<'_> {
    let style = if line.starts_with("warning:") {
        Style::new().yellow()
    } else if line.starts_with("waits") {
        Style::new().add_modifier(Modifier::BOLD)
    } else {
        Style::new()
    };
    Line::styled(line, style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn model() -> Model {
        let view = show::tests::view();
        Model { view, away: None, said: None, dialog: None, sending: false, scroll: 0 }
    }

    fn picture(model: &mut Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, 30_000)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_narrow_screen_still_says_how_to_leave_and_what_else_the_keys_do() {
        let picture = picture(&mut model(), 50, 20);
        for text in ["q leave", "p pause", "o promote", "r roll back"] {
            assert!(picture.contains(text), "{text}:\n{picture}");
        }
    }

    #[test]
    fn weights_verdicts_and_keys_are_on_the_screen() {
        let picture = picture(&mut model(), 120, 40);
        for text in ["v1 █", "checkout · service shop", "v3 breaks errors.", "p pause", "r roll back", "q leave"] {
            assert!(picture.contains(text), "{text}:\n{picture}");
        }
        assert!(!picture.contains("a approve"), "nothing waits:\n{picture}");
    }

    #[test]
    fn what_waits_says_which_key_does_it() {
        use weir_engine::state::{Phase, Proposal, Step};
        let mut model = model();
        model.view.state.awaited = Some(Proposal { since: 21_000, step: Step::Promotion { version: 1 } });
        let shown = picture(&mut model, 120, 40);
        assert!(shown.contains("the promotion of v2; press a ") && !shown.contains("weir approve"), "{shown}");
        model.view.state.awaited = None;
        model.view.state.phase = Phase::Pending;
        let shown = picture(&mut model, 120, 40);
        assert!(shown.contains("waits to be started: press s ") && !shown.contains("weir start"), "{shown}");
    }

    #[test]
    fn a_key_asks_and_only_an_answer_sends() {
        let (orders, asked) = channel();
        let mut model = model();
        let press = |model: &mut Model, code| pressed(model, code, &orders).unwrap();
        assert!(press(&mut model, KeyCode::Char('p')));
        assert!(picture(&mut model, 100, 30).contains("Pause: weights stay"));
        for code in [KeyCode::Char('q'), KeyCode::Down, KeyCode::Enter] {
            assert!(press(&mut model, code), "a question takes its keys");
        }
        assert!(asked.try_recv().is_err(), "not before it is confirmed");
        assert!(press(&mut model, KeyCode::Char('y')));
        assert_eq!(asked.try_recv().unwrap(), serde_json::json!({ "command": "pause", "reason": "q" }));
        assert!(model.sending && picture(&mut model, 100, 30).contains("waiting for the answer"));
        assert!(!press(&mut model, KeyCode::Char('q')), "outside a question it leaves");
    }

    #[test]
    fn the_smallest_terminal_and_the_farthest_scroll_are_drawn() {
        let mut model = model();
        for (width, height) in [(1, 1), (5, 3), (20, 5), (300, 100)] {
            model.scroll = u16::MAX;
            model.dialog = dialog::open('r', &model.view);
            picture(&mut model, width, height);
            model.dialog = None;
            picture(&mut model, width, height);
            assert!(model.scroll < 100);
        }
    }
}
