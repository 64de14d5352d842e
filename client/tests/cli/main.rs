//! The member's client as its users meet it: the binary, against a real server, judged by what it prints and how it exits.

#[cfg(unix)]
mod accounts;
#[cfg(unix)]
mod chat;
#[cfg(unix)]
mod exporting;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod messages;
#[cfg(unix)]
mod operator;
#[cfg(unix)]
mod rooms;
#[cfg(unix)]
mod support;
#[cfg(unix)]
mod tls;
