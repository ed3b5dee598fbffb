//! The scenarios over JetStream, with deliveries over HTTP.

mod process {
    pub(super) use crate::process::eventually;
    pub(super) type Services = crate::pair::Services<annals_parts::Nats, true>;
}

#[path = "../api/acceptance.rs"]
mod acceptance;
