//! The Greffe server: a self-hosted chat server that keeps the record. `ARCHITECTURE.md` has the map.

pub mod activity;
pub mod background;
pub mod backup;
pub mod blobs;
pub mod check;
pub mod config;
pub mod domain;
pub mod edge;
pub mod eraser;
pub mod exporter;
pub mod grpc;
pub mod journal;
pub mod lifecycle;
pub mod limiter;
pub mod live;
pub mod notary;
pub mod ownership;
pub mod passwords;
pub mod search;
pub mod self_check;
pub mod staging;
pub mod stopping;
pub mod store;
pub mod telemetry;
mod wake;

pub use lifecycle::{Server, Start, StartError};
