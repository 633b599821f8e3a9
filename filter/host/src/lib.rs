//! An Envoy in memory with one VM of the built filter in it, by a deterministic interpreter.
//!
//! Owns what the filter sees of its host and counts what a request costs: Wasm instructions, host calls, entries. Knows as
//! much of Envoy as the filter asks for; whether a real Envoy does the same is for the end-to-end tests.

mod calls;
mod count;
mod memory;

use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use wasmi::{Engine, Instance, Linker, Module, Store, TypedFunc, WasmParams, WasmResults};

/// The root context's id.
const ROOT: u32 = 1;

/// What a request or response brings.
pub type Headers = Vec<(String, Vec<u8>)>;

/// How a request ends, in Envoy's words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ending {
    /// In how many pieces the response's body came to its end, without trailers; 0: it did not.
    pub pieces: u32,
    /// `response.flags`.
    pub flags: u64,
    /// `response.code`.
    pub code: Option<u64>,
    /// `response.grpc_status`.
    pub grpc: Option<u64>,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// Wasm instructions.
    pub instructions: u64,
    /// Callbacks that the host made.
    pub callbacks: u64,
    /// Calls by the filter, by function.
    pub calls: BTreeMap<&'static str, u64>,
    /// Those that entered the VM once more to allocate memory for bytes.
    pub returning_bytes: u64,
}

impl Cost {
    /// Calls by the filter.
    #[must_use]
    pub fn host_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// A call to the controller under way.
#[derive(Debug, Clone)]
pub struct Call {
    /// For the answer.
    pub token: u32,
    /// Path and query.
    pub path: String,
    /// Body.
    pub body: Vec<u8>,
}

/// The host's side.
#[derive(Debug, Default)]
struct State {
    configuration: Vec<u8>,
    request: Headers,
    response: Headers,
    ending: Ending,
    now: u64,
    shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    versions: u32,
    calls: Vec<Call>,
    tokens: u32,
    answer: Option<(u32, Vec<u8>)>,
    /// Expressions; `None` when this host has no foreign functions.
    expressions: Option<Vec<String>>,
    lines: Vec<String>,
    cost: Cost,
}

/// One VM at work.
pub struct Host {
    store: Store<State>,
    instance: Instance,
    streams: u32,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.data().fmt(formatter)
    }
}

impl Host {
    /// Starts the module of a file with a configuration; `expressions`: whether this host has Envoy's foreign functions.
    ///
    /// # Errors
    /// When the module cannot be run or refuses its configuration.
    pub fn start(module: &Path, configuration: &str, expressions: bool) -> anyhow::Result<Self> {
        let bytes = std::fs::read(module).with_context(|| format!("{}: run `make wasm` first", module.display()))?;
        let engine = Engine::default();
        let module = Module::new(&engine, count::counting(&bytes)?)?;
        let state = State {
            configuration: configuration.as_bytes().to_vec(),
            expressions: expressions.then(Vec::new),
            now: 1_000_000_000,
            ..State::default()
        };
        let mut store = Store::new(&engine, state);
        let mut linker = Linker::new(&engine);
        calls::define(&mut linker)?;
        let instance = linker.instantiate_and_start(&mut store, &module)?;
        let mut host = Self { store, instance, streams: 100 };
        host.enter::<_, ()>("proxy_on_context_create", (ROOT, 0_u32))?;
        host.configure()?;
        Ok(host)
    }

    fn configure(&mut self) -> anyhow::Result<()> {
        let length = u32::try_from(self.store.data().configuration.len())?;
        let taken: u32 = self.enter("proxy_on_configure", (ROOT, length))?;
        ensure!(taken == 1, "refused: {:?}", self.store.data().lines);
        Ok(())
    }

    fn enter<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> anyhow::Result<R> {
        let function: TypedFunc<P, R> = self.instance.get_typed_func(&self.store, name)?;
        let before = self.instructions();
        self.store.data_mut().cost.callbacks += 1;
        let result = function.call(&mut self.store, parameters)?;
        let used = self.instructions().saturating_sub(before);
        self.store.data_mut().cost.instructions += used;
        Ok(result)
    }

    fn instructions(&self) -> u64 {
        let global = self.instance.get_global(&self.store, count::GLOBAL);
        global.and_then(|global| u64::try_from(global.get(&self.store).i64()?).ok()).unwrap_or_default()
    }

    /// Lets so much time pass and ticks.
    ///
    /// # Errors
    /// When the filter traps; so everywhere here.
    pub fn tick(&mut self, nanos: u64) -> anyhow::Result<()> {
        self.store.data_mut().now += nanos;
        self.enter("proxy_on_tick", ROOT)
    }

    /// Takes the calls to the controller that have begun.
    pub fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.store.data_mut().calls)
    }

    /// Answers one of them.
    ///
    /// # Errors
    /// When the filter traps.
    pub fn answer(&mut self, call: &Call, status: u32, body: &[u8]) -> anyhow::Result<()> {
        self.store.data_mut().answer = Some((status, body.to_vec()));
        let length = u32::try_from(body.len())?;
        self.enter::<_, ()>("proxy_on_http_call_response", (ROOT, call.token, 1_u32, length, 0_u32))?;
        self.store.data_mut().answer = None;
        Ok(())
    }

    /// Ticks until the filter has polled and been given this plan; acknowledges reports on the way.
    ///
    /// # Errors
    /// When the filter traps, or does not poll.
    pub fn publish(&mut self, plan: &str) -> anyhow::Result<()> {
        for _ in 0..600 {
            let mut published = false;
            for call in self.take_calls() {
                if call.path.starts_with("/v1/plan") {
                    self.answer(&call, 200, plan.as_bytes())?;
                    published = true;
                } else {
                    self.acknowledge(&call)?;
                }
            }
            self.tick(100_000_000)?;
            if published {
                return Ok(());
            }
        }
        anyhow::bail!("no poll came: {:?}", self.store.data().lines)
    }

    fn acknowledge(&mut self, call: &Call) -> anyhow::Result<()> {
        let report: serde_json::Value = serde_json::from_slice(&call.body)?;
        let answer = serde_json::json!({"acknowledged": report.get("sequence")});
        self.answer(call, 200, answer.to_string().as_bytes())
    }

    /// Serves a request that takes so long, from its headers to its log.
    ///
    /// # Errors
    /// When the filter traps.
    pub fn request(
        &mut self,
        request: &Headers,
        response: &Headers,
        ending: Ending,
        nanos: u64,
    ) -> anyhow::Result<Cost> {
        self.streams += 1;
        let stream = self.streams;
        self.store.data_mut().cost = Cost::default();
        self.store.data_mut().request.clone_from(request);
        self.store.data_mut().ending = Ending::default();
        self.enter::<_, ()>("proxy_on_context_create", (stream, ROOT))?;
        let count = u32::try_from(request.len())?;
        let _: u32 = self.enter("proxy_on_request_headers", (stream, count, 1_u32))?;
        self.store.data_mut().now += nanos;
        self.store.data_mut().response.clone_from(response);
        let count = u32::try_from(response.len())?;
        // A body of its own follows, unless it ended otherwise.
        let _: u32 = self.enter("proxy_on_response_headers", (stream, count, 0_u32))?;
        for piece in 1..=ending.pieces {
            let end = u32::from(piece == ending.pieces);
            let _: u32 = self.enter("proxy_on_response_body", (stream, 2_u32, end))?;
        }
        self.store.data_mut().ending = ending;
        self.enter::<_, ()>("proxy_on_log", stream)?;
        self.store.data_mut().response.clear();
        Ok(std::mem::take(&mut self.store.data_mut().cost))
    }

    /// A malformed request, of which nothing is seen but its log.
    ///
    /// # Errors
    /// When the filter traps.
    pub fn malformed(&mut self) -> anyhow::Result<()> {
        self.streams += 1;
        self.enter::<_, ()>("proxy_on_context_create", (self.streams, ROOT))?;
        self.enter("proxy_on_log", self.streams)
    }

    /// Names of the functions that the module exports.
    #[must_use]
    pub fn exported(&self) -> Vec<String> {
        let exports = self.instance.exports(&self.store);
        exports
            .filter(|export| export.ty(&self.store).func().is_some())
            .map(|export| export.name().to_owned())
            .collect()
    }

    /// The request's headers as the filter left them.
    #[must_use]
    pub fn sent(&self) -> &Headers {
        &self.store.data().request
    }

    /// The VM's memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let memory = self.instance.get_memory(&self.store, "memory");
        memory.map_or(0, |memory| memory.size(&self.store) * 65_536)
    }
}
