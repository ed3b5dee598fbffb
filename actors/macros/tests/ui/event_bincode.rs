use annals_macros::Event;
use serde::{Deserialize, Serialize};

#[derive(Event)]
enum Attributes {
    #[event("a", codec = bincode)]
    Default {
        #[serde(default)]
        added: u32,
    },
    #[event("b", codec = bincode)]
    Skipped {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    #[event("c", codec = bincode)]
    Flat {
        #[serde(flatten)]
        rest: Vec<u8>,
    },
    #[event("d")]
    JsonMay {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        note: Option<String>,
    },
}

#[derive(Default, Event, Serialize, Deserialize)]
#[event("e", codec = bincode)]
#[serde(default)]
struct Container {
    added: u32,
}

fn main() {}
