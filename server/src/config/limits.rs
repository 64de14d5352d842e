//! The limits: each one's name, meaning, default and range, written once.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::domain::decide::FileLimits;

/// What is known of a limit beside its value.
#[derive(Debug)]
pub(super) struct LimitFacts {
    /// The name, the same in every source.
    pub(super) name: &'static str,
    /// The meaning, line by line, as in the documentation.
    pub(super) doc: &'static [&'static str],
    /// What is accepted.
    range: RangeInclusive<i64>,
}

/// A limit's type; all of them fit into the `int64` that the API has.
trait Number {
    fn to_i64(self) -> i64;
}

impl Number for i64 {
    fn to_i64(self) -> i64 {
        self
    }
}

impl Number for u32 {
    fn to_i64(self) -> i64 {
        self.into()
    }
}

impl Number for u64 {
    fn to_i64(self) -> i64 {
        i64::try_from(self).unwrap_or(i64::MAX)
    }
}

impl Number for usize {
    fn to_i64(self) -> i64 {
        i64::try_from(self).unwrap_or(i64::MAX)
    }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $number:ty = $default:expr, $range:expr;)+) => {
        /// What one client, user or address may use at most.
        ///
        /// Most are told to clients under the same names by `ServerService.GetServerInfo`.
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: $number,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// All limits by name, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> {
                [$((stringify!($name), self.$name.to_i64()),)+].into_iter()
            }
        }

        pub(super) const FACTS: &[LimitFacts] = &[
            $(LimitFacts { name: stringify!($name), doc: &[$($doc),+], range: $range },)+
        ];
    };
}

const KIB: i64 = 1024;
const MIB: i64 = 1024 * 1024;
const DAY: u64 = 24 * 60 * 60;
/// Ten years: longer spans are mistakes.
const LONG: i64 = 3650 * 24 * 60 * 60;

limits! {
    /// Bytes of a message's text. Default 16384.
    text_bytes: usize = 16 * 1024, 1..=8 * MIB;
    /// Bytes of a call's metadata. Default 8192.
    metadata_bytes: u32 = 8 * 1024, KIB..=MIB;
    /// Bytes of a request, and of a frame that a client sends on a stream; at least `text_bytes` + 4096. Default 65536.
    request_bytes: usize = 64 * 1024, 8 * KIB..=16 * MIB;
    /// Calls and streams that may be open on one connection at a time. Default 32.
    streams_per_connection: u32 = 32, 1..=10_000;
    /// Connections to the server; never more than the file descriptors allow. Default 10000.
    connections: usize = 10_000, 1..=1_000_000;
    /// Connections from one address on which nobody has logged in. Default 32.
    connections_per_address: usize = 32, 1..=1_000_000;
    /// Connections on which one user has live streams. Default 32.
    connections_per_user: usize = 32, 1..=1_000_000;
    /// Bytes that wait for a slow reader before they are forgotten and read again from the journal. Default 262144.
    mailbox_bytes: usize = 256 * 1024, 16 * KIB..=256 * MIB;
    /// Bytes of answers to sends that may wait unread before the stream ends. Default 262144.
    result_bytes: usize = 256 * 1024, 4 * KIB..=256 * MIB;
    /// Sends on one stream that may wait for their answers. Default 256.
    unanswered_sends: usize = 256, 1..=65_536;
    /// Changes a second that a user may make in the long run; 0: any number. Default 10.
    messages_per_second: u32 = 10, 0..=1_000_000;
    /// Changes that a user may make at once after a pause. Default 50.
    messages_burst: u32 = 50, 1..=1_000_000;
    /// Failed logins a minute from one address; 0: any number. Default 20.
    failed_logins_per_address: u32 = 20, 0..=1_000_000;
    /// Failed logins for one account from one address before each further one must wait, and longer each time;
    /// 0: any number. Default 5.
    failed_logins_per_account: u32 = 5, 0..=1_000_000;
    /// Characters of a password, at least. Default 8.
    password_min: usize = 8, 8..=128;
    /// Characters of a password, at most. Default 128.
    password_max: usize = 128, 64..=1024;
    /// Seconds after which a session ends in any case. Default 2592000 (30 days).
    session_seconds: u64 = 30 * DAY, 1..=LONG;
    /// Seconds after which an unused session ends; at most `session_seconds`. Default 604800 (7 days).
    session_idle_seconds: u64 = 7 * DAY, 1..=LONG;
    /// Items of a page if the request does not say; at most `page_max`. Default 100.
    page_default: usize = 100, 1..=10_000;
    /// Items of a page at most. Default 500.
    page_max: usize = 500, 1..=10_000;
    /// Members of a room up to which presence and typing are sent without being asked for. Default 200.
    presence_members: usize = 200, 0..=100_000;
    /// Seconds for which a `request_id` is remembered. Default 604800 (7 days).
    request_id_seconds: u64 = 7 * DAY, 60..=LONG;
    /// Seconds between heartbeats on a stream that is quiet. Default 15.
    heartbeat_seconds: u64 = 15, 1..=3600;
    /// Rooms that one user may have entered: `general`, invitations, and direct rooms that others opened do not count. Default 1000.
    rooms_per_user: usize = 1000, 1..=100_000;
    /// Invitations that may wait for one user. Default 200.
    invitations_per_user: usize = 200, 1..=100_000;
    /// Sessions that one user may have; a further login ends the one that was not used for longest. Default 200.
    sessions_per_user: usize = 200, 1..=10_000;
    /// Times a second that a user may say how far they have read, in the long run; 0: any number. Default 20.
    read_marks_per_second: u32 = 20, 0..=1_000_000;
    /// Times that a user may say so at once after a pause. Default 100.
    read_marks_burst: u32 = 100, 1..=1_000_000;
    /// Bytes of a file. Default 104857600 (100 MiB).
    file_bytes: i64 = 100 * MIB, 0..=1024 * 1024 * MIB;
    /// Bytes of all files of one user, those on their way included, and those that were deleted and are kept for the
    /// record. Default 1073741824 (1 GiB).
    file_quota_bytes: i64 = 1024 * MIB, 0..=1024 * 1024 * 1024 * MIB;
    /// Bytes of a chunk of a file, and of a file that goes in one call. Default 1048576.
    file_chunk_bytes: usize = 1024 * 1024, 4 * KIB..=16 * MIB;
    /// Uploads that one user may have at a time. Default 8.
    uploads_per_user: usize = 8, 1..=10_000;
    /// Seconds after which an upload that gets no bytes is given up. Default 86400 (1 day).
    upload_idle_seconds: u64 = DAY, 1..=LONG;
    /// Bytes that a client may send on one connection before the server has read them. Default 8388608.
    /// HTTP/2 libraries close connections with many small unread frames, and the allowance grows with this.
    connection_window_bytes: u32 = 8 * 1024 * 1024, 64 * KIB..=256 * MIB;
    /// Bytes that a client may send on one stream before the server has read them; at most
    /// `connection_window_bytes`. Default 4194304.
    stream_window_bytes: u32 = 4 * 1024 * 1024, 64 * KIB..=256 * MIB;
    /// Streams of one connection that were reset and are not yet forgotten, before the connection is closed. Default 128.
    pending_resets: usize = 128, 1..=65_536;
    /// Seconds for the TLS handshake, again for the HTTP/2 preface, and again for the first request. Default 10.
    handshake_seconds: u64 = 10, 1..=600;
    /// Seconds without traffic after which the server pings a client. Default 30.
    ping_seconds: u64 = 30, 1..=3600;
    /// Seconds that a client has for its answer to a ping. Default 20.
    ping_timeout_seconds: u64 = 20, 1..=3600;
    /// Seconds for which a client's TCP may take no byte while some wait, before the connection is closed. Default 20.
    write_stall_seconds: u64 = 20, 1..=3600;
    /// Seconds for which a client that streams an upload may bring no bytes, before the stream is ended. Default 60.
    upload_pause_seconds: u64 = 60, 1..=3600;
    /// Password hashes computed at once (19 MiB of memory each); 0: one per processor core. Default 0.
    password_hashes: usize = 0, 0..=1024;
    /// Logins that may wait for a password hash. Default 64.
    password_queue: usize = 64, 0..=65_536;
    /// Milliseconds that a login waits for its turn to be hashed. Default 2000.
    password_wait_ms: u64 = 2000, 1..=60_000;
}

impl Limits {
    /// How large files may be.
    pub fn of_files(&self) -> FileLimits {
        FileLimits {
            file_bytes: self.file_bytes,
            file_quota_bytes: self.file_quota_bytes,
        }
    }

    /// Calls `problem` with the name of each limit that cannot be used, and why.
    pub(super) fn check(&self, mut problem: impl FnMut(&'static str, String)) {
        for ((name, value), facts) in self.iter().zip(FACTS) {
            if !facts.range.contains(&value) {
                let (least, most) = (facts.range.start(), facts.range.end());
                problem(name, format!("{value} is out of range: use {least} to {most}"));
            }
        }
        let mut at_most = |name, value: i64, other: &str, most: i64| {
            if value > most {
                problem(
                    name,
                    format!("{value} is more than {other} ({most}): lower it, or raise {other}"),
                );
            }
        };
        // A request holds, beside the text, ids and mentions.
        at_most(
            "text_bytes",
            self.text_bytes.to_i64(),
            "request_bytes - 4096",
            self.request_bytes.to_i64() - 4096,
        );
        at_most(
            "password_min",
            self.password_min.to_i64(),
            "password_max",
            self.password_max.to_i64(),
        );
        at_most(
            "page_default",
            self.page_default.to_i64(),
            "page_max",
            self.page_max.to_i64(),
        );
        at_most(
            "session_idle_seconds",
            self.session_idle_seconds.to_i64(),
            "session_seconds",
            self.session_seconds.to_i64(),
        );
        at_most(
            "stream_window_bytes",
            self.stream_window_bytes.into(),
            "connection_window_bytes",
            self.connection_window_bytes.into(),
        );
    }
}
