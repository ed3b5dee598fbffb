//! Ids derived from names: the same inputs give the same id, in every process and after every restart.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use annals_persistence::planted::{Fault, planted};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use uuid::Uuid;

/// The namespace of everything that the bus derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x6a0c_6d4e_52a1_4f0b_9a7e_3f6a_8f2d_b1c5);

/// The id of a list of names. Lengths are part of it, so that no two lists read the same.
pub(crate) fn derived(names: &[&str]) -> Uuid {
    let mut text = String::with_capacity(names.iter().map(|name| name.len() + 8).sum());
    for name in names {
        // A string takes everything.
        let _written = write!(text, "{}:{name}", name.len());
    }
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

/// What a subscription knows an event by, in few bytes.
pub(crate) fn event_key(source: &str, id: &str) -> u128 {
    let source = if planted(Fault::SourcesConfused) { "" } else { source };
    in_memory(&[source, id])
}

/// What a list of names is known by in this process, in few bytes and little time. Keyed by chance, so that nobody can
/// make two lists that look the same.
pub(crate) fn in_memory(names: &[&str]) -> u128 {
    static KEYS: LazyLock<(u64, u64)> = LazyLock::new(|| Uuid::new_v4().as_u64_pair());
    let (one, two) = *KEYS;
    let mut hasher = SipHasher13::new_with_keys(one, two);
    for name in names {
        hasher.write(&name.len().to_le_bytes());
        hasher.write(name.as_bytes());
    }
    hasher.finish128().as_u128()
}

/// By what [`in_memory`] says, which is as good as a hash already: it is keyed by chance.
pub(crate) type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<AsItIs>>;

/// Takes the low half of a number for its hash.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        // Only for what is no such number, which nobody puts in.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of it is enough")]
    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
