//! A node over a journal and snapshots in a directory, and what must be true of it.

use std::path::Path;
use std::sync::Arc;

use annals_actors::doc::{Account, AccountCommand};
use annals_actors::{Current, Node, NodeOptions, StartError};
use annals_persistence::{
    EmbeddedJournal, EmbeddedOptions, Journal, SledSnapshots, SnapshotOptions, SnapshotStore, StreamId,
};
use rand::Rng;
use rand::rngs::StdRng;

/// How many instances there are.
pub(crate) const INSTANCES: usize = 12;

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The seeds of a suite's cases: `ANNALS_SEED` replays one.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let replayed: Option<u64> = std::env::var("ANNALS_SEED").ok().map(|text| text.parse().expect("a seed"));
    let count = if replayed.is_some() { 1 } else { count };
    let first = replayed.unwrap_or_else(|| rand::random::<u32>().into());
    (first..first + count).inspect(|seed| println!("ANNALS_SEED={seed}"))
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A node and what it stands on.
pub(crate) struct Ground {
    pub(crate) node: Node,
    pub(crate) journal: Arc<dyn Journal>,
}

impl Ground {
    /// Over a journal and a sled store in a directory.
    pub(crate) async fn on_sled(home: &Path) -> Self {
        let journal = EmbeddedJournal::open(home.join("journal"), EmbeddedOptions::default()).unwrap();
        let store = SledSnapshots::open(home.join("snapshots"), SnapshotOptions::default()).unwrap();
        Self::over(Arc::new(journal), Arc::new(store)).await.unwrap()
    }

    /// Starting writes to the journal, which may fail.
    pub(crate) async fn over(
        journal: Arc<dyn Journal>,
        store: Arc<dyn SnapshotStore>,
    ) -> Result<Self, StartError> {
        // Few are live at a time, so that instances are brought up from their snapshots again and again.
        let options = NodeOptions {
            snapshot_every_events: 5,
            snapshot_on_passivation_events: 2,
            live_instances_max: 4,
            ..NodeOptions::default()
        };
        let builder = Node::builder().journal(Arc::clone(&journal)).snapshots(store).options(options);
        Ok(Self { node: builder.aggregate::<Account>().start().await?, journal })
    }

    /// Sends commands, one after the other, as long as they are taken; answers how many were.
    pub(crate) async fn work(&self, random: &mut StdRng, commands: usize) -> usize {
        for nth in 0..commands {
            let account = self.node.aggregate::<Account>(random.random_range(0..INSTANCES).to_string());
            let amount = random.random_range(1..1000);
            if account.send(AccountCommand::Deposit { amount }).await.is_err() {
                return nth;
            }
        }
        commands
    }

    /// Every state is what replay makes of the journal; answers them.
    pub(crate) async fn check(&self, case: &str) -> Vec<Option<Current<Account>>> {
        let mut states = Vec::new();
        for id in 0..INSTANCES {
            let stream = StreamId::aggregate("account", &id.to_string()).unwrap();
            let Some(info) = self.journal.stream_info(&stream).await.unwrap() else {
                states.push(None);
                continue;
            };
            let account = self.node.aggregate::<Account>(id.to_string());
            let live = account.state().await.unwrap_or_else(|error| panic!("{case}: {stream}: {error}"));
            let replayed =
                account.state_at(info.version).await.unwrap().expect("a state at its last version");
            assert_eq!(
                (live.version, live.state.balance, live.time),
                (info.version, replayed.state.balance, replayed.time),
                "{case}: {stream}"
            );
            states.push(Some(live));
        }
        states
    }

    pub(crate) async fn end(self) {
        self.node.shutdown().await;
        self.journal.close().await;
    }
}

/// What of a list of states can be compared.
pub(crate) fn balances(states: &[Option<Current<Account>>]) -> Vec<Option<(u64, i64)>> {
    let of = |current: &Current<Account>| (current.version.0, current.state.balance);
    states.iter().map(|state| state.as_ref().map(of)).collect()
}
