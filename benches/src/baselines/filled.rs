//! A file as the embedded journal has its segments: space for all of it, and zeros written to all of it.

use std::io;
use std::path::Path;

use annals::persistence::{RealVfs, Vfs, VfsFile};

const CHUNK: usize = 1 << 20;

/// Creates one of so many bytes, so that a sync of what is written to it later is as fast as the disk can be.
///
/// # Errors
/// What the system said.
pub fn filled(path: &Path, bytes: u64) -> io::Result<Box<dyn VfsFile>> {
    let file = RealVfs.create(path)?;
    file.reserve(bytes)?;
    let zeros = vec![0; CHUNK];
    for start in (0..bytes).step_by(CHUNK) {
        let len = CHUNK.min((bytes - start) as usize);
        file.write_all_at(&zeros[..len], start)?;
        file.sync_data()?;
    }
    Ok(file)
}
