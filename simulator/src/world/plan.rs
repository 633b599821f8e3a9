//! What the filters know of the experiment: the plan of production, compiled as they do.

use std::rc::Rc;
use weir_core::matching::{Compiled, Experiment as Matched};
use weir_core::plan::Plan;
use weir_engine::planning::planned;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

/// A published plan.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) matched: Rc<Matched>,
    /// Counts up with every plan.
    pub(crate) serial: u32,
}

impl Published {
    pub(crate) fn new(experiment: &Experiment, state: &State, seed: u64, serial: u32) -> Self {
        let mut plan = Plan::empty("simulated");
        // The seed stands for the randomness of an id: each run shuffles sticky users anew.
        plan.experiments.push(planned(experiment, &format!("{}-{seed:016x}", experiment.name), state));
        let compiled = Compiled::new(&plan, &[]);
        #[expect(clippy::indexing_slicing, reason = "it was put there three lines above")]
        let matched = Rc::clone(&compiled.experiments()[0]);
        Self { matched, serial }
    }
}
