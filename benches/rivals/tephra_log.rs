//! tephra: an event store whose appends are guarded by a query. Set up with the defaults of its writer and the segments of
//! its own example.

use std::path::Path;

use annals::persistence::Event as _;
use annals_benches::workload::{event, instance_id};
use annals_benches::{Failure, Target};
use tephra::{
    AppendCondition, Event, EventType, Position, Query, QueryItem, SegmentConfig, SegmentSet, Tag, Tags,
    WriteCoordinator, WriteHandle, WriterConfig,
};
use tokio::sync::Mutex;

/// As in its own documentation.
const SEGMENT_BYTES: usize = 256 * 1024 * 1024;

/// A store, and how far each instance goes: a caller that decides must know, to guard its append. Callers of one
/// instance wait for one another, so that none of their appends is refused and tried again.
pub(crate) struct Tephra {
    handle: WriteHandle,
    event_type: EventType,
    instances: Vec<Mutex<Instance>>,
    _coordinator: WriteCoordinator,
}

struct Instance {
    tags: Tags,
    guard: Query,
    last: Position,
}

impl Tephra {
    /// Opens a store in a directory.
    ///
    /// # Errors
    /// What tephra said.
    pub(crate) fn start(dir: &Path, instances: usize) -> Result<Self, Failure> {
        let set = SegmentSet::open(dir, SegmentConfig::new(SEGMENT_BYTES))?;
        let (coordinator, handle) = WriteCoordinator::start(set, WriterConfig::default())?;
        let instances = (0..instances).map(|number| Instance::new(number).map(Mutex::new));
        Ok(Self {
            handle,
            event_type: EventType::new("order-item-added")?,
            instances: instances.collect::<Result<_, _>>()?,
            _coordinator: coordinator,
        })
    }
}

impl Instance {
    fn new(number: usize) -> Result<Self, Failure> {
        let tags = Tags::new([Tag::new(format!("order:{}", instance_id(number)))?])?;
        let guard = Query::item(QueryItem::with_tags(tags.clone()));
        Ok(Self { tags, guard, last: Position::ZERO })
    }
}

impl Target for Tephra {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        let mut instance = self.instances[instance].lock().await;
        let event = Event::new(&self.event_type, &instance.tags, &event().encode()?)?;
        let guard = AppendCondition::new(instance.guard.clone()).after(instance.last);
        instance.last = self.handle.append_async(vec![event], Some(guard)).await?.last;
        Ok(())
    }
}
