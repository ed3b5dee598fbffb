//! Writes what the fuzz targets begin with into a directory: what real runs leave, and what is right.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use annals_fuzz::derived::{Closed, Derived};
use annals_fuzz::event::{TYPES, examples};
use annals_fuzz::event_of;
use annals_fuzz::snapshot::Activation;
use annals_fuzz::stored::Stored;
use annals_persistence::{
    Batch, CodecId, Driver, EmbeddedJournal, EmbeddedOptions, Event, Expected, Journal, JournalExt, SimVfs,
    StreamId,
};
use futures_util::FutureExt;
// For the counters that everything here is built with.
use libfuzzer_sys as _;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let corpus = std::env::args().nth(1).ok_or("where to?")?;
    let write = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let dir = Path::new(&corpus).join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("seed-{name}")), bytes)
    };
    for (number, event) in examples().iter().enumerate() {
        for (codec, bit) in [(CodecId::Json, 0), (CodecId::Bincode, 0x80)] {
            let which =
                TYPES.iter().position(|(name, _)| *name == event.event_type().name).ok_or("its type")?;
            let payload = event.encode_as(codec)?;
            write("event", &format!("{number}-{bit}"), &[&[which as u8 | bit], &*payload].concat())?;
        }
    }
    let checkpoint = r#"{"stateVersion":1,"version":3,"time":5,"state":{"balance":70},"keptFrom":2,"marks":{"v1.moved":1},
        "commands":{"first":null,"latest":[{"commandId":"00000000-0000-0000-0000-000000000001","hash":"00000000000000ff",
        "version":3,"events":2,"position":12}]}}"#;
    write("checkpoint", "whole", checkpoint.as_bytes())?;
    let activation = Activation::new();
    write("snapshot", "body", &activation.right().state)?;
    write("snapshot", "whole", &CodecId::Bincode.encode(activation.right())?)?;
    let (closed, stored) = (Closed::new(), Stored::new());
    for mode in [0, 1] {
        for (target, file) in
            [("index", Derived::Index), ("table", Derived::Table), ("watermark", Derived::Watermark)]
        {
            write(target, &mode.to_string(), &[&[mode], closed.right(file)].concat())?;
        }
        write("stored", &mode.to_string(), &[&[mode], stored.right()].concat())?;
    }
    for groups in [0, 1, 5, 60] {
        let log = log(groups)?;
        write("segment", &groups.to_string(), &log)?;
        write("frames", &groups.to_string(), &log[4096..])?;
    }
    Ok(())
}

/// The first segment of a journal, without the space that it does not use.
fn log(groups: u64) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let disk = SimVfs::new();
    let options = EmbeddedOptions {
        segment_bytes: 8192,
        vfs: Arc::new(disk.clone()),
        driver: Driver::Manual,
        ..EmbeddedOptions::default()
    };
    let driven = Arc::new(EmbeddedJournal::open("/journal", options)?);
    let journal: Arc<dyn Journal> = Arc::clone(&driven) as _;
    for group in 0..groups {
        let order = StreamId::aggregate("order", &(group % 3).to_string())?;
        let batch = Batch::of(order, Expected::Any, [event_of(group)]);
        let batch = batch.and(StreamId::internal("own")?, Expected::Any, [event_of(group), event_of(group)]);
        let ticket = journal.append(batch);
        driven.drive();
        ticket.now_or_never().ok_or("an answer")??;
    }
    journal.close().now_or_never().ok_or("closed at once")?;
    let mut bytes = disk.bytes(Path::new("/journal/0000000001.log")).ok_or("the first segment")?;
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    bytes.truncate(used.next_multiple_of(8));
    Ok(bytes)
}
