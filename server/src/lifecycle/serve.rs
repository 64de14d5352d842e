//! Which services are served where: members' on the edge, operators' on their socket and, if configured, on an edge of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use greffe_api::server::admin::v1::admin_auth_service_server::AdminAuthServiceServer;
use greffe_api::server::admin::v1::ban_admin_service_server::BanAdminServiceServer;
use greffe_api::server::admin::v1::file_admin_service_server::FileAdminServiceServer;
use greffe_api::server::admin::v1::log_admin_service_server::LogAdminServiceServer;
use greffe_api::server::admin::v1::report_admin_service_server::ReportAdminServiceServer;
use greffe_api::server::admin::v1::room_admin_service_server::RoomAdminServiceServer;
use greffe_api::server::admin::v1::server_admin_service_server::ServerAdminServiceServer;
use greffe_api::server::admin::v1::session_admin_service_server::SessionAdminServiceServer;
use greffe_api::server::admin::v1::user_admin_service_server::UserAdminServiceServer;
use greffe_api::server::record_api::v1::case_service_server::CaseServiceServer;
use greffe_api::server::record_api::v1::checkpoint_service_server::CheckpointServiceServer;
use greffe_api::server::record_api::v1::erasure_service_server::ErasureServiceServer;
use greffe_api::server::record_api::v1::export_service_server::ExportServiceServer;
use greffe_api::server::record_api::v1::hold_service_server::HoldServiceServer;
use greffe_api::server::v1::auth_service_server::AuthServiceServer;
use greffe_api::server::v1::chat_service_server::ChatServiceServer;
use greffe_api::server::v1::file_service_server::FileServiceServer;
use greffe_api::server::v1::proof_service_server::ProofServiceServer;
use greffe_api::server::v1::room_service_server::RoomServiceServer;
use greffe_api::server::v1::server_service_server::ServerServiceServer;
use greffe_api::server::v1::user_service_server::UserServiceServer;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic_reflection::server::Builder as Reflection;

use crate::edge::{AdminSocket, Edge};
use crate::grpc::admin::AdminServices;
use crate::grpc::{App, LiveBodies, RefuseLayer, Services};

/// The packages that members are not told of.
const OPERATORS: [&str; 2] = ["greffe.admin.", "greffe.record."];

/// Bytes of a frame that a client may send: a piece of a file in one, instead of in frames of 16 KiB, each of which costs.
const FRAME_BYTES: u32 = 1024 * 1024;

/// What serving ends with.
type Served = Result<(), tonic::transport::Error>;
type Layered = tower::layer::util::Stack<RefuseLayer, tower::layer::util::Identity>;

/// An HTTP/2 server with our limits.
fn server(app: &Arc<App>) -> tonic::transport::Server<Layered> {
    let limits = &app.config.limits;
    // Never `http2_adaptive_window`: it shrinks the connection's window, and with it how many small frames may wait.
    tonic::transport::Server::builder()
        .initial_connection_window_size(limits.connection_window_bytes)
        .initial_stream_window_size(limits.stream_window_bytes)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(limits.metadata_bytes)
        .http2_max_pending_accept_reset_streams(Some(limits.pending_resets))
        .http2_max_local_error_reset_streams(Some(limits.pending_resets))
        .http2_keepalive_interval(Some(Duration::from_secs(limits.ping_seconds)))
        .http2_keepalive_timeout(Some(Duration::from_secs(limits.ping_timeout_seconds)))
        .layer(RefuseLayer { app: Arc::clone(app) })
}

/// Adds reflection of the files that `told` says, and health.
fn add_discovery(routes: &mut RoutesBuilder, app: &App, told: impl Fn(&str) -> bool) {
    let mut files =
        FileDescriptorSet::decode(greffe_api::FILE_DESCRIPTOR_SET).expect("the descriptor set was made by the build");
    files.file.retain(|file| told(file.package()));
    let reflection = || {
        Reflection::configure()
            .register_file_descriptor_set(files.clone())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let sound = "the descriptor sets were made by the build";
    routes
        .add_service(reflection().build_v1().expect(sound))
        .add_service(reflection().build_v1alpha().expect(sound))
        .add_service(app.health.service());
}

fn member_routes(app: &Arc<App>) -> Routes {
    let size = app.config.limits.request_bytes;
    let services = Services(Arc::clone(app));
    let mut routes = RoutesBuilder::default();
    add_discovery(&mut routes, app, |package| {
        !OPERATORS.iter().any(|prefix| package.starts_with(prefix))
    });
    routes
        .add_service(ServerServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(AuthServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(UserServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(RoomServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(ProofServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(LiveBodies(
            ChatServiceServer::new(services.clone()).max_decoding_message_size(size),
        ))
        .add_service(
            FileServiceServer::new(services).max_decoding_message_size(size + app.config.limits.file_chunk_bytes),
        );
    routes.routes()
}

fn operator_routes(app: &Arc<App>) -> Routes {
    let size = app.config.limits.request_bytes;
    let services = AdminServices(Arc::clone(app));
    let mut routes = RoutesBuilder::default();
    add_discovery(&mut routes, app, |_| true);
    routes
        .add_service(AdminAuthServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(ServerAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(CheckpointServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(UserAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(SessionAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(BanAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(FileAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(RoomAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(ReportAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(LogAdminServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(CaseServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(HoldServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(ExportServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(ErasureServiceServer::new(services).max_decoding_message_size(size));
    routes.routes()
}

/// Serves members until `stop`, and until every connection has ended.
pub(super) fn members(
    app: &Arc<App>,
    edge: Edge,
    stop: CancellationToken,
) -> impl Future<Output = Served> + Send + use<> {
    let mut server = server(app);
    let routes = member_routes(app);
    async move {
        server
            .add_routes(routes)
            .serve_with_incoming_shutdown(edge.incoming(stop.clone()), stop.cancelled_owned())
            .await
    }
}

/// Serves operators over TCP until `stop`.
pub(super) fn operators(
    app: &Arc<App>,
    edge: Edge,
    stop: CancellationToken,
) -> impl Future<Output = Served> + Send + use<> {
    let mut server = server(app);
    let routes = operator_routes(app);
    async move {
        server
            .add_routes(routes)
            .serve_with_incoming_shutdown(edge.incoming(stop.clone()), stop.cancelled_owned())
            .await
    }
}

/// Serves operators over the local socket until `stop`.
pub(super) fn operators_locally(
    app: &Arc<App>,
    socket: AdminSocket,
    stop: CancellationToken,
) -> impl Future<Output = Served> + Send + use<> {
    let mut server = server(app);
    let routes = operator_routes(app);
    async move {
        server
            .add_routes(routes)
            .serve_with_incoming_shutdown(socket.incoming(stop.clone()), stop.cancelled_owned())
            .await
    }
}
