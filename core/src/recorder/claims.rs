//! Claims that wait for a report, each token once.

use super::room::Room;
use crate::reward::{Claim, MAX_CLAIMS};
use std::rc::Rc;

/// Most claims in memory: at four reports of them nobody is answering.
const CLAIMS: usize = 4 * MAX_CLAIMS;

/// Claims that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Claims {
    waiting: Vec<Claim>,
    /// Places in `waiting`, sorted by token: to find one by some twelve comparisons.
    by_token: Vec<usize>,
    lost: u64,
}

impl Claims {
    /// Adds a claim, unless its token has one. Where there is no room it is lost, and counted as such.
    pub(super) fn add(&mut self, experiment: &Rc<str>, assignment: String, reward: f64) {
        let token_at = |at: &usize| self.waiting.get(*at).map_or("", |claim| claim.assignment.as_str());
        // Who repeats it before it is reported takes no room from others. Later the controller sees that it is the same.
        let Err(place) = self.by_token.binary_search_by(|at| token_at(at).cmp(&assignment)) else { return };
        if self.waiting.len() >= CLAIMS {
            self.lose();
            return;
        }
        self.by_token.insert(place, self.waiting.len());
        self.waiting.push(Claim { experiment: experiment.to_string(), assignment, reward });
    }

    /// Counts one that is lost.
    pub(super) fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// Takes what fits into a report, and how many were lost.
    pub(super) fn take(&mut self, room: &mut Room) -> (Vec<Claim>, u64) {
        let fit = self.waiting.iter().take(MAX_CLAIMS).take_while(|claim| room.take_claim(claim)).count();
        self.by_token.retain_mut(|at| at.checked_sub(fit).map(|left| *at = left).is_some());
        (self.waiting.drain(..fit).collect(), std::mem::take(&mut self.lost))
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
