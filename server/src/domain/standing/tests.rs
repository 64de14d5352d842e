use std::collections::HashMap;

use greffe_api::v1::{
    BanLifted, FileQuarantined, FileReleased, InvitationCreated, InvitationRevoked, KeyAdded, MessageReported,
    NoticeSet, PasswordChanged, PasswordReset, ReportResolved, Restored, UserDisabled, UserEnabled, UserRegistered,
};
use proptest::prelude::*;

use super::*;
use crate::domain::clock::{SECOND, timestamp};
use crate::domain::entry::Draft;

/// What happens, in small numbers, so that things meet.
#[derive(Debug, Clone)]
enum Step {
    Notice(String),
    Alert { lasts: i64, replaces: i64 },
    BanUser { user: usize, lasts: Option<i64> },
    BanNetwork { octet: u8, prefix: u8, lasts: Option<i64> },
    Lift { row: i64 },
    Invite { lasts: i64 },
    Revoke { row: i64 },
    SignUp { row: i64 },
    Reset { user: usize },
    ChangePassword { user: usize },
    Report { user: usize, seq: i64 },
    Resolve { row: i64 },
    Restore,
    AddKey,
    Disable { user: usize },
    Enable { user: usize },
    Withhold { file: usize },
    GiveBack { file: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (user, row) = (0..3_usize, 0..40_i64);
    let lasts = || proptest::option::of(1..30_i64);
    prop_oneof![
        "[a-z]{0,3}".prop_map(Step::Notice),
        (1..30_i64, row.clone()).prop_map(|(lasts, replaces)| Step::Alert { lasts, replaces }),
        (user.clone(), lasts()).prop_map(|(user, lasts)| Step::BanUser { user, lasts }),
        (0..4_u8, 30..=32_u8, lasts()).prop_map(|(octet, prefix, lasts)| Step::BanNetwork { octet, prefix, lasts }),
        row.clone().prop_map(|row| Step::Lift { row }),
        (1..30_i64).prop_map(|lasts| Step::Invite { lasts }),
        row.clone().prop_map(|row| Step::Revoke { row }),
        row.clone().prop_map(|row| Step::SignUp { row }),
        user.clone().prop_map(|user| Step::Reset { user }),
        user.clone().prop_map(|user| Step::ChangePassword { user }),
        (user, 1..4_i64).prop_map(|(user, seq)| Step::Report { user, seq }),
        row.prop_map(|row| Step::Resolve { row }),
        Just(Step::Restore),
        Just(Step::AddKey),
        (0..3_usize).prop_map(|user| Step::Disable { user }),
        (0..3_usize).prop_map(|user| Step::Enable { user }),
        (0..2_usize).prop_map(|file| Step::Withhold { file }),
        (0..2_usize).prop_map(|file| Step::GiveBack { file }),
    ]
}

fn file_id(number: usize) -> String {
    FileId::of_request(crate::domain::ids::RequestKey([u8::try_from(number).unwrap(); 16])).to_string()
}

fn withheld(file: usize, index: i64) -> Content {
    Content::FileQuarantined(FileQuarantined {
        file_id: file_id(file),
        reason: index.to_string(),
    })
}

fn given_back(file: usize) -> Content {
    Content::FileReleased(FileReleased { file_id: file_id(file) })
}

fn code_of(row: i64) -> CodeHash {
    CodeHash([u8::try_from(row).unwrap(); 32])
}

fn entry(index: i64, step: &Step, users: &[UserId], room: RoomId) -> Entry {
    let time = index * SECOND;
    let at = |seconds: i64| Some(timestamp(time + seconds * SECOND));
    let nobody = Subject::None;
    let (subject, content) = match step {
        Step::Notice(text) => (nobody, Content::NoticeSet(NoticeSet { text: text.clone() })),
        Step::Alert { lasts, replaces } => {
            let sent = AlertSent {
                replaces_index: *replaces,
                text: index.to_string(),
                valid_until: at(*lasts),
            };
            (nobody, Content::AlertSent(sent))
        }
        Step::BanUser { user, lasts } => {
            let created = BanCreated {
                expires_at: lasts.and_then(at),
                ..BanCreated::default()
            };
            (Subject::User(users[*user]), Content::BanCreated(created))
        }
        Step::BanNetwork { octet, prefix, lasts } => {
            let network: IpNet = format!("192.0.2.{octet}/{prefix}").parse().unwrap();
            let created = BanCreated {
                network: network.trunc().to_string(),
                expires_at: lasts.and_then(at),
                ..BanCreated::default()
            };
            (nobody, Content::BanCreated(created))
        }
        Step::Lift { row } => (nobody, Content::BanLifted(BanLifted { ban_index: *row })),
        Step::Invite { lasts } => {
            let created = InvitationCreated {
                note: String::new(),
                expires_at: at(*lasts),
            };
            (nobody, Content::InvitationCreated(created))
        }
        Step::Revoke { row } => {
            let revoked = InvitationRevoked { invitation_index: *row };
            (nobody, Content::InvitationRevoked(revoked))
        }
        Step::SignUp { row } => {
            let registered = UserRegistered {
                invitation_index: *row,
                ..UserRegistered::default()
            };
            (Subject::User(UserId::random()), Content::UserRegistered(registered))
        }
        Step::Reset { user } => {
            let reset = PasswordReset { expires_at: at(20) };
            (Subject::User(users[*user]), Content::PasswordReset(reset))
        }
        Step::ChangePassword { user } => (
            Subject::User(users[*user]),
            Content::PasswordChanged(PasswordChanged { peer: None }),
        ),
        Step::Report { .. } => (
            Subject::Room(room),
            Content::MessageReported(MessageReported::default()),
        ),
        Step::Resolve { row } => {
            let resolved = ReportResolved {
                report_index: *row,
                resolution: String::new(),
            };
            (nobody, Content::ReportResolved(resolved))
        }
        Step::Disable { user } => {
            let disabled = UserDisabled {
                reason: index.to_string(),
            };
            (Subject::User(users[*user]), Content::UserDisabled(disabled))
        }
        Step::Enable { user } => (Subject::User(users[*user]), Content::UserEnabled(UserEnabled {})),
        Step::Withhold { file } => (nobody, withheld(*file, index)),
        Step::GiveBack { file } => (nobody, given_back(*file)),
        Step::Restore => (nobody, Content::Restored(Restored::default())),
        Step::AddKey => (nobody, Content::KeyAdded(KeyAdded::default())),
    };
    let mut draft = Draft::outside_rooms(None, subject, content);
    match step {
        // Codes are random, and no two are the same.
        Step::Invite { .. } | Step::Reset { .. } => draft.aside = Some(Aside::Code(code_of(index))),
        Step::Report { user, seq } => {
            draft.actor = Some(users[*user]);
            draft.target_seq = *seq;
        }
        _ => {}
    }
    Entry {
        index,
        time,
        seq: 0,
        request: None,
        draft,
    }
}

proptest! {
    /// What the store keeps is enough: the rows that stand, taken in again, lead to the same; and what was told to stand and fall adds up to
    /// them.
    #[test]
    fn the_rows_that_stand_lead_to_the_same_again(steps in proptest::collection::vec(step(), 0..40)) {
        let users: Vec<UserId> = (0..3).map(|_| UserId::random()).collect();
        let room = RoomId::random();
        let mut standing = Standing::default();
        let mut entries = HashMap::new();
        let mut kept = std::collections::BTreeSet::new();
        for (index, step) in (1..).zip(&steps) {
            // The rules refuse a second report of the same message.
            if let Step::Report { user, seq } = step && standing.reports_of(users[*user], room, *seq).1 {
                continue;
            }
            let entry = entry(index, step, &users, room);
            for change in standing.apply(&entry) {
                match change {
                    Change::Stands(index) => prop_assert!(kept.insert(index), "row {} stands twice", index),
                    Change::Falls(index) => prop_assert!(kept.remove(&index), "row {} falls and did not stand", index),
                }
            }
            entries.insert(index, entry);
            prop_assert_eq!(&standing.rows(), &kept.iter().copied().collect::<Vec<i64>>());
        }
        let mut again = Standing::default();
        for index in &kept {
            let changes = again.apply(&entries[index]);
            prop_assert_eq!(changes, vec![Change::Stands(*index)]);
        }
        prop_assert_eq!(again, standing);
    }

    /// An address is banned if, and only if, a ban in force names a network that it is in.
    #[test]
    fn an_address_is_looked_up_in_every_banned_network(
        bans in proptest::collection::vec((any::<u8>(), 20..=32_u8, 1..20_i64), 0..12),
        octet: u8,
        // What is over is forgotten: nobody asks about the past.
        now in 12..60_i64,
    ) {
        let mut standing = Standing::default();
        let mut in_force: HashMap<IpNet, i64> = HashMap::new();
        for (index, (octet, prefix, lasts)) in (1..).zip(&bans) {
            let step = Step::BanNetwork { octet: *octet, prefix: *prefix, lasts: Some(*lasts) };
            standing.apply(&entry(index, &step, &[], RoomId::random()));
            let network: IpNet = format!("192.0.2.{octet}/{prefix}").parse().unwrap();
            in_force.insert(network.trunc(), (index + lasts) * SECOND);
        }
        let address: IpAddr = format!("192.0.2.{octet}").parse().unwrap();
        let want = in_force.iter().any(|(network, until)| network.contains(&address) && *until > now * SECOND);
        prop_assert_eq!(standing.ban_at(address, now * SECOND).is_some(), want);
        let mapped: IpAddr = format!("::ffff:192.0.2.{octet}").parse().unwrap();
        prop_assert_eq!(standing.ban_at(mapped, now * SECOND).is_some(), want);
        prop_assert!(standing.ban_at("2001:db8::1".parse().unwrap(), now * SECOND).is_none());
    }
}

#[test]
fn no_more_alerts_are_shown_than_a_mailbox_holds() {
    let mut standing = Standing::default();
    for index in 1..31 {
        standing.apply(&entry(
            index,
            &Step::Alert {
                lasts: 1000,
                replaces: 0,
            },
            &[],
            RoomId::random(),
        ));
    }
    let shown: Vec<i64> = standing.alerts(31 * SECOND).map(|alert| alert.index).collect();
    assert_eq!(shown, (11..31).collect::<Vec<i64>>());
}
