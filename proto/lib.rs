//! The Rust types and clients generated from `proto/`, and the descriptor set.
//!
//! With the feature `server` also the services' traits, in [`server`].

/// The members' API, `greffe.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("greffe.v1");
}

/// The operators' API.
pub mod admin {
    /// The operators' API, `greffe.admin.v1`.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("greffe.admin.v1");
    }
}

/// The API of the record.
pub mod record_api {
    /// The API of the record, `greffe.record.v1`.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("greffe.record.v1");
    }
}

#[cfg(feature = "server")]
pub mod codec;
#[cfg(feature = "server")]
pub mod encoded;
#[cfg(feature = "record")]
pub mod record;

/// The services' traits, for servers.
#[cfg(feature = "server")]
pub mod server {
    /// The members' services, `greffe.v1`.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/server/greffe.v1.rs"));
    }

    /// The operators' services, `greffe.admin.v1`.
    pub mod admin {
        /// The operators' services, `greffe.admin.v1`.
        #[allow(
            missing_docs,
            unreachable_pub,
            clippy::all,
            clippy::pedantic,
            clippy::allow_attributes_without_reason,
            reason = "generated code"
        )]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/server/greffe.admin.v1.rs"));
        }
    }

    /// The services of the record.
    pub mod record_api {
        /// The services of the record, `greffe.record.v1`.
        #[allow(
            missing_docs,
            unreachable_pub,
            clippy::all,
            clippy::pedantic,
            clippy::allow_attributes_without_reason,
            reason = "generated code"
        )]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/server/greffe.record.v1.rs"));
        }
    }
}

/// The encoded `FileDescriptorSet` of every package, without comments, as reflection serves it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/greffe.fds.bin"));
