//! A server, people with configuration directories of their own, and their commands. Every wait has a deadline.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use greffe::{Method, Operator, Options};
use serde_json::Value;

/// How long anything may take. Generous: the tests share a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether a process has ended, which nothing else tells.
const POLL: Duration = Duration::from_millis(20);
/// A password that no list of common ones has.
pub(crate) const PASSWORD: &str = "violet-harbour-anvil-27";

/// A running server. Killed when dropped.
pub(crate) struct Server {
    process: Child,
    directory: tempfile::TempDir,
    address: String,
}

impl Server {
    /// Starts a server with an empty data directory.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (process, address) = launch(directory.path(), "127.0.0.1:0", arguments);
        Self {
            process,
            directory,
            address,
        }
    }

    /// Kills the server and starts it again at the same address with the same data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts a server that has ended again, at the same address with the same data.
    pub(crate) fn start_again(&mut self) {
        let (process, address) = launch(self.directory.path(), &self.address.clone(), &[]);
        self.process = process;
        assert_eq!(address, self.address);
    }

    /// Waits for the server's end; returns how it exited.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("the server can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            thread::sleep(POLL);
        }
    }

    /// Does something as the operator, over the server's socket.
    pub(crate) fn operator<M: Method>(&self, request: M) -> M::Response {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let socket = self.directory.path().join("admin.sock");
        runtime.block_on(async {
            let operator = Operator::over_socket(socket, Options::default())
                .await
                .expect("the operators' socket is there");
            operator
                .call(request)
                .await
                .expect("the server does what the operator asks for")
        })
    }

    /// Kills the server at once.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("the server can be killed");
        self.process.wait().expect("the server ends");
    }

    /// The URL for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Someone without an account.
    pub(crate) fn stranger(&self) -> Person {
        Person {
            url: self.url(),
            config: tempfile::tempdir().expect("a temporary directory can be made"),
        }
    }

    /// Someone who has registered.
    pub(crate) fn user(&self, name: &str) -> Person {
        let person = self.stranger();
        person
            .run_with_input(["register", name, "--password-stdin"], format!("{PASSWORD}\n"))
            .succeeded();
        person
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn launch(data: &Path, listen: &str, arguments: &[&str]) -> (Child, String) {
    let binary = server_binary();
    let mut process = Command::new(&binary)
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", listen])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server can be started");
    let lines = lines_of(process.stdout.take().expect("stdout is a pipe"));
    let first = lines.recv_timeout(PATIENCE).expect("the server says that it is ready");
    let address = first
        .strip_prefix("ready grpc=")
        .and_then(|rest| rest.split_whitespace().next())
        .expect("the first line says where the server listens")
        .to_owned();
    (process, address)
}

/// The server's binary, beside the client's.
fn server_binary() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_greffe")).with_file_name("greffe-server");
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build --workspace` first",
        binary.display()
    );
    binary
}

fn lines_of(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(source).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Someone with a configuration directory of their own.
pub(crate) struct Person {
    url: String,
    config: tempfile::TempDir,
}

impl Person {
    /// Where the person's configuration is.
    pub(crate) fn config(&self) -> &Path {
        self.config.path()
    }

    /// The command, ready to be started.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greffe"));
        command
            .args(arguments)
            .env("GREFFE_SERVER", &self.url)
            .env("GREFFE_CONFIG_DIR", self.config.path())
            .env("TZ", "UTC")
            .env_remove("GREFFE_TOKEN")
            .env_remove("GREFFE_CA")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        Outcome::of(self.command(arguments))
    }

    /// Runs a command to its end with this on its standard input.
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: impl AsRef<[u8]>,
    ) -> Outcome {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        let mut process = command.spawn().expect("the client can be started");
        let mut stdin = process.stdin.take().expect("stdin is a pipe");
        let input = input.as_ref().to_owned();
        // The client may end before it has read everything.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let outcome = Outcome::from(process.wait_with_output().expect("the client ends"));
        writer.join().expect("the input is written");
        outcome
    }

    /// Starts a command that goes on.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        Running::of(self.command(arguments))
    }

    /// The objects that a command prints.
    pub(crate) fn objects<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<Value> {
        let outcome = self.run(arguments).succeeded();
        outcome
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is an object"))
            .collect()
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What it printed.
    pub(crate) stdout: String,
    /// What it said beside that.
    pub(crate) stderr: String,
    /// Its exit code.
    pub(crate) code: Option<i32>,
}

impl From<std::process::Output> for Outcome {
    fn from(output: std::process::Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
            code: output.status.code(),
        }
    }
}

impl Outcome {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        command.output().expect("the client can be started").into()
    }

    /// Insists on success.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Insists on a failure with this exit code that says what is wrong and what to do.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains("error: "), "{self:?}");
        self
    }

    /// Insists on a failure with this exit code; returns the object that says why.
    #[track_caller]
    pub(crate) fn failed_in_json(self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        let last = self.stderr.lines().last().expect("the failure is told");
        serde_json::from_str(last).expect("the last line is an object")
    }
}

/// A command that goes on. Killed when dropped.
pub(crate) struct Running {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts a command.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).spawn().expect("the client can be started");
        Self {
            stdin: process.stdin.take(),
            stdout: lines_of(process.stdout.take().expect("stdout is a pipe")),
            stderr: lines_of(process.stderr.take().expect("stderr is a pipe")),
            process,
        }
    }

    /// Interrupts the command, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        assert!(status.expect("signals can be sent").success(), "the command has ended");
    }

    /// Kills the command at once.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("the client can be killed");
        self.process.wait().expect("the client ends");
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        writeln!(stdin, "{line}").expect("the client reads");
    }

    /// Closes the input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for a line on stdout that contains `part`; returns it.
    #[track_caller]
    pub(crate) fn expect_line(&self, part: &str) -> String {
        expect(&self.stdout, &self.stderr, part)
    }

    /// Waits for a line on stderr that contains `part`; returns it.
    #[track_caller]
    pub(crate) fn expect_note(&self, part: &str) -> String {
        expect(&self.stderr, &self.stdout, part)
    }

    /// Waits for the end; returns how the process exited and what it still printed.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let mut left = Vec::new();
        // The end of stdout is the signal: it closes when the process ends.
        while let Ok(line) = self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            left.push(line);
        }
        assert!(
            Instant::now() < deadline,
            "the client does not end; it printed {left:?}"
        );
        (self.process.wait().expect("the client ends"), left)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[track_caller]
fn expect(lines: &Receiver<String>, others: &Receiver<String>, part: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(part) => return line,
            Ok(line) => seen.push(line),
            Err(error) => {
                let others: Vec<String> = others.try_iter().collect();
                panic!("no line with {part:?} ({error}); there were {seen:#?}, and on the other stream {others:#?}")
            }
        }
    }
}

/// Lines to send: `line 1`, `line 2` and so on.
pub(crate) fn numbered(count: u32) -> String {
    let lines: Vec<_> = (1..=count).map(|n| format!("line {n}\n")).collect();
    lines.concat()
}
