//! A log that does nothing but group commit: one thread takes all that waits, writes it, syncs once, answers each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use annals::persistence::{RealVfs, Vfs, VfsFile};
use ractor::RpcReplyPort;

use crate::Failure;

const FILE_BYTES: u64 = 64 << 20;

/// Bytes to make durable, and whom to tell the version that they are.
#[derive(Debug)]
pub struct Append {
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// What to answer.
    pub version: u64,
    /// To whom.
    pub reply: RpcReplyPort<u64>,
}

/// Starts the writer; it ends, without answering, when the disk fails.
///
/// # Errors
/// When there is no file or no thread for it.
pub fn start(dir: &Path) -> Result<Sender<Append>, Failure> {
    let (sender, waiting) = channel();
    let (dir, file) = (dir.to_owned(), create(&dir.join("0"))?);
    std::thread::Builder::new().name("bare-log".to_owned()).spawn(move || write_all(&dir, file, &waiting))?;
    Ok(sender)
}

/// The file has its space reserved, as the embedded journal's have.
fn create(path: &Path) -> Result<Box<dyn VfsFile>, std::io::Error> {
    let file = RealVfs.create(path)?;
    file.reserve(FILE_BYTES)?;
    Ok(file)
}

fn write_all(
    dir: &Path,
    mut file: Box<dyn VfsFile>,
    waiting: &Receiver<Append>,
) -> Result<(), std::io::Error> {
    let (mut end, mut files, mut buffer, mut group) = (0, 0, Vec::new(), Vec::new());
    while let Ok(first) = waiting.recv() {
        group.extend(std::iter::once(first).chain(waiting.try_iter()));
        group.iter().for_each(|append: &Append| buffer.extend_from_slice(&append.bytes));
        if end + buffer.len() as u64 > FILE_BYTES {
            files += 1;
            (end, file) = (0, create(&next(dir, files))?);
        }
        file.write_all_at(&buffer, end)?;
        file.sync_data()?;
        end += buffer.len() as u64;
        buffer.clear();
        group.drain(..).for_each(|append| drop(append.reply.send(append.version)));
    }
    Ok(())
}

fn next(dir: &Path, number: u32) -> PathBuf {
    dir.join(number.to_string())
}
