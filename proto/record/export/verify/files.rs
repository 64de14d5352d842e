//! Files of an export: those that are listed, and those that have lines.

use std::io::Read;

use ring::digest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::lines::line;
use super::super::manifest::Manifest;
use super::super::report::Report;
use super::super::{FILES, hex};
use super::{Finding, MANIFEST, SHARED, Source, VerifyError, unreadable};
use crate::record::tree::Hash;

/// Bytes of a file that is read whole, at most.
const SMALL: u64 = 256 << 20;
/// Bytes of a file that are hashed at once.
const CHUNK: usize = 1 << 18;

/// A file that is read whole.
pub(super) fn read_small(source: &Source, name: &str) -> Result<Vec<u8>, VerifyError> {
    let size = source.size(name).ok_or_else(|| Finding::new(name, "it is not there"))?;
    if size > SMALL {
        return Err(Finding::new(name, "it is larger than it can be").into());
    }
    let mut bytes = Vec::new();
    let mut file = source.read(name).map_err(|error| unreadable(name, &error))?;
    file.read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    Ok(bytes)
}

/// The size and the hash of a file.
pub(super) fn hash(source: &Source, name: &str) -> Result<(u64, Hash), VerifyError> {
    if source.size(name).is_none() {
        return Err(Finding::new(name, "it is not there").into());
    }
    let mut file = source.read(name).map_err(|error| unreadable(name, &error))?;
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut buffer, mut size) = (vec![0; CHUNK], 0);
    loop {
        let read = file.read(&mut buffer).map_err(|error| unreadable(name, &error))?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        size += read as u64;
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Ok((size, hash))
}

/// Whether the files are there that a manifest lists, and no others.
pub(super) fn listed(source: &Source, manifest: &Manifest) -> Result<(), VerifyError> {
    let pages = manifest.files.len().saturating_sub(FILES.len());
    let further = (0..pages).map(|page| Report::name(page + 2));
    let names = FILES.iter().map(|name| (*name).to_owned()).chain(further);
    if manifest.files.len() < FILES.len() || !names.eq(manifest.files.iter().map(|file| file.name.clone())) {
        return Err(Finding::new(MANIFEST, "it lists other files than an export has").into());
    }
    for file in &manifest.files {
        let (size, found) = hash(source, &file.name)?;
        if size != file.size || hex(&found) != file.sha256 {
            return Err(Finding::new(&file.name, "it is not the file whose hash the manifest has").into());
        }
    }
    let known = |name: &&str| {
        *name == MANIFEST || name.starts_with(SHARED) || manifest.files.iter().any(|file| file.name == **name)
    };
    match source.names().find(|name| !known(name)) {
        Some(name) => Err(Finding::new(name, "the manifest does not know this file").into()),
        None => Ok(()),
    }
}

/// The sizes of older checkpoints.
pub(super) fn sizes(source: &Source, size: u64) -> Result<Vec<u64>, VerifyError> {
    let bytes = read_small(source, "sizes")?;
    let mut sizes = Vec::new();
    for (number, text) in text_lines("sizes", &bytes)?.enumerate() {
        let wrong = || {
            Finding::at(
                "sizes",
                format!("line {}", number + 1),
                "it is not a size, larger than the one before",
            )
        };
        let found: u64 = text.parse().map_err(|_| wrong())?;
        let last = sizes.last().copied().unwrap_or(0);
        if found <= last || found >= size || found.to_string() != text {
            return Err(wrong().into());
        }
        sizes.push(found);
    }
    Ok(sizes)
}

/// The lines of a file, each of which ends.
pub(super) fn text_lines<'a>(name: &str, bytes: &'a [u8]) -> Result<impl Iterator<Item = &'a str> + use<'a>, Finding> {
    let text = std::str::from_utf8(bytes).map_err(|_| Finding::new(name, "it is not UTF-8"))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(Finding::new(name, "its last line does not end"));
    }
    Ok(text.split_terminator('\n'))
}

/// The lines of a file as objects, by ascending id.
pub(super) fn lines<T: Serialize + DeserializeOwned>(
    source: &Source,
    name: &str,
    id: impl Fn(&T) -> &String,
) -> Result<Vec<T>, VerifyError> {
    let bytes = read_small(source, name)?;
    let mut found: Vec<T> = Vec::new();
    for (number, text) in text_lines(name, &bytes)?.enumerate() {
        let wrong = |why: &str| Finding::at(name, format!("line {}", number + 1), why);
        let object: T = serde_json::from_str(text).map_err(|_| wrong("it is not the object that has to be there"))?;
        if line(&object).trim_end() != text.trim_end() || line(&object).len() != text.len() + 1 {
            return Err(wrong("it is not written as it has to be").into());
        }
        if found.last().is_some_and(|last| id(last) >= id(&object)) {
            return Err(wrong("its id is not greater than the one before").into());
        }
        found.push(object);
    }
    Ok(found)
}

/// A file that has to have certain bytes.
pub(super) struct Expected<'a, R> {
    name: &'a str,
    file: R,
    line: u64,
}

impl<'a> Expected<'a, Box<dyn Read>> {
    pub(super) fn open(source: &Source, name: &'a str) -> Result<Self, VerifyError> {
        let file = source.read(name).map_err(|error| unreadable(name, &error))?;
        Ok(Self {
            name,
            file: Box::new(file),
            line: 0,
        })
    }

    /// The next line.
    pub(super) fn line(&mut self, want: &str) -> Result<(), Finding> {
        self.line += 1;
        let mut found = vec![0; want.len()];
        let read = self.file.read_exact(&mut found);
        if read.is_err() || found != want.as_bytes() {
            let place = format!("line {}", self.line);
            return Err(Finding::at(self.name, place, "it is not what the row says"));
        }
        Ok(())
    }

    /// The end.
    pub(super) fn end(mut self) -> Result<(), VerifyError> {
        let read = self.file.read(&mut [0]).map_err(|error| unreadable(self.name, &error))?;
        if read > 0 {
            let place = format!("line {}", self.line + 1);
            return Err(Finding::at(self.name, place, "no row says this").into());
        }
        Ok(())
    }

    /// Whether a file is this.
    pub(super) fn whole(source: &Source, name: &'a str, want: &str) -> Result<(), VerifyError> {
        let found = if source.size(name) == Some(want.len() as u64) {
            read_small(source, name)?
        } else {
            Vec::new()
        };
        if found == want.as_bytes() {
            return Ok(());
        }
        let same = found
            .iter()
            .zip(want.as_bytes())
            .take_while(|(found, want)| found == want)
            .count();
        Err(Finding::at(name, format!("byte {same}"), "it is not what the rows say").into())
    }
}
