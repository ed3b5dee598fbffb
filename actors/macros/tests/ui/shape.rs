use annals_macros::Shape;

#[derive(Shape)]
struct BadLeaf {
    #[shape(name = "x")]
    field: u8,
}

#[derive(Shape)]
union Overlap {
    a: u8,
}

#[derive(Shape)]
#[serde(remote = "std::time::Duration")]
struct Foreign {
    secs: u64,
}

fn main() {}
