//! The scenarios over Redis, with deliveries over gRPC.

mod process {
    pub(super) use crate::process::eventually;
    pub(super) type Services = crate::pair::Services<annals_parts::Redis, false>;
}

#[path = "../api/acceptance.rs"]
mod acceptance;
