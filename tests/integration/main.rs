//! End-to-end tests: real servers as processes of their own, spoken to over real sockets, through generated clients only.
//!
//! Each test has a server and a data directory of its own. Test names are statements about what the documents promise.

mod accounts;
mod backup;
mod bans;
mod cases;
mod cuts;
mod erasure;
mod exports;
mod file_cuts;
mod file_faults;
mod files;
mod hostile;
mod idempotency;
mod journal;
mod keys;
mod kill;
mod limits;
mod messages;
mod model;
mod old_text;
mod operability;
mod operator_access;
mod operator_cli;
mod operator_files;
mod operator_stop;
mod operators;
mod permissions;
mod power_loss;
mod proofs;
mod record_cli;
mod removal;
mod rooms;
mod self_check;
mod slow_reader;
mod startup;
mod stop;
mod streams;
mod support;
mod witness;
