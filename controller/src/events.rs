//! What happens, told as it happens: to a bounded number of listeners, each of which keeps up or is cut off. Owns no experiment.

use axum::body::Bytes;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};

/// Most listeners at a time.
const MAX_LISTENERS: usize = 128;
/// … and of one of them: a token's, or an address's where there are none.
pub(crate) const MAX_OF_ONE: usize = 32;
/// Events that wait for one listener; with one more it is cut off.
const QUEUE: usize = 256;
/// Events that are remembered for whoever comes back, and most bytes of them.
const REMEMBERED: usize = 1_000;
const REMEMBERED_BYTES: usize = 4 << 20;

/// Something that happened.
#[derive(Debug)]
pub(crate) struct Happened {
    /// Counts up from 1 within one life of the controller.
    pub(crate) number: u64,
    /// The name of the experiment that it happened to.
    pub(crate) experiment: String,
    /// As every listener is sent it: the same bytes for all, and for whoever comes back.
    pub(crate) text: Bytes,
    /// Whether it is the last of its experiment: that was deleted.
    pub(crate) is_last: bool,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An experiment was created, changed or deleted.
    Experiment,
    /// Something was decided, by the engine or a person.
    Decision,
    /// Counts were assessed anew. Whoever comes back is not told of those missed: the next is as good.
    Assessment,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Experiment => "experiment",
            Self::Decision => "decision",
            Self::Assessment => "assessment",
        }
    }
}

/// What an event says of its experiment, beside what is its kind's own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Of<'a, T> {
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    #[serde(flatten)]
    pub(crate) what: T,
}

/// An event that waits for its transaction.
#[derive(Debug)]
pub(crate) struct Pending {
    kind: Kind,
    experiment: String,
    data: String,
    is_last: bool,
}

impl Pending {
    /// Of an experiment, by name and id.
    pub(crate) fn new(kind: Kind, name: &str, id: &str, what: impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self {
            kind,
            experiment: name.to_owned(),
            data: serde_json::to_string(&Of { name, id, what })?,
            is_last: false,
        })
    }

    /// The same as the last of its experiment.
    pub(crate) fn last(self) -> Self {
        Self { is_last: true, ..self }
    }
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    remembered: VecDeque<Arc<Happened>>,
    bytes: usize,
    /// The last that was forgotten.
    forgotten: u64,
    listeners: Vec<Listener>,
    next_listener: u64,
}

#[derive(Debug)]
struct Listener {
    number: u64,
    /// Whose it is.
    of: String,
    /// Of this experiment alone.
    experiment: Option<String>,
    events: mpsc::Sender<Arc<Happened>>,
    /// Ends the connection of one that does not keep up: it may not even read that it is over.
    hangup: Arc<Notify>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    inner: Arc<Mutex<Inner>>,
    /// Tells this life of the controller from others, whose numbers are other events'.
    life: Arc<str>,
}

/// What somebody hears from here on.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// What happened since they left.
    pub(crate) missed: VecDeque<Arc<Happened>>,
    /// Whether that is all of it.
    pub(crate) complete: bool,
    /// The number of the last event so far.
    pub(crate) last: u64,
    pub(crate) events: mpsc::Receiver<Arc<Happened>>,
    _place: Place,
}

/// Why somebody may not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many do as there is room for.
    All,
    /// As many of theirs do as may.
    Own,
}

/// A listener's place, until it is dropped.
#[derive(Debug)]
struct Place(Events, u64);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inner().listeners.retain(|listener| listener.number != self.1);
    }
}

impl Events {
    /// Nothing has happened. `life` is no other's.
    pub(crate) fn new(life: &str) -> Self {
        Self { inner: Arc::default(), life: life.into() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody listens.
    pub(crate) fn are_heard(&self) -> bool {
        !self.inner().listeners.is_empty()
    }

    /// The id of an event, by which whoever comes back says what they had.
    pub(crate) fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.life)
    }

    /// Tells everybody.
    pub(crate) fn publish(&self, pending: impl IntoIterator<Item = Pending>) {
        let mut inner = self.inner();
        for Pending { kind, experiment, data, is_last } in pending {
            inner.last += 1;
            let text = format!("id: {}\nevent: {}\ndata: {data}\n\n", self.id(inner.last), kind.name()).into();
            let event = Arc::new(Happened { number: inner.last, experiment, text, is_last });
            inner.listeners.retain(|listener| {
                if listener.experiment.as_ref().is_some_and(|of| *of != event.experiment) {
                    return true;
                }
                let told = listener.events.try_send(Arc::clone(&event)).is_ok();
                if !told {
                    listener.hangup.notify_one();
                }
                told
            });
            if kind != Kind::Assessment {
                inner.bytes += event.text.len();
                inner.remembered.push_back(event);
            }
            while inner.remembered.len() > REMEMBERED || inner.bytes > REMEMBERED_BYTES {
                let Some(oldest) = inner.remembered.pop_front() else { break };
                inner.bytes = inner.bytes.saturating_sub(oldest.text.len());
                inner.forgotten = oldest.number;
            }
        }
    }

    /// Lets somebody listen: to one experiment or to all, from the event of an id on.
    ///
    /// # Errors
    /// When too many do already, of all or `of` the same.
    pub(crate) fn subscribe(
        &self,
        of: &str,
        experiment: Option<String>,
        last_id: Option<&str>,
        hangup: Arc<Notify>,
    ) -> Result<Subscription, Full> {
        let mut inner = self.inner();
        if inner.listeners.iter().filter(|listener| listener.of == of).count() >= MAX_OF_ONE {
            return Err(Full::Own);
        }
        if inner.listeners.len() >= MAX_LISTENERS {
            return Err(Full::All);
        }
        let had = last_id.and_then(|id| id.strip_prefix(&*self.life)?.strip_prefix('-')?.parse::<u64>().ok());
        let had = had.filter(|had| *had <= inner.last);
        let complete = last_id.is_none() || had.is_some_and(|had| had >= inner.forgotten);
        let after = had.filter(|_| complete);
        let ours = |event: &&Arc<Happened>| experiment.as_ref().is_none_or(|of| *of == event.experiment);
        let missed = inner.remembered.iter().filter(|event| after.is_some_and(|after| event.number > after));
        let missed = missed.filter(ours).cloned().collect();
        let (sender, events) = mpsc::channel(QUEUE);
        inner.next_listener += 1;
        let number = inner.next_listener;
        inner.listeners.push(Listener { number, of: of.to_owned(), experiment, events: sender, hangup });
        let last = inner.last;
        Ok(Subscription { missed, complete, last, events, _place: Place(self.clone(), number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, name: &str) -> Pending {
        Pending::new(kind, name, "id", serde_json::json!({})).unwrap()
    }

    fn listen(events: &Events, experiment: Option<&str>, last: Option<&str>) -> Subscription {
        events.subscribe("ada", experiment.map(str::to_owned), last, Arc::default()).unwrap()
    }

    #[test]
    fn a_listener_hears_of_its_experiment_and_whoever_comes_back_of_what_it_missed() {
        let events = Events::new("life");
        let mut all = listen(&events, None, None);
        let mut one = listen(&events, Some("a"), None);
        events.publish([event(Kind::Decision, "a"), event(Kind::Assessment, "b"), event(Kind::Experiment, "b")]);
        let heard = |subscription: &mut Subscription| {
            std::iter::from_fn(|| subscription.events.try_recv().ok()).map(|event| event.number).collect::<Vec<_>>()
        };
        assert_eq!((heard(&mut all), heard(&mut one)), (vec![1, 2, 3], vec![1]));
        let back = listen(&events, None, Some("life-1"));
        assert!(back.complete && back.last == 3);
        assert_eq!(back.missed.iter().map(|event| event.number).collect::<Vec<_>>(), [3], "assessments come anew");
        for other in ["another-1", "life-4", "life-", "x"] {
            let back = listen(&events, None, Some(other));
            assert!(!back.complete && back.missed.is_empty(), "{other}");
        }
        events.publish((0..REMEMBERED).map(|_| event(Kind::Decision, "a")));
        assert!(!listen(&events, None, Some("life-1")).complete, "it is too long ago");
        assert!(listen(&events, None, Some("life-3")).complete);
    }

    #[tokio::test]
    async fn a_listener_that_does_not_keep_up_is_cut_off_and_the_others_are_not() {
        let events = Events::new("life");
        let hangup = Arc::new(Notify::new());
        let slow = events.subscribe("eve", None, None, Arc::clone(&hangup)).unwrap();
        let mut quick = listen(&events, None, None);
        for _ in 0..=QUEUE {
            events.publish([event(Kind::Assessment, "a")]);
            assert!(quick.events.recv().await.is_some());
        }
        hangup.notified().await;
        assert_eq!(events.inner().listeners.len(), 1);
        drop((slow, quick));
        assert!(!events.are_heard());
    }

    #[test]
    fn there_is_room_for_so_many_listeners_and_nobody_takes_it_all() {
        let events = Events::new("life");
        let sit = |of: &str| events.subscribe(of, None, None, Arc::default());
        let mut all: Vec<_> = (0..MAX_OF_ONE).map(|_| sit("ada").unwrap()).collect();
        assert_eq!(sit("ada").unwrap_err(), Full::Own);
        all.extend((MAX_OF_ONE..MAX_LISTENERS).map(|number| sit(&number.to_string()).unwrap()));
        assert_eq!(sit("eve").unwrap_err(), Full::All);
        all.swap_remove(0);
        assert!(sit("eve").is_ok() && sit("ada").is_ok());
    }

    #[test]
    fn whoever_comes_back_is_given_what_is_remembered_and_no_copy_of_it() {
        let events = Events::new("life");
        let heard = listen(&events, None, None);
        events.publish([event(Kind::Decision, "a"), event(Kind::Decision, "b")]);
        let [one, other] = [(); 2].map(|()| listen(&events, None, Some("life-1")));
        assert_eq!(one.missed[0].text.as_ptr(), other.missed[0].text.as_ptr());
        assert_eq!(&one.missed[0].text[..], b"id: life-2\nevent: decision\ndata: {\"name\":\"b\",\"id\":\"id\"}\n\n");
        drop(heard);
    }
}
