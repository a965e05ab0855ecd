//! Removes redundant tokens: those whose order the other tokens imply.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::order::{Clock, Order, covers};
use super::tokens::Token;
use super::{CheckError, verify};
use crate::program::Program;

/// Removes tokens, in program order of their receivers, until every remaining one is necessary: the
/// program would have a race without it. Returns the removed tokens.
///
/// Whether a token is necessary is decided by propagating what later instructions no longer know
/// without it, until nothing changes; most tokens are necessary for the very instruction that takes
/// them. Takes time proportional to tokens times instructions in the worst case.
///
/// # Errors
/// The verifier rejects the program.
pub fn remove_redundant_tokens(program: &mut Program) -> Result<Vec<Token>, CheckError> {
    let (order, needed) = verify(program)?;
    let removed = Redundancy::new(order, needed).find();
    removed.iter().for_each(|token| token.remove(&mut program.code));
    Ok(removed)
}

struct Redundancy {
    order: Order,
    /// Per instruction, what must have completed before it starts.
    needed: Vec<Clock>,
    successors: Vec<Vec<usize>>,
    removed: BTreeSet<Token>,
}

impl Redundancy {
    fn new(order: Order, needed: Vec<Clock>) -> Redundancy {
        Redundancy { successors: order.successors(), order, needed, removed: BTreeSet::new() }
    }

    fn find(mut self) -> Vec<Token> {
        for token in self.order.tokens().to_vec() {
            self.removed.insert(token);
            if !self.suffices_from(token.receiver) {
                self.removed.remove(&token);
            }
        }
        self.removed.into_iter().collect()
    }

    /// Whether every instruction from this one on still knows what it needs. If not, nothing is
    /// changed.
    fn suffices_from(&mut self, first: usize) -> bool {
        let mut changed: Vec<(usize, Clock)> = Vec::new();
        let mut waiting = BinaryHeap::from([Reverse(first)]);
        while let Some(Reverse(index)) = waiting.pop() {
            let known = self.order.knowledge_without(index, |token| self.removed.contains(&token));
            if known == self.order.known[index] {
                continue;
            }
            changed.push((index, std::mem::replace(&mut self.order.known[index], known)));
            if !covers(&known, &self.needed[index]) {
                changed
                    .into_iter()
                    .rev()
                    .for_each(|(index, known)| self.order.known[index] = known);
                return false;
            }
            waiting.extend(self.successors[index].iter().copied().map(Reverse));
        }
        true
    }
}
