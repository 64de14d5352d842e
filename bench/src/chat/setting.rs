//! With which server, on which cores and where it is measured.

use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::server;

/// With what and where.
#[derive(Debug, clap::Args)]
pub(super) struct SettingArgs {
    /// The processor cores that servers may use
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub(super) server_cores: Vec<usize>,
    /// The processor core of the load generator
    #[arg(long, default_value_t = 1)]
    pub(super) load_core: usize,
    /// The greffe-server to measure; the one beside this program by default
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where the servers' directories are made; on the disk that is to be measured
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

impl SettingArgs {
    /// The Greffe server.
    pub(super) fn binary(&self) -> anyhow::Result<PathBuf> {
        match &self.server {
            Some(path) => Ok(path.clone()),
            None => server::beside("greffe-server"),
        }
    }

    /// A new directory for everything that servers write; removed when dropped.
    pub(super) fn home(&self) -> anyhow::Result<TempDir> {
        tempfile::Builder::new()
            .prefix("greffe-bench-")
            .tempdir_in(&self.directory)
            .with_context(|| format!("nothing can be written in {}", self.directory.display()))
    }
}
