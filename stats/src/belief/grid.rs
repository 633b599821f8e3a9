//! Panels on which several posteriors are integrated together: on the log-odds scale for rates, on the axis of the values
//! themselves for means. Knows what a density is, and nothing of what is asked about it.

use super::Posterior;
use crate::beta::{Beta, Curve, Side};
use crate::quadrature::{NODES, nodes, running_weights};
use crate::student::{Standard, Student};
use libm::exp;

/// Edges of a Student density's panels on either side, in scales: within each the logarithm of the density moves by a few units
/// at most, for every ν. A panel that begins beyond [`farthest`] is left out.
const REACHES: [f64; 31] = [
    0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.5, 9.0, 12.0, 16.0, 22.0, 32.0, 50.0, 80.0, 130.0, 220.0, 400.0, 800.0,
    1.8e3, 4.5e3, 1.2e4, 4e4, 1.6e5, 8e5, 5e6, 5e7, 1e9,
];

/// One curve at one node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AtNode {
    pub(super) density: f64,
    /// P(X ≤ here).
    pub(super) below: f64,
}

/// One node of the shared grid.
pub(super) struct Node<'a> {
    pub(super) weight: f64,
    /// dx/dt at the node, x being the value and t the axis.
    pub(super) value_slope: f64,
    pub(super) curves: &'a [AtNode],
}

/// A density over its own coordinate, with the edges of its panels, ascending: log odds for a rate, distance from the location
/// in scales for a mean.
pub(super) struct Placed {
    kind: Kind,
    pub(super) edges: Vec<f64>,
}

enum Kind {
    Rate(Curve),
    Mean(Standard),
}

impl Placed {
    pub(super) fn rate(beta: Beta) -> Self {
        let curve = Curve::new(beta);
        let mut edges = vec![curve.mode];
        for side in [Side::Below, Side::Above] {
            edges.extend(curve.edges(0.0, side).map(|u| curve.mode + u));
        }
        edges.sort_by(f64::total_cmp);
        Self { kind: Kind::Rate(curve), edges }
    }

    /// The standard density; the caller knows location and scale.
    pub(super) fn mean(degrees: f64) -> Self {
        let standard = Standard::new(degrees);
        let reaches = || REACHES.iter().take_while(|z| **z <= farthest(&standard)).copied();
        let mut edges: Vec<f64> = reaches().map(|z| -z).collect();
        edges.reverse();
        edges.push(0.0);
        edges.extend(reaches());
        Self { kind: Kind::Mean(standard), edges }
    }

    pub(super) fn density(&self, t: f64) -> f64 {
        match &self.kind {
            Kind::Rate(curve) => exp(curve.log_density(t - curve.mode)),
            Kind::Mean(standard) => exp(standard.log_density(t)),
        }
    }

    /// Whether a panel touches the curve's support; beyond it a rate's density is below e⁻⁴⁰ of its peak, and a mean's tail
    /// holds less than 10⁻⁹.
    fn touches(&self, from: f64, to: f64) -> bool {
        self.edges.first().is_some_and(|low| to > *low) && self.edges.last().is_some_and(|high| from < *high)
    }
}

/// A bound from above for where a tail's probability falls below 10⁻⁹·¹: at most |z|·f(z).
fn farthest(standard: &Standard) -> f64 {
    let enough = |z: f64| standard.log_density(z) + libm::log(z) < -21.0;
    REACHES.into_iter().find(|z| enough(*z)).unwrap_or(f64::INFINITY)
}

/// A curve's own coordinate as a function of the shared axis: (t − location)/scale.
#[derive(Clone, Copy)]
struct Place {
    location: f64,
    scale: f64,
}

/// Panels on a shared axis, fine enough for every curve wherever it matters.
pub(super) struct Grid {
    curves: Vec<(Placed, Place)>,
    edges: Vec<f64>,
    means: bool,
}

impl Grid {
    /// A grid for posteriors of one kind; the first is where the axis of means begins.
    pub(super) fn new(posteriors: &[Posterior]) -> Self {
        let means = posteriors.iter().any(|posterior| matches!(posterior, Posterior::Mean(_)));
        let curves: Vec<(Placed, Place)> = if means { students(posteriors) } else { rates(posteriors) };
        let mut edges: Vec<f64> = curves
            .iter()
            .flat_map(|(placed, place)| placed.edges.iter().map(|edge| place.location + place.scale * edge))
            .collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        Self { curves, edges, means }
    }

    /// The ends of the axis, in the values' unit, as distances of each curve's coordinate.
    pub(super) fn ends(&self) -> Option<(f64, f64)> {
        self.edges.first().copied().zip(self.edges.last().copied())
    }

    /// Visits all nodes in ascending order.
    pub(super) fn for_each_node(&self, mut visit: impl FnMut(&Node<'_>)) {
        let (nodes, running) = (nodes(), running_weights());
        let mut below = vec![0.0; self.curves.len()];
        // Node by node, all curves.
        let mut table = vec![vec![AtNode::default(); self.curves.len()]; NODES];
        for (from, to) in self.edges.iter().zip(self.edges.iter().skip(1)) {
            let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
            for (index, ((placed, place), below)) in self.curves.iter().zip(&mut below).enumerate() {
                let mut densities = [0.0; NODES];
                let own = |t: f64| (t - place.location) / place.scale;
                let inside = placed.touches(own(*from), own(*to));
                if inside {
                    for (density, (x, _)) in densities.iter_mut().zip(nodes) {
                        *density = placed.density(own(middle + half * x)) / place.scale;
                    }
                }
                for ((row, density), weights) in table.iter_mut().zip(densities).zip(&running) {
                    let part: f64 = if inside { weights.iter().zip(densities).map(|(w, f)| w * f).sum() } else { 0.0 };
                    if let Some(at) = row.get_mut(index) {
                        *at = AtNode { density, below: (*below + half * part).clamp(0.0, 1.0) };
                    }
                }
                let part: f64 = nodes.iter().zip(densities).map(|((_, w), f)| w * f).sum();
                *below = (*below + half * part).min(1.0);
            }
            for (row, (x, w)) in table.iter().zip(nodes) {
                let value = 1.0 / (1.0 + exp(-(middle + half * x)));
                let value_slope = if self.means { 1.0 } else { value * (1.0 - value) };
                visit(&Node { weight: half * w, value_slope, curves: row });
            }
        }
    }
}

fn rates(posteriors: &[Posterior]) -> Vec<(Placed, Place)> {
    let own = Place { location: 0.0, scale: 1.0 };
    posteriors
        .iter()
        .map(|posterior| match posterior {
            Posterior::Rate(beta) => (Placed::rate(*beta), own),
            Posterior::Mean(student) => (Placed::mean(student.degrees), own),
        })
        .collect()
}

fn students(posteriors: &[Posterior]) -> Vec<(Placed, Place)> {
    let students: Vec<Student> = posteriors.iter().map(Posterior::as_student).collect();
    // The axis begins at one of them, so that a common offset costs no digits.
    let origin = students.first().map_or(0.0, |first| first.location);
    let farthest = students.iter().map(|s| (s.location - origin).abs()).fold(0.0, f64::max);
    students
        .iter()
        .map(|s| {
            // Where two lie 10¹⁰ scales apart the axis could not resolve them: a little wider says the same.
            let place = Place { location: s.location - origin, scale: s.scale.max(1e-10 * farthest) };
            (Placed::mean(s.degrees), place)
        })
        .collect()
}
