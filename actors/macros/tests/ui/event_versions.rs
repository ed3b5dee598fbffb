use annals_macros::Event;

#[derive(Event)]
enum Versions {
    #[event("a", version = 3, upcast(1 = V1))]
    Missing,
    #[event("b", version = 4, upcast(1 = V1, 3 = V3))]
    Gap,
    #[event("c", version = 2, upcast(2 = V2))]
    Twice,
    #[event("d", upcast(1 V1))]
    Form,
}

#[derive(Event)]
#[event(retired("e"))]
enum HowToRead {}

#[derive(Event)]
#[event(removed("f", 1 = V1))]
enum Word {}

#[derive(Event)]
#[event(retired("h", 1 = V1))]
enum Names {
    #[event("g", was = "h")]
    Former,
}

fn main() {}
