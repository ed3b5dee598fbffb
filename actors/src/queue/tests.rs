use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ShortQueue;

#[test]
fn it_is_a_queue_whatever_is_done_to_it() {
    let seed =
        std::env::var("ANNALS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("ANNALS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut queue, mut model) = (ShortQueue::new(), VecDeque::new());
    for entry in 0..20_000 {
        match random.random_range(0..6) {
            0 | 1 => {
                queue.push_back(entry);
                model.push_back(entry);
            }
            2 => {
                queue.push_front(entry);
                model.push_front(entry);
            }
            3 | 4 => assert_eq!(queue.pop_front(), model.pop_front()),
            _ => taken(&mut queue, &mut model, random.random_range(1..5)),
        }
        assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(queue.front(), model.front());
        assert!(queue.iter().eq(&model) && queue.iter().rev().eq(model.iter().rev()));
        assert!(queue.iter_mut().eq(&mut model));
    }
}

fn taken(queue: &mut ShortQueue<i32>, model: &mut VecDeque<i32>, limit: usize) {
    let mut more = VecDeque::new();
    let first = queue.take(limit, &mut more);
    let expected: Vec<_> = model.drain(..limit.min(model.len())).collect();
    assert!(first.iter().chain(&more).eq(&expected));
}
