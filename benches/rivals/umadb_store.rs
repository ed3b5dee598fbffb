//! umadb-core: an event store whose appends are guarded by a query. Set up as its own server does it: one writer thread
//! that takes what waits in a channel as one batch with one commit. The storage options are their defaults, with a page
//! cache as in its authors' own benchmarks.

use std::path::Path;
use std::sync::Arc;

use annals::persistence::Event as _;
use annals_benches::workload::{event, instance_id};
use annals_benches::{Failure, Target};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbQuery, DcbQueryItem};

/// As in its own server.
const WAITING_MAX: usize = 1024;
/// As in its own server.
const BATCH_EVENTS_MAX: usize = 2048;
/// More than it comes to have here: its authors give it half of the machine's memory.
const CACHE_MB_MAX: usize = 2000;

/// A store, and how far each instance goes: a caller that decides must know, to guard its append. Callers of one
/// instance wait for one another, so that none of their appends is refused and tried again.
pub(crate) struct UmaDb {
    writer: mpsc::Sender<WriterThreadRequest>,
    instances: Vec<Mutex<Instance>>,
}

struct Instance {
    tag: String,
    last: Option<u64>,
}

impl UmaDb {
    /// Opens a store in a directory. Its writer ends with it.
    ///
    /// # Errors
    /// What umadb said.
    pub(crate) fn start(dir: &Path, instances: usize) -> Result<Self, Failure> {
        let options = StorageOptions::default().db_path(dir).page_cache_max_mb(CACHE_MB_MAX);
        let store = Arc::new(Mvcc::new(false, options)?);
        let (writer, requests) = mpsc::channel(WAITING_MAX);
        let (head, _) = watch::channel(None);
        std::thread::Builder::new()
            .name("umadb-writer".to_owned())
            .spawn(move || writer_thread_blocking(store, requests, head, BATCH_EVENTS_MAX))?;
        Ok(Self {
            writer,
            instances: (0..instances).map(|number| Mutex::new(Instance::new(number))).collect(),
        })
    }

    async fn append(&self, event: DcbEvent, guard: DcbAppendCondition) -> Result<u64, Failure> {
        let (response_tx, response) = oneshot::channel();
        let (events, condition) = (vec![event], Some(guard));
        let request =
            WriterThreadRequest::Append { events, condition, tracking_info: None, response_tx, cancel: None };
        self.writer.send(request).await.map_err(|_| "umadb's writer has ended")?;
        Ok(response.await??)
    }
}

impl Instance {
    fn new(number: usize) -> Self {
        Self { tag: format!("order:{}", instance_id(number)), last: None }
    }

    fn event(&self, payload: Vec<u8>) -> DcbEvent {
        DcbEvent::new().event_type("order-item-added").tags([self.tag.as_str()]).data(payload)
    }

    fn guard(&self) -> DcbAppendCondition {
        let of_instance = DcbQueryItem::new().tags([self.tag.as_str()]);
        DcbAppendCondition::new(DcbQuery::with_items([of_instance])).after(self.last)
    }
}

impl Target for UmaDb {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        let mut instance = self.instances[instance].lock().await;
        let event = instance.event(event().encode()?);
        instance.last = Some(self.append(event, instance.guard()).await?);
        Ok(())
    }
}
