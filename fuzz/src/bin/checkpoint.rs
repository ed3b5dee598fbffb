//! What checkpoints say, and the state in them.
#![no_main]

use annals_actors::Checkpoint;
use annals_actors::doc::Account;
use annals_fuzz::{bounded, checkpoint_of};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let recorded = checkpoint_of(bytes);
    bounded(bytes, || {
        if let Ok(Some(checkpoint)) = Checkpoint::of(&recorded) {
            // Whatever it is, it is read or refused.
            drop(checkpoint.state::<Account>());
        }
    });
});
