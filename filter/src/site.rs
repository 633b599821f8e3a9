//! One plugin configuration at work in one VM: its compiled plan, and the exchange that it shares with its successors.
//!
//! A configuration push makes a new root context, and so a new site, in the same VM; the exchange, with its counts, is
//! found again by name. Everything borrowed here is borrowed for one call and by `try_borrow`: no borrow may trap.

use crate::abi;
use crate::envoy::{self, Envoy};
use crate::stats;
use std::cell::RefCell;
use std::rc::Rc;
use weir_core::config::{Config, Controller, InvalidConfig};
use weir_core::exchange::Exchange;
use weir_core::matching::Compiled;
use weir_core::plan::Plan;
use weir_core::recorder::Recorder;
use weir_core::request::{BinClock, Request, Worker};
use weir_envoy::path;

/// Most exchanges that a VM keeps: one per plugin; more is a configuration that keeps changing its names.
const MAX_EXCHANGES: usize = 64;

thread_local! {
    static EXCHANGES: RefCell<Vec<(String, Rc<RefCell<Exchange>>)>> = const { RefCell::new(Vec::new()) };
}

/// One plugin configuration at work.
#[derive(Default)]
pub(crate) struct Site {
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    routing_headers: Vec<String>,
    static_plan: Option<Rc<Plan>>,
    exchange: Option<Rc<RefCell<Exchange>>>,
    /// What `compiled` was made of.
    source: Option<Rc<Plan>>,
    compiled: Option<Rc<Compiled>>,
}

impl Site {
    /// Validates a configuration and takes it. May run in a throw-away VM: reads what VMs share, writes nothing.
    pub(crate) fn configure(&self, json: &[u8]) -> Result<(), InvalidConfig> {
        let config = Config::from_json(json)?;
        let exchange = config.controller.map(|controller| {
            let exchange = exchange(controller, config.node.unwrap_or_else(node));
            if let (Ok(mut exchange), Some(plan)) = (exchange.try_borrow_mut(), &config.plan) {
                exchange.set_static_revision(&plan.revision);
            }
            exchange
        });
        if let Ok(mut inner) = self.inner.try_borrow_mut() {
            *inner = Inner {
                routing_headers: config.routing_headers,
                static_plan: config.plan.map(Rc::new),
                exchange,
                source: None,
                compiled: None,
            };
            inner.compile();
        }
        Ok(())
    }

    pub(crate) fn on_request_headers(&self, host: &mut Envoy) -> Request {
        let Ok(inner) = self.inner.try_borrow() else { return Request::default() };
        let Some(plan) = &inner.compiled else { return Request::default() };
        let exchange = inner.exchange.as_ref().map(|exchange| exchange.try_borrow_mut());
        match exchange {
            Some(Ok(mut exchange)) => {
                let fetched = exchange.plan().is_some();
                let worker = exchange.worker();
                if fetched {
                    return path::on_request_headers(host, plan, worker);
                }
                // The controller knows nothing of a static plan: counts of one would have the whole report refused.
                unreported(host, plan, worker.clock, worker.stale)
            }
            _ => unreported(host, plan, BinClock::new(0, 0), false),
        }
    }

    pub(crate) fn with_recorder(&self, record: impl FnOnce(&mut Recorder)) {
        let Ok(inner) = self.inner.try_borrow() else { return };
        // Whichever it is, a recorder knows the exposures that are not its own.
        match inner.exchange.as_ref().map(|exchange| exchange.try_borrow_mut()) {
            Some(Ok(mut exchange)) => record(exchange.recorder()),
            Some(Err(_)) => {}
            None => drop(stats::with_unreported(record)),
        }
    }

    pub(crate) fn on_tick(&self) {
        self.with_exchange(|exchange| {
            exchange.on_tick(&mut Envoy::default());
            stats::on_tick(Some(exchange), None);
        });
        self.refresh();
        if let Ok(inner) = self.inner.try_borrow()
            && inner.exchange.is_none()
        {
            stats::on_tick(None, inner.source.as_ref().map(|plan| plan.revision.as_str()));
        }
    }

    pub(crate) fn on_wake(&self) {
        self.with_exchange(|exchange| exchange.on_wake(&mut Envoy::default()));
        self.refresh();
    }

    pub(crate) fn on_answer(&self, token: u32, status: u32, body: &[u8]) {
        self.with_exchange(|exchange| exchange.on_answer(&mut Envoy::default(), token, status, body));
        self.refresh();
    }

    /// Makes the queue that wakes this VM, or takes it over from the root context before.
    pub(crate) fn register_queue(&self) {
        self.with_exchange(|exchange| {
            let name = format!("weir/1/{}", exchange.incarnation());
            if let Some(queue) = abi::register_queue(&name) {
                exchange.set_queue(queue);
            }
        });
    }

    fn with_exchange(&self, act: impl FnOnce(&mut Exchange)) {
        if let Ok(inner) = self.inner.try_borrow()
            && let Some(exchange) = &inner.exchange
            && let Ok(mut exchange) = exchange.try_borrow_mut()
        {
            act(&mut exchange);
        }
    }

    fn refresh(&self) {
        if let Ok(mut inner) = self.inner.try_borrow_mut() {
            inner.compile();
        }
    }
}

impl Inner {
    /// Compiles the plan in force, if it is not the one that was compiled before.
    fn compile(&mut self) {
        let fetched = self.exchange.as_ref().and_then(|exchange| exchange.try_borrow().ok()?.plan().cloned());
        let source = fetched.or_else(|| self.static_plan.clone());
        let is_same = match (&source, &self.source) {
            (Some(new), Some(old)) => Rc::ptr_eq(new, old),
            (None, None) => self.compiled.is_some(),
            _ => false,
        };
        if is_same {
            return;
        }
        let compiled = match &source {
            Some(plan) => Compiled::new(plan, &self.routing_headers),
            // Even without a plan no client may choose a version.
            None => Compiled::new(&Plan::empty("-"), &self.routing_headers),
        };
        stats::adopt(&compiled);
        self.compiled = Some(Rc::new(compiled));
        self.source = source;
    }
}

/// A request by a plan that the controller did not give: only Envoy's own stats count it.
fn unreported(host: &mut Envoy, plan: &Compiled, clock: BinClock, stale: bool) -> Request {
    let request = stats::with_unreported(|recorder| {
        path::on_request_headers(host, plan, Worker { recorder: Some(recorder), clock, stale, incarnation: 0 })
    });
    request.unwrap_or_default()
}

/// The exchange of this plugin in this VM, new or as the root context before left it, whichever controller that named.
fn exchange(controller: Controller, node: String) -> Rc<RefCell<Exchange>> {
    let name = |property: &str| abi::property(property).unwrap_or_default();
    let key = format!(
        "{}/{}",
        String::from_utf8_lossy(&name("plugin_name")),
        String::from_utf8_lossy(&name("plugin_root_id")),
    );
    EXCHANGES.with(|exchanges| {
        let known = exchanges.try_borrow().ok().and_then(|exchanges| {
            exchanges.iter().find(|(name, _)| *name == key).map(|(_, exchange)| Rc::clone(exchange))
        });
        if let Some(exchange) = known {
            if let Ok(mut exchange) = exchange.try_borrow_mut() {
                exchange.reconfigure(&mut Envoy::default(), controller, node);
            }
            return exchange;
        }
        let exchange = Rc::new(RefCell::new(Exchange::new(&mut Envoy::default(), controller, node, envoy::unix_ms())));
        if let Ok(mut exchanges) = exchanges.try_borrow_mut() {
            if exchanges.len() >= MAX_EXCHANGES {
                exchanges.retain(|(_, exchange)| Rc::strong_count(exchange) > 1);
            }
            exchanges.push((key, Rc::clone(&exchange)));
        }
        exchange
    })
}

/// The node id of Envoy's bootstrap.
fn node() -> String {
    let id = abi::property("xds\0node\0id").unwrap_or_default();
    let id: String = id.iter().filter(|byte| byte.is_ascii_graphic()).take(256).map(|byte| char::from(*byte)).collect();
    if id.is_empty() { "unnamed".to_owned() } else { id }
}
