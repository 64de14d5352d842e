//! What processes cost: processor time and memory from `/proc`, and which cores they may use.

use std::time::Duration;

use anyhow::Context as _;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// File descriptors that a run of 10,000 connections needs, with room to spare.
const DESCRIPTORS: u64 = 65_536;

/// Where a set of processor cores is written down: the numbers of the cores.
pub(crate) type Cores = [usize];

/// Restricts the calling thread, and what it starts from now on, to `cores`.
pub(crate) fn pin(cores: &Cores) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core).with_context(|| format!("there is no core {core}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("this process cannot be pinned to {cores:?}"))
}

/// Runs `work` with the calling thread on `cores`, and goes back to where it was: a child that `work` starts stays on them.
pub(crate) fn pinned<T>(cores: &Cores, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let before = sched_getaffinity(Pid::from_raw(0)).context("the cores of this process cannot be read")?;
    pin(cores)?;
    let outcome = work();
    sched_setaffinity(Pid::from_raw(0), &before).context("this process cannot go back to its cores")?;
    outcome
}

/// Raises the limit of open files for this process and those it starts.
pub(crate) fn raise_descriptors() -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files cannot be read")?;
    let wanted = DESCRIPTORS.min(hard);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).context("the limit of open files cannot be raised")?;
    }
    Ok(())
}

/// Processor time that the calling thread has used.
pub(crate) fn own_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Processor time that the processes have used which this one started and waited for.
pub(crate) fn time_of_children() -> Duration {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(Duration::ZERO, |usage| {
        [usage.user_time(), usage.system_time()]
            .into_iter()
            .map(|time| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0)))
            .sum()
    })
}

/// Processor time that process `pid` has used, in steps of the kernel's clock (10 ms); none if it is gone.
pub(crate) fn time_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything, parentheses included.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    ticks(user + system)
}

/// Processor time that everything on this machine together has used.
pub(crate) fn time_of_all() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let mut fields = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse::<u64>().ok());
    // User, nice, system; idle and waiting for disks are none; interrupts, hard and soft.
    let work: u64 = fields.by_ref().take(3).sum::<u64>() + fields.skip(2).take(2).sum::<u64>();
    ticks(work)
}

/// A number of the kernel's clock ticks as time.
fn ticks(number: u64) -> Option<Duration> {
    let second = sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok())?;
    Some(Duration::from_micros(number * 1_000_000 / second.max(1)))
}

/// Bytes of memory that process `pid` holds; none if it is gone. What the kernel keeps for its sockets is not in it.
pub(crate) fn memory_of(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most bytes of memory that process `pid` held since it began, or since [`forget_peak`]; none if it is gone.
pub(crate) fn peak_of(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Lets [`peak_of`] begin anew for process `pid`.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak of a process's memory cannot be reset")
}

fn status_bytes(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
