//! What benchmarks work on: parts of the server as the server puts them together, without its sockets and threads.
//!
//! The writer runs on the calling thread. So a batch has as many commands as are asked for, and nothing waits for another thread.

pub(crate) mod codec;
pub(crate) mod desk;
pub(crate) mod hall;
pub(crate) mod places;
pub(crate) mod texts;
#[path = "../../src/words.rs"]
#[allow(unused_imports, reason = "its tests are the program's")]
pub(crate) mod words;
