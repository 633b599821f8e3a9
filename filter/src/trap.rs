//! For tests alone: traps the VM when a request asks for it. In no module but `weir-filter-trap.wasm`.

use crate::abi::{self, Map};

/// Traps if the request's header `x-weir-trap` names this place.
pub(crate) fn if_asked(place: &str) {
    if abi::header(Map::Request, "x-weir-trap").is_some_and(|asked| asked == place.as_bytes()) {
        std::process::abort();
    }
}
