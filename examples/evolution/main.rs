//! Events that change while a journal has data: `docs/evolution.md` is about this code.
#![allow(missing_docs, unreachable_pub, reason = "an example")]
#![allow(clippy::print_stdout, reason = "an example prints")]

mod after;
mod before;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use annals::persistence::{SledSnapshots, SnapshotOptions, SnapshotStore};
use annals::prelude::*;
use before::{FirstAccount, Happens};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Shape)]
pub struct Account {
    pub owner: String,
    pub currency: String,
    pub cents: i64,
    pub street: String,
    pub city: String,
    pub notes: Vec<String>,
}

/// A node of either release over the same directory, with a snapshot after every event.
async fn node<A: Aggregate>(directory: &Path) -> Result<Node, Box<dyn Error>> {
    let journal = EmbeddedJournal::open(directory.join("log"), EmbeddedOptions::default())?;
    let snapshots: Arc<dyn SnapshotStore> =
        Arc::new(SledSnapshots::open(directory.join("snapshots"), SnapshotOptions::default())?);
    let options = NodeOptions { snapshot_on_passivation_events: 1, ..NodeOptions::default() };
    let node = Node::builder().journal(Arc::new(journal)).snapshots(snapshots).options(options);
    Ok(node.aggregate::<A>().start().await?)
}

async fn first_release(directory: &Path) -> Result<(), Box<dyn Error>> {
    let node = node::<FirstAccount>(directory).await?;
    let happens = vec![
        Happens::Opening("Ann Smith".into()),
        Happens::Greeting,
        Happens::Deposit("12".into()),
        Happens::NewName("Ann Jones".into()),
        Happens::Withdrawal(250),
        Happens::Move("Elm Street".into(), "Ely".into()),
        Happens::Note("a good customer".into()),
    ];
    node.aggregate::<FirstAccount>("ann").send(happens).await?;
    node.shutdown().await;
    Ok(())
}

async fn second_release(directory: &Path) -> Result<Current<Account>, Box<dyn Error>> {
    let node = node::<Account>(directory).await?;
    let account = node.aggregate::<Account>("ann");
    let receipt = account.send(50).await?;
    // A record is one version, also where it is two events today.
    assert_eq!(receipt.version, Version(8));
    let current = account.state().await?;
    node.shutdown().await;
    Ok(current)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    first_release(directory.path()).await?;
    let account = second_release(directory.path()).await?;
    println!("{account:#?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_release_reads_what_the_first_has_written() {
        let directory = tempfile::tempdir().unwrap();
        first_release(directory.path()).await.unwrap();
        let account = second_release(directory.path()).await.unwrap();
        let expected = Account {
            owner: "Ann Jones".into(),
            currency: "EUR".into(),
            cents: 1_000,
            street: "Elm Street".into(),
            city: "Ely".into(),
            notes: vec!["a good customer".into()],
        };
        assert_eq!((account.state, account.version), (expected, Version(8)));
    }
}
