//! What the server says of itself to its operator.

use std::path::Path;

use anyhow::Context as _;
use greffe_api::admin::v1::server_admin_service_client::ServerAdminServiceClient;
use greffe_api::admin::v1::{GetStatusRequest, ServerStatus};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::server::Process;

/// A connection to the operators' socket.
#[derive(Debug)]
pub(super) struct Operator(ServerAdminServiceClient<Channel>);

impl Operator {
    /// Connects to a server.
    pub(super) async fn connect(server: &Process) -> anyhow::Result<Self> {
        let socket = server.admin.as_deref().context("the server names no socket for operators")?;
        let channel = endpoint(socket)?
            .connect()
            .await
            .with_context(|| format!("{} cannot be reached", socket.display()))?;
        Ok(Self(ServerAdminServiceClient::new(channel)))
    }

    /// What the server says now.
    pub(super) async fn status(&mut self) -> anyhow::Result<ServerStatus> {
        let answer = self.0.get_status(GetStatusRequest {}).await?.into_inner();
        answer.status.context("the answer has no status")
    }
}

fn endpoint(socket: &Path) -> anyhow::Result<Endpoint> {
    let socket = socket.to_str().context("the socket's path is not UTF-8")?;
    // Whom the calls are for: the socket's path would be no valid name.
    let origin = Uri::from_static("http://localhost");
    Ok(Endpoint::from_shared(format!("unix:{socket}"))?.origin(origin))
}
