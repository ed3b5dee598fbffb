use super::*;

struct Node;

impl Shape for Node {
    fn describe(shape: &mut ShapeWriter) {
        shape.composite("crate::Node", "struct", |shape| {
            shape.part("value", u32::describe);
            shape.part("children", Vec::<Self>::describe);
        });
    }
}

struct Outer;

impl Shape for Outer {
    fn describe(shape: &mut ShapeWriter) {
        shape.composite("crate::Outer", "struct", |shape| shape.part("node", Node::describe));
    }
}

#[test]
fn shapes_read_as_text() {
    assert_eq!(shape_text::<u32>(), "u32;");
    assert_eq!(shape_text::<Option<Vec<String>>>(), "option:list:string;");
    assert_eq!(shape_text::<BTreeMap<String, (u8, bool)>>(), "map:string;tuple:u8;bool;");
    assert_eq!(shape_text::<[u8; 4]>(), "array4:u8;");
}

#[test]
fn a_type_that_contains_itself_ends() {
    assert_eq!(shape_text::<Node>(), "struct{value:u32;children:list:struct^0;}");
    assert_eq!(shape_text::<Outer>(), "struct{node:struct{value:u32;children:list:struct^0;}}");
}

#[test]
fn what_is_encoded_alike_has_one_shape() {
    assert_eq!(fingerprint::<Box<u64>>(), fingerprint::<u64>());
    assert_eq!(fingerprint::<Arc<str>>(), fingerprint::<String>());
    assert_eq!(fingerprint::<Vec<u8>>(), fingerprint::<BTreeSet<u8>>());
    assert_eq!(fingerprint::<HashMap<u8, u8>>(), fingerprint::<BTreeMap<u8, u8>>());
    assert_eq!(fingerprint::<HashSet<u8>>(), fingerprint::<VecDeque<u8>>());
}

#[test]
fn what_is_encoded_otherwise_has_another_shape() {
    let different = [
        fingerprint::<u32>(),
        fingerprint::<i32>(),
        fingerprint::<u64>(),
        fingerprint::<crate::Timestamp>(),
        fingerprint::<Option<u32>>(),
        fingerprint::<Vec<u32>>(),
        fingerprint::<[u32; 2]>(),
        fingerprint::<[u32; 3]>(),
        fingerprint::<(u32, u32)>(),
        fingerprint::<(u32, (u32,))>(),
        fingerprint::<Vec<Option<u32>>>(),
        fingerprint::<Option<Vec<u32>>>(),
        fingerprint::<Node>(),
        fingerprint::<Outer>(),
    ];
    let distinct: BTreeSet<_> = different.iter().collect();
    assert_eq!(distinct.len(), different.len());
}

/// Fingerprints are kept in snapshots and lock files: they may not change with a release.
#[test]
fn fingerprints_are_stable() {
    assert_eq!(fingerprint::<u32>(), xxh3_64(b"u32;"));
    assert_eq!(fingerprint::<u32>(), 7_753_369_431_205_375_105);
}
