//! What is shown before something is destroyed: whom and what it will touch.

use greffe::admin_api::{AdminSession, AdminUser, GetUserRequest, ListSessionsRequest};
use greffe::terminal::text::visible;
use greffe::terminal::time;
use greffe::{Error, Operator};
use ipnet::IpNet;

use super::PAGE;
use super::status;
use crate::output::count;

/// Finds a user.
pub(crate) async fn find_user(operator: &Operator, user: &str) -> Result<AdminUser, Error> {
    let request = GetUserRequest { user: user.to_owned() };
    Ok(operator.call(request).await?.user.unwrap_or_default())
}

/// The sessions of a user, or everyone's, newest first.
pub(crate) async fn sessions(operator: &Operator, user: &str, live_only: bool) -> Result<Vec<AdminSession>, Error> {
    let request = |page_token| ListSessionsRequest {
        page_size: PAGE,
        page_token,
        user: user.to_owned(),
        live_only,
    };
    operator.all_pages(request, |page| (page.sessions, page.next_page_token)).await
}

/// A user and what they have open, such as `bob (2 sessions, 3 live streams, last from 10.0.0.7)`.
pub(crate) async fn user(operator: &Operator, name: &str) -> Result<String, Error> {
    let user = find_user(operator, name).await?;
    let sessions = sessions(operator, &user.id, false).await?;
    Ok(describe_user(&user, &sessions))
}

fn describe_user(user: &AdminUser, sessions: &[AdminSession]) -> String {
    let last = sessions
        .iter()
        .max_by_key(|session| time::instant(session.last_used_at.as_ref()))
        .map(|session| format!(", last from {}", visible(&session.address)))
        .unwrap_or_default();
    let state = match (user.disabled, user.ban_index) {
        (true, _) => ", disabled",
        (false, 0) => "",
        (false, _) => ", banned",
    };
    format!(
        "{} ({}, {}{last}{state})",
        visible(&user.name),
        count(i64::from(user.session_count), "session"),
        count(i64::from(user.stream_count), "live stream"),
    )
}

/// One session, if it is there.
pub(crate) async fn session(operator: &Operator, id: &str) -> Result<Option<String>, Error> {
    let found = sessions(operator, "", false)
        .await?
        .into_iter()
        .find(|session| session.id == id);
    Ok(found.map(|session| {
        format!(
            "a session of {} ({}, last from {})",
            visible(&session.user_name),
            count(streams(&session), "live stream"),
            visible(&session.address)
        )
    }))
}

fn streams(session: &AdminSession) -> i64 {
    i64::try_from(session.streams.len()).unwrap_or(i64::MAX)
}

/// A network and who is connected from it.
pub(crate) async fn network(operator: &Operator, network: &IpNet) -> Result<String, Error> {
    Ok(describe_network(network, &sessions(operator, "", false).await?))
}

fn describe_network(network: &IpNet, sessions: &[AdminSession]) -> String {
    let within = |address: &str| {
        address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| network.contains(&address.to_canonical()))
    };
    let (mut touched, mut live, mut users) = (0, 0, std::collections::BTreeSet::new());
    for session in sessions {
        let from_there = session.streams.iter().filter(|stream| within(&stream.address)).count();
        let ends = within(&session.address);
        // A session that ends takes all its streams along, from wherever they are.
        live += if ends { session.streams.len() } else { from_there };
        touched += i64::from(ends);
        if ends || from_there > 0 {
            users.insert(session.user_name.as_str());
        }
    }
    let mut names: Vec<String> = users.iter().take(5).map(|name| visible(name)).collect();
    if users.len() > names.len() {
        names.push(format!("{} more", users.len() - names.len()));
    }
    let whose = if names.is_empty() {
        String::new()
    } else {
        format!(", of {}", names.join(", "))
    };
    let live = i64::try_from(live).unwrap_or(i64::MAX);
    format!(
        "{network} ({} last used from there, {}{whose})",
        count(touched, "session"),
        count(live, "live stream")
    )
}

/// Everyone who is connected.
pub(crate) async fn everyone(operator: &Operator) -> Result<String, Error> {
    let status = status::ask(operator).await?;
    Ok(format!(
        "the server {} ({} online, {})",
        visible(&status.listen),
        count(status.users_online, "user"),
        count(status.streams, "live stream")
    ))
}

#[cfg(test)]
mod tests {
    use greffe::admin_api::LiveStream;

    use super::*;

    fn live(address: &str) -> LiveStream {
        LiveStream {
            address: address.into(),
            ..LiveStream::default()
        }
    }

    fn session(user: &str, address: &str, streams: Vec<LiveStream>) -> AdminSession {
        AdminSession {
            user_name: user.into(),
            address: address.into(),
            streams,
            ..AdminSession::default()
        }
    }

    #[test]
    fn a_network_touches_sessions_and_streams_from_there() {
        let sessions = [
            session("bob", "10.0.0.7", vec![live("10.0.0.7"), live("192.0.2.1")]),
            session("eve", "192.0.2.1", vec![live("::ffff:10.1.1.1")]),
            session("ann", "192.0.2.1", vec![]),
        ];
        let network: IpNet = "10.0.0.0/8".parse().expect("a network");
        assert_eq!(
            describe_network(&network, &sessions),
            "10.0.0.0/8 (1 session last used from there, 3 live streams, of bob, eve)"
        );
        let nobody: IpNet = "10.9.0.0/16".parse().expect("a network");
        assert_eq!(
            describe_network(&nobody, &sessions),
            "10.9.0.0/16 (0 sessions last used from there, 0 live streams)"
        );
    }

    #[test]
    fn a_user_is_told_with_what_is_open() {
        let user = AdminUser {
            name: "bob".into(),
            session_count: 2,
            stream_count: 1,
            ..AdminUser::default()
        };
        let sessions = [session("bob", "10.0.0.7", vec![])];
        assert_eq!(
            describe_user(&user, &sessions),
            "bob (2 sessions, 1 live stream, last from 10.0.0.7)"
        );
    }
}
