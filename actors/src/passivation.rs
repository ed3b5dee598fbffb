//! Who goes: instances that did nothing for long, and the least recently used where there are too many.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_persistence::Timestamp;

use crate::Aggregate;
use crate::instance::Instance;
use crate::kind::Kind;

/// Looks after one aggregate type until the task is aborted.
pub(crate) async fn sweep<A: Aggregate>(kind: Arc<Kind<A>>) {
    let pause = (kind.options.passivate_after / 4).clamp(Duration::from_millis(10), Duration::from_secs(60));
    loop {
        tokio::select! {
            // Not by chance: a deterministic run wants the same every time.
            biased;
            () = kind.clock.sleep(pause) => passivate_idle(&kind),
            () = kind.crowded.notified() => {}
        }
        passivate_crowd(&kind);
    }
}

fn passivate_idle<A: Aggregate>(kind: &Kind<A>) {
    let now = kind.clock.now();
    let idle = |instance: &Instance<A>| {
        now.since(Timestamp(instance.last_used.load(Ordering::Relaxed))) >= kind.options.passivate_after
    };
    for instance in kind.registry.all().iter().filter(|instance| idle(instance)) {
        instance.mailbox.passivate();
    }
}

/// Lets a tenth more go than there are too many, so that it does not begin again with the next activation.
fn passivate_crowd<A: Aggregate>(kind: &Kind<A>) {
    let max = kind.options.live_instances_max;
    let crowd = kind.registry.crowd();
    if crowd <= max {
        return;
    }
    let mut instances = kind.registry.all();
    instances.retain(|instance| !instance.going.load(Ordering::Relaxed));
    let going = (crowd - max + max / 10).min(instances.len());
    if going < instances.len() {
        // Read once for each: it changes while they are compared.
        let mut by_use: Vec<_> = instances
            .into_iter()
            .map(|instance| (instance.last_used.load(Ordering::Relaxed), instance))
            .collect();
        by_use.select_nth_unstable_by_key(going, |(last_used, _)| *last_used);
        instances = by_use.into_iter().map(|(_, instance)| instance).collect();
    }
    for instance in instances.iter().take(going).filter(|instance| kind.registry.goes(instance)) {
        instance.mailbox.passivate();
    }
}
