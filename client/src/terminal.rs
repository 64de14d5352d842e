//! What the command lines `greffe` and `greffe-admin` share: safe output, times, exit codes, secrets, tokens, and calls as grpcurl lines.
//!
//! It is here so that it exists once. It is no part of the SDK: it prints, reads the environment, and may change with any version.

pub mod checkpoint;
pub mod config;
pub mod documents;
pub mod error;
pub mod export;
pub mod local_files;
pub mod password;
pub mod progress;
pub mod shell;
pub mod show_rpc;
pub mod stdin;
pub mod text;
pub mod time;
pub mod ui;
pub mod witness;
