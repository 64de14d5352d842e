//! `greffe-admin` as an operator types it, against a server of the tests.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::server::binary;
use super::{Server, within};

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The lines of standard output as objects.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let object = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.stdout.lines().map(object).collect()
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// An operator with a configuration directory of their own.
pub(crate) struct Tool {
    data_dir: PathBuf,
    config: tempfile::TempDir,
}

impl Tool {
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            data_dir: server.data_dir(),
            config: tempfile::tempdir().expect("a temporary directory can be made"),
        }
    }

    /// The command, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().with_file_name("greffe-admin"));
        self.prepare(&mut command);
        command.args(arguments);
        command
    }

    pub(crate) fn prepare(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GREFFE_") {
                command.env_remove(name);
            }
        }
        command
            .env("GREFFE_DATA_DIR", &self.data_dir)
            .env("GREFFE_CONFIG_DIR", self.config.path())
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with_input(arguments, "").await
    }

    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        finished(command, input).await
    }

    /// Runs a command with `--json` that is expected to succeed, and gives its only object.
    pub(crate) async fn object(&self, arguments: &[&str]) -> Value {
        let mut objects = self.objects(arguments).await;
        assert_eq!(objects.len(), 1, "{arguments:?}: {objects:?}");
        objects.remove(0)
    }

    pub(crate) async fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments = [arguments, &["--json"]].concat();
        self.run(&arguments).await.exits(0).objects()
    }
}

/// Runs a command to its end.
pub(crate) async fn finished(mut command: Command, input: &str) -> Outcome {
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("greffe-admin cannot be started ({error}); run `cargo build --workspace` first")
    });
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A command that does not read its input may have ended already.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let output = within("the end of a command", child.wait_with_output())
        .await
        .expect("a process can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
