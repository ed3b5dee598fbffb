//! Whether what concurrent callers were answered can be told as one thing after the other: the search of Wing and Gong,
//! with Lowe's memory of where it has been.

use std::collections::HashSet;
use std::hash::Hash;

/// Something that does one thing at a time: what callers are to believe they talk to.
pub trait Sequential {
    /// What it is between two operations.
    type State: Clone + Eq + Hash;
    /// What is asked of it.
    type Call;
    /// What it says.
    type Answer;

    /// What it is at first.
    fn begin(&self) -> Self::State;

    /// What it is after a call that was answered like this; `None` when it would not have answered so. A call without
    /// an answer leaves what it would have left, whatever the answer; `None` when that is nothing.
    fn after(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;
}

/// One call of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<C, A> {
    /// What was asked.
    pub call: C,
    /// When; only the order matters, between moments of any kind.
    pub called: u64,
    /// When the answer came, and what it was; `None` when none came, or one that says neither yes nor no. It may then have
    /// happened at any time after the call, or never.
    pub answered: Option<(u64, A)>,
}

/// A history that cannot be told as one thing after the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no order of the operations gives these answers: the longest that does is {longest:?}, after which none of {stuck:?} \
     can be next"
)]
pub struct NotLinearizable {
    /// The longest order found whose answers are right, by the places of its operations in the history.
    pub longest: Vec<usize>,
    /// The operations that could have come next, had their answers been right.
    pub stuck: Vec<usize>,
}

/// Looks for an order of the operations in which each takes effect between its call and its answer, and all answers are
/// what `specification` would have said; answers the order, by places in the history. Operations without an answer need
/// not be in it.
///
/// ```
/// use annals_persistence::conformance::{Operation, Sequential, linearize};
///
/// /// A number that is set and read.
/// struct Register;
///
/// impl Sequential for Register {
///     type State = u32;
///     type Call = Option<u32>; // to set, or to read
///     type Answer = u32; // what it is then
///
///     fn begin(&self) -> u32 {
///         0
///     }
///
///     fn after(&self, now: &u32, call: &Option<u32>, answer: Option<&u32>) -> Option<u32> {
///         let then = call.unwrap_or(*now);
///         answer.is_none_or(|answer| *answer == then).then_some(then)
///     }
/// }
///
/// let set = |value, called, answered| Operation { call: Some(value), called, answered: Some((answered, value)) };
/// let read = |value, called, answered| Operation { call: None, called, answered: Some((answered, value)) };
/// assert!(linearize(&Register, &[set(7, 1, 4), read(0, 2, 3)]).is_ok());
/// assert!(linearize(&Register, &[set(7, 1, 2), read(0, 3, 4)]).is_err(), "a stale read");
/// ```
///
/// # Errors
/// [`NotLinearizable`], when there is no such order.
pub fn linearize<S: Sequential>(
    specification: &S,
    history: &[Operation<S::Call, S::Answer>],
) -> Result<Vec<usize>, NotLinearizable> {
    Search::new(specification, history).run()
}

/// The operations that an order has taken in, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Taken(Vec<u64>);

impl Taken {
    fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    fn flip(&mut self, place: usize) {
        self.0[place / 64] ^= 1 << (place % 64);
    }
}

/// An operation taken in, and what was there before.
struct Step<State> {
    place: usize,
    before: State,
    /// Which of the candidates was tried, so that the next is.
    candidate: usize,
}

struct Search<'a, S: Sequential> {
    specification: &'a S,
    history: &'a [Operation<S::Call, S::Answer>],
    /// The places, by the time of the call.
    by_call: Vec<usize>,
    answered: usize,
    taken: Taken,
    state: S::State,
    steps: Vec<Step<S::State>>,
    seen: HashSet<(Taken, S::State)>,
    longest: NotLinearizable,
}

impl<'a, S: Sequential> Search<'a, S> {
    fn new(specification: &'a S, history: &'a [Operation<S::Call, S::Answer>]) -> Self {
        let mut by_call: Vec<usize> = (0..history.len()).collect();
        by_call.sort_by_key(|place| history[*place].called);
        Self {
            specification,
            history,
            by_call,
            answered: history.iter().filter(|operation| operation.answered.is_some()).count(),
            taken: Taken(vec![0; history.len().div_ceil(64)]),
            state: specification.begin(),
            steps: Vec::new(),
            seen: HashSet::new(),
            longest: NotLinearizable { longest: Vec::new(), stuck: Vec::new() },
        }
    }

    fn run(mut self) -> Result<Vec<usize>, NotLinearizable> {
        let mut candidates = self.candidates();
        let mut next = 0;
        while self.answered > 0 {
            if let Some(place) = candidates.get(next).copied() {
                if self.take(place, next) {
                    (candidates, next) = (self.candidates(), 0);
                } else {
                    next += 1;
                }
                continue;
            }
            self.note_longest(candidates);
            let Some(step) = self.steps.pop() else { return Err(self.longest) };
            self.undo(&step);
            (candidates, next) = (self.candidates(), step.candidate + 1);
            self.state = step.before;
        }
        Ok(self.order())
    }

    /// What may come next: what was called before the first answer that is still to come. Those with an answer first:
    /// what was never answered has mostly not happened.
    fn candidates(&self) -> Vec<usize> {
        let open = || self.by_call.iter().copied().filter(|place| !self.taken.has(*place));
        let answer = |place: usize| self.history[place].answered.as_ref().map(|(at, _)| *at);
        let first = open().filter_map(answer).min();
        let mut candidates: Vec<_> = open()
            .take_while(|place| first.is_none_or(|first| self.history[*place].called <= first))
            .collect();
        candidates.sort_by_key(|place| answer(*place).is_none());
        candidates
    }

    /// Takes an operation in, if its answer is right and this has not been tried.
    fn take(&mut self, place: usize, candidate: usize) -> bool {
        let Operation { call, answered, .. } = &self.history[place];
        let answer = answered.as_ref().map(|(_, answer)| answer);
        let Some(after) = self.specification.after(&self.state, call, answer) else { return false };
        self.taken.flip(place);
        if !self.seen.insert((self.taken.clone(), after.clone())) {
            self.taken.flip(place);
            return false;
        }
        self.answered -= usize::from(answer.is_some());
        let before = std::mem::replace(&mut self.state, after);
        self.steps.push(Step { place, before, candidate });
        true
    }

    fn undo(&mut self, step: &Step<S::State>) {
        self.taken.flip(step.place);
        self.answered += usize::from(self.history[step.place].answered.is_some());
    }

    fn order(&self) -> Vec<usize> {
        self.steps.iter().map(|step| step.place).collect()
    }

    fn note_longest(&mut self, stuck: Vec<usize>) {
        if self.longest.stuck.is_empty() || self.steps.len() > self.longest.longest.len() {
            self.longest = NotLinearizable { longest: self.order(), stuck };
        }
    }
}

#[cfg(test)]
mod tests;
