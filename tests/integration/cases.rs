//! Cases: what is read by somebody who is no member is read within one, within its scope and its time, and on record.

use v1::ServerRole;
use v1::event_body::Content;

use crate::operator_access::{log_in, with_port};
use crate::support::{ErrorReason, Operator, PASSWORD, Server, User, record, refused, v1};

/// What a case is about.
pub(crate) fn about(users: &[&str], rooms: &[&str]) -> record::OpenCaseRequest {
    record::OpenCaseRequest {
        reference: "4 O 117/26".into(),
        basis: "order of the court of 2 November".into(),
        users: users.iter().map(ToString::to_string).collect(),
        rooms: rooms.iter().map(ToString::to_string).collect(),
        ..record::OpenCaseRequest::default()
    }
}

/// Opens a case.
pub(crate) async fn open(operator: &Operator, case: record::OpenCaseRequest) -> record::Case {
    let answer = operator.act(case, "the court ordered it").await.unwrap();
    answer.case.expect("the answer has the case")
}

fn reading(case: &record::Case) -> record::ReadCaseRequest {
    record::ReadCaseRequest {
        case_index: case.index,
        ..record::ReadCaseRequest::default()
    }
}

/// Everything that a reading gives, page by page.
async fn read(operator: &Operator, request: &record::ReadCaseRequest) -> Vec<record::CaseEntry> {
    let mut request = request.clone();
    let mut entries = Vec::new();
    loop {
        let page = operator.act(request.clone(), "to prepare the export").await.unwrap();
        entries.extend(page.entries);
        if !page.has_more {
            return entries;
        }
        assert!(page.next_index > request.after_index);
        request.after_index = page.next_index;
    }
}

/// The texts of messages, with who wrote them.
fn texts(entries: &[record::CaseEntry]) -> Vec<(String, String)> {
    let text = |entry: &record::CaseEntry| {
        let content = entry.event.as_ref()?.body.as_ref()?.content.as_ref()?;
        let text = match content {
            Content::MessagePosted(posted) => &posted.text,
            Content::MessageEdited(edited) => &edited.text,
            _ => return None,
        };
        Some((entry.actor_name.clone(), text.clone()))
    };
    entries.iter().filter_map(text).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(who, text)| ((*who).into(), (*text).into())).collect()
}

async fn people(server: &Server) -> [User; 3] {
    [
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    ]
}

#[tokio::test]
async fn a_case_shows_what_it_is_about_and_nothing_else() {
    let server = Server::start(&[]).await;
    let [alice, bob, carol] = people(&server).await;
    let operator = server.operator().await;
    let general = server.general().await;
    let den = alice.private_room_with("den", &[&bob]).await;
    let direct = alice.direct_room(&carol).await;
    alice.send(&general, "hello all").await.unwrap();
    let secret = alice.send(&den, "a secret in the den").await.unwrap();
    alice.edit(&den, secret.seq, "no secret at all").await.unwrap();
    bob.send(&den, "bob in the den").await.unwrap();
    let gone = alice.send(&direct, "to carol alone").await.unwrap();
    alice.delete(&direct, gone.seq).await.unwrap();
    carol.send(&direct, "carol answers").await.unwrap();
    bob.send(&general, "bob to all").await.unwrap();

    let person = open(&operator, about(&["alice"], &[])).await;
    assert_eq!(person.state(), record::CaseState::Open);
    assert_eq!(person.users[0].name, "alice");
    let all = read(&operator, &reading(&person)).await;
    let wrote = pairs(&[
        ("alice", "hello all"),
        ("alice", "a secret in the den"),
        ("alice", "no secret at all"),
        ("alice", "to carol alone"),
    ]);
    assert_eq!(texts(&all), wrote);
    let everybody_is = |name: &str| all.iter().all(|entry| entry.actor_name == name);
    assert!(everybody_is("alice"), "{all:?}");

    let room = open(&operator, about(&[], &[&den])).await;
    let in_den = read(&operator, &reading(&room)).await;
    let said = pairs(&[
        ("alice", "a secret in the den"),
        ("alice", "no secret at all"),
        ("bob", "bob in the den"),
    ]);
    assert_eq!(texts(&in_den), said);
    assert!(in_den.iter().all(|entry| entry.room_name == "den"));

    let both = open(&operator, about(&["bob"], &[&den])).await;
    assert_eq!(
        texts(&read(&operator, &reading(&both)).await),
        pairs(&[("bob", "bob in the den")])
    );

    // Page by page it is the same.
    let small = record::ReadCaseRequest {
        page_size: 2,
        ..reading(&person)
    };
    assert_eq!(read(&operator, &small).await, all);
}

#[tokio::test]
async fn what_is_out_of_scope_is_refused_and_each_reading_is_on_record() {
    let server = Server::start(&[]).await;
    let [alice, bob, _] = people(&server).await;
    let operator = server.operator().await;
    let general = server.general().await;
    let den = alice.private_room_with("den", &[&bob]).await;
    let first = alice.send(&den, "before").await.unwrap();
    let second = alice.send(&den, "within").await.unwrap();
    let third = alice.send(&den, "after").await.unwrap();
    let case = record::OpenCaseRequest {
        from: second.time,
        to: third.time,
        ..about(&["alice"], &[&den])
    };
    let case = open(&operator, case).await;
    let before = operator.newest().await;
    assert_eq!(
        texts(&read(&operator, &reading(&case)).await),
        pairs(&[("alice", "within")])
    );
    for beyond in [
        record::ReadCaseRequest {
            room: general.clone(),
            ..reading(&case)
        },
        record::ReadCaseRequest {
            user: "bob".into(),
            ..reading(&case)
        },
        record::ReadCaseRequest {
            from: first.time,
            ..reading(&case)
        },
        record::ReadCaseRequest {
            to: Some(prost_types::Timestamp {
                seconds: 4_000_000_000,
                nanos: 0,
            }),
            ..reading(&case)
        },
    ] {
        refused(operator.act(beyond, "curiosity").await, ErrorReason::OutOfScope);
    }
    let acts = operator.acts_after(before).await;
    assert_eq!(acts.len(), 5);
    assert!(acts.iter().all(|act| act.act.method.ends_with("/ReadCase")));
    assert!(
        acts.iter()
            .all(|act| act.argument("case_index") == Some(&case.index.to_string()))
    );
    assert_eq!(acts[0].act.refused(), ErrorReason::Unspecified);
    assert!(acts[1..].iter().all(|act| act.act.refused() == ErrorReason::OutOfScope));

    // Without a case, closed, or of nothing, there is nothing to read.
    let no_case = record::ReadCaseRequest {
        case_index: 1,
        ..record::ReadCaseRequest::default()
    };
    refused(operator.act(no_case, "curiosity").await, ErrorReason::CaseNotFound);
    let close = record::CloseCaseRequest {
        case_index: case.index,
        ..record::CloseCaseRequest::default()
    };
    operator.act(close.clone(), "it is over").await.unwrap();
    refused(
        operator.act(reading(&case), "curiosity").await,
        ErrorReason::CaseNotOpen,
    );
    refused(operator.act(close, "it is over").await, ErrorReason::CaseNotOpen);
}

#[tokio::test]
async fn a_case_is_about_somebody_or_some_room_that_is_there() {
    let server = Server::start(&[]).await;
    let [alice, ..] = people(&server).await;
    let operator = server.operator().await;
    let general = server.general().await;
    let first = alice.send(&general, "first").await.unwrap();
    let third = alice.send(&general, "third").await.unwrap();
    for (wrong, why) in [
        (about(&[], &[]), ErrorReason::InvalidField),
        (about(&["nobody"], &[]), ErrorReason::UserNotFound),
        (about(&[], &["nowhere"]), ErrorReason::RoomNotFound),
        (
            record::OpenCaseRequest {
                reference: String::new(),
                ..about(&["alice"], &[])
            },
            ErrorReason::InvalidField,
        ),
        (
            record::OpenCaseRequest {
                basis: "two\nlines".into(),
                ..about(&["alice"], &[])
            },
            ErrorReason::InvalidField,
        ),
        (
            record::OpenCaseRequest {
                from: third.time,
                to: first.time,
                ..about(&["alice"], &[])
            },
            ErrorReason::InvalidField,
        ),
        (
            record::OpenCaseRequest {
                expires_at: first.time,
                ..about(&["alice"], &[])
            },
            ErrorReason::InvalidField,
        ),
        (
            record::OpenCaseRequest {
                needs_approval: true,
                ..about(&["alice"], &[])
            },
            ErrorReason::SecondInvestigatorRequired,
        ),
    ] {
        refused(operator.act(wrong, "the court ordered it").await, why);
    }
}

#[tokio::test]
async fn a_case_that_needs_an_approval_is_approved_by_somebody_else_who_logged_in() {
    let mut server = with_port().await;
    let local = server.operator().await;
    server.user("alice").await;
    for name in ["ida", "ivan", "otto"] {
        server.user(name).await;
    }
    local.set_roles("ida", &[ServerRole::Investigator]).await.unwrap();
    local.set_roles("ivan", &[ServerRole::Investigator]).await.unwrap();
    local.set_roles("otto", &[ServerRole::Operator]).await.unwrap();
    let ida = log_in(&server, "ida", PASSWORD).await.unwrap();
    let ivan = log_in(&server, "ivan", PASSWORD).await.unwrap();
    let otto = log_in(&server, "otto", PASSWORD).await.unwrap();

    let asked = record::OpenCaseRequest {
        needs_approval: true,
        ..about(&["alice"], &[])
    };
    refused(
        otto.act(asked.clone(), "curiosity").await,
        ErrorReason::ServerRoleRequired,
    );
    let case = open(&ida, asked).await;
    assert_eq!(case.state(), record::CaseState::AwaitingApproval);
    refused(ida.act(reading(&case), "too early").await, ErrorReason::CaseNotOpen);
    let approval = record::ApproveCaseRequest {
        case_index: case.index,
        ..record::ApproveCaseRequest::default()
    };
    for who in [&ida, &local] {
        refused(
            who.act(approval.clone(), "I agree with myself").await,
            ErrorReason::SecondInvestigatorRequired,
        );
    }
    refused(
        otto.act(approval.clone(), "curiosity").await,
        ErrorReason::ServerRoleRequired,
    );
    let approved = ivan.act(approval, "I have seen the order").await.unwrap().case.unwrap();
    assert_eq!(
        (approved.state(), approved.approved_by.as_str()),
        (record::CaseState::Open, "ivan")
    );
    read(&ida, &reading(&case)).await;

    // It is the same after a restart.
    server.restart().await;
    let local = server.operator().await;
    let list = local.call(record::ListCasesRequest::default()).await.unwrap().cases;
    assert_eq!(list, [approved]);
    assert!(server.terminate().await.success());
    server.check().await;
}
