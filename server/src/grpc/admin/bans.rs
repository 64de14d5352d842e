//! `BanAdminService`.

use std::net::IpAddr;

use greffe_api::admin::v1::{
    Ban as ApiBan, CreateBanRequest, CreateBanResponse, LiftBanRequest, LiftBanResponse, ListBansRequest,
    ListBansResponse, create_ban_request, lift_ban_request,
};
use greffe_api::server::admin::v1::ban_admin_service_server::BanAdminService;
use ipnet::{IpNet, Ipv4Net};
use tonic::{Request, Response, Status};

use super::{AdminServices, span, span_text};
use crate::domain::clock::{now, timestamp};
use crate::domain::error::Error;
use crate::domain::operator::{Act, BanName, BanTarget};
use crate::domain::standing::Ban;
use crate::domain::state::State;
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};

/// Seconds that a ban may last.
const LONGEST: i64 = 10 * 366 * 24 * 3600;

/// Reads an address or a network. What names IPv4 within IPv6 is taken as IPv4, as connections are.
fn network(text: &str) -> Result<IpNet, Error> {
    let wrong = || {
        Error::invalid(
            "network",
            "give an address (192.0.2.7) or a network (192.0.2.0/24, 2001:db8::/64)",
        )
    };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| wrong())?;
    match network {
        IpNet::V6(v6) => match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(_), None) => Err(wrong()),
            (Some(address), Some(prefix)) => {
                let v4 = Ipv4Net::new(address, prefix).map_err(|_| wrong())?;
                Ok(IpNet::V4(v4.trunc()))
            }
            _ => Ok(network.trunc()),
        },
        IpNet::V4(_) => Ok(network.trunc()),
    }
}

fn api_ban(state: &State, ban: &Ban) -> ApiBan {
    let (user, network) = match ban.target {
        BanTarget::User(user) => (Some(user), None),
        BanTarget::Network(network) => (None, Some(network)),
    };
    ApiBan {
        index: ban.index,
        user_id: user.map(|user| user.to_string()).unwrap_or_default(),
        user_name: user
            .and_then(|user| state.user(user))
            .map(|user| user.name.clone())
            .unwrap_or_default(),
        network: network.map(|network| network.to_string()).unwrap_or_default(),
        reason: ban.reason.clone(),
        created_at: Some(timestamp(ban.time)),
        expires_at: ban.until.map(timestamp),
    }
}

impl App {
    fn list_bans(&self, request: &Request<ListBansRequest>) -> Result<ListBansResponse, Error> {
        let who = self.looks(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, who.name(), "admin bans", &[]);
        let before = tokens.read_number(&request.page_token)?.unwrap_or(i64::MAX);
        let now = now();
        let bans: Vec<ApiBan> = self.view().read(|state| {
            let bans = state.standing().bans(now).rev().filter(|ban| ban.index < before);
            bans.take(size + 1).map(|ban| api_ban(state, ban)).collect()
        });
        let (bans, next_page_token) = tokens.page(bans, size, |last| last.index.to_string());
        Ok(ListBansResponse { bans, next_page_token })
    }

    async fn create_ban(&self, request: Request<CreateBanRequest>) -> Result<CreateBanResponse, Error> {
        use create_ban_request::Target;
        let who = self.who(&request)?;
        let CreateBanRequest {
            request_id,
            reason,
            target,
            duration,
        } = request.into_inner();
        let lasts = span("duration", duration.as_ref(), 0, 1, LONGEST).map(|lasts| (lasts > 0).then_some(lasts));
        let mut asked = who.calls("greffe.admin.v1.BanAdminService/CreateBan", request_id, reason);
        let target = match target {
            Some(Target::User(user)) => {
                let account = self.account(&user);
                asked = asked.with("user", user).about(&account);
                account.map(BanTarget::User)
            }
            Some(Target::Network(text)) => {
                asked = asked.with("network", text.as_str());
                network(&text).map(BanTarget::Network)
            }
            None => Err(Error::invalid("target", "say whom or what to ban")),
        };
        if let Ok(Some(lasts)) = lasts {
            asked = asked.with("duration", span_text(lasts));
        }
        let act = target.and_then(|target| lasts.map(|lasts| Act::Ban { target, lasts }));
        let acted = self.act(asked, act).await?;
        let now = now();
        let ban = acted.effect.as_ref().and_then(|effect| {
            self.view().read(|state| {
                let ban = state.standing().ban(BanName::Index(effect.index), now)?;
                Some(api_ban(state, ban))
            })
        });
        Ok(CreateBanResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            ban,
            sessions_ended: acted.sessions,
            streams_closed: acted.streams,
        })
    }

    async fn lift_ban(&self, request: Request<LiftBanRequest>) -> Result<LiftBanResponse, Error> {
        use lift_ban_request::Target;
        let who = self.who(&request)?;
        let LiftBanRequest {
            request_id,
            reason,
            target,
        } = request.into_inner();
        let mut asked = who.calls("greffe.admin.v1.BanAdminService/LiftBan", request_id, reason);
        let ban = match target {
            Some(Target::BanIndex(index)) => {
                // The record names what was lifted, so that it can be read without the row.
                let now = now();
                let target = self
                    .view()
                    .read(|state| state.standing().ban(BanName::Index(index), now).map(|ban| ban.target));
                asked = asked.with("ban_index", index.to_string());
                match target {
                    Some(BanTarget::User(user)) => asked = asked.with("user", self.name_of(user)).about(&Ok(user)),
                    Some(BanTarget::Network(network)) => asked = asked.with("network", network.to_string()),
                    None => {}
                }
                Ok(BanName::Index(index))
            }
            Some(Target::User(user)) => {
                let account = self.account(&user);
                asked = asked.with("user", user).about(&account);
                account.map(|user| BanName::Target(BanTarget::User(user)))
            }
            Some(Target::Network(text)) => {
                asked = asked.with("network", text.as_str());
                network(&text).map(|network| BanName::Target(BanTarget::Network(network)))
            }
            None => Err(Error::invalid("target", "say which ban to lift")),
        };
        let acted = self.act(asked, ban.map(|ban| Act::LiftBan { ban })).await?;
        Ok(LiftBanResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }
}

#[tonic::async_trait]
impl BanAdminService for AdminServices {
    async fn create_ban(&self, request: Request<CreateBanRequest>) -> Result<Response<CreateBanResponse>, Status> {
        Ok(Response::new(self.0.create_ban(request).await?))
    }

    async fn list_bans(&self, request: Request<ListBansRequest>) -> Result<Response<ListBansResponse>, Status> {
        Ok(Response::new(self.0.list_bans(&request)?))
    }

    async fn lift_ban(&self, request: Request<LiftBanRequest>) -> Result<Response<LiftBanResponse>, Status> {
        Ok(Response::new(self.0.lift_ban(request).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_have_one_form() {
        for (text, want) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::1", "::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), want, "{text}");
        }
        for wrong in [
            "",
            "bob",
            "192.0.2.7/33",
            "192.0.2",
            "192.0.2.7:80",
            "2001:db8::/129",
            "::ffff:10.0.0.0/90",
            " 192.0.2.7",
        ] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
