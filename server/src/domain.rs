//! The rules: who may do what, and what then happens. Knows neither gRPC nor SQL.
//!
//! A change is a [`command::Command`]. The journal's writer asks [`decide::decide`] what it leads to, given the [`state::State`] that it is
//! about to change and the [`facts::Facts`] that the state does not hold; the answer is a refusal or the events to append.
//!
//! The contents of events are the generated types of `proto/`, because those are the format that is stored; nothing else of the API is
//! known here.

pub mod caller;
pub mod clock;
pub mod command;
pub mod decide;
pub mod entry;
pub mod erasure;
pub mod error;
pub mod facts;
pub mod files;
pub mod ids;
pub mod log;
pub mod operator;
pub mod permissions;
pub mod rate;
pub mod record;
pub mod standing;
pub mod state;
pub mod text;
