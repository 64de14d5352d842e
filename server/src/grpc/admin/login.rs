//! `AdminAuthService`.

use greffe_api::admin::v1::{
    LogInRequest, LogInResponse, LogOutRequest, LogOutResponse, WhoAmIRequest, WhoAmIResponse,
};
use greffe_api::server::admin::v1::admin_auth_service_server::AdminAuthService;
use tonic::{Request, Response, Status};

use super::AdminServices;
use crate::domain::clock::timestamp;
use crate::domain::command::Command;
use crate::domain::error::Error;
use crate::domain::operator::{Operator, Roles};
use crate::domain::text::ClientName;
use crate::edge::LocalPeer;
use crate::grpc::App;
use crate::grpc::auth::{address, peer};

impl App {
    async fn admin_log_in(&self, request: Request<LogInRequest>) -> Result<LogInResponse, Error> {
        if request.extensions().get::<LocalPeer>().is_some() {
            return Err(Error::UnknownMethod);
        }
        let (from, peer) = (address(self, &request)?, peer(&request)?.clone());
        let LogInRequest {
            user_name,
            password,
            client,
        } = request.into_inner();
        let client = ClientName::parse("client", client)?;
        let (user, session, began, token) = self.enter(user_name, password, client, from, true).await?;
        peer.logged_in();
        let roles = self
            .view()
            .read(|state| state.user(user).map(|user| user.roles).unwrap_or_default());
        Ok(LogInResponse {
            token,
            session_id: session.to_string(),
            expires_at: Some(timestamp(began.saturating_add(self.operators_lifetime().age))),
            roles: roles.to_api(),
        })
    }

    async fn admin_log_out(&self, request: &Request<LogOutRequest>) -> Result<(), Error> {
        match self.who(request)?.operator {
            Operator::Local { .. } => Err(Error::UnknownMethod),
            Operator::Account { caller, .. } => self.journal.append(Command::LogOut { caller }).await.map(|_| ()),
        }
    }
}

#[tonic::async_trait]
impl AdminAuthService for AdminServices {
    async fn log_in(&self, request: Request<LogInRequest>) -> Result<Response<LogInResponse>, Status> {
        Ok(Response::new(self.admin_log_in(request).await?))
    }

    async fn log_out(&self, request: Request<LogOutRequest>) -> Result<Response<LogOutResponse>, Status> {
        self.admin_log_out(&request).await?;
        Ok(Response::new(LogOutResponse {}))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let who = self.who(&request)?;
        let roles: Roles = who.roles;
        Ok(Response::new(WhoAmIResponse {
            operator: Some(who.operator.identity()),
            roles: roles.to_api(),
        }))
    }
}
