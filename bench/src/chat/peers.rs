//! Other servers, as Debian ships them, set up so that nothing slows them down on purpose. What they keep, and whom they trust, is theirs:
//! none of these stores a message unless its name says so, and none asks for a password.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use clap::ValueEnum;

use super::driver::Driver;
use super::drivers::irc::Irc;
use super::drivers::mqtt::Mqtt;
use super::drivers::nats::Nats;
use super::ledger::Crowd;
use super::workload::Rooms;
use crate::server::{self, Process};

/// A server to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Peer {
    /// `InspIRCd`, an IRC server
    Inspircd,
    /// ngIRCd, an IRC server
    Ngircd,
    /// NATS core, a broker
    Nats,
    /// Mosquitto, an MQTT broker, with quality of service 1
    Mosquitto,
}

/// Where a connection's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the room of this number.
    Room(u32),
    /// To this user.
    Partner(u32),
    /// Nowhere.
    Nowhere,
}

impl Peer {
    /// The name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inspircd => "inspircd",
            Self::Ngircd => "ngircd",
            Self::Nats => "nats",
            Self::Mosquitto => "mosquitto",
        }
    }

    /// Starts it with its files in `directory`.
    pub(super) fn start(self, directory: &Path, cores: &[usize]) -> anyhow::Result<Process> {
        let address = server::free_address()?;
        let template = match self {
            Self::Inspircd => include_str!("../../peers/inspircd.conf"),
            Self::Ngircd => include_str!("../../peers/ngircd.conf"),
            Self::Nats => include_str!("../../peers/nats.conf"),
            Self::Mosquitto => include_str!("../../peers/mosquitto.conf"),
        };
        let directory_text = directory.to_str().context("the directory's path is not UTF-8")?;
        let text = template
            .replace("@PORT@", &address.port().to_string())
            .replace("@DIRECTORY@", directory_text);
        let configuration = directory.join("peer.conf");
        std::fs::write(&configuration, text)?;
        let mut command = Command::new(self.program());
        match self {
            Self::Inspircd => {
                std::fs::write(directory.join("motd"), "Measured\n")?;
                command.arg("--nofork").arg("--config").arg(&configuration);
                if nix::unistd::geteuid().is_root() {
                    command.arg("--runasroot");
                }
            }
            Self::Ngircd => {
                command.arg("--nodaemon").arg("--config").arg(&configuration);
            }
            Self::Nats | Self::Mosquitto => {
                command.arg("-c").arg(&configuration);
            }
        }
        Process::start(command, cores, &directory.join("peer.log"), address)
    }

    fn program(self) -> &'static str {
        match self {
            Self::Inspircd => "inspircd",
            Self::Ngircd => "ngircd",
            Self::Nats => "nats-server",
            Self::Mosquitto => "mosquitto",
        }
    }

    /// A driver for each user of `crowd`, who are in `rooms`.
    pub(super) fn drivers(self, crowd: Crowd, rooms: Rooms) -> Vec<Box<dyn Driver>> {
        let place = |user| match rooms {
            Rooms::Public => Place::Room(crowd.room_of(user)),
            Rooms::Direct => Place::Partner(crowd.partner_of(user)),
            Rooms::Nowhere => Place::Nowhere,
        };
        let driver = |user| -> Box<dyn Driver> {
            match self {
                Self::Inspircd | Self::Ngircd => Box::new(Irc::new(user, place(user))),
                Self::Nats => Box::new(Nats::new(user, place(user))),
                Self::Mosquitto => Box::new(Mqtt::new(user, place(user))),
            }
        };
        (0..crowd.users).map(driver).collect()
    }
}
