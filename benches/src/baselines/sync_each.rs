//! One fsync for each command: what a log without group commit does.

use std::path::Path;
use std::time::{Duration, Instant};

use annals::persistence::{RealVfs, Vfs};

use super::filled::filled;
use crate::Failure;

const FILE_BYTES: u64 = 16 << 20;

/// Writes these bytes and syncs, one after the other, into a [`filled`] file; answers writes a second.
///
/// # Errors
/// What the system said.
pub fn sync_each(path: &Path, bytes: &[u8], window: Duration) -> Result<f64, Failure> {
    let file = filled(path, FILE_BYTES)?;
    let (begin, mut end, mut count) = (Instant::now(), 0, 0_u32);
    while begin.elapsed() < window && end + (bytes.len() as u64) < FILE_BYTES {
        file.write_all_at(bytes, end)?;
        file.sync_data()?;
        end += bytes.len() as u64;
        count += 1;
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    RealVfs.remove(path)?;
    Ok(rate)
}
