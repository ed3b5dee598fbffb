//! What Annals is measured against.
//!
//! | baseline | what it shows |
//! |---|---|
//! | [`raw`] | a ractor call that does nothing: what any actor costs |
//! | [`ceiling`] | ractor and a [`bare_log`] with group commit: what any durable actor costs at least |
//! | [`sync_each`] | one fsync for each command: what group commit saves |
//! | [`rivals`] | embedded stores that services use for the same: sled and fjall |
//! | [`frames`] | the log's own frames, checked and decoded from memory: what reading costs at least |

pub mod bare_log;
pub mod ceiling;
pub mod filled;
pub mod frames;
pub mod raw;
pub mod rivals;
pub mod sync_each;
