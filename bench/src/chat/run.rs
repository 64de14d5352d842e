//! One run: a fresh server, a connection for each user, the load, and what is to be said of it.

use std::path::Path;
use std::time::Duration;

use super::commit;
use super::driver::Driver;
use super::drivers::greffe::Greffe;
use super::figures::{disturbed, doubts, figures, quantiles};
use super::floor;
use super::generator::{self, Task, Text};
use super::peers::Peer;
use super::prepare::Prepared;
use super::workload::{Load, TEXT_BYTES};
use crate::report::Record;
use crate::server::{self, Process};
use crate::{cpu, disk};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// This workspace's server.
    Greffe,
    /// Another server.
    Peer(Peer),
    /// What gRPC itself costs.
    Floor,
    /// What SQLite itself costs.
    Commit,
}

impl Subject {
    /// The name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Greffe => "greffe",
            Self::Peer(peer) => peer.name(),
            Self::Floor => "floor",
            Self::Commit => "sqlite",
        }
    }
}

/// With what, where and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Where directories can be made.
    pub(super) home: &'a Path,
    /// The Greffe server.
    pub(super) binary: &'a Path,
    /// What it starts with.
    pub(super) prepared: &'a Prepared,
    /// The servers' cores.
    pub(super) server_cores: &'a [usize],
    /// The generator's core.
    pub(super) load_core: usize,
    /// How long it runs before it counts.
    pub(super) warm_up: Duration,
    /// How long it counts.
    pub(super) measure: Duration,
}

/// Has `subject` do `load`, which is called `name`, once, with a fresh server.
pub(super) fn once(place: &Place<'_>, subject: Subject, name: &str, load: Load, run: usize) -> anyhow::Result<Record> {
    let directory = tempfile::Builder::new().prefix("run-").tempdir_in(place.home)?;
    let sync_times = if load.is_about_commits {
        Some(cpu::pinned(place.server_cores, || disk::sync_times(place.home))?)
    } else {
        None
    };
    let served = serve(place, subject, load, directory.path())?;
    let (doubts, mut figures) = if let Some((process, drivers)) = served {
        let task = Task {
            crowd: load.crowd,
            pace: load.pace,
            warm_up: place.warm_up,
            measure: place.measure,
            most: u64::MAX,
            text: Text::Same,
            address: process.address,
            pid: process.pid(),
        };
        let measured = cpu::pinned(&[place.load_core], || generator::run(task, drivers))?;
        process.stop()?;
        let figures = figures(&measured, task);
        (doubts(&measured, &figures), figures)
    } else {
        let work = || commit::run(directory.path(), load.on_their_way(), place.warm_up, place.measure);
        let figures = cpu::pinned(place.server_cores, work)?;
        (disturbed(&figures).into_iter().collect(), figures)
    };
    if let Some(times) = sync_times {
        quantiles(&mut figures, ["sync_p50", "sync_p99", "sync_p999"], &times);
    }
    Ok(Record {
        workload: name.to_owned(),
        subject: subject.name().to_owned(),
        run,
        doubts,
        figures,
    })
}

/// A server, and a driver for each user.
type Served = (Process, Vec<Box<dyn Driver>>);

/// Starts what is measured; none if it is no server.
fn serve(place: &Place<'_>, subject: Subject, load: Load, directory: &Path) -> anyhow::Result<Option<Served>> {
    match subject {
        Subject::Greffe => {
            let data = directory.join("data");
            place.prepared.copy(&data)?;
            let process = server::greffe(place.binary, &data, place.server_cores, &[])?;
            let members = place.prepared.members.iter();
            let drivers = members.map(|member| Box::new(Greffe::new(member, TEXT_BYTES)) as Box<dyn Driver>);
            Ok(Some((process, drivers.collect())))
        }
        Subject::Peer(peer) => {
            let process = peer.start(directory, place.server_cores)?;
            Ok(Some((process, peer.drivers(load.crowd, load.rooms))))
        }
        Subject::Floor => {
            let address = server::free_address()?;
            let mut command = server::command(std::env::current_exe()?);
            command.arg("floor").arg(address.to_string());
            let process = Process::start(command, place.server_cores, &directory.join("floor.log"), address)?;
            Ok(Some((process, floor::drivers(load.crowd))))
        }
        Subject::Commit => Ok(None),
    }
}
