//! The server's binary: arguments, configuration, logs, run.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use greffe_server::check::check;
use greffe_server::config::{Args, Command, Config, Loaded};
use greffe_server::{Server, Start, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// Refused or failed; of `check`: tampered.
const FAILED: u8 = 1;
/// Wrong usage: the configuration.
const USAGE: u8 = 2;
/// What was to be read cannot be.
const UNREADABLE: u8 = 6;

fn main() -> ExitCode {
    let args = Args::parse();
    let loaded = match Config::load(&args, std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.into(), USAGE),
    };
    match args.command {
        Some(Command::Config { example }) => print(&if example { Config::example() } else { loaded.to_toml() }),
        Some(Command::Check { directory, json }) => run_check(&directory.unwrap_or(loaded.config.data_dir), json),
        None => {
            let start = Start {
                accept_restore: args.accept_restore,
                new_key: args.new_key,
            };
            match run(loaded, start) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, FAILED),
            }
        }
    }
}

/// Writes to standard output. A reader that has gone is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error.into(), FAILED),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // An error that only passes another one on has its text.
        if !text.ends_with(&cause) {
            text.push_str(if text.is_empty() { "error: " } else { ": " });
            text.push_str(&cause);
        }
    }
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(code)
}

fn run_check(directory: &Path, json: bool) -> ExitCode {
    match check(directory) {
        Ok(report) if json => print(&serde_json::to_string(&report).expect("a report is plain data")),
        Ok(report) => print(&report.to_string()),
        Err(error) => {
            let code = if error.is_tampered() { FAILED } else { UNREADABLE };
            if json {
                print(
                    &serde_json::json!({ "ok": false, "tampered": error.is_tampered(), "problem": error.to_string() })
                        .to_string(),
                );
            }
            fail(&error.into(), code)
        }
    }
}

fn run(loaded: Loaded, start: Start) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    let outcome = runtime.block_on(serve(loaded, start));
    // A backup that is being made, or a password that is being hashed, does not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn serve(loaded: Loaded, start: Start) -> anyhow::Result<()> {
    telemetry::init(&loaded.config.log)?;
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let server = Server::bind(loaded.config, &start).await?;
    let mut hangup = signal(SignalKind::hangup()).context("signals cannot be received")?;
    let certificates = server.certificates();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match certificates.as_ref().map(|certificates| certificates.reload()) {
                None => tracing::info!("There is no certificate to read again"),
                Some(Ok(())) => tracing::info!("The certificate was read again"),
                Some(Err(error)) => {
                    tracing::error!(%error, "The certificate was not read again; the one from before stays");
                }
            }
        }
    });
    let remote = server.admin_addr().map(|address| format!(" admin-tls={address}"));
    print(&format!(
        "ready grpc={} admin=unix:{}{}",
        server.local_addr(),
        server.admin_socket().display(),
        remote.unwrap_or_default()
    ));
    let outcome = server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    Ok(outcome?)
}
