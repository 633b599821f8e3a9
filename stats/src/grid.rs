//! Densities on panels: where each posterior lives, and integrals over several at once. Knows no versions and no rewards.

use crate::beta::{Beta, Curve, PANELS, Side};
use crate::quadrature::{NODES, nodes, running_weights};
use crate::student::{Standard, Student};
use libm::{asinh, cosh, exp, expm1, log, sinh, sqrt};
use serde::{Deserialize, Serialize};

/// What is believed of a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Posterior {
    /// Of a rate, within 0 to 1.
    Rate(Beta),
    /// Of a mean of anything.
    Mean(Student),
}

impl From<Beta> for Posterior {
    fn from(beta: Beta) -> Self {
        Self::Rate(beta)
    }
}

impl From<Student> for Posterior {
    fn from(student: Student) -> Self {
        Self::Mean(student)
    }
}

impl Posterior {
    /// Its mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Rate(beta) => beta.mean(),
            Self::Mean(student) => student.location,
        }
    }

    /// The central interval that holds `mass`, as [`Beta::interval`] and [`Student::interval`].
    #[must_use]
    pub fn interval(&self, mass: f64) -> (f64, f64) {
        match self {
            Self::Rate(beta) => beta.interval(mass),
            Self::Mean(student) => student.interval(mass),
        }
    }

    /// Mirrored, so that the smallest is the largest.
    pub(crate) fn mirrored(&self) -> Self {
        match self {
            Self::Rate(beta) => Self::Rate(beta.complement()),
            Self::Mean(student) => Self::Mean(student.negated()),
        }
    }

    /// Something by which to order posteriors, whatever their order was.
    pub(crate) fn order(&self, other: &Self) -> core::cmp::Ordering {
        let key = |posterior: &Self| match posterior {
            Self::Rate(beta) => (beta.alpha, beta.beta, 0.0),
            Self::Mean(student) => (student.location, student.scale, student.degrees),
        };
        let (x, y) = (key(self), key(other));
        x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)).then(x.2.total_cmp(&y.2))
    }

    /// The same kind for all: a rate among means becomes a mean of its own mean and variance. No caller mixes them.
    pub(crate) fn alike(posteriors: &[Self]) -> Vec<Self> {
        let means = posteriors.iter().any(|posterior| matches!(posterior, Self::Mean(_)));
        let as_mean = |posterior: &Self| match posterior {
            Self::Rate(beta) if means => {
                let (total, mean) = (beta.alpha + beta.beta, beta.mean());
                let scale = libm::sqrt(mean * (1.0 - mean) / (total + 1.0));
                Student::new(mean, scale.max(1e-150), 1e6).map_or(*posterior, Self::Mean)
            }
            _ => *posterior,
        };
        posteriors.iter().map(as_mean).collect()
    }
}

/// One curve at one node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AtNode {
    pub(crate) density: f64,
    /// P(X ≤ here).
    pub(crate) below: f64,
}

/// One node of the shared grid.
pub(crate) struct Node<'a> {
    pub(crate) weight: f64,
    /// dx/dt at the node: x(1 − x) on the scale of log odds.
    pub(crate) value_slope: f64,
    pub(crate) curves: &'a [AtNode],
}

/// A density on its own scale: log odds for a rate, the value itself for a mean.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Rate(Curve),
    Mean(Student, Standard),
}

/// A density with its panels' edges, ascending.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    shape: Shape,
    pub(crate) edges: Vec<f64>,
}

impl Placed {
    pub(crate) fn new(posterior: Posterior) -> Self {
        let (shape, mut edges) = match posterior {
            Posterior::Rate(beta) => {
                let curve = Curve::new(beta);
                let mut edges = vec![curve.mode];
                for side in [Side::Below, Side::Above] {
                    edges.extend(curve.edges(0.0, side).map(|u| curve.mode + u));
                }
                (Shape::Rate(curve), edges)
            }
            Posterior::Mean(student) => {
                let student = student.sane();
                let mut edges = vec![student.location];
                for k in 1..=PANELS {
                    // Where the logarithm of the density has fallen by ½k².
                    let fall = (k * k) as f64 / (student.degrees + 1.0);
                    let u = student.scale * sqrt(student.degrees * expm1(fall));
                    edges.extend([student.location - u, student.location + u]);
                }
                (Shape::Mean(student, Standard::new(student.degrees)), edges)
            }
        };
        edges.sort_by(f64::total_cmp);
        Self { shape, edges }
    }

    /// Per unit of its scale.
    pub(crate) fn density(&self, t: f64) -> f64 {
        match &self.shape {
            Shape::Rate(curve) => exp(curve.log_density(t - curve.mode)),
            Shape::Mean(student, standard) => {
                exp(standard.log_density((t - student.location) / student.scale)) / student.scale
            }
        }
    }

    /// Where on the scale a value lies; infinite outside what it may be.
    pub(crate) fn at_value(&self, value: f64) -> f64 {
        match &self.shape {
            Shape::Rate(_) if value <= 0.0 => f64::NEG_INFINITY,
            Shape::Rate(_) if value >= 1.0 => f64::INFINITY,
            Shape::Rate(_) => log(value / (1.0 - value)),
            Shape::Mean(..) => value,
        }
    }

    /// The value at a place on the scale, and its slope there.
    pub(crate) fn value(&self, t: f64) -> (f64, f64) {
        match &self.shape {
            Shape::Rate(_) => {
                let value = 1.0 / (1.0 + exp(-t));
                (value, value * (1.0 - value))
            }
            Shape::Mean(..) => (t, 1.0),
        }
    }

    /// The slope of the value where it is this one.
    pub(crate) fn slope_at_value(&self, value: f64) -> f64 {
        match &self.shape {
            Shape::Rate(_) => value * (1.0 - value),
            Shape::Mean(..) => 1.0,
        }
    }

    /// Standard deviation of the normal density with the same curvature at the mode, on the density's own scale.
    pub(crate) fn deviation(&self) -> f64 {
        match &self.shape {
            Shape::Rate(curve) => curve.deviation(),
            Shape::Mean(student, _) => student.scale,
        }
    }

    /// Where on a scale that has no long tails a place lies: for a mean κ·asinh(z/κ), z being its distance in scales, κ = √ν.
    pub(crate) fn straightened(&self, t: f64) -> f64 {
        match &self.shape {
            Shape::Rate(_) => t,
            Shape::Mean(student, _) => {
                let kappa = sqrt(student.degrees);
                kappa * asinh((t - student.location) / (student.scale * kappa))
            }
        }
    }

    /// The place that is straightened to `s`, and its slope there.
    pub(crate) fn bent(&self, s: f64) -> (f64, f64) {
        match &self.shape {
            Shape::Rate(_) => (s, 1.0),
            Shape::Mean(student, _) => {
                let kappa = sqrt(student.degrees);
                let z = s / kappa;
                (student.location + student.scale * kappa * sinh(z), student.scale * cosh(z))
            }
        }
    }

    /// How much longer than at the mode a step between two places may be: a power's tail is wide.
    pub(crate) fn stretch(&self, from: f64, to: f64) -> f64 {
        match &self.shape {
            Shape::Rate(_) => 1.0,
            Shape::Mean(student, _) => {
                let distance = if (from < student.location) == (to < student.location) {
                    (from - student.location).abs().min((to - student.location).abs()) / student.scale
                } else {
                    0.0
                };
                sqrt(1.0 + distance * distance / student.degrees)
            }
        }
    }

    /// Whether a panel touches the curve's support; beyond it the density is below e⁻⁴⁰ of its peak.
    fn touches(&self, from: f64, to: f64) -> bool {
        self.edges.first().is_some_and(|low| to > *low) && self.edges.last().is_some_and(|high| from < *high)
    }
}

/// Panels on one scale, fine enough for every curve wherever it matters.
pub(crate) struct Grid {
    curves: Vec<Placed>,
    edges: Vec<f64>,
}

impl Grid {
    pub(crate) fn new(posteriors: &[Posterior]) -> Self {
        let curves: Vec<Placed> = Posterior::alike(posteriors).into_iter().map(Placed::new).collect();
        let mut edges: Vec<f64> = curves.iter().flat_map(|placed| placed.edges.iter().copied()).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let edges = thinned(&edges, &curves.iter().map(|placed| placed.edges.as_slice()).collect::<Vec<_>>());
        Self { curves, edges }
    }

    /// Visits all nodes in ascending order.
    pub(crate) fn for_each_node(&self, mut visit: impl FnMut(&Node<'_>)) {
        let (nodes, running) = (nodes(), running_weights());
        let mut below = vec![0.0; self.curves.len()];
        // Node by node, all curves.
        let mut table = vec![vec![AtNode::default(); self.curves.len()]; NODES];
        for (from, to) in self.edges.iter().zip(self.edges.iter().skip(1)) {
            let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
            for (index, (placed, below)) in self.curves.iter().zip(&mut below).enumerate() {
                let mut densities = [0.0; NODES];
                let inside = placed.touches(*from, *to);
                if inside {
                    for (density, (x, _)) in densities.iter_mut().zip(nodes) {
                        *density = placed.density(middle + half * x);
                    }
                }
                for ((row, density), weights) in table.iter_mut().zip(densities).zip(running) {
                    let part: f64 = if inside { weights.iter().zip(densities).map(|(w, f)| w * f).sum() } else { 0.0 };
                    if let Some(at) = row.get_mut(index) {
                        *at = AtNode { density, below: (*below + half * part).clamp(0.0, 1.0) };
                    }
                }
                let part: f64 = nodes.iter().zip(densities).map(|((_, w), f)| w * f).sum();
                *below = (*below + half * part).min(1.0);
            }
            for (row, (x, w)) in table.iter().zip(nodes) {
                let value_slope = self.curves.first().map_or(0.0, |placed| placed.value(middle + half * x).1);
                visit(&Node { weight: half * w, value_slope, curves: row });
            }
        }
    }
}

/// Leaves out edges nearer to the one before than half of the narrowest panel that any of the given ones has there: many curves in
/// one place need no more panels than one. All ascending.
pub(crate) fn thinned(edges: &[f64], panels: &[&[f64]]) -> Vec<f64> {
    let width = |at: f64| {
        let widths = panels.iter().filter_map(|own| {
            let after = own.partition_point(|edge| *edge <= at);
            Some(own.get(after)? - own.get(after.checked_sub(1)?)?)
        });
        widths.fold(f64::INFINITY, f64::min)
    };
    let mut kept: Vec<f64> = Vec::with_capacity(edges.len());
    for (at, edge) in edges.iter().enumerate() {
        // Where no curve lives there is no width, and every edge is one of a curve's ends.
        let near = kept.last().is_some_and(|last| {
            let finest = width(*last).min(width(0.5 * (last + edge))).min(width(*edge));
            finest.is_finite() && edge - last < 0.5 * finest
        });
        if !near || at + 1 == edges.len() {
            kept.push(*edge);
        }
    }
    kept
}
