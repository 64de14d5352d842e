//! What moves a file, and what that costs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::client::Client;
use super::source::Source;
use crate::chat::Pairs;
use crate::server::{self, Process};
use crate::{cpu, report};

/// Figures by name.
pub(super) type Figures = BTreeMap<&'static str, f64>;

/// With what and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The Greffe server.
    pub(super) binary: &'a Path,
    /// What is moved.
    pub(super) source: &'a Source,
    /// A fresh directory.
    pub(super) directory: &'a Path,
    /// The servers' core, which programs without a server use too.
    pub(super) server_core: usize,
    /// The clients' core.
    pub(super) client_core: usize,
    /// Bytes of a chunk of an upload.
    pub(super) chunk: usize,
}

/// Processor time at one moment.
struct Sample {
    at: Instant,
    server: Duration,
    client: Duration,
    all: Duration,
}

impl Sample {
    fn take(server: Option<u32>) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: server
                .map_or(Some(Duration::ZERO), cpu::time_of)
                .context("the server is gone")?,
            client: cpu::own_time() + cpu::time_of_children(),
            all: cpu::time_of_all().context("the machine's processor time cannot be read")?,
        })
    }

    /// What moving `bytes` since then took. Without a server all work counts as the server's.
    fn figures(&self, server: Option<u32>, bytes: u64) -> anyhow::Result<Figures> {
        let now = Self::take(server)?;
        let seconds = (now.at - self.at).as_secs_f64();
        let own = now.client.saturating_sub(self.client).as_secs_f64();
        let theirs = now.server.saturating_sub(self.server).as_secs_f64();
        let all = now.all.saturating_sub(self.all).as_secs_f64();
        let work = if server.is_some() { theirs } else { own };
        let mut figures = BTreeMap::from([
            ("bytes_per_second", bytes as f64 / seconds),
            ("server_seconds_per_byte", work / bytes as f64),
            ("others_share", (all - own - theirs).max(0.0) / seconds),
        ]);
        if server.is_some() {
            figures.insert("client_share", own / seconds);
        }
        Ok(figures)
    }
}

/// Greffe: two people with a direct room; one sends, the other one fetches. Upload, then download.
pub(super) fn greffe(place: &Place<'_>) -> anyhow::Result<[Figures; 2]> {
    let process = start(place.binary, place.directory, place.source.size, &[place.server_core])?;
    let pid = process.pid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = cpu::pinned(&[place.client_core], || {
        runtime.block_on(async {
            let pairs = Pairs::register(process.address, 1).await?;
            let [one, other] = pairs.tokens(0);
            let mut sender = Client::connect(process.address, &one).await?;
            let mut receiver = Client::connect(process.address, &other).await?;
            let room = pairs.room(0);
            let (watch, sample) = begin(place, pid)?;
            let id = sender.upload(place.source, &room, place.chunk).await?;
            let mut up = sample.figures(Some(pid), place.source.size)?;
            up.insert("memory_growth", growth(pid, watch)?);
            let (watch, sample) = begin(place, pid)?;
            let bytes = receiver.download(&id, |_| {}).await?;
            let mut down = sample.figures(Some(pid), place.source.size)?;
            down.insert("memory_growth", growth(pid, watch)?);
            anyhow::ensure!(bytes == place.source.size, "{bytes} bytes came down");
            Ok([up, down])
        })
    })?;
    process.stop()?;
    Ok(figures)
}

/// A Greffe server that takes files of `size` bytes, and many of them.
pub(super) fn start(binary: &Path, directory: &Path, size: u64, cores: &[usize]) -> anyhow::Result<Process> {
    let limits = [("file_bytes", size.max(1)), ("file_quota_bytes", 1 << 40)];
    server::greffe(binary, &directory.join("data"), cores, &limits)
}

/// Begins to watch a server: its memory now, and its processor time.
fn begin(place: &Place<'_>, pid: u32) -> anyhow::Result<(u64, Sample)> {
    settle(place.source, place.directory)?;
    let memory = watch(pid)?;
    Ok((memory, Sample::take(Some(pid))?))
}

/// Has the disk done with what others wrote before, and leaves as much free memory that was in use before as the file needs: a virtual machine
/// has to ask its host for pages it never had, which costs more than to copy the file, and would be charged to who comes first.
pub(super) fn settle(source: &Source, directory: &Path) -> anyhow::Result<()> {
    let warm = directory.join("warm");
    std::fs::copy(&source.path, &warm).context("the file cannot be copied")?;
    nix::unistd::sync();
    std::fs::remove_file(&warm).context("a copy cannot be removed")
}

/// The server's memory now, from which on its peak counts.
pub(super) fn watch(pid: u32) -> anyhow::Result<u64> {
    cpu::forget_peak(pid)?;
    cpu::memory_of(pid).context("the server is gone")
}

/// Bytes by which its memory was larger at its peak.
pub(super) fn growth(pid: u32, before: u64) -> anyhow::Result<f64> {
    let peak = cpu::peak_of(pid).context("the server is gone")?;
    Ok(peak.saturating_sub(before) as f64)
}

/// nginx with curl. PUT, the same with what Greffe does besides (hash it, bring it to the disk), GET.
pub(super) fn nginx(place: &Place<'_>) -> anyhow::Result<[Figures; 3]> {
    let address = server::free_address()?;
    let directory = place.directory.to_str().context("the directory's path is not UTF-8")?;
    let text = include_str!("../../peers/nginx.conf")
        .replace("@PORT@", &address.port().to_string())
        .replace("@DIRECTORY@", directory);
    let configuration = place.directory.join("nginx.conf");
    std::fs::write(&configuration, text)?;
    std::fs::create_dir_all(place.directory.join("www/up"))?;
    let mut command = server::command("nginx");
    command.arg("-p").arg(place.directory).arg("-c").arg(&configuration);
    let process = Process::start(
        command,
        &[place.server_core],
        &place.directory.join("nginx.log"),
        address,
    )
    .context("nginx cannot be measured; on Debian: apt-get install nginx-light curl, or --without-nginx")?;
    let pid = process.pid();
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--output", "/dev/null"]);
        curl
    };
    let put = |name: &str| -> anyhow::Result<()> {
        let mut curl = curl();
        curl.arg("--upload-file")
            .arg(&place.source.path)
            .arg(format!("http://{address}/up/{name}"));
        finish(curl, place.client_core)
    };
    let measure = |work: &dyn Fn() -> anyhow::Result<()>| {
        settle(place.source, place.directory)?;
        let sample = Sample::take(Some(pid))?;
        work()?;
        sample.figures(Some(pid), place.source.size)
    };
    let plain = measure(&|| put("one"))?;
    let verified = measure(&|| {
        put("two")?;
        let file = place.directory.join("www/up/two");
        let mut hash = Command::new("openssl");
        hash.args(["dgst", "-sha256"]).arg(&file);
        finish(hash, place.server_core)?;
        std::fs::File::open(&file)?.sync_data()?;
        Ok(())
    })?;
    let get = measure(&|| {
        let mut curl = curl();
        curl.arg(format!("http://{address}/up/one"));
        finish(curl, place.client_core)
    })?;
    process.stop()?;
    Ok([plain, verified, get])
}

/// Programs that do without a server, by name. The first is the floor.
pub(super) fn local(place: &Place<'_>) -> anyhow::Result<Vec<(&'static str, Figures)>> {
    let source = &place.source.path;
    let mut all = Vec::new();
    let mut measure = |name: &'static str, work: &dyn Fn(&Path) -> anyhow::Result<()>| {
        let to = place.directory.join("copy");
        settle(place.source, place.directory)?;
        let sample = Sample::take(None)?;
        cpu::pinned(&[place.server_core], || work(&to))?;
        all.push((name, sample.figures(None, place.source.size)?));
        if to.exists() {
            std::fs::remove_file(&to)?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let program = |name: &str, arguments: &[&str], paths: &[&Path]| {
        let mut command = Command::new(name);
        command.args(arguments).args(paths);
        finish(command, place.server_core)
    };
    measure("hash + copy", &|to| place.source.hash_and_copy(to))?;
    measure("cp", &|to| program("cp", &["--reflink=never"], &[source, to]))?;
    measure("cp; sync; sha256sum", &|to| {
        program("cp", &["--reflink=never"], &[source, to])?;
        program("sync", &[], &[to])?;
        program("sha256sum", &[], &[to])
    })?;
    measure("cp; sync; openssl sha256", &|to| {
        program("cp", &["--reflink=never"], &[source, to])?;
        program("sync", &[], &[to])?;
        program("openssl", &["dgst", "-sha256"], &[to])
    })?;
    Ok(all)
}

/// Runs a program on a core until it ends.
fn finish(mut command: Command, core: usize) -> anyhow::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = cpu::pinned(&[core], || {
        command.status().with_context(|| format!("{command:?} cannot be started"))
    })?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// What a run says in a line.
pub(super) fn line(name: &str, figures: &Figures) -> String {
    let of = |figure: &str, scale: f64| {
        figures
            .get(figure)
            .map_or_else(|| "-".to_owned(), |value| report::short(value * scale))
    };
    format!(
        "{name:<26} {} MB/s, {} server CPU s/GB, client {}, others {}",
        of("bytes_per_second", 1e-6),
        of("server_seconds_per_byte", 1e9),
        of("client_share", 1.0),
        of("others_share", 1.0)
    )
}
