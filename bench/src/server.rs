//! Servers as processes: started on given cores with a fresh directory, waited for, stopped by their pid.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cpu::{self, Cores};

/// How long a server may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// How long a server may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(15);
/// How often a process is looked at while it is waited for.
const STEP: Duration = Duration::from_millis(20);

/// Limits of Greffe that would measure themselves instead of the server.
const ROOMY: [(&str, u64); 7] = [
    ("messages_per_second", 0),
    ("read_marks_per_second", 0),
    ("connections_per_address", 100_000),
    ("connections_per_user", 100_000),
    ("connections", 100_000),
    ("password_queue", 4096),
    ("password_wait_ms", 60_000),
];

/// A running process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where Greffe listens to operators.
    pub(crate) admin: Option<PathBuf>,
}

impl Process {
    /// Starts `command` on `cores` with its output in `log`, and waits until something accepts connections at `address`.
    pub(crate) fn start(mut command: Command, cores: &Cores, log: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        let errors = output.try_clone().context("a file cannot be opened twice")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let mut process = Self {
            child: spawn(&mut command, cores)?,
            log: log.to_owned(),
            address,
            admin: None,
        };
        let begin = Instant::now();
        while TcpStream::connect_timeout(&address, STEP).is_err() {
            if begin.elapsed() > READY || process.child.try_wait()?.is_some() {
                bail!("{command:?} does not listen on {address}: {}", process.last_words());
            }
            std::thread::sleep(STEP);
        }
        Ok(process)
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and kills it if it does not.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).context("a pid is a small number")?);
        kill(pid, Signal::SIGTERM).context("a process cannot be told to stop")?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > STOP {
                // Dropping it kills it.
                break;
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that starts `program` and ends with this process, however that ends. (Dropping [`Process`] is enough unless it is killed.)
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program);
    command
}

/// Starts `command` on `cores`.
fn spawn(command: &mut Command, cores: &Cores) -> anyhow::Result<Child> {
    cpu::pinned(cores, || {
        command.spawn().with_context(|| format!("{command:?} cannot be started"))
    })
}

/// Starts a Greffe server on `data`, which may be empty, with authentication and durability as everywhere and with `limits` beside
/// [`ROOMY`].
pub(crate) fn greffe(binary: &Path, data: &Path, cores: &Cores, limits: &[(&str, u64)]) -> anyhow::Result<Process> {
    let log = data.with_extension("log");
    let errors = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
    let mut command = self::command(binary);
    command
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", "127.0.0.1:0"])
        .args(
            ROOMY
                .iter()
                .chain(limits)
                .flat_map(|(name, value)| ["--limit".to_owned(), format!("{name}={value}")]),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    let mut child = spawn(&mut command, cores)?;
    let stdout = child.stdout.take().context("the server's output is piped")?;
    // Owned from here on, so that it is killed whatever goes wrong.
    let mut process = Process {
        child,
        log,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin: None,
    };
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .context("the server's output cannot be read")?;
    let mut words = line.split_whitespace();
    let ready = words.next() == Some("ready");
    let address = words.next().and_then(|word| word.strip_prefix("grpc="));
    let admin = words.next().and_then(|word| word.strip_prefix("admin=unix:"));
    let Some(address) = address.filter(|_| ready).and_then(|address| address.parse().ok()) else {
        bail!("{command:?} does not become ready: {}", process.last_words());
    };
    process.address = address;
    process.admin = admin.map(PathBuf::from);
    Ok(process)
}

/// An address that nobody listens on. Somebody could before the server does, which would then not start.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?)
}

/// Where a program of this workspace is: beside this one.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program cannot be read")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!(
            "{} is missing: build it with `cargo build --release -p {name}`, or name it with --server",
            path.display()
        );
    }
    Ok(path)
}
