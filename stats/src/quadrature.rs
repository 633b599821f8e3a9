//! Gauss–Legendre panels of 16 nodes: integrals, and running integrals inside a panel. Knows no densities.

/// Nodes per panel.
pub(crate) const NODES: usize = 16;

/// Positive nodes on \[−1, 1\] with their weights, to 20 digits (mpmath 1.4.1, roots of `legendre(16, x)` at 40 digits).
const HALF: [(f64, f64); NODES / 2] = [
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_6),
    (0.458_016_777_657_227_4, 0.169_156_519_395_002_54),
    (0.617_876_244_402_643_7, 0.149_595_988_816_576_73),
    (0.755_404_408_355_003, 0.124_628_971_255_533_87),
    (0.865_631_202_387_831_7, 0.095_158_511_682_492_78),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_89),
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_095),
];

/// (node, weight) on \[−1, 1\], ascending.
pub(crate) fn nodes() -> [(f64, f64); NODES] {
    let mut all = [(0.0, 0.0); NODES];
    let ascending = HALF.iter().rev().map(|&(x, w)| (-x, w)).chain(HALF);
    for (slot, node) in all.iter_mut().zip(ascending) {
        *slot = node;
    }
    all
}

/// ∫ f over \[from, to\]; exact for polynomials up to degree 31.
pub(crate) fn integrate(from: f64, to: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
    half * nodes().iter().map(|&(x, w)| w * f(middle + half * x)).sum::<f64>()
}

/// Row i holds the weights of ∫ from −1 to node i, for values at all nodes; exact for polynomials up to degree 15.
///
/// An integrand's values at the nodes give its Legendre coefficients cₙ = (2n+1)/2·Σ wⱼPₙ(xⱼ)fⱼ, and
/// ∫₋₁ˣ Pₙ = (Pₙ₊₁(x) − Pₙ₋₁(x))/(2n+1).
pub(crate) fn running_weights() -> &'static [[f64; NODES]; NODES] {
    // Computed by the compiler: some thousand divisions that every integral would otherwise pay for.
    static ROWS: [[f64; NODES]; NODES] = running_rows();
    &ROWS
}

#[expect(clippy::indexing_slicing, reason = "iterators are not const; an index out of bounds would not compile")]
const fn running_rows() -> [[f64; NODES]; NODES] {
    let mut nodes = [(0.0, 0.0); NODES];
    let mut i = 0;
    while i < NODES / 2 {
        nodes[NODES / 2 - 1 - i] = (-HALF[i].0, HALF[i].1);
        nodes[NODES / 2 + i] = HALF[i];
        i += 1;
    }
    let mut rows = [[0.0; NODES]; NODES];
    let mut row = 0;
    while row < NODES {
        let upper = nodes[row].0;
        let mut cell = 0;
        while cell < NODES {
            let (x, weight) = nodes[cell];
            let (mut at_x, mut at_upper) = (Legendre::new(x), Legendre::new(upper));
            let mut sum = 1.0 + upper;
            let mut degree = 1;
            while degree < NODES {
                at_x.advance();
                at_upper.advance();
                sum += at_x.value * (at_upper.next() - at_upper.previous);
                degree += 1;
            }
            rows[row][cell] = 0.5 * weight * sum;
            cell += 1;
        }
        row += 1;
    }
    rows
}

/// Legendre polynomials at one point, by their three-term recurrence.
struct Legendre {
    x: f64,
    degree: f64,
    previous: f64,
    value: f64,
}

impl Legendre {
    const fn new(x: f64) -> Self {
        Self { x, degree: 0.0, previous: 0.0, value: 1.0 }
    }

    const fn next(&self) -> f64 {
        ((2.0 * self.degree + 1.0) * self.x * self.value - self.degree * self.previous) / (self.degree + 1.0)
    }

    const fn advance(&mut self) {
        let next = self.next();
        self.previous = self.value;
        self.value = next;
        self.degree += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_up_to_degree_31_are_integrated_exactly() {
        for degree in 0..=31 {
            let exact = (1.0 - (-1.0_f64).powi(degree + 1)) / f64::from(degree + 1);
            let found = integrate(-1.0, 1.0, |x| x.powi(degree));
            assert!((found - exact).abs() < 1e-15, "degree {degree}: {found} for {exact}");
        }
    }

    #[test]
    fn running_integrals_are_exact_up_to_degree_15() {
        let (nodes, rows) = (nodes(), running_weights());
        for degree in 0..=15 {
            for (row, (upper, _)) in rows.iter().zip(nodes) {
                let found: f64 = row.iter().zip(nodes).map(|(w, (x, _))| w * x.powi(degree)).sum();
                let exact = (upper.powi(degree + 1) - (-1.0_f64).powi(degree + 1)) / f64::from(degree + 1);
                assert!((found - exact).abs() < 3e-15, "degree {degree} to {upper}: {found} for {exact}");
            }
        }
    }
}
