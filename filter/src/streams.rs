//! Requests under way of which something is still to be recorded, by the id of their stream.
//!
//! Owns that nothing is kept for ever: Envoy ends every stream with `on_log`, and what is older than anything that may still
//! count is swept out anyway.

use crate::abi;
use crate::envoy::{Envoy, Predicates};
use crate::site::Site;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use weir_core::request::Request;

/// After which a request is swept out: no deadline of a plan is nearly as long, so nothing that counts is lost.
const MAX_AGE_NANOS: u64 = 24 * 3_600 * 1_000_000_000;
/// Nanoseconds between two sweeps.
const SWEEP_EVERY: u64 = 60_000_000_000;
/// Lists, by the id's lowest bits: ids count up, so that requests spread over them evenly. A request is looked for in one.
const LISTS: u32 = 128;

/// Largest body, in bytes, of which it does not matter whether its client has taken it when the end has passed: less than a browser's or a
/// service's first window of HTTP/2 (64 KiB), so that it lies in the kernel's buffers by then.
const MAX_UNSEEN: u32 = 32 << 10;

struct Stream {
    id: u32,
    site: Rc<Site>,
    predicates: Predicates,
    request: Request,
    /// Bytes of its response's body that have passed.
    passed: u32,
    /// Whether that was all of it.
    ended: bool,
    /// The sweep before it.
    began: u64,
}

thread_local! {
    static STREAMS: RefCell<Vec<Vec<Stream>>> = const { RefCell::new(Vec::new()) };
    static SWEPT: Cell<u64> = const { Cell::new(0) };
}

/// Keeps a request until it ends.
pub(crate) fn begin(id: u32, site: &Rc<Site>, predicates: Predicates, request: Request) {
    STREAMS.with(|streams| {
        let Ok(mut streams) = streams.try_borrow_mut() else { return };
        if streams.is_empty() {
            streams.resize_with(LISTS as usize, Vec::new);
        }
        if let Some(list) = streams.get_mut((id % LISTS) as usize) {
            list.push(Stream {
                id,
                site: Rc::clone(site),
                predicates,
                request,
                passed: 0,
                ended: false,
                began: SWEPT.get(),
            });
        }
    });
}

/// So much more of the body of a request's response has passed; `end`: the last of it.
pub(crate) fn passed(id: u32, size: u32, end: bool) {
    STREAMS.with(|streams| {
        if let Ok(mut streams) = streams.try_borrow_mut()
            && let Some(list) = streams.get_mut((id % LISTS) as usize)
            && let Some(stream) = list.iter_mut().find(|stream| stream.id == id)
        {
            stream.passed = stream.passed.saturating_add(size);
            stream.ended = end;
        }
    });
}

/// Does something with a request that is kept, and keeps it on if told so.
pub(crate) fn with(id: u32, act: impl FnOnce(&Site, &mut Envoy, &mut Request) -> bool) {
    STREAMS.with(|streams| {
        let Ok(mut streams) = streams.try_borrow_mut() else { return };
        let Some(list) = streams.get_mut((id % LISTS) as usize) else { return };
        let Some(at) = list.iter().position(|stream| stream.id == id) else { return };
        let Some(stream) = list.get_mut(at) else { return };
        if !act(
            &stream.site,
            &mut Envoy::of(stream.predicates, stream.ended && stream.passed <= MAX_UNSEEN),
            &mut stream.request,
        ) {
            list.swap_remove(at);
        }
    });
}

/// Drops what is too old, and gives back the room of a burst, now and then.
pub(crate) fn sweep() {
    let now = abi::monotonic_nanos();
    if now.saturating_sub(SWEPT.get()) < SWEEP_EVERY {
        return;
    }
    SWEPT.set(now);
    let _ = STREAMS.with(|streams| {
        streams.try_borrow_mut().map(|mut streams| {
            for list in streams.iter_mut() {
                list.retain(|stream| now.saturating_sub(stream.began) <= MAX_AGE_NANOS);
                if list.capacity() > 64 && list.capacity() / 8 > list.len() {
                    list.shrink_to_fit();
                }
            }
        })
    });
}
