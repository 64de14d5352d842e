//! `AuthService`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use greffe_api::server::v1::auth_service_server::AuthService;
use greffe_api::v1::{
    ChangePasswordRequest, ChangePasswordResponse, ListSessionsRequest, ListSessionsResponse, LogInRequest,
    LogInResponse, LogOutRequest, LogOutResponse, RegisterRequest, RegisterResponse, ResetPasswordRequest,
    ResetPasswordResponse, RevokeSessionRequest, RevokeSessionResponse, Session,
};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::auth::{address, caller, peer, seconds};
use super::paging::Tokens;
use super::{App, Services, convert};
use crate::config::RegistrationPolicy;
use crate::domain::clock::{Micros, now, timestamp};
use crate::domain::command::{Change, Command, Outcome};
use crate::domain::error::Error;
use crate::domain::ids::{CodeHash, OneTimeCode, SessionId, Token, UserId};
use crate::domain::state::State;
use crate::domain::text::{ClientName, DisplayName, UserName};
use crate::limiter::RetryAfter;
use crate::passwords::check_suitable;

/// Bytes of a refused name that are kept.
const ATTEMPTED_NAME_BYTES: usize = 64;
/// After which someone may try again whose password could not be checked at once.
const BUSY: Duration = Duration::from_secs(1);

impl App {
    pub(super) fn refuse(&self, cause: &'static str, error: Error) -> Error {
        self.refusals.count(cause);
        error
    }

    pub(super) fn busy(&self) -> Error {
        self.refuse("SERVER_BUSY", Error::Busy { retry_after: BUSY })
    }

    /// Refuses who would log in while nobody new is taken.
    fn takes_logins(&self) -> Result<(), Error> {
        match self.feed.draining() {
            None => Ok(()),
            Some(drain) => Err(self.refuse(
                "SERVER_DRAINING",
                Error::Draining {
                    retry_after: drain.reconnect_after,
                    reason: drain.reason.to_string(),
                },
            )),
        }
    }

    /// Refuses who has failed too often.
    pub(super) fn slow_down(&self, verdict: Result<(), RetryAfter>) -> Result<(), Error> {
        verdict.map_err(|wait| self.refuse("TOO_MANY_LOGINS", Error::TooManyLogins { retry_after: wait.0 }))
    }

    fn check_password(&self, field_user: &str, password: &str) -> Result<(), Error> {
        let (min, max) = (self.config.limits.password_min, self.config.limits.password_max);
        check_suitable(password, field_user, min, max).map_err(|why| Error::UnsuitablePassword {
            why: why.to_string(),
            min,
            max,
        })
    }

    fn expires_at(&self, began: Micros) -> Option<Timestamp> {
        seconds(self.config.limits.session_seconds).map(|age| timestamp(began.saturating_add(age)))
    }

    fn api_user(&self, id: UserId) -> Option<greffe_api::v1::User> {
        let online = self.feed.online([id]);
        self.view()
            .read(|state| state.user(id).map(|user| convert::user(user, &online)))
    }

    /// Registration, where the policy allows it.
    async fn register(&self, request: Request<RegisterRequest>) -> Result<RegisterResponse, Error> {
        let (from, peer) = (address(self, &request)?, peer(&request)?.clone());
        let request = request.into_inner();
        self.takes_logins()?;
        let invitation = match self.config.registration.policy {
            RegistrationPolicy::Open => None,
            RegistrationPolicy::Closed => return Err(self.refuse("REGISTRATION_CLOSED", Error::RegistrationClosed)),
            RegistrationPolicy::Invite => self.invitation(&request.invitation, from)?,
        };
        let name = UserName::parse("user_name", request.user_name)?;
        let display_name = DisplayName::parse("display_name", request.display_name)?;
        let client = ClientName::parse("client", request.client)?;
        self.check_password(name.as_str(), &request.password)?;
        if self.view().read(|state| state.user_named(name.as_str()).is_some()) {
            return Err(Error::UserNameTaken);
        }
        let password = self.passwords.hash(request.password).await.map_err(|_| self.busy())?;
        let token = Token::random();
        let secret = token.reveal();
        let outcome = self
            .journal
            .append(Command::Register {
                name,
                display_name,
                password,
                client,
                token,
                from,
                invitation,
            })
            .await?;
        let (user, session_id, began) = logged_in(&outcome)?;
        peer.logged_in();
        self.activity.login(true);
        Ok(RegisterResponse {
            user: self.api_user(user),
            token: secret,
            session_id: session_id.to_string(),
            expires_at: self.expires_at(began),
        })
    }

    /// The one-time invitation that lets somebody sign up; none if the code is one of those that are good for everyone.
    fn invitation(&self, code: &str, from: SocketAddr) -> Result<Option<CodeHash>, Error> {
        if self.invitations.contains(code) {
            return Ok(None);
        }
        // Guessing codes is slowed down like guessing passwords.
        self.slow_down(self.logins.check(from.ip(), "", Instant::now()))?;
        let code = OneTimeCode::parse(code).map(|code| code.hash());
        let known = |code: &CodeHash| {
            let now = now();
            self.view().read(|state| state.standing().invitation(*code, now).is_some())
        };
        if let Some(code) = code.filter(known) {
            return Ok(Some(code));
        }
        self.slow_down(self.logins.failed(from.ip(), "", Instant::now()))?;
        Err(self.refuse("INVALID_INVITATION", Error::InvalidInvitation))
    }

    /// A login. Unknown names and wrong passwords take the same path and the same time.
    async fn log_in(&self, request: Request<LogInRequest>) -> Result<LogInResponse, Error> {
        let (from, peer) = (address(self, &request)?, peer(&request)?.clone());
        let LogInRequest {
            user_name,
            password,
            client,
        } = request.into_inner();
        self.takes_logins()?;
        let client = ClientName::parse("client", client)?;
        let (user, session_id, began, secret) = self.enter(user_name, password, client, from, false).await?;
        peer.logged_in();
        Ok(LogInResponse {
            user: self.api_user(user),
            token: secret,
            session_id: session_id.to_string(),
            expires_at: self.expires_at(began),
        })
    }

    /// Checks a password and begins a session, for a member or at the operators' port.
    pub(super) async fn enter(
        &self,
        user_name: String,
        password: String,
        client: ClientName,
        from: SocketAddr,
        for_operators: bool,
    ) -> Result<(UserId, SessionId, Micros, String), Error> {
        self.slow_down(self.logins.check(from.ip(), &user_name, Instant::now()))?;
        let user = self
            .view()
            .read(|state| state.user_named(&user_name).map(|user| (user.id, user.no)));
        // Looked up for an unknown name too, so that it takes as long.
        let stored = self.reader.password(user.map_or(-1, |(_, no)| no)).await?;
        let right = self.passwords.verify(password, stored.clone()).await.map_err(|_| self.busy())?;
        let (Some((user, _)), Some(verified), true) = (user, stored, right) else {
            self.slow_down(self.logins.failed(from.ip(), &user_name, Instant::now()))?;
            self.note_refused(user.map(|(id, _)| id), &user_name, from).await?;
            return Err(Error::WrongCredentials);
        };
        self.slow_down(self.logins.succeeded(from.ip(), &user_name, Instant::now()))?;
        let token = Token::random();
        let secret = token.reveal();
        let outcome = self
            .journal
            .append(Command::LogIn {
                user,
                verified,
                client,
                token,
                from,
                for_operators,
            })
            .await;
        match outcome {
            Ok(outcome) => {
                let (user, session_id, began) = logged_in(&outcome)?;
                self.activity.login(true);
                Ok((user, session_id, began, secret))
            }
            // Who has the password and may not come in is told why, and that they tried is noted.
            Err(error @ (Error::Banned(_) | Error::AccountDisabled { .. } | Error::ServerRoleRequired { .. })) => {
                self.note_refused(Some(user), &user_name, from).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Notes a login that was refused after its password was looked at.
    async fn note_refused(&self, user: Option<UserId>, name: &str, from: SocketAddr) -> Result<(), Error> {
        self.activity.login(false);
        let fits = name
            .char_indices()
            .take_while(|(at, char)| at + char.len_utf8() <= ATTEMPTED_NAME_BYTES);
        let attempted_name = fits.map(|(_, char)| char).collect();
        let refused = Command::RefuseLogin {
            user,
            attempted_name,
            from,
        };
        self.journal.append(refused).await.map(|_| ())
    }

    /// Sets a password with a one-time code. Unknown names, users without a code and wrong codes get the same answer.
    async fn reset_password(&self, request: Request<ResetPasswordRequest>) -> Result<ResetPasswordResponse, Error> {
        let (from, peer) = (address(self, &request)?, peer(&request)?.clone());
        let ResetPasswordRequest {
            user_name,
            code,
            new_password,
            client,
        } = request.into_inner();
        self.takes_logins()?;
        let client = ClientName::parse("client", client)?;
        self.check_password(&user_name, &new_password)?;
        self.slow_down(self.logins.check(from.ip(), &user_name, Instant::now()))?;
        let code = OneTimeCode::parse(&code).map(|code| code.hash());
        let now = now();
        let user = self.view().read(|state| state.user_named(&user_name).map(|user| user.id));
        let good = user.zip(code).filter(|(user, code)| {
            let resets = |state: &State| state.standing().resets(*user, *code, now);
            self.view().read(resets)
        });
        let Some((user, code)) = good else {
            self.slow_down(self.logins.failed(from.ip(), &user_name, Instant::now()))?;
            self.note_refused(user, &user_name, from).await?;
            return Err(Error::InvalidResetCode);
        };
        self.slow_down(self.logins.succeeded(from.ip(), &user_name, Instant::now()))?;
        let password = self.passwords.hash(new_password).await.map_err(|_| self.busy())?;
        let token = Token::random();
        let secret = token.reveal();
        let outcome = self
            .journal
            .append(Command::ResetPassword {
                user,
                code,
                password,
                client,
                token,
                from,
            })
            .await;
        if let Err(Error::Banned(_) | Error::AccountDisabled { .. } | Error::InvalidResetCode) = outcome {
            self.note_refused(Some(user), &user_name, from).await?;
        }
        let (user, session_id, began) = logged_in(&outcome?)?;
        peer.logged_in();
        self.activity.login(true);
        Ok(ResetPasswordResponse {
            user: self.api_user(user),
            token: secret,
            session_id: session_id.to_string(),
            expires_at: self.expires_at(began),
        })
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Result<ChangePasswordResponse, Error> {
        let caller = caller(self, &request)?;
        let ChangePasswordRequest {
            current_password,
            new_password,
        } = request.into_inner();
        let found = self
            .view()
            .read(|state| state.user(caller.user).map(|user| (user.no, user.name.clone())));
        let (no, name) = found.ok_or(Error::SessionEnded)?;
        self.check_password(&name, &new_password)?;
        // Someone who found an open session must not be able to guess the password there.
        self.slow_down(self.logins.check(caller.address.ip(), &name, Instant::now()))?;
        let stored = self.reader.password(no).await?;
        let right = self
            .passwords
            .verify(current_password, stored.clone())
            .await
            .map_err(|_| self.busy())?;
        let (Some(verified), true) = (stored, right) else {
            self.slow_down(self.logins.failed(caller.address.ip(), &name, Instant::now()))?;
            self.journal
                .append(Command::RefuseLogin {
                    user: Some(caller.user),
                    attempted_name: name,
                    from: caller.address,
                })
                .await?;
            return Err(Error::WrongCredentials);
        };
        let password = self.passwords.hash(new_password).await.map_err(|_| self.busy())?;
        self.slow_down(self.logins.succeeded(caller.address.ip(), &name, Instant::now()))?;
        match self
            .journal
            .append(Command::ChangePassword {
                caller,
                verified,
                password,
            })
            .await?
        {
            Outcome::Ended(count) => Ok(ChangePasswordResponse {
                sessions_ended: i32::try_from(count).unwrap_or(i32::MAX),
            }),
            Outcome::Stored(_)
            | Outcome::LoggedIn { .. }
            | Outcome::Acted { .. }
            | Outcome::Read(_)
            | Outcome::Upload(_)
            | Outcome::Erased(_)
            | Outcome::Done => Err(Error::Internal),
        }
    }

    fn list_sessions(&self, request: &Request<ListSessionsRequest>) -> Result<ListSessionsResponse, Error> {
        let caller = caller(self, request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, caller.user, "sessions", &[]);
        let before = tokens.read_number(&request.page_token)?.unwrap_or(i64::MAX);
        let found: Vec<_> = self.view().read(|state| {
            let sessions = state.sessions_of(caller.user).rev().filter(|session| session.no < before);
            sessions.take(size + 1).cloned().collect()
        });
        let (found, next_page_token) = tokens.page(found, size, |last| last.no.to_string());
        let sessions = found.into_iter().map(|session| Session {
            id: session.id.to_string(),
            created_at: Some(timestamp(session.created)),
            last_used_at: Some(timestamp(session.used)),
            expires_at: self.expires_at(session.created),
            client: session.client,
            address: session.address.map(|address| address.to_string()).unwrap_or_default(),
            current: session.id == caller.session,
            stream_count: i32::try_from(self.feed.streams_of(caller.user, session.id)).unwrap_or(i32::MAX),
        });
        Ok(ListSessionsResponse {
            sessions: sessions.collect(),
            next_page_token,
        })
    }

    async fn revoke_session(&self, request: Request<RevokeSessionRequest>) -> Result<RevokeSessionResponse, Error> {
        let caller = caller(self, &request)?;
        let RevokeSessionRequest { request_id, session_id } = request.into_inner();
        let request = convert::request_id(&request_id)?;
        let change = Change::RevokeSession {
            session: convert::session_id(&session_id)?,
        };
        let receipt = convert::stored(
            self.journal
                .append(Command::Change {
                    caller,
                    request,
                    change,
                })
                .await?,
        )?;
        Ok(RevokeSessionResponse {
            receipt: Some(convert::receipt(self, &receipt)),
        })
    }
}

fn logged_in(outcome: &Outcome) -> Result<(UserId, SessionId, Micros), Error> {
    match outcome {
        Outcome::LoggedIn { user, session, time } => Ok((*user, *session, *time)),
        Outcome::Stored(_)
        | Outcome::Acted { .. }
        | Outcome::Ended(_)
        | Outcome::Read(_)
        | Outcome::Upload(_)
        | Outcome::Erased(_)
        | Outcome::Done => Err(Error::Internal),
    }
}

#[tonic::async_trait]
impl AuthService for Services {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        Ok(Response::new(self.0.register(request).await?))
    }

    async fn log_in(&self, request: Request<LogInRequest>) -> Result<Response<LogInResponse>, Status> {
        Ok(Response::new(self.0.log_in(request).await?))
    }

    async fn reset_password(
        &self,
        request: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        Ok(Response::new(self.0.reset_password(request).await?))
    }

    async fn log_out(&self, request: Request<LogOutRequest>) -> Result<Response<LogOutResponse>, Status> {
        let caller = caller(self, &request)?;
        self.journal.append(Command::LogOut { caller }).await?;
        Ok(Response::new(LogOutResponse {}))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        Ok(Response::new(self.0.change_password(request).await?))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        Ok(Response::new(self.0.list_sessions(&request)?))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        Ok(Response::new(self.0.revoke_session(request).await?))
    }
}
