//! Accounts and sessions.

use greffe_api::v1::{
    ChangePasswordRequest, ListSessionsRequest, LogInRequest, LogInResponse, LogOutRequest, Receipt, RegisterRequest,
    RegisterResponse, ResetPasswordRequest, ResetPasswordResponse, RevokeSessionRequest, Session,
};

use super::client::Client;
use super::error::Error;

impl Client {
    /// Makes an account and logs in. `invitation` is the operator's code, or empty. Take the answer's token with
    /// [`Client::with_token`]. Not repeated by itself: after a lost answer, try [`Client::log_in`].
    pub async fn register(
        &self,
        user_name: &str,
        password: &str,
        display_name: &str,
        invitation: &str,
    ) -> Result<RegisterResponse, Error> {
        self.call(RegisterRequest {
            user_name: user_name.to_owned(),
            password: password.to_owned(),
            display_name: display_name.to_owned(),
            invitation: invitation.to_owned(),
            client: self.label(),
        })
        .await
    }

    /// Logs in. Take the answer's token with [`Client::with_token`].
    pub async fn log_in(&self, user_name: &str, password: &str) -> Result<LogInResponse, Error> {
        self.call(LogInRequest {
            user_name: user_name.to_owned(),
            password: password.to_owned(),
            client: self.label(),
        })
        .await
    }

    /// Sets a new password with the operator's one-time code, ends all other sessions of the user, and logs in. Take the answer's token
    /// with [`Client::with_token`]. Not repeated by itself: after a lost answer, try [`Client::log_in`].
    ///
    /// # Errors
    /// `INVALID_RESET_CODE`, `UNSUITABLE_PASSWORD`, `BANNED`, `ACCOUNT_DISABLED` and those of every call.
    pub async fn reset_password(
        &self,
        user_name: &str,
        code: &str,
        new_password: &str,
    ) -> Result<ResetPasswordResponse, Error> {
        self.call(ResetPasswordRequest {
            user_name: user_name.to_owned(),
            code: code.to_owned(),
            new_password: new_password.to_owned(),
            client: self.label(),
        })
        .await
    }

    /// Ends the session of this client's token, and its streams.
    pub async fn log_out(&self) -> Result<(), Error> {
        self.call(LogOutRequest {}).await.map(drop)
    }

    /// Changes the password and ends all other sessions; returns how many those were.
    pub async fn change_password(&self, current: &str, new: &str) -> Result<i32, Error> {
        let request = ChangePasswordRequest {
            current_password: current.to_owned(),
            new_password: new.to_owned(),
        };
        self.call(request).await.map(|response| response.sessions_ended)
    }

    /// Lists the user's sessions, newest first.
    pub async fn sessions(&self) -> Result<Vec<Session>, Error> {
        let request = |page_token| ListSessionsRequest {
            page_size: 0,
            page_token,
        };
        self.all_pages(request, |page| (page.sessions, page.next_page_token)).await
    }

    /// Ends one of the user's sessions, and its streams.
    pub async fn revoke_session(&self, session_id: &str) -> Result<Receipt, Error> {
        let request = RevokeSessionRequest {
            session_id: session_id.to_owned(),
            ..Default::default()
        };
        self.call(request).await?.receipt.ok_or_else(|| Error::malformed("the receipt"))
    }
}
