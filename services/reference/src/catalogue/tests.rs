//! The order of a catalogue, and its pages.

use annals::http::Page;
use annals::prelude::Position;
use uuid::Uuid;

use super::Catalogue;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn page(catalogue: &Catalogue<char>, limit: Option<usize>, after: Option<u128>) -> Option<String> {
    let page = Page { limit, after: after.map(id) };
    catalogue.page(&page).ok().map(|values| values.iter().map(|value| **value).collect())
}

fn three() -> Catalogue<char> {
    let mut catalogue = Catalogue::default();
    for (number, value) in [(3, 'a'), (1, 'b'), (2, 'c')] {
        let position = Position(100 + u64::from(value));
        catalogue.insert(id(number), position, value);
    }
    catalogue
}

#[test]
fn entries_stand_in_the_order_of_their_creation() {
    let catalogue = three();
    assert_eq!(page(&catalogue, None, None).as_deref(), Some("abc"));
    assert_eq!(page(&catalogue, Some(2), None).as_deref(), Some("ab"));
    assert_eq!(page(&catalogue, Some(2), Some(1)).as_deref(), Some("c"));
    assert_eq!(page(&catalogue, Some(0), None).as_deref(), Some(""));
    assert_eq!(page(&catalogue, None, Some(7)), None);
}

#[test]
fn paging_goes_on_after_something_removed() {
    let mut catalogue = three();
    assert_eq!(catalogue.remove(id(1)).as_deref(), Some(&'b'));
    assert_eq!(catalogue.remove(id(1)), None);
    assert_eq!(page(&catalogue, None, Some(1)).as_deref(), Some("c"));
    assert_eq!(page(&catalogue, None, None).as_deref(), Some("ac"));
}

#[test]
fn what_is_created_again_stands_at_the_end() {
    let mut catalogue = three();
    catalogue.remove(id(3));
    catalogue.insert(id(3), Position(900), 'd');
    assert_eq!(page(&catalogue, None, None).as_deref(), Some("bcd"));
}

#[test]
fn a_list_that_is_being_written_does_not_change() {
    let mut catalogue = three();
    let before = catalogue.page(&Page { limit: None, after: None }).unwrap();
    *catalogue.get_mut(id(3)).unwrap() = 'z';
    assert_eq!(*before[0], 'a');
    assert_eq!(page(&catalogue, None, None).as_deref(), Some("zbc"));
}
