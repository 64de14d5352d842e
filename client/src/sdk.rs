//! The parts of the SDK. `lib.rs` says what of it is public. Nothing in here prints, reads the environment or ends the process.

mod accounts;
pub(crate) mod address;
pub(crate) mod client;
mod connect;
pub(crate) mod error;
pub(crate) mod exports;
pub(crate) mod feed;
pub(crate) mod files;
mod messages;
pub(crate) mod methods;
pub(crate) mod operator;
mod operator_methods;
mod pauses;
mod record_methods;
pub(crate) mod rooms;
pub(crate) mod trust;
mod users;
pub(crate) mod witness;
