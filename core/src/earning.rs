//! How an experiment's exposures are rewarded, compiled for the request path.

use crate::conversions::MAX_NAMESAKES;
use crate::cookie::GeneratedCookie;
use crate::host::Host;
use crate::matching::{Reader, intern};
use crate::plan::PlannedExperiment;
use crate::reward::{RequestReward, RewardSource, secret};
use crate::token::{Secret, Token};
use crate::unit;
use std::rc::Rc;

/// How an experiment's exposures are rewarded.
#[derive(Debug)]
pub enum Earning {
    /// Not at all.
    Nothing,
    /// By this response header.
    Response(String),
    /// By whoever sends this request header's token to the controller.
    Api(String, Secret),
    /// By a later request.
    Request(Box<Conversion>),
}

/// What a conversion is worth, and where its token is. Which request is one, `conversions` knows.
#[derive(Debug)]
pub struct Conversion {
    /// Keeps the token.
    pub cookie: GeneratedCookie,
    /// Says how large the reward is; none: 1.
    pub response_header: Option<Rc<str>>,
    /// Makes the tokens.
    pub secret: Secret,
    codes: Vec<(u32, u32)>,
    /// Index of the header looked at.
    cookie_header: usize,
}

impl Earning {
    /// Compiles an experiment's; `names` is what [`intern`] adds to.
    pub(crate) fn new(planned: &PlannedExperiment, names: &mut Vec<String>) -> Self {
        match (&planned.reward, secret(planned.secret.as_deref())) {
            (Some(RewardSource::ResponseHeader(name)), _) => Self::Response(name.clone()),
            (Some(RewardSource::Api(header)), Some(secret)) => Self::Api(header.clone(), secret),
            (Some(RewardSource::Request(request)), Some(secret)) => {
                Self::Request(Box::new(Conversion::new(request, secret, names)))
            }
            _ => Self::Nothing,
        }
    }
}

impl Conversion {
    fn new(request: &RequestReward, secret: Secret, names: &mut Vec<String>) -> Self {
        Self {
            cookie: request.cookie.clone(),
            response_header: request.response_header.as_deref().map(Rc::from),
            secret,
            codes: request.codes.clone(),
            cookie_header: intern(names, "cookie"),
        }
    }

    /// Whether a response's status makes its request one.
    pub(crate) fn agrees(&self, status: Option<u32>) -> bool {
        status.is_some_and(|status| self.codes.iter().any(|(from, to)| (*from..=*to).contains(&status)))
    }

    /// The token that a request carries, if it is one of ours for which a reward can still come: of an exposure in a bin that
    /// begins at `since` or later.
    pub(crate) fn token<H: Host>(&self, since: u64, reader: &mut Reader<'_, H>) -> Option<Token> {
        let header = reader.get(self.cookie_header)?;
        let mut texts = unit::cookies(header, &self.cookie.name).take(MAX_NAMESAKES);
        texts.find_map(|text| Token::read(text, &self.secret).filter(|token| token.bin >= since))
    }
}
