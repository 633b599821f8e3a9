//! Reading reference tables, comparing with a stated tolerance, exact binomial bounds, and a small seeded generator.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

/// A CSV table: comment lines, a header, rows without quotes.
pub struct Table {
    lines: Vec<&'static str>,
    columns: usize,
}

#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub text: &'a str,
}

impl Table {
    /// Panics unless the table has these columns and at least `rows` rows: an empty table must not pass for agreement.
    pub fn new(text: &'static str, columns: usize, rows: usize) -> Self {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).skip(1).collect();
        assert!(lines.len() >= rows, "{} rows, at least {rows} expected", lines.len());
        Self { lines, columns }
    }

    pub fn rows(&self) -> impl Iterator<Item = Row<'static>> + '_ {
        self.lines.iter().map(|&text| {
            assert_eq!(text.split(',').count(), self.columns, "{text}");
            Row { text }
        })
    }
}

impl Row<'_> {
    pub fn cell(&self, column: usize) -> &str {
        self.text.split(',').nth(column).expect("column")
    }

    pub fn number(&self, column: usize) -> f64 {
        self.cell(column).parse().unwrap_or_else(|_| panic!("column {column} of {} is no number", self.text))
    }

    /// `1/2 3/4` → \[1, 2\], \[3, 4\].
    pub fn lists(&self, column: usize) -> impl Iterator<Item = Vec<&str>> {
        self.cell(column).split(' ').map(|cell| cell.split('/').collect())
    }
}

pub fn check_relative(what: &str, found: f64, expected: f64, relative: f64, absolute: f64) {
    let allowed = expected.abs() * relative + absolute;
    assert!(
        (found - expected).abs() <= allowed,
        "{what}: found {found:e}, expected {expected:e}, off by {:e}, allowed {allowed:e}",
        found - expected
    );
}

pub fn check_absolute(what: &str, found: f64, expected: f64, absolute: f64) {
    check_relative(what, found, expected, 0.0, absolute);
}

/// SplitMix64 (Steele, Lea & Flood 2014): eight lines, the same numbers everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on \[0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Binomial(n, p), trial by trial.
    pub fn count(&mut self, n: u64, p: f64) -> u64 {
        (0..n).filter(|_| self.happens(p)).count() as u64
    }
}

/// The largest count that Binomial(`runs`, `p`) reaches with probability at least `rarity`: more than this many false
/// claims in `runs` simulations refute "at most `p`", but for one seed in 1/`rarity`.
pub fn most_allowed(runs: u64, p: f64, rarity: f64) -> u64 {
    // P(X = 0), then the recurrence upwards; runs·p is small enough for plain doubles.
    let mut mass = (1.0 - p).powf(runs as f64);
    let mut above = 1.0 - mass;
    let mut k = 0;
    while above >= rarity && k < runs {
        mass *= (runs - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        above -= mass;
        k += 1;
    }
    k
}
