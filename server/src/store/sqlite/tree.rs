//! The journal's tree: roots that are kept, and those that proofs need.

use diesel::prelude::*;
use greffe_api::record::proof::{Span, fold};

use super::load::head;
use crate::journal::tree::{Edge, Hash, Subtree};
use crate::store::schema::{checkpoint, journal, subtree};
use crate::store::{KEPT, StoreError, Writes, is_kept};

/// Leaves that are read at a time.
const CHUNK: i64 = 65_536;

fn number(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Database("no tree is that large".into()))
}

fn hash(bytes: Vec<u8>) -> Result<Hash, StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Database("a hash of the tree has not 32 bytes".into()))
}

fn keep(connection: &mut SqliteConnection, of: Subtree, root: &Hash) -> Result<(), StoreError> {
    diesel::insert_into(subtree::table)
        .values((
            subtree::level.eq(i32::try_from(of.level).unwrap_or(i32::MAX)),
            subtree::number.eq(number(of.number)?),
            subtree::root.eq(&root[..]),
        ))
        .execute(connection)?;
    Ok(())
}

/// Keeps what a batch completed, and its checkpoint.
pub(super) fn write(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), StoreError> {
    for (of, root) in &writes.subtrees {
        keep(connection, *of, root)?;
    }
    if let Some(note) = &writes.checkpoint {
        diesel::replace_into(checkpoint::table)
            .values((checkpoint::one.eq(1), checkpoint::note.eq(note)))
            .execute(connection)?;
    }
    Ok(())
}

/// The newest checkpoint that was kept.
pub(crate) fn checkpoint(connection: &mut SqliteConnection) -> Result<Option<String>, StoreError> {
    Ok(checkpoint::table.select(checkpoint::note).first(connection).optional()?)
}

/// Keeps what was completed by a release that kept nothing.
pub(super) fn backfill(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let is_kept_already: Option<i64> = subtree::table.select(subtree::number).first(connection).optional()?;
    if is_kept_already.is_some() {
        return Ok(());
    }
    connection.immediate_transaction(|connection| {
        let mut edge = Edge::default();
        loop {
            let leaves = leaves(connection, number(edge.size())?, CHUNK)?;
            if leaves.is_empty() {
                return Ok(());
            }
            let mut full = Vec::new();
            for leaf in leaves {
                edge.push_telling(leaf, |subtree, root| full.push((subtree, *root)));
            }
            for (subtree, root) in full.into_iter().filter(|(subtree, _)| is_kept(*subtree)) {
                keep(connection, subtree, &root)?;
            }
        }
    })
}

pub(super) fn leaves(connection: &mut SqliteConnection, first: i64, count: i64) -> Result<Vec<Hash>, StoreError> {
    let leaves: Vec<Vec<u8>> = journal::table
        .filter(journal::idx.ge(first).and(journal::idx.lt(first + count)))
        .order(journal::idx)
        .select(journal::leaf)
        .load(connection)?;
    leaves.into_iter().map(hash).collect()
}

/// The root of a full subtree.
fn root(connection: &mut SqliteConnection, of: Subtree) -> Result<Hash, StoreError> {
    // Its children on the next level that is kept.
    let rest = of.level % KEPT;
    let (level, first, count) = (of.level - rest, number(of.number << rest)?, 1_i64 << rest);
    let children = if level == 0 {
        leaves(connection, first, count)?
    } else {
        let kept: Vec<Vec<u8>> = subtree::table
            .filter(
                subtree::level
                    .eq(i32::try_from(level).unwrap_or(i32::MAX))
                    .and(subtree::number.ge(first))
                    .and(subtree::number.lt(first + count)),
            )
            .order(subtree::number)
            .select(subtree::root)
            .load(connection)?;
        kept.into_iter().map(hash).collect::<Result<_, _>>()?
    };
    if i64::try_from(children.len()).ok() != Some(count) {
        return Err(StoreError::Database("a part of the tree is missing".into()));
    }
    let mut edge = Edge::default();
    for child in children {
        edge.push(child);
    }
    Ok(edge.root())
}

/// The roots of spans, in that order.
pub(super) fn roots(connection: &mut SqliteConnection, spans: &[Span]) -> Result<Vec<Hash>, StoreError> {
    let mut roots = Vec::with_capacity(spans.len());
    for span in spans {
        let parts: Vec<Hash> = span
            .subtrees()
            .into_iter()
            .map(|subtree| root(connection, subtree))
            .collect::<Result<_, _>>()?;
        roots.push(fold(&parts).ok_or_else(|| StoreError::Database("a span of the tree is empty".into()))?);
    }
    Ok(roots)
}

/// All roots that are kept, by level and number.
pub(crate) fn kept(connection: &mut SqliteConnection) -> Result<Vec<(Subtree, Hash)>, StoreError> {
    let kept: Vec<(i32, i64, Vec<u8>)> = subtree::table.order((subtree::level, subtree::number)).load(connection)?;
    let wrong = |_| StoreError::Database("a part of the tree has a number that none has".into());
    kept.into_iter()
        .map(|(level, number, root)| {
            let level = u32::try_from(level).map_err(wrong)?;
            let number = u64::try_from(number).map_err(wrong)?;
            Ok((Subtree { level, number }, hash(root)?))
        })
        .collect()
}

/// A root that is kept.
pub(crate) fn kept_root(connection: &mut SqliteConnection, of: Subtree) -> Result<Option<Hash>, StoreError> {
    let level = i32::try_from(of.level).unwrap_or(i32::MAX);
    let found: Option<Vec<u8>> = subtree::table
        .find((level, number(of.number)?))
        .select(subtree::root)
        .first(connection)
        .optional()?;
    found.map(hash).transpose()
}

/// How many roots are kept.
pub(crate) fn count_kept(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(subtree::table.count().get_result(connection)?)
}

/// Size and root of the journal.
pub(crate) fn newest(connection: &mut SqliteConnection) -> Result<(u64, Hash), StoreError> {
    let edge = head(connection)?.edge;
    Ok((edge.size(), edge.root()))
}
