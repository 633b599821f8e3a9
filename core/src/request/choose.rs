//! Which version a request gets, and whether chance decided it.

use crate::cookie;
use crate::host::Host;
use crate::matching::{Experiment, Key, Reader};
use crate::plan::PARTS;
use crate::unit::{self, Digest};

/// What was chosen for a request.
pub(super) struct Choice {
    /// Index of the version.
    pub(super) version: usize,
    /// Whether chance decided it, so that it may be recorded.
    pub(super) counts: bool,
    /// The unit's, where it is to be recorded.
    pub(super) bucket: Option<u16>,
    /// The key of a unit that had none, to be given to it as its cookie.
    pub(super) new_key: Option<String>,
}

/// Chooses a version of an experiment that a request matches.
pub(super) fn choose<H: Host>(experiment: &Experiment, stale: bool, reader: &mut Reader<'_, H>) -> Choice {
    let unrecorded = |version| Choice { version, counts: false, bucket: None, new_key: None };
    let baseline = unrecorded(experiment.baseline);
    if stale && experiment.running {
        return baseline;
    }
    let named = experiment
        .override_header
        .and_then(|header| reader.get(header))
        .and_then(|value| experiment.versions.iter().position(|version| version.name.as_bytes() == value));
    if let Some(version) = named {
        return unrecorded(version);
    }
    let (key, new_key) = key(experiment, reader);
    let chosen = match (&experiment.unit, key) {
        (_, Some(key)) => {
            if !experiment.assigner.key_takes_part(key, experiment.share_ppm) {
                // A new unit outside keeps its key too: drawn anew with every request, it would be inside sooner or later.
                return Choice { new_key, ..baseline };
            }
            experiment.assigner.by_key(key)
        }
        // A running sticky experiment says nothing about who shows no key; a concluded one has an outcome for everybody.
        (Key::Header(_) | Key::Cookie(..) | Key::Generated(..), None)
            if experiment.running || experiment.share_ppm < PARTS =>
        {
            None
        }
        _ => {
            if experiment.share_ppm < PARTS
                && !crate::assign::takes_part(reader.host().random_u64(), experiment.share_ppm)
            {
                return baseline;
            }
            experiment.assigner.by_random(reader.host().random_u64())
        }
    };
    let Some(version) = chosen else { return baseline };
    let buckets = experiment.unit_buckets.filter(|_| experiment.running);
    Choice { version, counts: true, bucket: buckets.zip(key).map(|(buckets, key)| buckets.of(key)), new_key }
}

/// The unit's key, if it shows one or is given one, and that one if it is new.
fn key<H: Host>(experiment: &Experiment, reader: &mut Reader<'_, H>) -> (Option<Digest>, Option<String>) {
    let shown = match &experiment.unit {
        Key::Request => None,
        Key::Header(header) => reader.get(*header).filter(|key| !key.is_empty()),
        Key::Cookie(header, name) => reader.get(*header).and_then(|value| unit::cookies(value, name).next()),
        Key::Generated(header, cookie) => {
            reader.get(*header).and_then(|value| unit::cookies(value, &cookie.name).find(|value| cookie::is_key(value)))
        }
    };
    match (shown.map(Digest::of), &experiment.unit) {
        // To a concluded experiment all units are alike.
        (None, Key::Generated(..)) if experiment.running => {
            let host = reader.host();
            let new = cookie::new_key(host.random_u64(), host.random_u64());
            (Some(Digest::of(new.as_bytes())), Some(new))
        }
        (shown, _) => (shown, None),
    }
}
