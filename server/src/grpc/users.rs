//! `UserService`.

use greffe_api::server::v1::user_service_server::UserService;
use greffe_api::v1::get_user_request::By;
use greffe_api::v1::{
    GetUserRequest, GetUserResponse, ListUsersRequest, ListUsersResponse, UpdateProfileRequest, UpdateProfileResponse,
};
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::paging::Tokens;
use super::{App, Services, convert};
use crate::domain::command::{Change, Command};
use crate::domain::error::Error;
use crate::domain::text::DisplayName;

/// What `GetUser` takes for the caller.
const ME: &str = "me";

impl App {
    fn get_user(&self, request: &Request<GetUserRequest>) -> Result<GetUserResponse, Error> {
        let caller = caller(self, request)?;
        let id = match &request.get_ref().by {
            Some(By::UserId(id)) if id == ME => caller.user,
            Some(By::UserId(id)) => convert::user_id(id)?,
            Some(By::UserName(name)) => self
                .view()
                .read(|state| state.user_named(name).map(|user| user.id))
                .ok_or(Error::UserNotFound)?,
            None => return Err(Error::invalid("by", "give user_id or user_name")),
        };
        let online = self.feed.online([id]);
        let user = self
            .view()
            .read(|state| state.user(id).map(|user| convert::user(user, &online)));
        Ok(GetUserResponse {
            user: Some(user.ok_or(Error::UserNotFound)?),
        })
    }

    fn list_users(&self, request: &Request<ListUsersRequest>) -> Result<ListUsersResponse, Error> {
        let caller = caller(self, request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let online_only = request.online_only.to_string();
        let tokens = Tokens::new(
            &self.identity.journal_id,
            caller.user,
            "users",
            &[&request.name_prefix, &online_only],
        );
        let after = tokens.read(&request.page_token)?;
        let online = self.feed.everyone_online();
        let prefix = request.name_prefix.as_str();
        let users: Vec<_> = self.view().read(|state| {
            let start = after.as_deref().unwrap_or(prefix);
            let found = state.users_from(start).take_while(|user| user.name.starts_with(prefix));
            let found = found.filter(|user| after.as_deref() != Some(user.name.as_str()));
            let found = found.filter(|user| !request.online_only || online.contains(&user.id));
            found.take(size + 1).map(|user| convert::user(user, &online)).collect()
        });
        let (users, next_page_token) = tokens.page(users, size, |last| last.name.clone());
        Ok(ListUsersResponse { users, next_page_token })
    }

    async fn update_profile(&self, request: Request<UpdateProfileRequest>) -> Result<UpdateProfileResponse, Error> {
        let caller = caller(self, &request)?;
        let UpdateProfileRequest {
            request_id,
            user,
            update_mask,
        } = request.into_inner();
        let request = convert::request_id(&request_id)?;
        let paths = update_mask.unwrap_or_default().paths;
        if paths.iter().any(|path| path != "display_name") || paths.is_empty() {
            return Err(Error::invalid(
                "update_mask",
                "it must name `display_name`, and nothing else can be changed",
            ));
        }
        let display_name = DisplayName::parse("user.display_name", user.unwrap_or_default().display_name)?;
        let change = Change::UpdateProfile { display_name };
        let receipt = convert::stored(
            self.journal
                .append(Command::Change {
                    caller,
                    request,
                    change,
                })
                .await?,
        )?;
        let online = self.feed.online([caller.user]);
        let user = self
            .view()
            .read(|state| state.user(caller.user).map(|user| convert::user(user, &online)));
        Ok(UpdateProfileResponse {
            user,
            receipt: Some(convert::receipt(self, &receipt)),
        })
    }
}

#[tonic::async_trait]
impl UserService for Services {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        Ok(Response::new(self.0.get_user(&request)?))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        Ok(Response::new(self.0.list_users(&request)?))
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        Ok(Response::new(self.0.update_profile(request).await?))
    }
}
