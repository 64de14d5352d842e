//! The operator's tool as its users meet it, as far as it needs no server: the binary, judged by what it prints and how it exits.
//! What it does with a server is tested end to end, in the package `greffe-tests`.

#[cfg(unix)]
mod connecting;
#[cfg(unix)]
mod exporting;
#[cfg(unix)]
mod support;
#[cfg(unix)]
mod usage;
