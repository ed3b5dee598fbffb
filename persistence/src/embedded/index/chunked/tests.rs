use super::*;

#[test]
fn it_holds_what_was_pushed_in_its_order() {
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let mut items = Chunked::default();
        (0..len).for_each(|item| items.push(item));
        assert_eq!(items.len(), len);
        assert!(items.iter().copied().eq(0..len));
        assert!((0..len).all(|at| items[at] == at && items.get(at) == Some(&at)));
        assert_eq!(items.get(len), None);
        assert_eq!(items.get_mut(len), None);
        let chunks: Vec<_> = (0..5).flat_map(|number| items.chunk(number)).copied().collect();
        assert!(chunks.into_iter().eq(0..len));
        if len > 0 {
            items[len - 1] = 77;
            assert_eq!(items.get(len - 1), Some(&77));
        }
    }
}

#[test]
fn growing_moves_nothing_and_makes_room_for_one_chunk_more_at_most() {
    let mut items = Chunked::default();
    (0..2 * CHUNK).for_each(|item| items.push(item));
    let place = &raw const items[CHUNK];
    for item in 2 * CHUNK..9 * CHUNK + 1 {
        items.push(item);
        let room: usize = items.chunks.iter().map(Vec::capacity).sum();
        assert!(room < items.len() + CHUNK, "{room} for {}", items.len());
    }
    assert_eq!(place, &raw const items[CHUNK]);
}
