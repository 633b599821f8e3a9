//! Requests under way of which something is still to be recorded, by the id of their stream.
//!
//! Owns that nothing is kept for ever: Envoy ends every stream with `on_log`, and what is older than anything that may still
//! count is swept out anyway.

use crate::abi;
use crate::envoy::{Envoy, Predicates};
use crate::site::Site;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use weir_core::request::Request;

/// After which an entry is swept out: no deadline of a plan is nearly as long, so nothing that counts is lost.
const MAX_AGE_NANOS: u64 = 24 * 3_600 * 1_000_000_000;
/// Nanoseconds between two sweeps.
const SWEEP_EVERY: u64 = 60_000_000_000;

struct Stream {
    site: Rc<Site>,
    predicates: Predicates,
    request: Request,
    began: u64,
}

/// Stream ids count up, so that they need only be spread a little.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    /// Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

type Streams = HashMap<u32, Stream, BuildHasherDefault<Spread>>;

thread_local! {
    static STREAMS: RefCell<Streams> = RefCell::new(Streams::default());
    static SWEPT: Cell<u64> = const { Cell::new(0) };
}

/// Keeps a request until it ends.
pub(crate) fn begin(id: u32, site: &Rc<Site>, predicates: Predicates, request: Request) {
    let stream = Stream { site: Rc::clone(site), predicates, request, began: SWEPT.get() };
    let _ = STREAMS.with(|streams| streams.try_borrow_mut().map(|mut streams| streams.insert(id, stream)));
}

/// Does something with a request that is kept, and keeps it on if told so.
pub(crate) fn with(id: u32, act: impl FnOnce(&Site, &mut Envoy, &mut Request) -> bool) {
    STREAMS.with(|streams| {
        let Ok(mut streams) = streams.try_borrow_mut() else { return };
        let Some(stream) = streams.get_mut(&id) else { return };
        if !act(&stream.site, &mut Envoy::of(stream.predicates), &mut stream.request) {
            streams.remove(&id);
        }
    });
}

/// Drops what is too old, now and then.
pub(crate) fn sweep() {
    let now = abi::monotonic_nanos();
    if now.saturating_sub(SWEPT.get()) < SWEEP_EVERY {
        return;
    }
    SWEPT.set(now);
    let _ = STREAMS.with(|streams| {
        streams.try_borrow_mut().map(|mut streams| {
            streams.retain(|_, stream| now.saturating_sub(stream.began) <= MAX_AGE_NANOS);
            // What a burst needed, longer bodies of waiting streams say, is given back.
            if streams.capacity() / 8 > streams.len() {
                streams.shrink_to_fit();
            }
        })
    });
}
