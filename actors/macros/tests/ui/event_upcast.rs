use annals_macros::{Event, Shape};
use annals_persistence::Upcast;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Shape)]
struct OldV1;

#[derive(Serialize, Deserialize, Shape)]
struct OldV2;

#[derive(Serialize, Deserialize, Shape)]
struct Forgotten;

impl Upcast for OldV1 {
    type Next = Jumps;

    fn upcast(self) -> Jumps {
        Jumps::Now
    }
}

impl Upcast for OldV2 {
    type Next = String;

    fn upcast(self) -> String {
        String::new()
    }
}

#[derive(Event)]
enum Jumps {
    #[event("jumps-a-version", version = 3, upcast(1 = OldV1, 2 = OldV2))]
    Now,
}

#[derive(Event)]
enum NoUpcast {
    #[event("cannot-go-on", version = 2, upcast(1 = Forgotten))]
    Now,
}

fn main() {}
