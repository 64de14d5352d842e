//! How fast Greffe is, beside other servers and beside what the machine can do. The method is in `README.md`.

mod chat;
mod cpu;
mod disk;
mod files;
mod journal;
mod latency;
mod plot;
mod report;
mod server;
mod ui;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

/// Measure Greffe, other servers and the machine at the same work.
#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Chat(chat::ChatArgs),
    Day(chat::DayArgs),
    Files(files::FilesArgs),
    FilesChat(files::FilesChatArgs),
    Journal(journal::JournalArgs),
    Sweep(chat::SweepArgs),
    Plot(chat::PlotArgs),
    #[command(hide = true)]
    Floor(chat::FloorArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Chat(args) => chat::run(&args),
        Command::Day(args) => chat::run_day(&args),
        Command::Files(args) => files::run(&args),
        Command::FilesChat(args) => files::run_beside_chat(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Sweep(args) => chat::run_sweep(&args),
        Command::Plot(args) => chat::plot(&args),
        Command::Floor(args) => chat::serve_floor(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
