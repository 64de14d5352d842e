//! Threads that step back for all others: for the bytes of uploads, for which nobody waits as they wait for a message. (Downloads are read by the runtime's own
//! threads: with these they were half as fast, and a read from memory is short.)

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How far these threads step back; 19 is the most that there is, and less gained less.
const NICENESS: i32 = 19;
/// Threads that may wait for the disk at the same time. What comes on top waits its turn.
const THREADS: usize = 64;

/// Lets every other thread of the process go before this one.
pub(crate) fn give_way() {
    // Linux keeps this value for each thread.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "A thread that should step back runs at the same priority as all else");
    }
}

/// Runs work on threads that step back.
#[derive(Debug)]
pub struct Background {
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts the threads.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(THREADS)
            .thread_name("background")
            .on_thread_start(give_way)
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the drop")
    }

    /// Runs what blocks.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.runtime().spawn_blocking(work)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait: this may be a thread that must not block.
            runtime.shutdown_background();
        }
    }
}
