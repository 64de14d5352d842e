//! The Rust SDK of Greffe, a self-hosted chat server that keeps the record.
//!
//! [`Client`] makes the calls of the members' API; [`Feed`] follows what happens, live, and sends without losing or doubling anything:
//! it reconnects with growing pauses, resumes where it was, and repeats what was not acknowledged with the same `request_id`. Files go up with
//! [`Client::send_bytes`] and come down with [`Client::download`], which go on after a cut where the other side stands.
//! The member's client `greffe` uses nothing else.
//!
//! ```no_run
//! use greffe::{Action, Client, FeedOptions, Item, Options};
//!
//! # async fn example() -> Result<(), greffe::Error> {
//! let client = Client::connect("http://127.0.0.1:52020", Options::default()).await?;
//! let login = client.log_in("alice", "correct horse battery").await?;
//! let client = client.with_token(&login.token)?;
//! let general = client.server_info().await?.general_room_id.clone();
//!
//! let mut feed = client.feed(FeedOptions::default());
//! let ticket = feed.outbox().send(Action::send(general, "Hello, everyone"))?;
//! tokio::spawn(async move {
//!     match ticket.receipt().await {
//!         Ok(receipt) => eprintln!("stored as {}", receipt.seq),
//!         Err(error) => eprintln!("refused: {error}"),
//!     }
//! });
//! while let Some(item) = feed.next().await {
//!     match item {
//!         Item::Event(event) => eprintln!("{:?}", event.head),
//!         Item::Ended { error, .. } => return Err(error),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A file goes up and comes down in pieces, and is checked as a whole:
//!
//! ```no_run
//! use greffe::{Client, NewFile, Sha256, new_request_id};
//!
//! # async fn example(client: Client, room_id: String) -> Result<(), Box<dyn std::error::Error>> {
//! let mut source = tokio::fs::File::open("report.pdf").await?;
//! let size = source.metadata().await?.len();
//! let new = NewFile { name: "report.pdf".into(), room_id, ..NewFile::default() };
//! let upload = client.create_upload(&new, size, &new_request_id()).await?;
//! let progress = |progress: greffe::Progress| eprintln!("{} of {}", progress.done, progress.total);
//! let sha256 = client.send_bytes(&upload, &mut source, &progress).await?;
//! let (file, _) = client.complete_upload(&upload.id, sha256, &new_request_id()).await?;
//!
//! let mut sink = tokio::fs::File::create_new("copy.pdf").await?;
//! client.download(&file, Sha256::new(), &mut sink, &progress).await?;
//! sink.sync_all().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Operator`] makes the calls of the operators' API and of that of the record, over the socket of this machine or from afar. Exports come file by
//! file into an [`ExportSink`]: those of cases by [`Operator::download_export`], which goes on after a cut, and what a member did by
//! [`Client::export_my_data`].
//!
//! Everything takes deadlines from [`Options`]; every queue is bounded. Errors are one type, [`Error`], whether they came as the status of
//! a call or within a stream: match on [`Error::reason`], never on texts.

mod sdk;
pub mod terminal;

/// The messages of the operators' API, `greffe.admin.v1`, as generated from `proto/`.
pub use greffe_api::admin::v1 as admin_api;
/// The messages of the API of the record, `greffe.record.v1`, as generated from `proto/`.
pub use greffe_api::record_api::v1 as record_api;
/// The messages of the members' API, `greffe.v1`, as generated from `proto/`.
pub use greffe_api::v1 as api;
pub use sdk::address::{DEFAULT_SERVER, ServerAddress};
pub use sdk::client::{CallObserver, Client, Options, WaitObserver, new_request_id};
pub use sdk::error::{Code, Error, reason};
pub use sdk::exports::ExportSink;
pub use sdk::feed::{Action, Feed, FeedOptions, Item, Outbox, Ticket};
pub use sdk::files::{FileQuery, NewFile, Progress, ProgressObserver, Sha256};
pub use sdk::methods::Method;
pub use sdk::operator::Operator;
pub use sdk::rooms::NewRoom;
pub use sdk::trust::{Fingerprint, KnownServers, Trust};
pub use sdk::witness::{Compared, KeptCheckpoint, Witnessed, on_paper};
