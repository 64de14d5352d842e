//! A server: the real binary as a process, with a data directory of its own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::{Operator, PASSWORD, User, v1, within};

/// Limits that would only slow the tests down; a test that is about one of them sets it again.
const ROOMY: [(&str, i64); 5] = [
    ("messages_per_second", 0),
    ("failed_logins_per_address", 0),
    ("failed_logins_per_account", 0),
    ("connections_per_address", 1000),
    ("connections_per_user", 1000),
];

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `--limit NAME=VALUE`, after those of [`ROOMY`].
    pub(crate) limits: Vec<(&'static str, i64)>,
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
    /// Further environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// A running server. Killed, and its log searched for panics, when dropped.
pub(crate) struct Server {
    home: tempfile::TempDir,
    options: Options,
    child: Option<Child>,
    address: String,
    admin_socket: PathBuf,
    admin_address: Option<String>,
}

impl Server {
    /// Starts a server on an empty data directory.
    pub(crate) async fn start(limits: &[(&'static str, i64)]) -> Self {
        Self::start_with(Options {
            limits: limits.to_vec(),
            ..Options::default()
        })
        .await
    }

    /// The same, with other options.
    pub(crate) async fn start_with(options: Options) -> Self {
        let mut server = Self::stopped(options);
        server.spawn().await.expect("the server starts");
        server
    }

    /// A server that was never started.
    pub(crate) fn stopped(options: Options) -> Self {
        Self {
            home: tempfile::tempdir().expect("a temporary directory can be made"),
            options,
            child: None,
            address: String::new(),
            admin_socket: PathBuf::new(),
            admin_address: None,
        }
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    /// If it ends first: its exit status.
    pub(crate) async fn spawn(&mut self) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "the server runs already");
        let mut child = self.command().spawn().expect("greffe-server can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let first = within("the ready line", lines.next_line()).await.expect("stdout can be read");
        let Some(first) = first else {
            return Err(within("the exit", child.wait()).await.expect("the process can be waited for"));
        };
        let Some(address) = first.strip_prefix("ready grpc=") else {
            panic!("the first line is not `ready grpc=…` but {first:?}");
        };
        let (address, admin) = address.split_once(" admin=unix:").expect("the ready line names the socket");
        let (socket, admin_address) = match admin.split_once(" admin-tls=") {
            Some((socket, address)) => (socket, Some(address.to_owned())),
            None => (admin, None),
        };
        address.clone_into(&mut self.address);
        self.admin_socket = PathBuf::from(socket);
        self.admin_address = admin_address;
        // A full pipe must never be what stops the server.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.child = Some(child);
        Ok(())
    }

    /// The command that starts the server.
    fn command(&self) -> Command {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log can be opened");
        let mut command = Command::new(binary());
        clean(&mut command);
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen", "127.0.0.1:0"])
            .args(
                ROOMY
                    .iter()
                    .chain(&self.options.limits)
                    .flat_map(|(name, value)| ["--limit".to_owned(), format!("{name}={value}")]),
            )
            .args(&self.options.arguments)
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// Runs `greffe-server check --json` on the stopped server's data and returns what it printed.
    pub(crate) async fn check(&self) -> serde_json::Value {
        let (status, stdout, stderr) = self.run(&["check", "--json"]).await;
        assert!(status.success(), "check failed with {status}: {stdout}{stderr}");
        serde_json::from_str(stdout.lines().last().expect("check prints a line")).expect("the line is JSON")
    }

    /// Runs `greffe-server --data-dir … ARGUMENTS` to its end: status, standard output, standard error.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (ExitStatus, String, String) {
        let mut command = Command::new(binary());
        clean(&mut command);
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .kill_on_drop(true);
        let output = within("the end of a command", command.output())
            .await
            .expect("greffe-server can be started");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status, text(&output.stdout), text(&output.stderr))
    }

    /// Asks the server to stop, as an operator or a service manager does, and waits for its end.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        signal(&child, "TERM");
        within("the end after SIGTERM", child.wait())
            .await
            .expect("the process can be waited for")
    }

    /// Kills the server as a crash does.
    pub(crate) async fn kill_9(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        within("the end after SIGKILL", child.kill())
            .await
            .expect("the process can be killed");
    }

    /// Waits until the server ends by itself.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        within("the server's end", child.wait())
            .await
            .expect("the process can be waited for")
    }

    /// Stops the server in order and starts it again, on the same data and another port.
    pub(crate) async fn restart(&mut self) {
        let status = self.terminate().await;
        assert!(status.success(), "the server ended with {status}");
        self.spawn().await.expect("the server starts again");
    }

    /// Sends SIGHUP, as a terminal that closes does, or a service manager that reloads.
    pub(crate) fn hang_up(&self) {
        signal(self.child.as_ref().expect("the server runs"), "HUP");
    }

    /// Stops the server without waiting for it, for tests that stop while other things go on.
    pub(crate) fn begin_to_stop(&self) {
        signal(self.child.as_ref().expect("the server runs"), "TERM");
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("the server runs")
    }

    /// Bytes of memory the process holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process has a status");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("the status tells the memory");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("the memory is a number");
        kib * 1024
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A path beside the data directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The journal's database.
    pub(crate) fn database(&self) -> PathBuf {
        self.data_dir().join("greffe.db")
    }

    /// Where the processes' standard error goes.
    fn log_path(&self) -> PathBuf {
        self.home.path().join("server.log")
    }

    /// What the server's processes have logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Options that hold from the next start on.
    pub(crate) fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// A connection of its own.
    pub(crate) async fn channel(&self) -> Channel {
        self.try_channel().await.expect("the server accepts")
    }

    /// A connection of its own, if the server is still there.
    pub(crate) async fn try_channel(&self) -> Option<Channel> {
        within("a connection", self.endpoint(&self.address).connect()).await.ok()
    }

    /// A connection of a client that takes little at a time: 64 KiB for each stream, where the library would take megabytes.
    pub(crate) async fn narrow_channel(&self) -> Channel {
        let endpoint = self.endpoint(&self.address).initial_stream_window_size(65_535);
        within("a connection", endpoint.connect()).await.expect("the server accepts")
    }

    /// A connection of its own from another address of this machine.
    pub(crate) async fn channel_from(&self, address: IpAddr) -> Channel {
        let endpoint = self.endpoint(&self.address).local_address(Some(address));
        within("a connection", endpoint.connect()).await.expect("the server accepts")
    }

    /// How to connect to an address of the server; with TLS, trusting its own certificate, if it was told to make one.
    fn endpoint(&self, address: &str) -> Endpoint {
        let encrypted = self.options.arguments.iter().any(|argument| argument == "--tls-self-signed");
        let scheme = if encrypted { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).expect("the address is one");
        if !encrypted {
            return endpoint;
        }
        let certificate = std::fs::read(self.data_dir().join("tls/certificate.pem")).expect("the server made one");
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(certificate))
            .domain_name("localhost");
        endpoint.tls_config(tls).expect("the certificate is one")
    }

    /// The operators' socket.
    pub(crate) fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// `host:port` of the operators' port.
    pub(crate) fn admin_address(&self) -> &str {
        self.admin_address.as_deref().expect("the server has an operators' port")
    }

    /// An operator at the socket, over a connection of its own.
    pub(crate) async fn operator(&self) -> Operator {
        let endpoint =
            Endpoint::from_shared(format!("unix://{}", self.admin_socket.display())).expect("the path is one");
        Operator::over(within("a connection", endpoint.connect()).await.expect("the server accepts"))
    }

    /// A connection to the operators' port from an address of this machine.
    pub(crate) async fn admin_channel_from(&self, from: Option<IpAddr>) -> Channel {
        let address = self.admin_address.as_deref().expect("the server has an operators' port");
        let connecting = self.endpoint(address).local_address(from);
        within("a connection", connecting.connect()).await.expect("the server accepts")
    }

    /// A connection to the operators' port.
    pub(crate) async fn admin_channel(&self) -> Channel {
        self.admin_channel_from(None).await
    }

    /// Registers a user.
    pub(crate) async fn user(&self, name: &str) -> User {
        User::register(self.channel().await, name, PASSWORD)
            .await
            .expect("the name is free")
    }

    /// Registers many users: `prefix0`, `prefix1` and so on.
    pub(crate) async fn users(&self, prefix: &str, count: usize) -> Vec<User> {
        let mut users = Vec::with_capacity(count);
        for number in 0..count {
            users.push(self.user(&format!("{prefix}{number}")).await);
        }
        users
    }

    /// Logs a user in once more, over a connection of its own.
    pub(crate) async fn login(&self, name: &str) -> User {
        User::log_in(self.channel().await, name, PASSWORD)
            .await
            .expect("the password is right")
    }

    /// Tells what the server is.
    pub(crate) async fn info(&self) -> v1::ServerInfo {
        let mut client = v1::server_service_client::ServerServiceClient::new(self.channel().await);
        let answer = within("the server's info", client.get_server_info(v1::GetServerInfoRequest {})).await;
        answer
            .expect("everyone may ask")
            .into_inner()
            .server
            .expect("the answer has the facts")
    }

    /// The id of the room that everyone is in.
    pub(crate) async fn general(&self) -> String {
        self.info().await.general_room_id
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let log = self.log();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the end of the server's log ---");
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
            return;
        }
        assert!(!log.contains("panicked at"), "the server panicked:\n{log}");
    }
}

/// Removes from a command's environment what would configure a server.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GREFFE_") {
            command.env_remove(name);
        }
    }
}

/// The server's binary, which cargo puts beside the directory of the test's own.
pub(crate) fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("the test has a path");
    let profile = own
        .parent()
        .and_then(Path::parent)
        .expect("the test lies in target/PROFILE/deps");
    let path = profile.join("greffe-server");
    assert!(
        path.exists(),
        "{} is missing; run `cargo build --workspace` first",
        path.display()
    );
    path
}

/// Sends a signal to a process of ours.
fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("the process runs");
    // The shell's own `kill`, which every machine has.
    let kill = format!("kill -s {name} {pid}");
    let status = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status()
        .expect("a shell can be run");
    assert!(status.success(), "{kill} failed");
}
