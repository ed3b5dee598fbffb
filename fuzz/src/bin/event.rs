//! Payloads of events: the first byte says of which type, and in which codec.
#![no_main]

use annals_fuzz::bounded;
use annals_fuzz::event::{Happened, TYPES};
use annals_persistence::{CodecId, Event};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, payload)) = bytes.split_first() else { return };
    let codec = if which & 0x80 == 0 { CodecId::Json } else { CodecId::Bincode };
    let (type_name, version) = TYPES[usize::from(which & 3)];
    bounded(bytes, || {
        let Ok(events) = Happened::decode(type_name, version, codec, payload) else { return };
        for event in events {
            let encoded = event.encode_as(codec).expect("what was decoded can be encoded");
            let again = Happened::decode(type_name, version, codec, &encoded);
            assert_eq!(again.expect("what was encoded can be decoded").as_slice(), [event]);
        }
    });
});
