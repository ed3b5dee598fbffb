//! A segment made of bytes, by docs/log-format.md: behind a header that is right come the bytes, and every frame in them
//! gets the checksum that it should have. Without that no mutation would ever get past the checksums.

const HEADER_BYTES: usize = 4096;
const FRAME_HEADER_BYTES: usize = 16;
const SALT: u64 = 7;

/// A whole segment, its frames mended.
pub fn mended(frames: &[u8]) -> Vec<u8> {
    let mut segment = header();
    segment.extend_from_slice(frames);
    let mut at = HEADER_BYTES;
    while let Some(bytes) = frame_bytes(&segment[at..]) {
        let checksum = checksum(at as u64, &segment[at..at + bytes]);
        segment[at + 8..at + 12].copy_from_slice(&checksum.to_le_bytes());
        at += bytes;
    }
    segment
}

fn header() -> Vec<u8> {
    let mut bytes = b"ANNALSLG".to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
    for number in [1, 1, 0, SALT, 0] {
        bytes.extend_from_slice(&u64::to_le_bytes(number));
    }
    bytes.extend_from_slice(&[9; 16]);
    bytes.extend_from_slice(&1_700_000_000_000_000_i64.to_le_bytes());
    bytes.resize(HEADER_BYTES - 4, 0);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// How long the frame is that these bytes begin with, if one does.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..FRAME_HEADER_BYTES)?;
    let body = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
    let total = FRAME_HEADER_BYTES + body.next_multiple_of(8);
    (head[..2] == 0xA7E1_u16.to_le_bytes() && total <= bytes.len()).then_some(total)
}

fn checksum(offset: u64, frame: &[u8]) -> u32 {
    let parts = [&SALT.to_le_bytes(), &offset.to_le_bytes(), &frame[..8], &frame[12..]];
    parts.iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part))
}
