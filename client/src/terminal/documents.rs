//! What a command line can tell of itself: completion scripts and manual pages.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use super::error::CommandError;
use super::ui::Ui;

/// Prints the script that completes `command` in a shell.
pub fn completions(mut command: Command, shell: Shell, ui: Ui) -> Result<(), CommandError> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    ui.bytes(&script)
}

/// Prints the manual page of `command`, or writes those of all its commands to `directory`, which is made if need be.
pub fn manual(command: Command, directory: Option<&Path>, ui: Ui) -> Result<(), CommandError> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| CommandError::Failed(format!("the page cannot be made: {error}")))?;
        return ui.bytes(&page);
    };
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .map_err(|error| {
            CommandError::Failed(format!(
                "the pages cannot be written to {}: {error}",
                directory.display()
            ))
        })?;
    ui.note(&format!("the manual pages are in {}", directory.display()));
    Ok(())
}
