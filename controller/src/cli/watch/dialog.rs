//! What a key asks for, and what is asked back before anything is done: which version, why, and whether really.
//!
//! Knows keys and text alone; who sends the command is another's.

use super::super::client::View;
use super::super::show::step;
use serde_json::{Value, json};
use weir_engine::spec::Experiment;
use weir_engine::state::Phase;

/// Longest reason that is taken, in characters: the API's.
const MAX_REASON: usize = 1_000;

/// A key, as far as dialogs know any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
}

/// What may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Start,
    Pause,
    Resume,
    /// What waits, since when, and in words.
    Approve(u64, String),
    Promote(Option<String>),
    /// One candidate, or all of them.
    RollBack(Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Of these one is to be chosen by its number; the last of a roll-back is all of them.
    Choose(Vec<String>),
    Reason,
    Confirm,
}

/// A question that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialog {
    what: What,
    stage: Stage,
    reason: String,
    baseline: String,
}

/// What a key led to.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// The question is still open.
    Ask(Dialog),
    /// It is not to be.
    Leave,
    /// To be sent to `…/commands`.
    Send(Value),
}

/// The keys and what they would do to an experiment as it stands.
pub(super) fn keys(view: &View) -> Vec<(char, &'static str)> {
    let state = &view.state;
    let mut keys = Vec::new();
    match state.phase {
        Phase::Pending => keys.push(('s', "start")),
        Phase::Running => keys.push(('p', "pause")),
        Phase::Paused { .. } => keys.push(('p', "resume")),
        Phase::Concluded { .. } => return keys,
    }
    if state.awaited.is_some() {
        keys.push(('a', "approve"));
    }
    if state.phase != Phase::Pending {
        keys.extend([('o', "promote"), ('r', "roll back")]);
    }
    keys
}

/// The question that a key opens, if it does something to an experiment as it stands.
pub(super) fn open(key: char, view: &View) -> Option<Dialog> {
    if !keys(view).iter().any(|(known, _)| *known == key) {
        return None;
    }
    let experiment = &view.experiment;
    let of = |what, stage| {
        let baseline = experiment.version_name(experiment.baseline).to_owned();
        Some(Dialog { what, stage, reason: String::new(), baseline })
    };
    match (key, &view.state.phase) {
        ('s', _) => of(What::Start, Stage::Reason),
        ('p', Phase::Running) => of(What::Pause, Stage::Reason),
        ('p', _) => of(What::Resume, Stage::Reason),
        ('a', _) => {
            let awaited = view.state.awaited.as_ref()?;
            of(What::Approve(awaited.since, step(experiment, &awaited.step)), Stage::Reason)
        }
        ('o', _) => of(What::Promote(None), Stage::Choose(versions(experiment, |_| true))),
        ('r', _) => {
            let candidates = versions(experiment, |index| index != experiment.baseline && !view.state.is_out(index));
            of(What::RollBack(None), Stage::Choose(candidates))
        }
        _ => None,
    }
}

fn versions(experiment: &Experiment, wanted: impl Fn(usize) -> bool) -> Vec<String> {
    let versions = experiment.versions.iter().enumerate().filter(|(index, _)| wanted(*index));
    // A key has one digit.
    versions.map(|(_, version)| version.name.clone()).take(8).collect()
}

impl Dialog {
    /// What a key leads to.
    pub(super) fn key(mut self, key: Key) -> Next {
        // In a reason it is a letter.
        let leaves = key == Key::Char('q') && self.stage != Stage::Reason;
        if key == Key::Escape || leaves {
            return Next::Leave;
        }
        match (&self.stage, key) {
            (Stage::Choose(names), Key::Char(digit)) => {
                let chosen = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(0);
                let name = chosen.checked_sub(1).and_then(|index| names.get(index)).cloned();
                let all = chosen == names.len() + 1 && matches!(self.what, What::RollBack(_));
                if name.is_some() || all {
                    self.what = match self.what {
                        What::Promote(_) => What::Promote(name),
                        _ => What::RollBack(name),
                    };
                    self.stage = Stage::Reason;
                }
            }
            (Stage::Reason, Key::Char(character))
                if !character.is_control() && self.reason.chars().count() < MAX_REASON =>
            {
                self.reason.push(character);
            }
            (Stage::Reason, Key::Backspace) => drop(self.reason.pop()),
            (Stage::Reason, Key::Enter) if !self.reason.trim().is_empty() => self.stage = Stage::Confirm,
            (Stage::Confirm, Key::Char('y')) => return Next::Send(self.command()),
            (Stage::Confirm, Key::Char('n')) => return Next::Leave,
            (Stage::Confirm, Key::Backspace) => self.stage = Stage::Reason,
            _ => {}
        }
        Next::Ask(self)
    }

    fn command(self) -> Value {
        let reason = self.reason.trim();
        match self.what {
            What::Start => json!({ "command": "start", "reason": reason }),
            What::Pause => json!({ "command": "pause", "reason": reason }),
            What::Resume => json!({ "command": "resume", "reason": reason }),
            What::Approve(since, _) => json!({ "command": "approve", "awaitedSince": since, "reason": reason }),
            What::Promote(version) => json!({ "command": "promote", "version": version, "reason": reason }),
            What::RollBack(version) => json!({ "command": "rollBack", "version": version, "reason": reason }),
        }
    }

    /// What is asked, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.consequence()];
        match &self.stage {
            Stage::Choose(names) => {
                let all = matches!(self.what, What::RollBack(_)).then(|| "every candidate".to_owned());
                lines.extend(
                    names.iter().cloned().chain(all).enumerate().map(|(at, name)| format!("  {}  {name}", at + 1)),
                );
                lines.push("a number chooses · q or Esc leaves it".to_owned());
            }
            Stage::Reason => {
                lines.push(format!("Why? {}▏", self.reason));
                lines.push("it is kept in the journal · Enter goes on · Esc leaves it".to_owned());
            }
            Stage::Confirm => {
                lines.push(format!("Reason: {}", self.reason.trim()));
                lines.push("Really? y does it · n, q or Esc leaves it".to_owned());
            }
        }
        lines
    }

    fn consequence(&self) -> String {
        match &self.what {
            What::Start => "Start: a part of the traffic goes to candidates from now on.".to_owned(),
            What::Pause => "Pause: weights stay as they are; evidence of a violation still rolls back.".to_owned(),
            What::Resume => "Resume: the controller moves weights again.".to_owned(),
            What::Approve(_, what) => format!("Approve what waits: {what}."),
            What::Promote(None) => "Promote which version?".to_owned(),
            What::Promote(Some(version)) => {
                format!("Promote {version}: all traffic goes to it, whatever the evidence, and the experiment ends.")
            }
            What::RollBack(None) if matches!(self.stage, Stage::Choose(_)) => "Roll back which version?".to_owned(),
            What::RollBack(None) => {
                format!("Roll back every candidate: all traffic goes to {}, and the experiment ends.", self.baseline)
            }
            What::RollBack(Some(version)) => {
                format!(
                    "Roll back {version}: no more traffic goes to it; if no candidate is left, the experiment ends."
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::show::tests::view;
    use super::*;

    fn press(dialog: Dialog, keys: &[Key]) -> Next {
        keys.iter().fold(Next::Ask(dialog), |next, key| match next {
            Next::Ask(dialog) => dialog.key(*key),
            done => panic!("{key:?} after {done:?}"),
        })
    }

    fn typed(text: &str) -> Vec<Key> {
        text.chars().map(Key::Char).collect()
    }

    #[test]
    fn nothing_is_done_before_a_reason_is_given_and_it_is_confirmed() {
        let view = view();
        let dialog = open('p', &view).unwrap();
        // An empty reason does not go on.
        let Next::Ask(dialog) = press(dialog, &[Key::Enter, Key::Char(' '), Key::Enter]) else { panic!() };
        assert_eq!(dialog.stage, Stage::Reason);
        let Next::Ask(dialog) = press(dialog, &[&typed("sales"), &[Key::Backspace, Key::Enter][..]].concat()) else {
            panic!()
        };
        assert!(dialog.lines().iter().any(|line| line.contains("Really?")), "{dialog:?}");
        assert_eq!(dialog.clone().key(Key::Char('n')), Next::Leave);
        assert_eq!(dialog.clone().key(Key::Escape), Next::Leave);
        assert!(matches!(dialog.clone().key(Key::Enter), Next::Ask(_)), "Enter alone confirms nothing");
        assert_eq!(dialog.key(Key::Char('y')), Next::Send(json!({ "command": "pause", "reason": "sale" })));
    }

    #[test]
    fn a_version_is_chosen_by_its_number_and_the_consequence_is_named() {
        let view = view();
        let dialog = open('o', &view).unwrap();
        for leaves in [Key::Char('q'), Key::Escape] {
            assert_eq!(dialog.clone().key(leaves), Next::Leave);
        }
        let Next::Ask(dialog) = press(dialog, &[Key::Char('9'), Key::Char('0'), Key::Char('2')]) else { panic!() };
        assert!(dialog.lines()[0].starts_with("Promote v2: all traffic goes to it"), "{:?}", dialog.lines());
        let end = press(dialog, &[typed("now"), vec![Key::Enter, Key::Char('y')]].concat());
        assert_eq!(end, Next::Send(json!({ "command": "promote", "version": "v2", "reason": "now" })));

        let dialog = open('r', &view).unwrap();
        let Stage::Choose(candidates) = dialog.stage.clone() else { panic!() };
        assert!(!candidates.contains(&"v1".to_owned()), "the baseline cannot be rolled back");
        let all = char::from_digit(u32::try_from(candidates.len()).unwrap() + 1, 10).unwrap();
        let Next::Ask(dialog) = press(dialog, &[Key::Char(all)]) else { panic!() };
        assert!(dialog.lines()[0].contains("all traffic goes to v1"), "{:?}", dialog.lines());
        let end = press(dialog, &[typed("bad"), vec![Key::Enter, Key::Char('y')]].concat());
        assert_eq!(end, Next::Send(json!({ "command": "rollBack", "version": null, "reason": "bad" })));
    }

    #[test]
    fn a_key_that_would_do_nothing_asks_nothing() {
        let view = view();
        for key in ['a', 's', 'x', 'q'] {
            assert_eq!(open(key, &view), None, "{key}");
        }
    }
}
