//! For tests alone: traps the VM when a request asks for it. In no module but `weir-filter-trap.wasm`.

use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;

/// Traps if the request's header `x-weir-trap` names this place.
pub(crate) fn if_asked(place: &str) {
    let asked = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "x-weir-trap").ok().flatten();
    if asked.is_some_and(|asked| asked == place.as_bytes()) {
        std::process::abort();
    }
}
