use annals_macros::Event;

#[derive(Event)]
enum Twice {
    #[event("order-shipped")]
    Shipped,
    #[event("order-shipped", version = 2)]
    ShippedTwo,
    #[event("order-shipped", version = 2)]
    ShippedAgain,
}

#[derive(Event)]
enum TwoNames {
    #[event("a")]
    #[event("b")]
    Both,
}

#[derive(Event)]
enum Generic<T> {
    #[event("a")]
    One(T),
}

fn main() {}
