//! What rows of the journal still stand: bans that were not lifted, alerts that are still shown, the notice, codes that were not used, reports
//! that are open, files that are withheld.
//!
//! The store keeps the numbers of these rows. At start they are taken in again, in order, and lead to the same: what stands is a view of them
//! alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{AlertSent, BanCreated};
use ipnet::IpNet;

use super::clock::{Micros, from_timestamp};
use super::entry::{Aside, Entry, Subject};
use super::ids::{CodeHash, FileId, RoomId, UserId};
use super::operator::{BanName, BanTarget};
use super::record::Target;

/// Alerts that are shown at a time; a further one replaces the oldest.
pub const ALERTS: usize = 20;

/// A message to everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The row.
    pub index: i64,
    /// What it says.
    pub text: String,
    /// When it was sent.
    pub time: Micros,
    /// Until when it is shown.
    pub until: Micros,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The row.
    pub index: i64,
    /// Whom or what.
    pub target: BanTarget,
    /// Why.
    pub reason: String,
    /// Since when.
    pub time: Micros,
    /// Until when.
    pub until: Option<Micros>,
}

impl Ban {
    fn is_over(&self, now: Micros) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// An invitation to sign up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The row.
    pub index: i64,
    /// For whom.
    pub note: String,
    /// When it was made.
    pub time: Micros,
    /// Until when it can be used.
    pub until: Micros,
    code: Option<CodeHash>,
}

/// A code that sets a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// The row.
    pub index: i64,
    /// Until when it can be used.
    pub until: Micros,
    code: Option<CodeHash>,
}

/// A report that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The row.
    pub index: i64,
    /// Who reported.
    pub reporter: UserId,
    /// The room of the message.
    pub room: RoomId,
    /// The seq of the message.
    pub seq: i64,
    /// Why.
    pub reason: String,
    /// When.
    pub time: Micros,
    /// The row with the text that was current then.
    pub text_index: i64,
}

/// A key that checkpoints are, or were, signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The row that added it.
    pub index: i64,
    /// When.
    pub time: Micros,
    /// The key and its name, as `KeyAdded` has them.
    pub verifier_key: String,
    /// What the key before says of it, as `KeyAdded` has it.
    pub succession: String,
}

/// A time that the journal went on from fewer rows than it had had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoration {
    /// The row that says so.
    pub index: i64,
    /// When.
    pub time: Micros,
    /// The id that the journal had until then.
    pub previous_journal_id: String,
    /// The id that it has had since then.
    pub journal_id: String,
    /// Rows that were kept.
    pub previous_size: i64,
    /// The root of their tree.
    pub previous_root: Bytes,
    /// Why, in the words of whoever restored it, or made the backup.
    pub reason: String,
}

/// A row begins to stand, or no longer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It stands.
    Stands(i64),
    /// It stands no more.
    Falls(i64),
}

/// What stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    notice: Option<(i64, String)>,
    alerts: VecDeque<Alert>,
    bans: BTreeMap<i64, Ban>,
    banned: HashMap<BanTarget, i64>,
    /// How many bans there are of networks of a family and prefix, so that an address is looked up in those only.
    prefixes: BTreeMap<(bool, u8), usize>,
    invitations: BTreeMap<i64, Invitation>,
    invitation_codes: HashMap<CodeHash, i64>,
    resets: HashMap<UserId, Reset>,
    /// Accounts that are closed, with the rows that closed them, and why.
    disabled: HashMap<UserId, (i64, String)>,
    reports: BTreeMap<i64, Report>,
    reported: HashMap<UserId, BTreeMap<(RoomId, i64), i64>>,
    /// Files that are withheld, with the rows that withhold them, and why.
    quarantined: HashMap<FileId, (i64, String)>,
    /// Oldest first.
    keys: Vec<Key>,
    /// Oldest first.
    restorations: Vec<Restoration>,
}

impl Standing {
    /// The notice that an operator set; none if none ever did.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_ref().map(|(_, text)| text.as_str())
    }

    /// All keys that checkpoints were ever signed with, oldest first: the last one signs now.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Each time that the journal went on from fewer rows than it had had, oldest first.
    pub fn restorations(&self) -> &[Restoration] {
        &self.restorations
    }

    /// The alerts that are still shown, oldest first.
    pub fn alerts(&self, now: Micros) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(move |alert| alert.until > now)
    }

    /// The bans in force, oldest first.
    pub fn bans(&self, now: Micros) -> impl DoubleEndedIterator<Item = &Ban> {
        self.bans.values().filter(move |ban| !ban.is_over(now))
    }

    /// The ban that a name names, if it is in force.
    pub fn ban(&self, name: BanName, now: Micros) -> Option<&Ban> {
        let index = match name {
            BanName::Index(index) => index,
            BanName::Target(target) => *self.banned.get(&target)?,
        };
        self.bans.get(&index).filter(|ban| !ban.is_over(now))
    }

    /// The ban of an account.
    pub fn ban_of(&self, user: UserId, now: Micros) -> Option<&Ban> {
        self.ban(BanName::Target(BanTarget::User(user)), now)
    }

    /// A ban of a network that an address is in: of several, that of the largest network.
    pub fn ban_at(&self, address: IpAddr, now: Micros) -> Option<&Ban> {
        let address = address.to_canonical();
        self.prefixes
            .range((address.is_ipv6(), 0)..=(address.is_ipv6(), u8::MAX))
            .find_map(|((_, prefix), _)| {
                let network = IpNet::new(address, *prefix).ok()?.trunc();
                self.ban(BanName::Target(BanTarget::Network(network)), now)
            })
    }

    /// The invitation with that code, if it can still be used.
    pub fn invitation(&self, code: CodeHash, now: Micros) -> Option<&Invitation> {
        let index = self.invitation_codes.get(&code)?;
        self.invitations.get(index).filter(|invitation| invitation.until > now)
    }

    /// The invitation of that row, if it can still be used.
    pub fn invitation_at(&self, index: i64, now: Micros) -> Option<&Invitation> {
        self.invitations.get(&index).filter(|invitation| invitation.until > now)
    }

    /// Invitations that can still be used, oldest first.
    pub fn invitations(&self, now: Micros) -> impl DoubleEndedIterator<Item = &Invitation> {
        self.invitations.values().filter(move |invitation| invitation.until > now)
    }

    /// Whether that code sets the password of a user.
    pub fn resets(&self, user: UserId, code: CodeHash, now: Micros) -> bool {
        self.resets
            .get(&user)
            .is_some_and(|reset| reset.code == Some(code) && reset.until > now)
    }

    /// Until when a user's code sets their password; none if there is no code.
    pub fn code_expires(&self, user: UserId) -> Option<Micros> {
        self.resets.get(&user).map(|reset| reset.until)
    }

    /// Whether a user has no password and waits for one to be set.
    pub fn awaits_code(&self, user: UserId) -> bool {
        self.resets.contains_key(&user)
    }

    /// Why an account was closed; nothing if it was not.
    pub fn why_disabled(&self, user: UserId) -> &str {
        self.disabled.get(&user).map_or("", |(_, reason)| reason)
    }

    /// Open reports, oldest first.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.reports.values()
    }

    /// An open report.
    pub fn report(&self, index: i64) -> Option<&Report> {
        self.reports.get(&index)
    }

    /// Open reports of a user: how many, and whether one is of that message.
    pub fn reports_of(&self, user: UserId, room: RoomId, seq: i64) -> (usize, bool) {
        self.reported
            .get(&user)
            .map_or((0, false), |own| (own.len(), own.contains_key(&(room, seq))))
    }

    /// Why a file is withheld; none if it is not.
    pub fn why_quarantined(&self, file: FileId) -> Option<&str> {
        self.quarantined.get(&file).map(|(_, reason)| reason.as_str())
    }

    /// The rows, ascending.
    pub fn rows(&self) -> Vec<i64> {
        let mut rows: Vec<i64> = self.notice.iter().map(|(index, _)| *index).collect();
        rows.extend(self.alerts.iter().map(|alert| alert.index));
        rows.extend(self.bans.keys().chain(self.invitations.keys()).chain(self.reports.keys()));
        rows.extend(self.resets.values().map(|reset| reset.index));
        rows.extend(self.disabled.values().chain(self.quarantined.values()).map(|(index, _)| *index));
        rows.extend(self.keys.iter().map(|key| key.index));
        rows.extend(self.restorations.iter().map(|restoration| restoration.index));
        rows.sort_unstable();
        rows
    }

    /// Takes an event in, and says which rows stand or fall by it.
    pub fn apply(&mut self, entry: &Entry) -> Vec<Change> {
        let (index, time, draft) = (entry.index, entry.time, &entry.draft);
        let mut changes = Vec::new();
        match (&draft.content, draft.subject) {
            (Content::NoticeSet(set), _) => {
                let before = self.notice.replace((index, set.text.clone()));
                changes.extend(before.map(|(index, _)| Change::Falls(index)));
                changes.push(Change::Stands(index));
            }
            (Content::KeyAdded(added), _) => {
                self.keys.push(Key {
                    index,
                    time: entry.time,
                    verifier_key: added.verifier_key.clone(),
                    succession: added.succession.clone(),
                });
                changes.push(Change::Stands(index));
            }
            (Content::AlertSent(sent), _) => self.alert(entry, sent, &mut changes),
            (Content::BanCreated(created), _) => self.create_ban(entry, created, &mut changes),
            // Which codes were used since the backup was made is not known: none is good any more.
            (Content::Restored(restored), _) => {
                changes.extend(self.resets.drain().map(|(_, reset)| Change::Falls(reset.index)));
                changes.extend(std::mem::take(&mut self.invitations).into_keys().map(Change::Falls));
                self.invitation_codes.clear();
                self.restorations.push(Restoration {
                    index,
                    time,
                    previous_journal_id: restored.previous_journal_id.clone(),
                    journal_id: restored.journal_id.clone(),
                    previous_size: restored.previous_size,
                    previous_root: restored.previous_root.clone(),
                    reason: restored.reason.clone(),
                });
                changes.push(Change::Stands(index));
            }
            (Content::BanLifted(lifted), _) => self.lift(lifted.ban_index, &mut changes),
            (Content::InvitationCreated(created), _) => {
                let code = code(draft.aside.as_ref());
                self.invitation_codes.extend(code.map(|code| (code, index)));
                self.invitations.insert(
                    index,
                    Invitation {
                        index,
                        note: created.note.clone(),
                        time,
                        until: created.expires_at.as_ref().map_or(time, from_timestamp),
                        code,
                    },
                );
                changes.push(Change::Stands(index));
            }
            (Content::InvitationRevoked(revoked), _) => self.use_up(revoked.invitation_index, &mut changes),
            (Content::UserRegistered(registered), _) if registered.invitation_index > 0 => {
                self.use_up(registered.invitation_index, &mut changes);
            }
            (Content::PasswordReset(reset), Subject::User(user)) => {
                let reset = Reset {
                    index,
                    until: reset.expires_at.as_ref().map_or(time, from_timestamp),
                    code: code(draft.aside.as_ref()),
                };
                let before = self.resets.insert(user, reset);
                changes.extend(before.map(|before| Change::Falls(before.index)));
                changes.push(Change::Stands(index));
            }
            (Content::PasswordChanged(_), Subject::User(user)) => {
                changes.extend(self.resets.remove(&user).map(|reset| Change::Falls(reset.index)));
            }
            (Content::UserDisabled(disabled), Subject::User(user)) => {
                let before = self.disabled.insert(user, (index, disabled.reason.clone()));
                changes.extend(before.map(|(index, _)| Change::Falls(index)));
                changes.push(Change::Stands(index));
            }
            (Content::UserEnabled(_), Subject::User(user)) => {
                changes.extend(self.disabled.remove(&user).map(|(index, _)| Change::Falls(index)));
            }
            (Content::MessageReported(_), Subject::Room(room)) => self.open_report(entry, room, &mut changes),
            (Content::ReportResolved(resolved), _) => self.close_report(resolved.report_index, &mut changes),
            (Content::FileQuarantined(quarantined), _) => {
                if let Ok(file) = quarantined.file_id.parse() {
                    let before = self.quarantined.insert(file, (index, quarantined.reason.clone()));
                    changes.extend(before.map(|(index, _)| Change::Falls(index)));
                    changes.push(Change::Stands(index));
                }
            }
            (Content::FileReleased(released), _) => {
                let before = released.file_id.parse().ok().and_then(|file| self.quarantined.remove(&file));
                changes.extend(before.map(|(index, _)| Change::Falls(index)));
            }
            _ => {}
        }
        changes
    }

    /// What stood of somebody or some room that is erased stands no more.
    pub fn erase(&mut self, target: Target, files: &[FileId]) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut closing: Vec<i64> = Vec::new();
        match target {
            Target::User(user) => {
                changes.extend(self.resets.remove(&user).map(|reset| Change::Falls(reset.index)));
                changes.extend(self.disabled.remove(&user).map(|(index, _)| Change::Falls(index)));
                let ban = self.banned.get(&BanTarget::User(user)).copied();
                if let Some(ban) = ban {
                    self.lift(ban, &mut changes);
                }
                closing.extend(self.reported.get(&user).into_iter().flat_map(|own| own.values()));
            }
            Target::Room(room) => {
                let reports = self.reports.values().filter(|report| report.room == room);
                closing.extend(reports.map(|report| report.index));
            }
        }
        for index in closing {
            self.close_report(index, &mut changes);
        }
        changes.extend(self.release_erased(files));
        changes
    }

    /// Files whose bytes are erased are not withheld any more.
    pub fn release_erased(&mut self, files: &[FileId]) -> Vec<Change> {
        let released = files.iter().filter_map(|file| self.quarantined.remove(file));
        released.map(|(index, _)| Change::Falls(index)).collect()
    }

    fn alert(&mut self, entry: &Entry, sent: &AlertSent, changes: &mut Vec<Change>) {
        let Entry { index, time, .. } = *entry;
        let replaced = self.alerts.iter().position(|alert| alert.index == sent.replaces_index);
        let replaced = replaced.and_then(|position| self.alerts.remove(position));
        changes.extend(replaced.map(|alert| Change::Falls(alert.index)));
        self.alerts.push_back(Alert {
            index,
            text: sent.text.clone(),
            time,
            until: sent.valid_until.as_ref().map_or(time, from_timestamp),
        });
        changes.push(Change::Stands(index));
        let excess = self.alerts.len().saturating_sub(ALERTS);
        let mut number = 0;
        self.alerts.retain(|alert| {
            number += 1;
            let stays = number > excess && (alert.until > time || alert.index == index);
            if !stays {
                changes.push(Change::Falls(alert.index));
            }
            stays
        });
    }

    fn create_ban(&mut self, entry: &Entry, created: &BanCreated, changes: &mut Vec<Change>) {
        let Entry { index, time, .. } = *entry;
        let target = match entry.draft.subject {
            Subject::User(user) => Some(BanTarget::User(user)),
            _ => created.network.parse().ok().map(BanTarget::Network),
        };
        let Some(target) = target else { return };
        let over: Vec<i64> = self
            .bans
            .values()
            .filter(|ban| ban.is_over(time))
            .map(|ban| ban.index)
            .collect();
        for index in over.into_iter().chain(self.banned.get(&target).copied()) {
            self.lift(index, changes);
        }
        self.banned.insert(target, index);
        if let BanTarget::Network(network) = target {
            *self.prefixes.entry(prefix(network)).or_insert(0) += 1;
        }
        self.bans.insert(
            index,
            Ban {
                index,
                target,
                reason: created.reason.clone(),
                time,
                until: created.expires_at.as_ref().map(from_timestamp),
            },
        );
        changes.push(Change::Stands(index));
    }

    fn open_report(&mut self, entry: &Entry, room: RoomId, changes: &mut Vec<Change>) {
        let (Content::MessageReported(content), Some(reporter)) = (&entry.draft.content, entry.draft.actor) else {
            return;
        };
        let Entry { index, time, .. } = *entry;
        let seq = entry.draft.target_seq;
        self.reported.entry(reporter).or_default().insert((room, seq), index);
        self.reports.insert(
            index,
            Report {
                index,
                reporter,
                room,
                seq,
                reason: content.reason.clone(),
                time,
                text_index: content.text_index,
            },
        );
        changes.push(Change::Stands(index));
    }

    fn close_report(&mut self, index: i64, changes: &mut Vec<Change>) {
        let Some(report) = self.reports.remove(&index) else {
            return;
        };
        if let Some(own) = self.reported.get_mut(&report.reporter) {
            own.remove(&(report.room, report.seq));
            if own.is_empty() {
                self.reported.remove(&report.reporter);
            }
        }
        changes.push(Change::Falls(index));
    }

    fn lift(&mut self, index: i64, changes: &mut Vec<Change>) {
        let Some(ban) = self.bans.remove(&index) else { return };
        self.banned.remove(&ban.target);
        if let BanTarget::Network(network) = ban.target
            && let Some(count) = self.prefixes.get_mut(&prefix(network))
        {
            *count -= 1;
            if *count == 0 {
                self.prefixes.remove(&prefix(network));
            }
        }
        changes.push(Change::Falls(index));
    }

    fn use_up(&mut self, index: i64, changes: &mut Vec<Change>) {
        if let Some(invitation) = self.invitations.remove(&index) {
            if let Some(code) = invitation.code {
                self.invitation_codes.remove(&code);
            }
            changes.push(Change::Falls(index));
        }
    }
}

fn prefix(network: IpNet) -> (bool, u8) {
    (matches!(network, IpNet::V6(_)), network.prefix_len())
}

fn code(aside: Option<&Aside>) -> Option<CodeHash> {
    match aside {
        Some(Aside::Code(code)) => Some(*code),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
