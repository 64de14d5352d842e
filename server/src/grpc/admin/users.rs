//! `UserAdminService`.

use greffe_api::admin::v1::{
    AdminUser, CreateInvitationRequest, CreateInvitationResponse, CreateUserRequest, CreateUserResponse,
    DisableUserRequest, DisableUserResponse, EnableUserRequest, EnableUserResponse, GetUserRequest, GetUserResponse,
    Invitation as ApiInvitation, ListInvitationsRequest, ListInvitationsResponse, ListUserMessagesRequest,
    ListUserMessagesResponse, ListUsersRequest, ListUsersResponse, MessageUserRequest, MessageUserResponse,
    ResetUserPasswordRequest, ResetUserPasswordResponse, RevokeInvitationRequest, RevokeInvitationResponse,
    SetUserRolesRequest, SetUserRolesResponse, UserFilter,
};
use greffe_api::server::admin::v1::user_admin_service_server::UserAdminService;
use greffe_api::v1::ServerRole;
use tonic::{Request, Response, Status};

use super::{Acted, AdminServices};
use crate::domain::clock::{Micros, SECOND, now, timestamp};
use crate::domain::error::Error;
use crate::domain::ids::{OneTimeCode, UserId};
use crate::domain::operator::{Act, Roles};
use crate::domain::standing::Invitation;
use crate::domain::state::{State, User};
use crate::domain::text::{DisplayName, Line, MessageText, UserName};
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};
use crate::store::Range;

/// Bytes at which a page of messages ends.
const PAGE_BYTES: usize = 1 << 20;
/// Days that an invitation is good for, unless a request says otherwise, and at most.
const INVITATION_DAYS: (i32, i32) = (7, 365);
const DAY: Micros = 24 * 3600 * SECOND;

/// Roles as a request names them.
fn roles(asked: &[i32]) -> Result<Roles, Error> {
    Roles::from_api(asked).ok_or_else(|| Error::invalid("roles", "there are the roles operator and investigator"))
}

/// Roles, as they are recorded.
fn roles_text(asked: &[i32]) -> String {
    let names = asked.iter().map(|role| match ServerRole::try_from(*role) {
        Ok(ServerRole::Operator) => "operator".to_owned(),
        Ok(ServerRole::Investigator) => "investigator".to_owned(),
        Ok(ServerRole::Unspecified) | Err(_) => role.to_string(),
    });
    let names: Vec<String> = names.take(8).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(",")
    }
}

fn api_invitation(invitation: &Invitation) -> ApiInvitation {
    ApiInvitation {
        index: invitation.index,
        note: invitation.note.clone(),
        created_at: Some(timestamp(invitation.time)),
        expires_at: Some(timestamp(invitation.until)),
    }
}

impl App {
    /// An account as operators see it, without its live streams.
    fn admin_user(state: &State, user: &User, now: Micros) -> AdminUser {
        let ban = state.standing().ban_of(user.id, now);
        let last_use = state.sessions_of(user.id).map(|session| session.used).max();
        AdminUser {
            id: user.id.to_string(),
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            created_at: Some(timestamp(user.created)),
            roles: user.roles.to_api(),
            disabled: user.disabled,
            ban_index: ban.map_or(0, |ban| ban.index),
            online: false,
            session_count: i32::try_from(state.sessions_of(user.id).count()).unwrap_or(i32::MAX),
            stream_count: 0,
            last_used_at: last_use.map(timestamp),
            is_operator_identity: user.is_operator_identity,
            awaits_code: state.standing().awaits_code(user.id),
        }
    }

    /// Adds what the feed knows.
    fn with_streams(&self, mut users: Vec<(UserId, AdminUser)>) -> Vec<AdminUser> {
        for (id, user) in &mut users {
            let streams = self.feed.streams(Some(std::slice::from_ref(id))).len();
            user.stream_count = i32::try_from(streams).unwrap_or(i32::MAX);
            user.online = streams > 0;
        }
        users.into_iter().map(|(_, user)| user).collect()
    }

    fn one_admin_user(&self, id: UserId) -> Option<AdminUser> {
        let now = now();
        let user = self
            .view()
            .read(|state| state.user(id).map(|user| (id, Self::admin_user(state, user, now))))?;
        self.with_streams(vec![user]).pop()
    }

    fn admin_users(&self, request: &Request<ListUsersRequest>) -> Result<ListUsersResponse, Error> {
        let who = self.looks(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let (role_text, filter_text) = (request.role.to_string(), request.filter.to_string());
        let tokens = Tokens::new(
            &self.identity.journal_id,
            who.name(),
            "admin users",
            &[&request.name_prefix, &role_text, &filter_text],
        );
        let after = tokens.read(&request.page_token)?;
        let (role, filter, now) = (request.role(), request.filter(), now());
        let prefix = request.name_prefix.as_str();
        let online = if filter == UserFilter::Online {
            self.feed.everyone_online()
        } else {
            std::collections::HashSet::new()
        };
        let (users, next) = self.view().read(|state| {
            let start = after.as_deref().unwrap_or(prefix);
            let has_role = |user: &User| match role {
                ServerRole::Unspecified => true,
                ServerRole::Operator => user.roles.operator,
                ServerRole::Investigator => user.roles.investigator,
            };
            let is_in_state = |user: &User| match filter {
                UserFilter::Unspecified => true,
                UserFilter::Online => online.contains(&user.id),
                UserFilter::Disabled => user.disabled,
                UserFilter::Banned => state.standing().ban_of(user.id, now).is_some(),
            };
            let mut found: Vec<&User> = state
                .users_from(start)
                .take_while(|user| user.name.starts_with(prefix))
                .filter(|user| after.as_deref() != Some(user.name.as_str()))
                .filter(|user| has_role(user) && is_in_state(user))
                .take(size + 1)
                .collect();
            let more = found.len() > size;
            found.truncate(size);
            let next = found.last().filter(|_| more).map(|last| last.name.clone());
            let users = found.into_iter().map(|user| (user.id, Self::admin_user(state, user, now)));
            (users.collect::<Vec<_>>(), next)
        });
        Ok(ListUsersResponse {
            users: self.with_streams(users),
            next_page_token: next.map(|next| tokens.write(&next)).unwrap_or_default(),
        })
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<CreateUserResponse, Error> {
        let who = self.who(&request)?;
        let CreateUserRequest {
            request_id,
            reason,
            user_name,
            display_name,
            roles: asked_roles,
        } = request.into_inner();
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/CreateUser", request_id, reason)
            .with("user_name", user_name.as_str())
            .compare(&display_name)
            .with("roles", roles_text(&asked_roles));
        let code = OneTimeCode::random();
        let name = user_name.clone();
        let parsed = UserName::parse("user_name", user_name).and_then(|name| {
            Ok(Act::CreateUser {
                name,
                display_name: DisplayName::parse("display_name", display_name)?,
                roles: roles(&asked_roles)?,
                code: code.hash(),
            })
        });
        let acted = self.act(asked, parsed).await?;
        let user = self.account(&name).ok();
        let expires = user.and_then(|user| self.view().read(|state| state.standing().code_expires(user)));
        Ok(CreateUserResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            user: user.and_then(|user| self.one_admin_user(user)),
            code: told_once(&acted, &code),
            code_expires_at: expires.map(timestamp),
        })
    }

    async fn set_user_roles(&self, request: Request<SetUserRolesRequest>) -> Result<SetUserRolesResponse, Error> {
        let who = self.who(&request)?;
        let SetUserRolesRequest {
            request_id,
            reason,
            user,
            roles: asked_roles,
        } = request.into_inner();
        let account = self.account(&user);
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/SetUserRoles", request_id, reason)
            .with("user", user)
            .with("roles", roles_text(&asked_roles))
            .about(&account);
        let act = account.and_then(|user| {
            Ok(Act::SetRoles {
                user,
                roles: roles(&asked_roles)?,
            })
        });
        let acted = self.act(asked, act).await?;
        Ok(SetUserRolesResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }

    async fn reset_user_password(
        &self,
        request: Request<ResetUserPasswordRequest>,
    ) -> Result<ResetUserPasswordResponse, Error> {
        let who = self.who(&request)?;
        let ResetUserPasswordRequest {
            request_id,
            reason,
            user,
        } = request.into_inner();
        let account = self.account(&user);
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/ResetUserPassword", request_id, reason)
            .with("user", user)
            .about(&account);
        let code = OneTimeCode::random();
        let hash = code.hash();
        let id = account.as_ref().ok().copied();
        let act = account.map(|user| Act::ResetPassword { user, code: hash });
        let acted = self.act(asked, act).await?;
        let expires = id.and_then(|user| self.view().read(|state| state.standing().code_expires(user)));
        Ok(ResetUserPasswordResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            code: told_once(&acted, &code),
            code_expires_at: expires.map(timestamp),
            sessions_ended: acted.sessions,
            streams_closed: acted.streams,
        })
    }

    async fn disable_user(&self, request: Request<DisableUserRequest>) -> Result<DisableUserResponse, Error> {
        let who = self.who(&request)?;
        let DisableUserRequest {
            request_id,
            reason,
            user,
        } = request.into_inner();
        let account = self.account(&user);
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/DisableUser", request_id, reason)
            .with("user", user)
            .about(&account);
        let acted = self.act(asked, account.map(|user| Act::Disable { user })).await?;
        Ok(DisableUserResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            sessions_ended: acted.sessions,
            streams_closed: acted.streams,
        })
    }

    async fn enable_user(&self, request: Request<EnableUserRequest>) -> Result<EnableUserResponse, Error> {
        let who = self.who(&request)?;
        let EnableUserRequest {
            request_id,
            reason,
            user,
        } = request.into_inner();
        let account = self.account(&user);
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/EnableUser", request_id, reason)
            .with("user", user)
            .about(&account);
        let acted = self.act(asked, account.map(|user| Act::Enable { user })).await?;
        Ok(EnableUserResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }

    async fn message_user(&self, request: Request<MessageUserRequest>) -> Result<MessageUserResponse, Error> {
        let who = self.who(&request)?;
        let MessageUserRequest {
            request_id,
            reason,
            user,
            text,
        } = request.into_inner();
        let account = self.account(&user);
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/MessageUser", request_id, reason)
            .with("user", user)
            .compare(&text)
            .about(&account);
        let id = account.as_ref().ok().copied();
        let text = MessageText::parse(text, self.config.limits.text_bytes);
        let acted = self
            .act(asked, account.and_then(|user| Ok(Act::Message { user, text: text? })))
            .await?;
        let room = id.and_then(|user| {
            self.view().read(|state| {
                let room = state.direct(state.operator_identity()?, user)?;
                Some(room.id.to_string())
            })
        });
        Ok(MessageUserResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            room_id: room.unwrap_or_default(),
            seq: acted.effect.map_or(0, |effect| effect.seq),
        })
    }

    async fn list_user_messages(
        &self,
        request: Request<ListUserMessagesRequest>,
    ) -> Result<ListUserMessagesResponse, Error> {
        let who = self.who(&request)?;
        let ListUserMessagesRequest {
            request_id,
            reason,
            user,
            before_seq,
            page_size,
        } = request.into_inner();
        let account = self.account(&user);
        let limit = self.page_size(page_size);
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/ListUserMessages", request_id, reason)
            .with("user", user)
            .with("before_seq", before_seq.to_string())
            .about(&account)
            .reads();
        let id = account.as_ref().ok().copied();
        let act = match (account, &limit) {
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(error.clone()),
            _ if before_seq < 0 => Err(Error::invalid("before_seq", "it must be 0 or more")),
            _ => Ok(Act::Note),
        };
        // That it is read is on record before it is shown.
        let acted = self.act(asked, act).await?;
        let limit = limit?;
        let room = id.and_then(|user| {
            self.view().read(|state| {
                let room = state.direct(state.operator_identity()?, user)?;
                Some((room.no, room.head_seq))
            })
        });
        let (messages, has_more) = match room {
            None => (Vec::new(), false),
            Some((room, head_seq)) => {
                let last = if before_seq == 0 {
                    head_seq
                } else {
                    head_seq.min(before_seq - 1)
                };
                let range = Range {
                    room,
                    first: 1,
                    last,
                    limit,
                    bytes: PAGE_BYTES,
                    newest: true,
                };
                self.reader.messages(range).await?
            }
        };
        Ok(ListUserMessagesResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            messages: messages.iter().filter_map(convert::message).collect(),
            has_more,
        })
    }

    async fn create_invitation(
        &self,
        request: Request<CreateInvitationRequest>,
    ) -> Result<CreateInvitationResponse, Error> {
        let who = self.who(&request)?;
        let CreateInvitationRequest {
            request_id,
            reason,
            note,
            days,
        } = request.into_inner();
        let (default, most) = INVITATION_DAYS;
        let days = if days == 0 { default } else { days };
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/CreateInvitation", request_id, reason)
            .with("note", note.as_str())
            .with("days", days.to_string());
        let code = OneTimeCode::random();
        let hash = code.hash();
        let act = Line::parse("note", note).and_then(|note| {
            if !(1..=most).contains(&days) {
                return Err(Error::invalid("days", format!("it must be 1 to {most}")));
            }
            Ok(Act::CreateInvitation {
                note,
                good_for: i64::from(days) * DAY,
                code: hash,
            })
        });
        let acted = self.act(asked, act).await?;
        let now = now();
        let invitation = acted.effect.as_ref().and_then(|effect| {
            let found = |state: &State| state.standing().invitation_at(effect.index, now).map(api_invitation);
            self.view().read(found)
        });
        Ok(CreateInvitationResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            invitation,
            code: told_once(&acted, &code),
        })
    }

    fn list_invitations(&self, request: &Request<ListInvitationsRequest>) -> Result<ListInvitationsResponse, Error> {
        let who = self.looks(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, who.name(), "admin invitations", &[]);
        let before = tokens.read_number(&request.page_token)?.unwrap_or(i64::MAX);
        let now = now();
        let invitations: Vec<ApiInvitation> = self.view().read(|state| {
            let found = state
                .standing()
                .invitations(now)
                .rev()
                .filter(|invitation| invitation.index < before);
            found.take(size + 1).map(api_invitation).collect()
        });
        let (invitations, next_page_token) = tokens.page(invitations, size, |last| last.index.to_string());
        Ok(ListInvitationsResponse {
            invitations,
            next_page_token,
        })
    }

    async fn revoke_invitation(
        &self,
        request: Request<RevokeInvitationRequest>,
    ) -> Result<RevokeInvitationResponse, Error> {
        let who = self.who(&request)?;
        let RevokeInvitationRequest {
            request_id,
            reason,
            invitation_index: index,
        } = request.into_inner();
        let asked = who
            .calls("greffe.admin.v1.UserAdminService/RevokeInvitation", request_id, reason)
            .with("invitation_index", index.to_string());
        let acted = self.act(asked, Ok(Act::RevokeInvitation { index })).await?;
        Ok(RevokeInvitationResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }
}

/// A secret is told with the first answer only: the one that a repeated request made is not the one that is stored.
fn told_once(acted: &Acted, code: &OneTimeCode) -> String {
    if acted.repeated { String::new() } else { code.reveal() }
}

#[tonic::async_trait]
impl UserAdminService for AdminServices {
    async fn list_users(&self, request: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        Ok(Response::new(self.admin_users(&request)?))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        self.looks(&request)?;
        let user = self.account(&request.get_ref().user)?;
        Ok(Response::new(GetUserResponse {
            user: self.one_admin_user(user),
        }))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<CreateUserResponse>, Status> {
        Ok(Response::new(self.0.create_user(request).await?))
    }

    async fn set_user_roles(
        &self,
        request: Request<SetUserRolesRequest>,
    ) -> Result<Response<SetUserRolesResponse>, Status> {
        Ok(Response::new(self.0.set_user_roles(request).await?))
    }

    async fn reset_user_password(
        &self,
        request: Request<ResetUserPasswordRequest>,
    ) -> Result<Response<ResetUserPasswordResponse>, Status> {
        Ok(Response::new(self.0.reset_user_password(request).await?))
    }

    async fn disable_user(
        &self,
        request: Request<DisableUserRequest>,
    ) -> Result<Response<DisableUserResponse>, Status> {
        Ok(Response::new(self.0.disable_user(request).await?))
    }

    async fn enable_user(&self, request: Request<EnableUserRequest>) -> Result<Response<EnableUserResponse>, Status> {
        Ok(Response::new(self.0.enable_user(request).await?))
    }

    async fn message_user(
        &self,
        request: Request<MessageUserRequest>,
    ) -> Result<Response<MessageUserResponse>, Status> {
        Ok(Response::new(self.0.message_user(request).await?))
    }

    async fn list_user_messages(
        &self,
        request: Request<ListUserMessagesRequest>,
    ) -> Result<Response<ListUserMessagesResponse>, Status> {
        Ok(Response::new(self.0.list_user_messages(request).await?))
    }

    async fn create_invitation(
        &self,
        request: Request<CreateInvitationRequest>,
    ) -> Result<Response<CreateInvitationResponse>, Status> {
        Ok(Response::new(self.0.create_invitation(request).await?))
    }

    async fn list_invitations(
        &self,
        request: Request<ListInvitationsRequest>,
    ) -> Result<Response<ListInvitationsResponse>, Status> {
        Ok(Response::new(self.0.list_invitations(&request)?))
    }

    async fn revoke_invitation(
        &self,
        request: Request<RevokeInvitationRequest>,
    ) -> Result<Response<RevokeInvitationResponse>, Status> {
        Ok(Response::new(self.0.revoke_invitation(request).await?))
    }
}
