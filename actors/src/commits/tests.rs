use std::sync::Arc;

use annals_persistence::{AppendError, Appended, Version};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::doc::Account;

type Asked = oneshot::Receiver<Result<Receipt, SendError<Account>>>;

fn command(number: u64) -> Remembered {
    Remembered {
        command_id: CommandId::from_u128(u128::from(number)),
        hash: 0,
        version: Version(number),
        events: 1,
        position: Position::START,
    }
}

fn append(commits: &Commits<Account>, number: u64) -> (u64, Asked) {
    let (reply, asked) = oneshot::channel();
    (commits.append(command(number), reply), asked)
}

fn repeat(commits: &Commits<Account>, number: u64) -> Asked {
    let (reply, asked) = oneshot::channel();
    commits.repeat(commits.find(command(number).command_id).unwrap(), reply);
    asked
}

fn look(commits: &Commits<Account>) -> oneshot::Receiver<Result<(), Failure>> {
    let (reply, asked) = oneshot::channel();
    commits.answer(Box::new(move |durable| drop(reply.send(durable))));
    asked
}

fn appended(position: u64) -> AppendResult {
    let position = Position(position);
    Ok(Appended { first: position, last: position, versions: [Version(position.0)].into_iter().collect() })
}

fn refused() -> AppendResult {
    Err(AppendError::Busy { bytes: 0 })
}

#[test]
fn an_answer_with_nothing_before_it_leaves_at_once() {
    let commits = Commits::<Account>::new(8);
    assert!(look(&commits).try_recv().unwrap().is_ok());
    assert!(commits.is_idle() && commits.waiting() == 0);
}

#[test]
fn answers_leave_in_order_even_if_outcomes_do_not_come_in_order() {
    let commits = Commits::<Account>::new(8);
    let (first, mut first_asked) = append(&commits, 1);
    let mut between = look(&commits);
    let (second, mut second_asked) = append(&commits, 2);
    assert_eq!(commits.waiting(), 3);
    commits.complete(second, appended(2));
    assert!(
        first_asked.try_recv().is_err() && between.try_recv().is_err() && second_asked.try_recv().is_err()
    );
    commits.complete(first, appended(1));
    assert_eq!(first_asked.try_recv().unwrap().unwrap().position, Some(Position(1)));
    assert!(between.try_recv().unwrap().is_ok());
    assert_eq!(second_asked.try_recv().unwrap().unwrap().position, Some(Position(2)));
    assert!(commits.is_idle());
}

#[test]
fn a_failure_holds_for_everything_later_until_the_reset() {
    let commits = Commits::<Account>::new(8);
    let (first, _) = append(&commits, 1);
    let (second, mut second_asked) = append(&commits, 2);
    let mut repeated = repeat(&commits, 1);
    let kept = Arc::new(Mutex::new(false));
    let keeping = Arc::clone(&kept);
    commits.snapshot(Box::new(move |_| *keeping.lock() = true));
    commits.complete(first, refused());
    assert!(commits.failed());
    commits.complete(second, refused());
    assert!(matches!(second_asked.try_recv().unwrap(), Err(SendError::NotCommitted(_))));
    assert!(matches!(repeated.try_recv().unwrap(), Err(SendError::NotCommitted(_))));
    assert!(matches!(look(&commits).try_recv().unwrap(), Err(Failure::NotCommitted(_))));
    assert!(!*kept.lock(), "no snapshot of what failed");
    commits.reset(CommandMemory::default());
    assert!(!commits.failed() && look(&commits).try_recv().unwrap().is_ok());
    assert!(commits.find(command(1).command_id).is_none(), "what failed is not remembered");
}

#[test]
fn nothing_is_decided_on_what_was_refused_while_earlier_ones_still_wait() {
    let commits = Commits::<Account>::new(8);
    let (first, mut first_asked) = append(&commits, 1);
    let (second, mut second_asked) = append(&commits, 2);
    commits.complete(second, refused());
    assert!(commits.failed(), "the actor stops deciding at once");
    assert!(second_asked.try_recv().is_err(), "the answer keeps its place");
    commits.complete(first, appended(1));
    assert!(first_asked.try_recv().unwrap().is_ok(), "what was decided before stands");
    assert!(matches!(second_asked.try_recv().unwrap(), Err(SendError::NotCommitted(_))));
    commits.reset(CommandMemory::default());
    assert!(!commits.failed());
}

#[test]
fn an_outcome_nobody_waits_for_changes_nothing() {
    let commits = Commits::<Account>::new(8);
    let (first, mut asked) = append(&commits, 1);
    commits.complete(first + 1000, refused());
    assert!(!commits.failed() && asked.try_recv().is_err());
    commits.complete(first, appended(1));
    commits.complete(first, refused());
    assert!(asked.try_recv().unwrap().is_ok() && !commits.failed());
}

#[test]
fn a_snapshot_gets_the_memory_of_its_moment() {
    let commits = Commits::<Account>::new(2);
    let (first, _) = append(&commits, 1);
    let (second, _) = append(&commits, 2);
    let memory = Arc::new(Mutex::new(None));
    let keeping = Arc::clone(&memory);
    commits.snapshot(Box::new(move |kept| *keeping.lock() = Some(kept)));
    let later: Vec<_> = (3..10).map(|number| append(&commits, number)).collect();
    commits.complete(first, appended(1));
    assert!(memory.lock().is_none(), "not before all of it is durable");
    commits.complete(second, appended(2));
    let mut expected = CommandMemory::default();
    for number in 1..=2 {
        expected.push(Remembered { position: Position(number), ..command(number) }, 2);
    }
    assert_eq!(memory.lock().take(), Some(expected), "whatever came later is not in it");
    drop(later);
}

/// Whatever the order of outcomes: every answer leaves exactly once, and as the first failure says.
#[test]
fn every_answer_leaves_once_and_as_it_must() {
    for _ in 0..300 {
        let seed = std::env::var("ANNALS_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| rand::rng().random());
        println!("ANNALS_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let commits = Commits::<Account>::new(random.random_range(1..6));
        let count = random.random_range(1..20);
        let fails = random.random_range(1..=count + 1);
        let (mut outcomes, mut asked, mut repeats, mut looks) = (vec![], vec![], vec![], vec![]);
        for number in 1..=count {
            let (sequence, answer) = append(&commits, number);
            outcomes.push((sequence, if number >= fails { refused() } else { appended(number) }));
            asked.push(answer);
            if random.random() {
                repeats.push((number, repeat(&commits, number)));
            }
            looks.push((number, look(&commits)));
        }
        outcomes.shuffle(&mut random);
        outcomes.into_iter().for_each(|(sequence, outcome)| commits.complete(sequence, outcome));
        for (mut answer, number) in asked.into_iter().zip(1..) {
            assert_eq!(answer.try_recv().unwrap().is_ok(), number < fails);
        }
        for (number, mut again) in repeats {
            let position = again.try_recv().unwrap().ok().map(|receipt| receipt.position);
            assert_eq!(position, (number < fails).then_some(Some(Position(number))));
        }
        for (number, mut look) in looks {
            assert_eq!(look.try_recv().unwrap().is_ok(), number < fails);
        }
        assert!(commits.is_idle() && commits.waiting() == 0);
    }
}

#[test]
fn what_is_under_way_pushes_durable_commands_out_of_the_memory() {
    let commits = Commits::<Account>::new(2);
    for number in 1..=3 {
        let (sequence, _) = append(&commits, number);
        commits.complete(sequence, appended(number));
    }
    let known = |number| commits.find(command(number).command_id).is_some();
    assert!(known(1) && known(2) && known(3), "the creating one, and the last two");
    let (sequence, _asked) = append(&commits, 4);
    assert!(known(1) && !known(2) && known(3) && known(4));
    commits.complete(sequence, appended(4));
    assert!(known(1) && !known(2) && known(3) && known(4));
}
