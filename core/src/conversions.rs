//! Which experiments a request may be a conversion of: found by its host and by the cookies that it brings, so that a request costs
//! the same however many experiments wait for conversions.

use crate::earning::Earning;
use crate::host::Host;
use crate::matching::{AUTHORITY, Experiment, Reader, intern};
use crate::plan::{Match, Plan, RewardSource};
use crate::request::BinClock;
use crate::rules::{Rules, without_port};
use crate::token::{TOKEN_LENGTH, Token};
use crate::unit::pairs;
use std::rc::Rc;

/// Most experiments that one request is a conversion of: each costs a few calls of the host. What is beyond, by the plan's order, is
/// lost and counted as such.
pub(crate) const MAX_CONVERSIONS: usize = 16;
/// Most times that a cookie of one request is considered for an experiment: one name may be several experiments'.
const MAX_CHECKED: usize = 64;
/// Most cookies of one name whose token is looked at, where it is one experiment's alone: the first is the browser's own.
pub(crate) const MAX_NAMESAKES: usize = 4;

/// A plan's conversions. Numbers stand for requests or experiments by their place.
#[derive(Debug, Default)]
pub(crate) struct Conversions {
    /// Different requests that are conversions: many experiments may have the same.
    requests: Vec<Converting>,
    /// Of each host in lower case, sorted: the requests that are asked for on it.
    hosts: Vec<(String, Vec<usize>)>,
    /// The requests that others may be too.
    anywhere: Vec<usize>,
    /// In the plan's order, each with its request: those that run.
    experiments: Vec<(Rc<Experiment>, usize)>,
    /// Of each cookie's name, sorted: the experiments whose tokens it keeps.
    cookies: Vec<(String, Vec<usize>)>,
    /// Index of the method.
    method: usize,
    /// Index of the cookies.
    cookie: usize,
}

/// One kind of requests that are conversions.
#[derive(Debug)]
struct Converting {
    rules: Rules,
    method: String,
    /// What of their responses is nobody's business but ours, each once.
    headers: Vec<Rc<str>>,
}

/// What there is to do with a conversion's response.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The tokens that it rewards if its response agrees, one of each experiment, in the plan's order.
    pub(crate) tokens: Vec<(Rc<Experiment>, String)>,
    /// The headers to be removed, each once.
    pub(crate) headers: Vec<Rc<str>>,
}

impl Conversions {
    /// Compiles a plan's; `experiments` are its own, `names` is what [`intern`] adds to.
    pub(crate) fn new(plan: &Plan, experiments: &[Rc<Experiment>], names: &mut Vec<String>) -> Self {
        let mut this = Self::default();
        // Where `requests` is indexed by: to find an equal one without a look at all.
        let mut known: Vec<(&Match, &str)> = Vec::new();
        for (planned, experiment) in plan.experiments.iter().zip(experiments) {
            let (Some(RewardSource::Request(request)), Earning::Request(conversion)) =
                (&planned.reward, &experiment.earning)
            else {
                continue;
            };
            // What an answer earned is nobody's business but ours, also when the experiment is over.
            if !experiment.running && conversion.response_header.is_none() {
                continue;
            }
            let same = (&request.matching, request.method.as_str());
            let like = match request.matching.hosts.first().filter(|_| names_hosts(&request.matching)) {
                Some(host) => this.of_host(host.as_bytes()),
                None => &this.anywhere,
            };
            let at = like.iter().copied().find(|at| known.get(*at) == Some(&same)).unwrap_or_else(|| {
                known.push(same);
                this.add(&request.matching, &request.method, names)
            });
            if let (Some(name), Some(request)) = (&conversion.response_header, this.requests.get_mut(at)) {
                add_name(&mut request.headers, name);
            }
            if experiment.running {
                list_of(&mut this.cookies, &conversion.cookie.name).push(this.experiments.len());
                this.experiments.push((Rc::clone(experiment), at));
            }
        }
        if !this.requests.is_empty() {
            (this.method, this.cookie) = (intern(names, ":method"), intern(names, "cookie"));
        }
        this
    }

    /// Adds a kind of requests.
    fn add(&mut self, matching: &Match, method: &str, names: &mut Vec<String>) -> usize {
        let at = self.requests.len();
        let rules = Rules::new(matching, names);
        self.requests.push(Converting { rules, method: method.to_owned(), headers: Vec::new() });
        if names_hosts(matching) {
            for host in &matching.hosts {
                let list = list_of(&mut self.hosts, &host.to_ascii_lowercase());
                // A host may be there twice.
                if list.last() != Some(&at) {
                    list.push(at);
                }
            }
        } else {
            self.anywhere.push(at);
        }
        at
    }

    /// The requests that are asked for on a host, written in any case.
    fn of_host(&self, host: &[u8]) -> &[usize] {
        if self.hosts.is_empty() { &[] } else { get(&self.hosts, &host.to_ascii_lowercase()) }
    }

    /// Whether no request is one.
    pub(crate) const fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// What a request may be a conversion of, should its response agree.
    pub(crate) fn of<H: Host>(&self, clock: BinClock, reader: &mut Reader<'_, H>) -> Option<Found> {
        let here = reader.get(AUTHORITY).map_or(&[][..], |host| self.of_host(without_port(host)));
        let mut matched: Vec<usize> = Vec::new();
        let mut found = Found::default();
        for at in here.iter().chain(&self.anywhere) {
            if let Some(request) = self.requests.get(*at).filter(|request| request.matches(self.method, reader)) {
                matched.push(*at);
                request.headers.iter().for_each(|name| add_name(&mut found.headers, name));
            }
        }
        if !matched.is_empty() && !self.experiments.is_empty() {
            let now_ms = clock.at(reader.host().now_nanos());
            if let Some(cookies) = reader.get(self.cookie) {
                found.tokens = self.tokens(&matched, now_ms, cookies);
            }
        }
        (!found.tokens.is_empty() || !found.headers.is_empty()).then_some(found)
    }

    /// The tokens in a request's cookies of experiments that it may be a conversion of, and for which a reward can still come: the
    /// first of each experiment.
    fn tokens(&self, matched: &[usize], now_ms: u64, cookies: &[u8]) -> Vec<(Rc<Experiment>, String)> {
        let mut tokens: Vec<(usize, Rc<Experiment>, String)> = Vec::new();
        let mut left = MAX_CHECKED;
        'cookies: for (name, text) in pairs(cookies).filter(|(_, text)| text.len() == TOKEN_LENGTH) {
            for at in get(&self.cookies, name) {
                let Some(fewer) = left.checked_sub(1) else { break 'cookies };
                left = fewer;
                let Some((experiment, request)) = self.experiments.get(*at) else { continue };
                let Earning::Request(conversion) = &experiment.earning else { continue };
                let Err(place) = tokens.binary_search_by_key(at, |(known, ..)| *known) else { continue };
                if !matched.contains(request) {
                    continue;
                }
                let since = experiment.oldest_rewarded(now_ms);
                if Token::read(text, &conversion.secret).is_some_and(|token| token.bin >= since) {
                    let text = String::from_utf8_lossy(text).into_owned();
                    tokens.insert(place, (*at, Rc::clone(experiment), text));
                }
            }
        }
        tokens.into_iter().map(|(_, experiment, text)| (experiment, text)).collect()
    }
}

impl Converting {
    fn matches<H: Host>(&self, method: usize, reader: &mut Reader<'_, H>) -> bool {
        // Copies of mirrored requests are none.
        self.rules.match_request(reader) && reader.get(method).is_some_and(|value| value == self.method.as_bytes())
    }
}

/// Whether requests are meant to a few hosts alone, with no pattern among them.
fn names_hosts(matching: &Match) -> bool {
    !matching.hosts.is_empty() && !matching.hosts.iter().any(|host| host.starts_with('*'))
}

fn add_name(names: &mut Vec<Rc<str>>, name: &Rc<str>) {
    if !names.contains(name) {
        names.push(Rc::clone(name));
    }
}

/// The list of a key in a sorted list of lists; nothing where it has none.
fn get<'a>(lists: &'a [(String, Vec<usize>)], key: &[u8]) -> &'a [usize] {
    let place = lists.binary_search_by(|(known, _)| known.as_bytes().cmp(key));
    place.ok().and_then(|at| lists.get(at)).map_or(&[], |(_, list)| list)
}

/// The same, made if there is none.
fn list_of<'a>(lists: &'a mut Vec<(String, Vec<usize>)>, key: &str) -> &'a mut Vec<usize> {
    let place = lists.binary_search_by(|(known, _)| known.as_str().cmp(key));
    let at = place.unwrap_or_else(|at| {
        lists.insert(at, (key.to_owned(), Vec::new()));
        at
    });
    // Found or just inserted.
    #[expect(clippy::indexing_slicing)]
    &mut lists[at].1
}
