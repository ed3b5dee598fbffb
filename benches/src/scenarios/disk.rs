//! The disk, for reference: disks differ a hundredfold in it, so no ratio is made of it.

use crate::baselines::sync_each::sync_each as run;
use crate::{Failure, Measurement, System, Workshop, alternate};

/// One fsync for each command.
pub(super) fn sync_each(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let (bytes, dir) = (workshop.encoded_event()?, workshop.dir()?);
    let system = System::new("one fsync each", |window| run(&dir.path().join("log"), &bytes, window));
    Ok(vec![alternate("one fsync per command (reference)", "commands/s", &workshop.plan, vec![system])?])
}
