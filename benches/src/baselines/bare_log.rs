//! A log that does nothing but group commit: one thread takes all that waits, writes it, syncs once, answers each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use annals::persistence::VfsFile;
use ractor::RpcReplyPort;

use super::filled::filled;
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
    let files = made_ahead(dir.to_owned())?;
    std::thread::Builder::new().name("bare-log".to_owned()).spawn(move || write_all(&files, &waiting))?;
    Ok(sender)
}

/// One file after the other; there is always one more than was asked for.
fn made_ahead(dir: PathBuf) -> Result<Receiver<Box<dyn VfsFile>>, Failure> {
    let (sender, files) = sync_channel(0);
    std::thread::Builder::new().name("bare-files".to_owned()).spawn(move || {
        let made = (0_u32..).map_while(|number| filled(&dir.join(number.to_string()), FILE_BYTES).ok());
        made.map(|file| sender.send(file)).all(|sent| sent.is_ok())
    })?;
    Ok(files)
}

fn write_all(files: &Receiver<Box<dyn VfsFile>>, waiting: &Receiver<Append>) -> Result<(), Failure> {
    let mut file = files.recv()?;
    let (mut end, mut buffer, mut group) = (0, Vec::new(), Vec::new());
    while let Ok(first) = waiting.recv() {
        group.extend(std::iter::once(first).chain(waiting.try_iter()));
        group.iter().for_each(|append: &Append| buffer.extend_from_slice(&append.bytes));
        if end + buffer.len() as u64 > FILE_BYTES {
            (end, file) = (0, files.recv()?);
        }
        file.write_all_at(&buffer, end)?;
        file.sync_data()?;
        end += buffer.len() as u64;
        buffer.clear();
        group.drain(..).for_each(|append| drop(append.reply.send(append.version)));
    }
    Ok(())
}
