//! What both programs do with checkpoints: print them, and check those that were kept.

use std::io::{self, Read as _};
use std::path::Path;

use serde_json::json;

use super::error::CommandError;
use super::text::visible;
use super::ui::Ui;
use super::witness;
use crate::{Compared, Error, KeptCheckpoint, Witnessed, on_paper};

/// Bytes of a checkpoint that are read; a larger text is none.
const LARGEST: u64 = 16 * 1024;

/// Prints a signed checkpoint: for paper, or with `note` as it is signed.
pub fn print(ui: Ui, checkpoint: &str, key: &str, note: bool) -> Result<(), CommandError> {
    let mut lines = checkpoint.lines();
    if ui.is_json() {
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        return ui.object(&json!({
            "origin": origin,
            "size": size.and_then(|size| size.parse::<u64>().ok()),
            "root": root,
            "key": key,
            "checkpoint": checkpoint,
        }));
    }
    if note {
        return lines.try_for_each(|line| ui.line(&visible(line)));
    }
    on_paper(checkpoint, key)?.lines().try_for_each(|line| ui.line(line))
}

/// Reads a checkpoint that was kept, from a file or, if that is `-`, standard input.
pub fn read(path: &Path) -> Result<KeptCheckpoint, CommandError> {
    let is_stdin = path.as_os_str() == "-";
    let what = || {
        if is_stdin {
            "the checkpoint on standard input".to_owned()
        } else {
            format!("the checkpoint in {}", path.display())
        }
    };
    let unreadable = |why: String| CommandError::Unreadable { what: what(), why };
    let read = || -> io::Result<String> {
        let mut text = String::new();
        if is_stdin {
            io::stdin().lock().take(LARGEST).read_to_string(&mut text)?;
        } else {
            std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
        }
        Ok(text)
    };
    let text = read().map_err(|error| unreadable(error.to_string()))?;
    KeptCheckpoint::parse(&text).map_err(|error| unreadable(error.to_string()))
}

/// Says that a checkpoint that was kept is of this journal.
pub fn tell_compared(ui: Ui, compared: &Compared) -> Result<(), CommandError> {
    let Compared {
        size,
        newest,
        key,
        before_restore,
    } = compared;
    if ui.is_json() {
        return ui.object(&json!({
            "ok": true, "size": size, "newest": newest, "key": key, "before_restore": before_restore,
        }));
    }
    if key.is_none() {
        ui.note("the checkpoint came without a signature: its size and root were compared, and not who made it");
    }
    if *before_restore {
        ui.note("the journal was restored since then, from a backup with all of these rows");
    }
    ui.line(&format!(
        "in order: the record has {newest} rows, and the first {size} are those of the checkpoint"
    ))
}

/// Says which key is trusted now.
pub fn tell_accepted(ui: Ui, found: Result<Witnessed, Error>) -> Result<(), CommandError> {
    let key = match &found {
        Ok(Witnessed::First { key, .. }) => Some(key.clone()),
        Ok(Witnessed::GoesOn { keys, .. }) => keys.last().cloned(),
        _ => None,
    };
    if let Some(text) = witness::news(found)? {
        ui.note(&text);
    }
    match key {
        Some(key) if ui.is_json() => ui.object(&json!({"key": key})),
        Some(key) => ui.line(&format!("trusted from now on: {}", visible(&key))),
        None if ui.is_json() => ui.object(&json!({"key": null})),
        None => ui.line("there was nothing to accept"),
    }
}
