//! The live instances of one aggregate type, by id, in shards so that senders do not wait for one another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use annals_persistence::StreamId;
use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use xxhash_rust::xxh3::xxh3_64;

use crate::Aggregate;
use crate::instance::Instance;

const SHARDS: usize = 64;

/// In an order that depends on what was done with it alone, so that a deterministic run has the same every time.
type Shard<A> = Mutex<IndexMap<StreamId, Arc<Instance<A>>>>;

pub(crate) struct Registry<A: Aggregate> {
    shards: Vec<Shard<A>>,
    live: AtomicUsize,
    /// How many of them were told to make room and have not answered yet.
    going: AtomicUsize,
    /// Set when the node stops: from then on nothing is admitted.
    closed: AtomicBool,
    emptied: Notify,
}

impl<A: Aggregate> Registry<A> {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            live: AtomicUsize::new(0),
            going: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            emptied: Notify::new(),
        }
    }

    fn shard(&self, stream: &StreamId) -> &Shard<A> {
        let hash = usize::try_from(xxh3_64(stream.as_str().as_bytes()) % SHARDS as u64).unwrap_or(0);
        &self.shards[hash]
    }

    /// Whether the node stops: nothing is admitted any more, to live instances neither.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The live instance of a stream, made by `make` where there is none; `None` once the registry is closed.
    /// Where it was made here, it comes with how many there are now, it included.
    pub(crate) fn get_or_insert(
        &self,
        stream: &StreamId,
        make: impl FnOnce() -> Arc<Instance<A>>,
    ) -> Option<(Arc<Instance<A>>, Option<usize>)> {
        let mut shard = self.shard(stream).lock();
        // Before looking: senders that go on sending must not keep a live instance from ever being drained.
        if self.is_closed() {
            return None;
        }
        if let Some(instance) = shard.get(stream) {
            return Some((Arc::clone(instance), None));
        }
        let instance = make();
        // Started under the lock: nobody may see an instance that nobody works for.
        instance.spawn(Duration::ZERO);
        shard.insert(stream.clone(), Arc::clone(&instance));
        let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
        Some((instance, Some(live)))
    }

    /// Takes this very instance out, if it is still there.
    pub(crate) fn remove(&self, instance: &Instance<A>) {
        let mut shard = self.shard(&instance.stream).lock();
        let same = shard.get(&instance.stream).is_some_and(|found| std::ptr::eq(&**found, instance));
        if same {
            shard.swap_remove(&instance.stream);
            drop(shard);
            self.stays(instance);
            if self.live.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.emptied.notify_waiters();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// How many instances there are beside those that were told to make room: so that they are told once, however many
    /// come while they leave.
    pub(crate) fn crowd(&self) -> usize {
        self.len().saturating_sub(self.going.load(Ordering::Relaxed))
    }

    /// Notes that an instance was told to make room; `false` when it was told before, or is leaving as it is.
    pub(crate) fn goes(&self, instance: &Instance<A>) -> bool {
        if instance.going.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.going.fetch_add(1, Ordering::Relaxed);
        if instance.mailbox.is_closed() {
            // It may have left before this was noted, and would count for ever.
            self.stays(instance);
            return false;
        }
        true
    }

    /// Notes that an instance has left, or has something to do and stays.
    pub(crate) fn stays(&self, instance: &Instance<A>) {
        if instance.going.swap(false, Ordering::SeqCst) {
            self.going.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Every live instance, as of about now.
    pub(crate) fn all(&self) -> Vec<Arc<Instance<A>>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Looks at every live instance, as of about now. Whoever looks must be quick: senders to other instances wait.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<Instance<A>>)) {
        self.shards.iter().for_each(|shard| shard.lock().values().for_each(&mut look));
    }

    /// Hands out no instance from now on. Each shard is visited, so that whoever was inside is out.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.shards.iter().for_each(|shard| drop(shard.lock()));
    }

    /// Ends when no instance is left.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }
}
