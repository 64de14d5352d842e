//! What parts of the server cost, apart from sockets and threads. The method is in `README.md`.

#![allow(
    unused_crate_dependencies,
    reason = "benchmarks share the dependencies of the program"
)]

#[path = "../parts/mod.rs"]
mod parts;

mod append;
mod archive;
mod catch_up;
mod codec;
mod fan_out;
mod search;

fn main() {
    divan::main();
    archive::remove();
}
