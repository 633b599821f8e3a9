//! Where rewards come from: the plan's part of it, and what a worker claims for exposures that are not its own.

use crate::cookie::GeneratedCookie;
use crate::plan::{Check, InvalidPlan, MAX_LIST, Match, PARTS, Unit};
use crate::token::Secret;
use serde::{Deserialize, Serialize};

/// Largest size of a reward; a greater one is a mistake and no reward. Sums of so many squares stay far from infinity, so no
/// answer of a version can make a report that the controller refuses.
pub const LARGEST_REWARD: f64 = 1e15;
/// Most claims in one report.
pub const MAX_CLAIMS: usize = 1_024;
/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 128;
/// Longest method.
const MAX_METHOD: usize = 32;

/// Where a reward comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum RewardSource {
    /// Numbers in a response header; absent or not numbers: no reward. Lower case.
    ResponseHeader(String),
    /// Whoever learns of it reports it to the controller, with the assignment token of the exposure that earned it: the version
    /// is told that in this request header. Lower case. Removed from what clients send.
    Api(String),
    /// A later request of the same unit: a conversion. Only for sticky units.
    Request(RequestReward),
}

/// Which request is a conversion. The token of the exposure that it rewards is kept by the client in a cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestReward {
    /// As an experiment's, without a share.
    #[serde(rename = "match")]
    pub matching: Match,
    /// Its method, in capitals.
    pub method: String,
    /// Status codes of its response, as inclusive ranges.
    #[serde(default = "success")]
    pub codes: Vec<(u32, u32)>,
    /// The response header that says how large the reward is, removed before the client sees it; none: 1. Lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header: Option<String>,
    /// The cookie that keeps the token; it lives as long as a reward can come.
    pub cookie: GeneratedCookie,
}

fn success() -> Vec<(u32, u32)> {
    vec![(200, 299)]
}

/// A reward of an exposure that some worker recorded, perhaps another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The plan's `id` of the experiment.
    pub experiment: String,
    /// The exposure's token.
    pub assignment: String,
    /// Not zero; finite.
    pub reward: f64,
}

impl RewardSource {
    /// Whether rewards come with a token, so that the experiment needs a secret.
    #[must_use]
    pub const fn needs_token(&self) -> bool {
        matches!(self, Self::Api(_) | Self::Request(_))
    }

    /// Checks every limit of this module.
    pub(crate) fn validate(&self, check: &Check, unit: &Unit, secret: Option<&str>) -> Result<(), InvalidPlan> {
        check.that(!self.needs_token() || secret.is_some(), "secret", || {
            "is missing: a reward that comes with a token needs one".to_owned()
        })?;
        match self {
            Self::ResponseHeader(name) => check.header_name(name, "reward.responseHeader"),
            Self::Api(name) => check.header_name(name, "reward.api"),
            Self::Request(request) => {
                check.that(*unit != Unit::Request, "unit", || {
                    "a later request of the same unit asks for units that come back: a header or a cookie".to_owned()
                })?;
                request.validate(&check.at("reward.request"))
            }
        }
    }
}

impl RequestReward {
    fn validate(&self, check: &Check) -> Result<(), InvalidPlan> {
        self.matching.validate(&check.at("match"))?;
        check.that(self.matching.share_ppm == PARTS, "match.sharePpm", || "has no meaning here".to_owned())?;
        let is_method = |byte: u8| byte.is_ascii_uppercase() || b"-_".contains(&byte);
        let method = !self.method.is_empty() && self.method.len() <= MAX_METHOD && self.method.bytes().all(is_method);
        check.that(method, "method", || "must be a method in capitals, as `POST`".to_owned())?;
        check.count(self.codes.len(), 1, MAX_LIST, "codes")?;
        check.codes(&self.codes, "codes")?;
        if let Some(name) = &self.response_header {
            check.header_name(name, "responseHeader")?;
        }
        check.cookie(&self.cookie, "cookie")
    }
}

/// Reads the secret of an experiment.
#[must_use]
pub fn secret(text: Option<&str>) -> Option<Secret> {
    text.and_then(Secret::from_hex)
}
