//! Who goes: instances that did nothing for long, and the least recently used where there are too many.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_persistence::Timestamp;

use crate::Aggregate;
use crate::instance::Instance;
use crate::kind::Kind;
use crate::worker::Signal;

/// Looks after one aggregate type until the task is aborted.
pub(crate) async fn sweep<A: Aggregate>(kind: Arc<Kind<A>>) {
    let pause = (kind.options.passivate_after / 4).clamp(Duration::from_millis(10), Duration::from_secs(60));
    loop {
        tokio::select! {
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
        instance.signal(Signal::Passivate);
    }
}

/// Lets a tenth more go than there are too many, so that it does not begin again with the next activation.
fn passivate_crowd<A: Aggregate>(kind: &Kind<A>) {
    let max = kind.options.live_instances_max;
    let mut instances = kind.registry.all();
    if instances.len() <= max {
        return;
    }
    let going = (instances.len() - max + max / 10).min(instances.len());
    instances.sort_by_cached_key(|instance| instance.last_used.load(Ordering::Relaxed));
    for instance in &instances[..going] {
        instance.signal(Signal::Passivate);
    }
}
