//! Waking many tasks from a thread that is none of the runtime's.

use std::task::Waker;

/// Wakers that are woken where they are. Each wake-up from another thread costs a lock of the runtime and perhaps a system call.
const WOKEN_DIRECTLY: usize = 4;

/// Wakes those who have something to do. Many are woken by a task of the runtime, which finds them places in its own queue.
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if wakers.len() > WOKEN_DIRECTLY => {
            runtime.spawn(async move { wakers.into_iter().for_each(Waker::wake) });
        }
        _ => wakers.into_iter().for_each(Waker::wake),
    }
}
