//! Reading a log page by page, from either end.

use std::collections::VecDeque;

use greffe::admin_api::{ListAuditRequest, ListConnectionsRequest, LogEntry, LogRange};
use greffe::{Error, Operator};
use jiff::Timestamp;

use super::index;
use crate::commands::PAGE;
use crate::moment::to_wire;

/// A log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// Who connected.
    Connections,
    /// What operators did.
    Audit,
}

/// A log, of one account or of everyone, from a time on or from the beginning.
pub(crate) struct Pages<'a> {
    operator: &'a Operator,
    log: Log,
    user: String,
    since: Option<Timestamp>,
}

impl<'a> Pages<'a> {
    /// Reads nothing yet. An empty `user` is everyone.
    pub(crate) fn new(operator: &'a Operator, log: Log, user: String, since: Option<Timestamp>) -> Self {
        Self {
            operator,
            log,
            user,
            since,
        }
    }

    /// The rows after `index` (-1: from the first on), ascending, and whether there are more.
    pub(crate) async fn after(&self, index: i64) -> Result<(Vec<LogEntry>, bool), Error> {
        self.page(LogRange {
            after_index: Some(index),
            page_size: PAGE,
            ..LogRange::default()
        })
        .await
    }

    /// The newest rows, at most `count`, ascending.
    pub(crate) async fn newest(&self, count: usize) -> Result<Vec<LogEntry>, Error> {
        let mut newest: VecDeque<LogEntry> = VecDeque::new();
        // Before every row that there can be.
        let mut before = i64::MAX;
        while newest.len() < count {
            let wanted = i32::try_from(count - newest.len()).unwrap_or(PAGE).min(PAGE);
            let range = LogRange {
                before_index: Some(before),
                page_size: wanted,
                ..LogRange::default()
            };
            let (entries, has_more) = self.page(range).await?;
            let Some(first) = entries.first() else { break };
            before = index(first);
            for entry in entries.into_iter().rev() {
                newest.push_front(entry);
            }
            if !has_more {
                break;
            }
        }
        Ok(newest.into())
    }

    async fn page(&self, mut range: LogRange) -> Result<(Vec<LogEntry>, bool), Error> {
        range.since = self.since.map(to_wire);
        let (range, user) = (Some(range), self.user.clone());
        match self.log {
            Log::Connections => {
                let page = self.operator.call(ListConnectionsRequest { range, user }).await?;
                Ok((page.entries, page.has_more))
            }
            Log::Audit => {
                let page = self.operator.call(ListAuditRequest { range, user }).await?;
                Ok((page.entries, page.has_more))
            }
        }
    }
}
