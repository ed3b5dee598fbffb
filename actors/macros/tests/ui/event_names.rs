use annals_macros::Event;

#[derive(Event)]
enum Unnamed {
    OrderShipped,
    #[event("fine")]
    Fine,
    OrderCancelled { reason: String },
}

#[derive(Event)]
struct AlsoUnnamed;

#[derive(Event)]
enum BadName {
    #[event("OrderShipped")]
    Shipped,
}

#[derive(Event)]
enum BadOptions {
    #[event("a", version = 0)]
    Zero,
    #[event("b", codec = protobuf)]
    Codec,
    #[event("c", colour = "red")]
    Unknown,
    #[event(name = "d")]
    Order,
}

fn main() {}
