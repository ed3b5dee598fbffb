//! Snapshots: as they lie in an envelope, and as what an activation begins with. The checksums in front of both are the
//! stores' own; what comes here has passed them.
#![no_main]

use std::cell::RefCell;

use annals_fuzz::bounded;
use annals_fuzz::snapshot::Activation;
use annals_persistence::{CodecId, Snapshot};

thread_local! {
    static ACTIVATION: RefCell<Activation> = RefCell::new(Activation::new());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ACTIVATION.with_borrow_mut(|activation| {
        bounded(bytes, || {
            drop(CodecId::Bincode.decode::<Snapshot>(bytes));
            activation.from(bytes);
        });
    });
});
