//! The root contexts of one VM: one for each plugin configuration, old ones as long as streams of theirs are left.
//!
//! Owns which site serves a stream. Envoy does not say that a root context has ended, as that would be a callback for every
//! stream as well: one that ticks no longer, while others do, has.

use crate::envoy::Predicates;
use crate::site::Site;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use weir_core::config::InvalidConfig;

/// Ticks of another root context after which one that has not ticked is gone: a minute. All of a VM tick at the same pace.
const SILENT: u32 = 600;

/// Rounds of ticks of all root contexts, gone ones too, after which one that has not ticked is not counted among those that do.
const ROUNDS: u32 = 4;

/// One plugin configuration in one VM.
#[derive(Clone)]
pub(crate) struct Root {
    id: u32,
    pub(crate) site: Rc<Site>,
    /// What Envoy decides for this root context's streams.
    pub(crate) predicates: Predicates,
    /// Whether this context has ticked: one in a throw-away VM never does, so only ticks may write and call.
    ticked: bool,
    /// Ticks of others since its own last one.
    silent: u32,
}

thread_local! {
    static ROOTS: RefCell<Vec<Root>> = const { RefCell::new(Vec::new()) };
    /// The stream that began last, and its root context.
    static BEGAN: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// A stream of this root context has begun.
pub(crate) fn began(stream: u32, root: u32) {
    BEGAN.set((stream, root));
}

/// Takes a configuration. The root context before it serves on if it is refused.
pub(crate) fn configure(id: u32) -> Result<(), InvalidConfig> {
    let known = with(id, Root::clone);
    let root = known.unwrap_or_else(|| Root {
        id,
        site: Rc::default(),
        predicates: Predicates::new(),
        ticked: false,
        silent: 0,
    });
    root.site.configure(&crate::envoy::plugin_configuration())?;
    let _ = ROOTS.with(|roots| {
        roots.try_borrow_mut().map(|mut roots| {
            roots.retain(|known| known.id != id);
            roots.push(root);
        })
    });
    Ok(())
}

/// Ticks.
pub(crate) fn on_tick(id: u32) {
    let ticking = ROOTS.with(|roots| {
        let mut roots = roots.try_borrow_mut().ok()?;
        for root in roots.iter_mut() {
            root.silent = if root.id == id { 0 } else { root.silent.saturating_add(1) };
        }
        // Several tick in the time of one: those that have not been silent for some rounds of all.
        let count = |roots: usize| u32::try_from(roots).unwrap_or(u32::MAX);
        let rounds = count(roots.len()).saturating_mul(ROUNDS);
        let limit = SILENT.saturating_mul(count(roots.iter().filter(|root| root.silent <= rounds).count()));
        roots.retain(|root| root.silent <= limit);
        let root = roots.iter_mut().find(|root| root.id == id)?;
        Some((Rc::clone(&root.site), std::mem::replace(&mut root.ticked, true)))
    });
    if let Some((site, ticked)) = ticking {
        if !ticked {
            site.register_queue();
        }
        site.on_tick();
    }
}

/// Does something with a root context, if it is known.
pub(crate) fn with<T>(id: u32, act: impl FnOnce(&Root) -> T) -> Option<T> {
    ROOTS.with(|roots| roots.try_borrow().ok()?.iter().find(|root| root.id == id).map(act))
}

/// Does something with a stream's root context.
pub(crate) fn of_stream(stream: u32, act: impl FnOnce(&Root)) {
    let (last, root) = BEGAN.get();
    // Envoy announces every stream; should one come unannounced, the only root context is its own.
    if last == stream {
        with(root, act);
    } else {
        ROOTS.with(|roots| {
            if let Ok([root]) = roots.try_borrow().as_deref().map(Vec::as_slice) {
                act(root);
            }
        });
    }
}
