use super::*;
use crate::conformance::{Random, replayable};

/// A counter with a version: adds, guarded adds, reads.
struct Counter;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Add,
    AddAt(u64),
    Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Is(u64),
    Conflict(u64),
}

type Op = Operation<Call, Answer>;

impl Sequential for Counter {
    type State = u64;
    type Call = Call;
    type Answer = Answer;

    fn begin(&self) -> u64 {
        0
    }

    fn after(&self, now: &u64, call: &Call, answer: Option<&Answer>) -> Option<u64> {
        let (then, right) = does(*now, *call);
        match answer {
            Some(answer) => (*answer == right).then_some(then),
            None => (then != *now).then_some(then),
        }
    }
}

fn does(now: u64, call: Call) -> (u64, Answer) {
    match call {
        Call::Add => (now + 1, Answer::Is(now + 1)),
        Call::AddAt(at) if at == now => (now + 1, Answer::Is(now + 1)),
        Call::AddAt(_) => (now, Answer::Conflict(now)),
        Call::Read => (now, Answer::Is(now)),
    }
}

fn op(call: Call, called: u64, answered: u64, answer: Answer) -> Op {
    Operation { call, called, answered: Some((answered, answer)) }
}

fn unanswered(call: Call, called: u64) -> Op {
    Operation { call, called, answered: None }
}

/// A history as concurrent callers of a real counter have it: each call takes effect at some moment between call and
/// answer, and of some the answer gets lost.
fn real(random: &mut Random, count: usize) -> Vec<Op> {
    let (mut now, mut time) = (0, 0);
    let (mut history, mut open): (Vec<Op>, Vec<(usize, Option<Answer>)>) = (Vec::new(), Vec::new());
    while history.len() < count || !open.is_empty() {
        time += 1;
        let place = random.index(open.len());
        match random.below(3) {
            0 if history.len() < count && open.len() < 8 => {
                let call = [Call::Add, Call::AddAt(now), Call::AddAt(now + 1), Call::Read][random.index(4)];
                open.push((history.len(), None));
                history.push(unanswered(call, time));
            }
            1 if open.get(place).is_some_and(|(_, done)| done.is_none()) => {
                let (then, answer) = does(now, history[open[place].0].call);
                (now, open[place].1) = (then, Some(answer));
            }
            _ if random.one_in(100) && !open.is_empty() => drop(open.swap_remove(place)),
            _ if open.get(place).is_some_and(|(_, done)| done.is_some()) => {
                let (operation, answer) = open.swap_remove(place);
                history[operation].answered = answer.map(|answer| (time, answer));
            }
            _ => {}
        }
    }
    history
}

#[test]
fn one_thing_after_the_other_is_told_so() {
    let history = [
        op(Call::Add, 1, 2, Answer::Is(1)),
        op(Call::Read, 3, 4, Answer::Is(1)),
        op(Call::AddAt(0), 5, 6, Answer::Conflict(1)),
    ];
    assert_eq!(linearize(&Counter, &history), Ok(vec![0, 1, 2]));
    assert_eq!(linearize(&Counter, &[]), Ok(vec![]));
}

#[test]
fn what_overlaps_may_have_been_either_way_round() {
    let history = [op(Call::Add, 1, 9, Answer::Is(2)), op(Call::Add, 2, 8, Answer::Is(1))];
    assert_eq!(linearize(&Counter, &history), Ok(vec![1, 0]));
}

#[test]
fn a_stale_read_is_refused() {
    let history = [
        op(Call::Add, 1, 2, Answer::Is(1)),
        op(Call::Add, 3, 4, Answer::Is(2)),
        op(Call::Read, 5, 6, Answer::Is(1)),
    ];
    let refused = linearize(&Counter, &history).unwrap_err();
    assert_eq!(refused, NotLinearizable { longest: vec![0, 1], stuck: vec![2] });
    assert!(refused.to_string().contains("after which none of [2] can be next"), "{refused}");
}

#[test]
fn a_lost_update_is_refused() {
    let history = [op(Call::AddAt(0), 1, 4, Answer::Is(1)), op(Call::AddAt(0), 2, 3, Answer::Is(1))];
    assert!(linearize(&Counter, &history).is_err(), "both say that they were first");
}

#[test]
fn what_was_never_answered_happened_later_or_never() {
    let never = [unanswered(Call::Add, 1), op(Call::Read, 2, 3, Answer::Is(0))];
    assert_eq!(linearize(&Counter, &never), Ok(vec![1]));
    let later = [
        unanswered(Call::Add, 1),
        op(Call::Read, 2, 3, Answer::Is(0)),
        op(Call::Read, 4, 5, Answer::Is(1)),
        op(Call::Read, 6, 7, Answer::Is(1)),
    ];
    assert_eq!(linearize(&Counter, &later), Ok(vec![1, 0, 2, 3]));
    let and_gone_again =
        [unanswered(Call::Add, 1), op(Call::Read, 2, 3, Answer::Is(1)), op(Call::Read, 4, 5, Answer::Is(0))];
    assert!(linearize(&Counter, &and_gone_again).is_err());
    let before_its_call = [op(Call::Read, 1, 2, Answer::Is(1)), unanswered(Call::Add, 3)];
    assert!(linearize(&Counter, &before_its_call).is_err());
}

#[test]
fn real_histories_are_taken_and_spoiled_ones_refused() {
    for seed in replayable(20) {
        println!("ANNALS_SEED={seed}");
        let mut random = Random::new(seed);
        let mut history = real(&mut random, 200);
        linearize(&Counter, &history).unwrap();
        // A read that says more than all adds together, and one that says less than an answer before it.
        let read = op(Call::Read, 1_000_000, 1_000_001, Answer::Is(201));
        history.push(read);
        assert!(linearize(&Counter, &history).is_err());
        let last = history.len() - 1;
        let told = history.iter().filter_map(|op| match op.answered {
            Some((_, Answer::Is(value))) if op.called < 1_000_000 => Some(value),
            _ => None,
        });
        let stale = told.max().unwrap_or(0).checked_sub(1);
        let Some(stale) = stale else { continue };
        history[last].answered = Some((1_000_001, Answer::Is(stale)));
        assert!(linearize(&Counter, &history).is_err());
    }
}
