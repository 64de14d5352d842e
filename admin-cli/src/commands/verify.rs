//! `greffe-admin verify`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use greffe_api::record::export::verify::{Finding, Known, Verdict, VerifyError, verify};
use greffe_api::record::key::VerifierKey;
use serde_json::json;

use crate::context::Context;
use crate::output::{bytes, count};

/// Bytes of a key or a checkpoint, at most.
const SMALL: u64 = 64 << 10;
/// Whose reports this program makes: those of its own version.
const TOOL: &str = concat!("greffe/", env!("CARGO_PKG_VERSION"));

/// Verify an export: that nothing in it was altered, and that nothing is missing
///
/// Needs no server and no network. What was changed is named, and the exit code is 1; 6 if it is no export, or cannot be read. The most can be told with an older
/// checkpoint of the journal that somebody kept elsewhere: without one, and without a key that is known, only that the export fits together.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The export: its directory, or its archive
    #[arg(value_name = "DIR|FILE.tar")]
    export: PathBuf,
    /// A key of the journal that you trust, or a file with one; may be given more than once
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
    /// A file with an older checkpoint of the journal; may be given more than once
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

/// Verifies.
pub(crate) fn run(args: &VerifyArgs, context: &Context) -> Result<(), CommandError> {
    let known = Known {
        keys: args.key.iter().map(|given| key(given)).collect::<Result<_, _>>()?,
        checkpoints: args
            .checkpoint
            .iter()
            .map(|path| Ok((path.display().to_string(), small(path)?)))
            .collect::<Result<_, CommandError>>()?,
        tool: Some(TOOL.to_owned()),
    };
    match verify(&args.export, &known) {
        Ok(verdict) => show(&verdict, context),
        Err(VerifyError::Tampered(finding)) => Err(tampered(&finding, context)),
        Err(VerifyError::Unreadable(why)) => Err(CommandError::Unreadable {
            what: args.export.display().to_string(),
            why,
        }),
    }
}

/// A small file.
fn small(path: &Path) -> Result<Vec<u8>, CommandError> {
    let unreadable = |why: String| CommandError::Unreadable {
        what: path.display().to_string(),
        why,
    };
    let size = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > SMALL {
        return Err(unreadable("it is too large for that".to_owned()));
    }
    fs::read(path).map_err(|error| unreadable(error.to_string()))
}

/// A key, as it is given, or as a file has it.
fn key(given: &str) -> Result<VerifierKey, CommandError> {
    if let Ok(key) = given.trim().parse() {
        return Ok(key);
    }
    let path = Path::new(given);
    if !path.exists() {
        return Err(CommandError::usage(
            format!("{} is neither a key nor a file", visible(given)),
            "a key is one line, NAME+ID+KEY, as `greffe-admin checkpoint keys` prints it",
        ));
    }
    let text = String::from_utf8_lossy(&small(path)?).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    last.trim().parse().map_err(|error| CommandError::Unreadable {
        what: path.display().to_string(),
        why: format!("{error}"),
    })
}

fn tampered(finding: &Finding, context: &Context) -> CommandError {
    if context.ui.is_json() {
        let object = json!({
            "ok": false,
            "file": finding.file,
            "place": finding.place,
            "why": finding.why,
        });
        if let Err(error) = context.ui.object(&object) {
            return error;
        }
    }
    CommandError::Failed(format!("this export was altered, or is not complete: {finding}"))
}

fn show(verdict: &Verdict, context: &Context) -> Result<(), CommandError> {
    if context.ui.is_json() {
        let verdict = serde_json::to_value(verdict).unwrap_or_default();
        let mut object = json!({ "ok": true });
        if let (Some(object), Some(verdict)) = (object.as_object_mut(), verdict.as_object()) {
            object.extend(verdict.clone());
        }
        return context.ui.object(&object);
    }
    let ui = &context.ui;
    ui.line("This export is what the journal says, unaltered.")?;
    if let Some(case) = &verdict.case {
        let (reference, basis) = (visible(&case.reference), visible(&case.basis));
        ui.line(&format!("case       {reference} ({basis}), opened {}", case.opened_at))?;
    }
    let counts = verdict.counts;
    ui.line(&format!(
        "ordered    {}, of which {} erased; {} with {}",
        count(number(counts.ordered), "event"),
        counts.erased,
        count(number(counts.files), "file"),
        bytes(number(counts.file_bytes))
    ))?;
    let complete = if verdict.complete {
        format!("nothing is missing in {}", count(number(counts.rooms), "room"))
    } else {
        "completeness not proven".to_owned()
    };
    ui.line(&format!("complete   {complete}"))?;
    ui.line(&format!(
        "journal    {}, {} rows",
        visible(&verdict.journal),
        verdict.size
    ))?;
    ui.line(&format!("root       {}", verdict.root))?;
    ui.line(&format!("key        {}", visible(&verdict.key)))?;
    for size in &verdict.agrees_with {
        ui.line(&format!("agrees     with the checkpoint of {size} rows that was kept"))?;
    }
    if verdict.key_is_known {
        ui.line("trusted    the key, or one that it goes on from, is the one that you gave")?;
    }
    for note in &verdict.notes {
        ui.note(&format!("note: {}", visible(note)));
    }
    Ok(())
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
