//! Whom or what a ban is about, as it is typed: a user, an address or network, or the number of a ban.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whom or what a ban is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A user, by name or id.
    User(String),
    /// An address or a network, in the form in which the server keeps it.
    Network(IpNet),
}

/// Which ban is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lifted {
    /// That of a user, an address or a network.
    Of(Target),
    /// That with this number.
    Number(i64),
}

/// Reads the target of a ban. What is written with `@` is a user; what is an address or a network is that; anything else is a user.
pub(crate) fn to_ban(typed: &str) -> Target {
    if typed.starts_with('@') {
        return Target::User(user(typed));
    }
    network(typed).map_or_else(|| Target::User(user(typed)), Target::Network)
}

/// Reads the target of the end of a ban: also a bare number, which is that of a ban. A user whose name is a number is written with `@`.
pub(crate) fn to_unban(typed: &str) -> Lifted {
    match typed.parse() {
        Ok(number) if typed.bytes().all(|b| b.is_ascii_digit()) => Lifted::Number(number),
        _ => Lifted::Of(to_ban(typed)),
    }
}

/// An address or a network: no host part, and IPv4 as IPv4.
fn network(typed: &str) -> Option<IpNet> {
    let network = match typed.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(typed.parse::<IpAddr>().ok()?),
    };
    Some(
        match network {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
                Some(v4) => ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96).map_or(network, IpNet::V4),
                None => network,
            },
            network => network,
        }
        .trunc(),
    )
}

/// A user as typed: an `@` before it and capitals are a convenience. Ids have no capitals either.
pub(crate) fn user(typed: &str) -> String {
    typed.strip_prefix('@').unwrap_or(typed).to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn users_networks_and_numbers_are_told_apart() {
        let net = |text: &str| Target::Network(text.parse().expect("a network"));
        for (typed, target) in [
            ("bob", Target::User("bob".into())),
            ("@Bob", Target::User("bob".into())),
            ("@10.0.0.7", Target::User("10.0.0.7".into())),
            ("10.0.0.7", net("10.0.0.7/32")),
            ("10.0.0.7/8", net("10.0.0.0/8")),
            ("2001:db8::1", net("2001:db8::1/128")),
            ("::ffff:10.0.0.7", net("10.0.0.7/32")),
            ("10.0.0", Target::User("10.0.0".into())),
            ("10.0.0.7/33", Target::User("10.0.0.7/33".into())),
            ("dead.beef", Target::User("dead.beef".into())),
            ("7", Target::User("7".into())),
        ] {
            assert_eq!(to_ban(typed), target, "{typed}");
        }
        assert_eq!(to_unban("7"), Lifted::Number(7));
        assert_eq!(to_unban("@7"), Lifted::Of(Target::User("7".into())));
        assert_eq!(to_unban("+7"), Lifted::Of(Target::User("+7".into())));
        assert_eq!(to_unban("10.0.0.7"), Lifted::Of(net("10.0.0.7/32")));
    }

    proptest! {
        #[test]
        fn any_word_is_a_target(typed in any::<String>()) {
            // It must not panic.
            let _ = (to_ban(&typed), to_unban(&typed));
        }

        #[test]
        fn every_address_is_a_network(address in any::<IpAddr>()) {
            prop_assert!(matches!(to_ban(&address.to_string()), Target::Network(_)));
        }
    }
}
