//! People.

use greffe_api::v1::{GetUserRequest, ListUsersRequest, UpdateProfileRequest, User, get_user_request::By};
use prost_types::FieldMask;

use super::client::Client;
use super::error::Error;

impl Client {
    /// The user whom the token belongs to.
    pub async fn me(&self) -> Result<User, Error> {
        self.user(By::UserId("me".to_owned())).await
    }

    /// The user with this id.
    pub async fn user_by_id(&self, user_id: &str) -> Result<User, Error> {
        self.user(By::UserId(user_id.to_owned())).await
    }

    /// The user with this name.
    pub async fn user_by_name(&self, user_name: &str) -> Result<User, Error> {
        self.user(By::UserName(user_name.to_owned())).await
    }

    async fn user(&self, by: By) -> Result<User, Error> {
        self.call(GetUserRequest { by: Some(by) })
            .await?
            .user
            .ok_or_else(|| Error::malformed("the user"))
    }

    /// Lists users by name: all of them, or only those who are online, whose names start with `prefix` (empty: any).
    pub async fn users(&self, prefix: &str, online_only: bool) -> Result<Vec<User>, Error> {
        let request = |page_token| ListUsersRequest {
            page_size: 0,
            page_token,
            name_prefix: prefix.to_owned(),
            online_only,
        };
        self.all_pages(request, |page| (page.users, page.next_page_token)).await
    }

    /// Changes the name that is shown beside the user's own; may be empty.
    pub async fn set_display_name(&self, display_name: &str) -> Result<User, Error> {
        let request = UpdateProfileRequest {
            user: Some(User {
                display_name: display_name.to_owned(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["display_name".to_owned()],
            }),
            ..Default::default()
        };
        self.call(request).await?.user.ok_or_else(|| Error::malformed("the user"))
    }
}
