//! What a member asks, as a call or on a stream, in parsed form.

use greffe_api::v1::{
    AddReactionRequest, DeleteMessageRequest, EditMessageRequest, RemoveReactionRequest, ReportMessageRequest,
    SendMessageRequest,
};

use super::{App, convert};
use crate::domain::command::Change;
use crate::domain::error::Error;
use crate::domain::text::{Emoji, MessageText, Reason};

pub(super) fn send(app: &App, request: SendMessageRequest) -> Result<Change, Error> {
    let reply_to = request.reply_to_seq;
    if reply_to < 0 {
        return Err(Error::invalid("reply_to_seq", "it must be the seq of a message, or 0"));
    }
    let text = MessageText::parse(request.text, app.config.limits.text_bytes)?;
    Ok(Change::Send {
        room: convert::room_id(&request.room_id)?,
        text,
        reply_to,
    })
}

pub(super) fn edit(app: &App, request: EditMessageRequest) -> Result<Change, Error> {
    let text = MessageText::parse(request.text, app.config.limits.text_bytes)?;
    Ok(Change::Edit {
        room: convert::room_id(&request.room_id)?,
        seq: convert::seq("seq", request.seq)?,
        text,
    })
}

pub(super) fn delete(request: &DeleteMessageRequest) -> Result<Change, Error> {
    Ok(Change::Delete {
        room: convert::room_id(&request.room_id)?,
        seq: convert::seq("seq", request.seq)?,
    })
}

pub(super) fn report(request: ReportMessageRequest) -> Result<Change, Error> {
    Ok(Change::Report {
        room: convert::room_id(&request.room_id)?,
        seq: convert::seq("seq", request.seq)?,
        reason: Reason::parse("reason", request.reason)?,
    })
}

pub(super) fn react(request: AddReactionRequest) -> Result<Change, Error> {
    let emoji = Emoji::parse("emoji", request.emoji)?;
    Ok(Change::React {
        room: convert::room_id(&request.room_id)?,
        seq: convert::seq("seq", request.seq)?,
        emoji,
    })
}

pub(super) fn unreact(request: RemoveReactionRequest) -> Result<Change, Error> {
    let emoji = Emoji::parse("emoji", request.emoji)?;
    Ok(Change::Unreact {
        room: convert::room_id(&request.room_id)?,
        seq: convert::seq("seq", request.seq)?,
        emoji,
    })
}
