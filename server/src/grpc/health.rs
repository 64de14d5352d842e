//! What health checks are told: one word for the server, and the same for each of the members' services.

use greffe_api::server::v1::auth_service_server::SERVICE_NAME as AUTH;
use greffe_api::server::v1::chat_service_server::SERVICE_NAME as CHAT;
use greffe_api::server::v1::room_service_server::SERVICE_NAME as ROOM;
use greffe_api::server::v1::server_service_server::SERVICE_NAME as SERVER;
use greffe_api::server::v1::user_service_server::SERVICE_NAME as USER;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// Tells health checks how the server is.
#[derive(Clone)]
pub struct Health(HealthReporter);

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}

impl Default for Health {
    fn default() -> Self {
        Self(HealthReporter::new())
    }
}

impl Health {
    /// The service that answers health checks.
    pub fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
    }

    /// Tells whether the server takes people.
    pub async fn tell(&self, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in ["", SERVER, AUTH, USER, ROOM, CHAT] {
            self.0.set_service_status(service, status).await;
        }
    }
}
