//! The tables, as Diesel sees them. `migrations/` says what the columns mean.
#![expect(missing_docs, reason = "the macro makes items that have no place for comments")]

diesel::table! {
    journal (idx) {
        idx -> BigInt,
        head -> Binary,
        body -> Nullable<Binary>,
        leaf -> Binary,
    }
}

diesel::table! {
    journal_head (one) {
        one -> Integer,
        size -> BigInt,
        time -> BigInt,
        edge -> Binary,
        epoch -> Text,
        journal_id -> Text,
    }
}

diesel::table! {
    user (no) {
        no -> BigInt,
        id -> Text,
        name -> Text,
        display_name -> Text,
        password -> Text,
        created -> BigInt,
        roles -> Integer,
        disabled -> Bool,
        operator_identity -> Bool,
    }
}

diesel::table! {
    session (no) {
        no -> BigInt,
        id -> Text,
        user -> BigInt,
        token -> Binary,
        created -> BigInt,
        used -> BigInt,
        seen -> BigInt,
        for_operators -> Bool,
    }
}

diesel::table! {
    room (no) {
        no -> BigInt,
        id -> Text,
        kind -> Integer,
        name -> Text,
        topic -> Text,
        history -> Integer,
        created -> BigInt,
        archived -> Nullable<BigInt>,
        head_seq -> BigInt,
        direct_a -> Nullable<BigInt>,
        direct_b -> Nullable<BigInt>,
    }
}

diesel::table! {
    member (room, user) {
        room -> BigInt,
        user -> BigInt,
        role -> Integer,
        since -> BigInt,
        first_seq -> BigInt,
        barred -> Bool,
    }
}

diesel::table! {
    read_mark (user, room) {
        user -> BigInt,
        room -> BigInt,
        seq -> BigInt,
    }
}

diesel::table! {
    room_event (room, seq) {
        room -> BigInt,
        seq -> BigInt,
        idx -> BigInt,
        kind -> Integer,
        actor -> BigInt,
        target -> BigInt,
        state -> Integer,
        current -> BigInt,
    }
}

diesel::table! {
    reaction (room, target, user, seq) {
        room -> BigInt,
        target -> BigInt,
        user -> BigInt,
        seq -> BigInt,
        idx -> BigInt,
    }
}

diesel::table! {
    mention (user, room, seq) {
        user -> BigInt,
        room -> BigInt,
        seq -> BigInt,
    }
}

diesel::table! {
    request (no) {
        no -> BigInt,
        key -> Binary,
        idx -> BigInt,
        digest -> Binary,
        time -> BigInt,
    }
}

diesel::table! {
    file (no) {
        no -> BigInt,
        id -> Text,
        owner -> BigInt,
        size -> BigInt,
    }
}

diesel::table! {
    file_share (room, seq) {
        room -> BigInt,
        seq -> BigInt,
        file -> BigInt,
    }
}

diesel::table! {
    upload (id) {
        id -> Text,
        owner -> BigInt,
        room -> BigInt,
        name -> Text,
        media_type -> Text,
        size -> BigInt,
        committed -> BigInt,
        created -> BigInt,
        used -> BigInt,
    }
}

diesel::table! {
    standing (idx) {
        idx -> BigInt,
        code -> Nullable<Binary>,
    }
}

diesel::table! {
    log_event (log, user, idx) {
        log -> Integer,
        user -> BigInt,
        idx -> BigInt,
        about -> Nullable<BigInt>,
    }
}

diesel::table! {
    subtree (level, number) {
        level -> Integer,
        number -> BigInt,
        root -> Binary,
    }
}

diesel::table! {
    checkpoint (one) {
        one -> Integer,
        note -> Text,
    }
}

diesel::table! {
    signed (size) {
        size -> BigInt,
        time -> BigInt,
    }
}

diesel::joinable!(file_share -> file (file));
diesel::joinable!(log_event -> journal (idx));
diesel::joinable!(standing -> journal (idx));
diesel::joinable!(room_event -> journal (idx));
diesel::joinable!(reaction -> journal (idx));
diesel::joinable!(request -> journal (idx));
diesel::allow_tables_to_appear_in_same_query!(
    journal, file, file_share, log_event, standing, room_event, reaction, request, mention, member, user, room
);
