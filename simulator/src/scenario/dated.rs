//! What of a scenario begins at a time of its own: a run that ends before has not met it, and says so.

use super::Scenario;
use weir_core::duration::format_milliseconds;

impl Scenario {
    /// What begins when, in virtual milliseconds, as a run names it: faults, incidents, leaks and bursts.
    #[must_use]
    pub fn dated(&self) -> Vec<(String, u64)> {
        let mut dated = Vec::new();
        let mut add = |what: String, at: u64| dated.push((format!("{what} at {}", format_milliseconds(at)), at));
        self.traffic.bursts.iter().for_each(|burst| add("the burst of traffic".to_owned(), burst.from_ms));
        for (index, version) in self.versions.iter().enumerate() {
            let name = self.experiment.version_name(index);
            version
                .incidents
                .iter()
                .for_each(|incident| add(format!("the incident of {name}"), incident.errors.from_ms));
            version.leak.iter().for_each(|leak| add(format!("the leak of {name}"), leak.from_ms));
        }
        let faults = &self.faults;
        for (what, outages) in [
            ("the partition", &faults.partitions),
            ("the silence", &faults.silences),
            ("the controller's outage", &faults.controller),
        ] {
            outages.iter().for_each(|outage| add(what.to_owned(), outage.from_ms));
        }
        faults.deaths.iter().for_each(|death| add("the deaths".to_owned(), death.at_ms));
        faults.clock_steps.iter().for_each(|step| add("the step of the clock".to_owned(), step.at_ms));
        for lost in &faults.unrecorded {
            add(format!("the unrecorded requests of {}", self.experiment.version_name(lost.version)), lost.from_ms);
        }
        dated
    }

    /// What a run that ended at a time had not met.
    #[must_use]
    pub fn unreached(&self, ended_ms: u64) -> Vec<String> {
        self.dated().into_iter().filter(|(_, at)| *at >= ended_ms).map(|(what, _)| what).collect()
    }
}
