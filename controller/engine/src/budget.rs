//! The α spent: every claim that the error budgets stand behind, at which level it is tested, what it needed, and what fired.
//! Derived from an assessment alone; the budgets themselves are [`crate::gates`]'.
//!
//! Looking costs nothing. A budget is spent by a claim that is acted on, and whole: were the claims behind it false, any of them
//! would fire with at most this probability, over all looks together.

use crate::assess::{Assessment, SampleRatio, VersionAssessment};
use crate::gates::{self, Gate, p_value};
use crate::metrics::MetricName;
use crate::state::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was spent of every budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlphaSpent {
    /// α_R: each version has a budget of its own.
    pub roll_back: Vec<RollBackSpent>,
    /// α_P: one for the experiment.
    pub promotion: PromotionSpent,
    /// The test that exposures follow the weights; `None` where that cannot be tested. Its level belongs to neither budget.
    pub sample_ratio: Option<Claim>,
}

/// What was spent of one version's budget for rolling it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollBackSpent {
    /// Whose.
    pub version: String,
    /// Whether it is the baseline, which is not rolled back but barred from winning.
    pub baseline: bool,
    /// The budget.
    pub alpha: f64,
    /// All of it if the version is out, else 0.
    pub spent: f64,
    /// That it breaks a limit, one per limit that evidence covers; then, if there are several, that it breaks its limits taken
    /// together.
    pub claims: Vec<Claim>,
}

/// What was spent of the budget for promotion. A wrong promotion has two causes, each with at most this probability: the winner
/// breaks a limit, or another version that is in is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionSpent {
    /// The budget.
    pub alpha: f64,
    /// All of it if there is a winner, else 0.
    pub spent: f64,
    /// That a candidate meets a limit; with a reward, that a version is beaten, and that one which may still be the best is itself
    /// better than each other that is in. A promotion needs all that concern it.
    pub claims: Vec<Claim>,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Of which version; `None` if of the experiment.
    pub version: Option<String>,
    /// Than which other it is better; `None` if the claim is not about a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub than: Option<String>,
    /// What is claimed.
    pub kind: ClaimKind,
    /// Which limit; `None` if none or several.
    pub gate: Option<String>,
    /// The level at which it is tested: it fires when E ≥ 1/α.
    pub alpha: f64,
    /// Natural log of the e-value.
    pub log_e: f64,
    /// It fires at this: ln(1/α).
    pub fires_at: f64,
    /// Anytime-valid p-value: min(1, 1/E) of this look, at most `alpha` if an earlier look had it fire. In an
    /// analysis, of the look at which E was highest: the smallest level at which it would have fired by now.
    pub p: f64,
    /// Whether it fired, now or at an earlier look.
    pub fired: bool,
}

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClaimKind {
    /// The version breaks a limit.
    Violated,
    /// The version breaks its limits, taken together.
    ViolatedTogether,
    /// The version meets a limit.
    Met,
    /// Some other version has a better reward (card J).
    Beaten,
    /// The version itself has a better reward than another: what a winner needs beside, where there are more than two versions.
    Better,
    /// Exposures do not follow the weights.
    SampleRatio,
}

impl AlphaSpent {
    /// What was spent by an assessment that names this winner, or by one of an earlier look whose winner it is.
    #[must_use]
    pub fn of(assessment: &Assessment, winner: Option<&str>) -> Self {
        let alpha = assessment.alpha;
        let candidates: Vec<&VersionAssessment> =
            assessment.versions.iter().filter(|version| !version.baseline).collect();
        let each = alpha.promotion / share(candidates.len());
        let met = candidates.iter().flat_map(|version| covered(version).map(move |gate| met(version, gate, each)));
        // A winner has beaten everyone else, now or at the look that found it.
        let lost = |version: &VersionAssessment| winner.is_some_and(|winner| winner != version.name) && !version.out;
        let beaten = assessment.versions.iter().filter_map(|version| {
            let claim = claim(
                Some(version.name.clone()),
                ClaimKind::Beaten,
                alpha.promotion,
                (version.log_e_beaten?, gates::fires_at(alpha.promotion)),
            );
            Some(claim.fired_before(lost(version)))
        });
        Self {
            roll_back: assessment
                .versions
                .iter()
                .map(|version| RollBackSpent {
                    version: version.name.clone(),
                    baseline: version.baseline,
                    alpha: alpha.roll_back,
                    spent: if version.out { alpha.roll_back } else { 0.0 },
                    claims: violated(version, alpha.roll_back),
                })
                .collect(),
            promotion: PromotionSpent {
                alpha: alpha.promotion,
                spent: if winner.is_some() { alpha.promotion } else { 0.0 },
                claims: met.chain(beaten).chain(better(assessment, winner)).collect(),
            },
            sample_ratio: assessment.sample_ratio.map(|SampleRatio { log_e_broken, broken_at, broken }| {
                let evidence = (log_e_broken, broken_at);
                claim(None, ClaimKind::SampleRatio, gates::ALPHA_SAMPLE_RATIO, evidence).fired_before(broken)
            }),
        }
    }

    /// The same, where these are the claims' highest E of any look so far: 1/E of that is a p-value too, by Ville's inequality.
    pub(crate) fn after(mut self, highest: &Highest) -> Self {
        let roll_back = self.roll_back.iter_mut().flat_map(|version| &mut version.claims);
        for claim in roll_back.chain(&mut self.promotion.claims).chain(&mut self.sample_ratio) {
            if let Some(log_e) = highest.0.get(&claim.key()) {
                claim.p = claim.p.min(p_value(*log_e));
                claim.fired |= *log_e >= claim.fires_at;
            }
        }
        self
    }

    fn claims(&self) -> impl Iterator<Item = &Claim> {
        let roll_back = self.roll_back.iter().flat_map(|version| &version.claims);
        roll_back.chain(&self.promotion.claims).chain(&self.sample_ratio)
    }
}

/// Per claim, the natural log of the highest E of any look so far.
#[derive(Debug, Default)]
pub(crate) struct Highest(BTreeMap<Key, f64>);

/// What tells claims apart: what is claimed, of whom, than whom, and which limit.
type Key = (ClaimKind, Option<String>, Option<String>, Option<String>);

impl Highest {
    /// Takes note of one more look.
    pub(crate) fn look(&mut self, assessment: &Assessment) {
        for claim in AlphaSpent::of(assessment, None).claims() {
            let highest = self.0.entry(claim.key()).or_insert(claim.log_e);
            *highest = highest.max(claim.log_e);
        }
    }
}

impl Claim {
    fn key(&self) -> Key {
        (self.kind, self.version.clone(), self.than.clone(), self.gate.clone())
    }

    /// The same, if it fired at an earlier look: there E was 1/α at least.
    fn fired_before(self, fired: bool) -> Self {
        let p = if fired { self.p.min(self.alpha) } else { self.p };
        Self { fired: self.fired || fired, p, ..self }
    }
}

fn covered(version: &VersionAssessment) -> impl Iterator<Item = &Gate> {
    version.gates.iter().filter(|gate| gate.covered)
}

fn violated(version: &VersionAssessment, alpha: f64) -> Vec<Claim> {
    let name = || Some(version.name.clone());
    let each = alpha / share(covered(version).count());
    let mut claims: Vec<Claim> = covered(version)
        .map(|gate| {
            let claim = claim(name(), ClaimKind::Violated, each, (gate.log_e_violated, gate.violated_at));
            Claim { gate: Some(gate.name.clone()), ..claim.fired_before(gate.verdict == Verdict::Violated) }
        })
        .collect();
    if claims.len() > 1 {
        let none_alone = claims.iter().all(|claim| !claim.fired);
        let evidence = (version.log_e_roll_back, version.roll_back_at);
        let together = claim(name(), ClaimKind::ViolatedTogether, alpha, evidence);
        // What put it out at an earlier look, if no limit alone did.
        claims.push(together.fired_before(version.out && none_alone));
    }
    claims
}

/// Of more than two versions, that each which may still be the best has beaten each other that is in. Of two, the other's
/// [`ClaimKind::Beaten`] says it already.
fn better(assessment: &Assessment, winner: Option<&str>) -> Vec<Claim> {
    let alpha = assessment.alpha.promotion;
    let rivals = assessment.versions.len().saturating_sub(1);
    if rivals < 2 {
        return Vec::new();
    }
    let (each, fires_at) = (alpha / share(rivals), gates::fires_at(alpha) + share(rivals).ln());
    let is_in = |name: &str| assessment.versions.iter().any(|version| version.name == name && !version.out);
    let open =
        assessment.versions.iter().filter(|version| version.may_be_best || winner == Some(version.name.as_str()));
    open.flat_map(|version| {
        others(assessment, version).into_iter().filter(|(with, _)| is_in(with)).map(move |(with, log_e)| {
            let claim = claim(Some(version.name.clone()), ClaimKind::Better, each, (log_e, fires_at));
            let claim = claim.fired_before(winner == Some(version.name.as_str()));
            Claim { than: Some(with.to_owned()), ..claim }
        })
    })
    .collect()
}

/// Every other version, with the natural log of the e-value that this one's reward is better. A look that was for evidence alone has
/// no metrics; what it carries says the same.
fn others<'a>(assessment: &'a Assessment, version: &'a VersionAssessment) -> Vec<(&'a str, f64)> {
    let reward = [MetricName::RewardRate, MetricName::RewardMean].into_iter().find_map(|name| version.metric(name));
    if let Some(reward) = reward {
        let comparisons = reward.comparisons.iter();
        return comparisons.filter_map(|other| Some((other.with.as_str(), other.log_e_better?))).collect();
    }
    let versions = &assessment.versions;
    let Some(at) = versions.iter().position(|known| known.name == version.name) else { return Vec::new() };
    let better = assessment.carry.as_ref().map_or(&[][..], |carry| carry.better.as_slice());
    let of = better.iter().filter(|pair| pair.version == at);
    of.filter_map(|pair| Some((versions.get(pair.than)?.name.as_str(), pair.log_e))).collect()
}

fn met(version: &VersionAssessment, gate: &Gate, alpha: f64) -> Claim {
    let claim = claim(Some(version.name.clone()), ClaimKind::Met, alpha, (gate.log_e_met, gate.met_at));
    Claim { gate: Some(gate.name.clone()), ..claim.fired_before(gate.verdict == Verdict::Met) }
}

/// `evidence`: ln E, and at which it fires.
fn claim(version: Option<String>, kind: ClaimKind, alpha: f64, (log_e, fires_at): (f64, f64)) -> Claim {
    let (p, fired) = (p_value(log_e), log_e >= fires_at);
    Claim { version, than: None, kind, gate: None, alpha, log_e, fires_at, p, fired }
}

/// Among how many a budget is shared; at least one.
#[expect(clippy::cast_precision_loss, reason = "at most 16 gates and 16 versions")]
fn share(count: usize) -> f64 {
    count.max(1) as f64
}
