//! The Envoy filter: a thin shell over `weir-core`, and the only crate that names `proxy_wasm`.
//!
//! Owns the contexts that Envoy calls and the state that outlives a configuration push. Decides nothing; must never trap,
//! because a trap is seconds of 503 for every request of that worker.

#![expect(missing_docs, reason = "the SDK's `main!` writes a public function without")]

mod envoy;
mod site;
mod stats;
#[cfg(feature = "trap")]
mod trap;
mod wasi;

use envoy::Envoy;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use site::Site;
use std::rc::Rc;
use std::time::Duration;
use weir_core::request::Request;

/// How often a VM looks whether something is due.
const TICK: Duration = Duration::from_millis(100);

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// One plugin configuration in one VM.
#[derive(Default)]
struct Root {
    site: Rc<Site>,
    /// Whether this context has ticked: one in a throw-away VM never does, so only ticks may write and call.
    ticked: bool,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        let (status, body) = envoy::answer(headers, body);
        self.site.on_answer(token, status, &body);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match self.site.configure(&envoy::plugin_configuration()) {
            Ok(()) => {
                self.set_tick_period(TICK);
                true
            }
            Err(error) => {
                log::error!("{error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if !self.ticked {
            self.ticked = true;
            self.site.register_queue();
        }
        self.site.on_tick();
    }

    fn on_queue_ready(&mut self, queue: u32) {
        envoy::drain_queue(queue);
        self.site.on_wake();
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { site: Rc::clone(&self.site), request: Request::default() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One request.
struct Stream {
    site: Rc<Site>,
    request: Request,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        #[cfg(feature = "trap")]
        trap::if_asked("request");
        self.request = self.site.on_request_headers(&mut Envoy);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        if self.request.is_recorded() {
            self.site.with_recorder(|recorder| self.request.on_response_headers(&mut Envoy, recorder));
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        #[cfg(feature = "trap")]
        trap::if_asked("log");
        if self.request.is_recorded() {
            self.site.with_recorder(|recorder| self.request.on_log(&mut Envoy, recorder));
        }
    }
}
