//! Small numbers and texts as bytes, and reading them back without believing any length.

use std::ops::Range;

use uuid::Uuid;

/// Writes a number in as few bytes as it needs: seven bits each, the lowest first, the top bit set on all but the last.
pub(super) fn put_unsigned(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Writes a signed number so that small ones are short whatever their sign: 0, -1, 1, -2 become 0, 1, 2, 3.
pub(super) fn put_signed(buffer: &mut Vec<u8>, value: i64) {
    put_unsigned(buffer, ((value << 1) ^ (value >> 63)) as u64);
}

/// Writes a length and that many bytes.
pub(super) fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(buffer, bytes.len() as u64);
    buffer.extend_from_slice(bytes);
}

/// Bytes to read from; `None` when they do not hold what was asked for.
#[derive(Debug)]
pub(super) struct Input<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) const fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub(super) fn remaining(&self) -> &'a [u8] {
        &self.all[self.at..]
    }

    /// Where in the bytes the unread ones are.
    pub(super) const fn rest(&self) -> Range<usize> {
        self.at..self.all.len()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.remaining().get(..count)?;
        self.at += count;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub(super) fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// As many bytes as the length in front of them says.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.unsigned()?).ok()?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}
