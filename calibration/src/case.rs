//! One case: a question about a promise, and a run that answers it once.

/// What a case asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// How often is a version rolled back that keeps its limits?
    FalseRollBack,
    /// How often is something claimed in a version's favour that is not so?
    FalsePromotion,
    /// How often are exposures said not to follow the weights, although they do; how often does the breaker pause a version that
    /// keeps its limits?
    FalseAlarm,
    /// How many requests until what is so is seen?
    Power,
}

/// What one run showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The claim was made, so many requests (of all versions) after it could first be made.
    Claimed(u64),
    /// It was never made.
    Never,
}

/// One run of a case, by its seed.
pub type Run = Box<dyn Fn(u64) -> Outcome + Send + Sync>;

/// A case of the catalogue.
pub struct Case {
    /// Stable, lower-case words with dashes; also salts its seeds.
    pub id: &'static str,
    /// What is asked.
    pub question: Question,
    /// The method card, as in `docs/how-weir-decides.md`.
    pub card: &'static str,
    /// The setting, in words.
    pub setting: String,
    /// The promised bound on the probability of a false claim; for [`Question::Power`] the median that is asked for, if any.
    pub promise: Option<f64>,
    /// For [`Question::Power`]: up to how many requests is waited for it.
    pub horizon: Option<u64>,
    /// Runs in the short version, which tests assert.
    pub short_runs: u64,
    /// One run.
    pub run: Run,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("id", &self.id).finish_non_exhaustive()
    }
}
