//! Other servers, as Debian ships them, set up so that nothing slows them down on purpose. What they keep, and whom they trust, is theirs:
//! none of these stores a message unless its name says so, and none asks for a password.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use clap::ValueEnum;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};

use super::driver::Driver;
use super::drivers::irc::Irc;
use super::drivers::mqtt::Mqtt;
use super::drivers::nats::Nats;
use super::drivers::xmpp::Xmpp;
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
    /// ejabberd, an XMPP server
    Ejabberd,
    /// ejabberd with its archive of rooms in SQLite: the one that keeps messages
    EjabberdArchive,
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
            Self::Ejabberd => "ejabberd",
            Self::EjabberdArchive => "ejabberd-archive",
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
            Self::Ejabberd => include_str!("../../peers/ejabberd.yml"),
            Self::EjabberdArchive => concat!(
                include_str!("../../peers/ejabberd.yml"),
                include_str!("../../peers/ejabberd-archive.yml")
            ),
        };
        let directory_text = directory.to_str().context("the directory's path is not UTF-8")?;
        let text = template
            .replace("@PORT@", &address.port().to_string())
            .replace("@DIRECTORY@", directory_text)
            .replace(
                "@ARCHIVE@",
                if self == Self::EjabberdArchive { "true" } else { "false" },
            );
        let configuration = directory.join(if self.is_ejabberd() {
            "ejabberd.yml"
        } else {
            "peer.conf"
        });
        std::fs::write(&configuration, text)?;
        let mut command = server::command(self.program());
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
            Self::Ejabberd | Self::EjabberdArchive => {
                if self == Self::EjabberdArchive {
                    make_archive(directory_text)?;
                }
                erlang(&mut command, directory, &configuration);
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
            // Its own start script wants to be another user.
            Self::Ejabberd | Self::EjabberdArchive => "erl",
        }
    }

    fn is_ejabberd(self) -> bool {
        matches!(self, Self::Ejabberd | Self::EjabberdArchive)
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
                Self::Ejabberd | Self::EjabberdArchive => Box::new(Xmpp::new(user, place(user))),
            }
        };
        (0..crowd.users).map(driver).collect()
    }
}

/// What ejabberd needs to run without its start script, with one scheduler for its one core.
fn erlang(command: &mut Command, directory: &Path, configuration: &Path) {
    let quoted = format!("\"{}\"", directory.join("mnesia").display());
    command
        .args(["+K", "true", "+P", "250000", "+S", "1:1", "-noinput", "-mnesia", "dir"])
        .arg(quoted)
        .args(["-s", "ejabberd"])
        .env("EJABBERD_CONFIG_PATH", configuration)
        .env("EJABBERD_LOG_PATH", directory.join("ejabberd.log"))
        .env("SPOOL_DIR", directory)
        .env("HOME", directory)
        .env("ERL_LIBS", debian_libraries())
        .env("ERL_MAX_PORTS", "32000")
        .current_dir(directory);
}

/// Where Debian keeps libraries of this machine's kind, those in Erlang among them.
fn debian_libraries() -> String {
    format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH)
}

/// Makes the tables that ejabberd's archive is kept in.
fn make_archive(directory: &str) -> anyhow::Result<()> {
    let libraries = std::fs::read_dir(debian_libraries()).context("there is no ejabberd")?;
    let schema = libraries
        .filter_map(Result::ok)
        .map(|library| library.path().join("priv/sql/lite.sql"))
        .find(|path| path.to_string_lossy().contains("/ejabberd-") && path.exists());
    let schema =
        schema.context("ejabberd's lite.sql is not where Debian has it: install ejabberd and erlang-p1-sqlite3")?;
    let mut connection = SqliteConnection::establish(&format!("{directory}/archive.db"))?;
    Ok(connection.batch_execute(&std::fs::read_to_string(schema)?)?)
}
