//! `greffe-admin users`

use clap::{Args, Subcommand, ValueEnum};
use greffe::admin_api::{
    AdminUser, CreateUserRequest, DisableUserRequest, EnableUserRequest, ListUsersRequest, ResetUserPasswordRequest,
    SetUserRolesRequest, UserFilter,
};
use greffe::api::ServerRole;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use greffe::terminal::time;
use serde_json::{Value, json};

use super::{PAGE, preview};
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::{cut, done, role_names};
use crate::target;

/// List users, and manage them
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct UsersArgs {
    #[command(subcommand)]
    command: Option<UsersCommand>,
    #[command(flatten)]
    list: ListArgs,
}

/// The help of reasons that the user is told.
const TOLD_TO_USER: &str =
    "Why: 1 to 256 characters. It stands in the journal, and the user is told it [default: asked for on a terminal]";

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// List users, by name
    List(ListArgs),
    /// Show one user
    Show {
        /// A user name or id
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Make an account; prints a one-time code with which its user sets a password
    Create(CreateArgs),
    /// Set the roles of a user on the server: those that are not named are taken away
    Role {
        /// A user name or id
        #[arg(value_name = "USER")]
        user: String,
        /// The roles from now on
        #[arg(value_name = "ROLE", required = true)]
        roles: Vec<Role>,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Make a password void and end all sessions; prints a one-time code that sets a new password
    #[command(mut_arg("reason", |arg| arg.help(TOLD_TO_USER)))]
    ResetPassword {
        /// A user name or id
        #[arg(value_name = "USER")]
        user: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Close an account: its sessions end and it cannot log in; its messages stay
    #[command(mut_arg("reason", |arg| arg.help(TOLD_TO_USER)))]
    Disable {
        /// A user name or id
        #[arg(value_name = "USER")]
        user: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Open a closed account again
    Enable {
        /// A user name or id
        #[arg(value_name = "USER")]
        user: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only names that begin so
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only users with a live stream open
    #[arg(long, group = "state")]
    online: bool,
    /// Only closed accounts
    #[arg(long, group = "state")]
    disabled: bool,
    /// Only banned accounts
    #[arg(long, group = "state")]
    banned: bool,
    /// Only users with this role
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The user name: 2 to 32 of a-z, 0-9, `.`, `_` and `-`
    #[arg(value_name = "NAME")]
    name: String,
    /// A name to show beside it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    display_name: String,
    /// A role on the server; can be given twice
    #[arg(long, value_name = "ROLE")]
    role: Vec<Role>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// A role on the server, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Runs the server
    Operator,
    /// Works with the record
    Investigator,
    /// No role at all
    None,
}

impl Role {
    fn on_the_wire(self) -> Option<i32> {
        match self {
            Self::Operator => Some(ServerRole::Operator.into()),
            Self::Investigator => Some(ServerRole::Investigator.into()),
            Self::None => None,
        }
    }
}

/// Lists users, or manages them.
pub(crate) async fn run(args: UsersArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        None => list(args.list, context).await,
        Some(UsersCommand::List(args)) => list(args, context).await,
        Some(UsersCommand::Show { user }) => show(&target::user(&user), context).await,
        Some(UsersCommand::Create(args)) => create(args, context).await,
        Some(UsersCommand::Role { user, roles, reason }) => {
            set_roles(target::user(&user), &roles, &reason, context).await
        }
        Some(UsersCommand::ResetPassword { user, reason }) => {
            reset_password(target::user(&user), &reason, context).await
        }
        Some(UsersCommand::Disable { user, reason }) => disable(target::user(&user), &reason, context).await,
        Some(UsersCommand::Enable { user, reason }) => enable(target::user(&user), &reason, context).await,
    }
}

async fn list(args: ListArgs, context: &Context) -> Result<(), CommandError> {
    let filter = match (args.online, args.disabled, args.banned) {
        (true, _, _) => UserFilter::Online,
        (_, true, _) => UserFilter::Disabled,
        (_, _, true) => UserFilter::Banned,
        (false, false, false) => UserFilter::Unspecified,
    };
    let role = args.role.and_then(Role::on_the_wire).unwrap_or_default();
    list_filtered(&target::user(&args.prefix), filter, role, context).await
}

/// Lists the users who are online.
pub(crate) async fn list_online(context: &Context) -> Result<(), CommandError> {
    list_filtered("", UserFilter::Online, ServerRole::Unspecified.into(), context).await
}

async fn list_filtered(prefix: &str, filter: UserFilter, role: i32, context: &Context) -> Result<(), CommandError> {
    let request = |page_token| ListUsersRequest {
        page_size: PAGE,
        page_token,
        name_prefix: prefix.to_owned(),
        role,
        filter: filter.into(),
    };
    let operator = context.operator().await?;
    let users = operator.all_pages(request, |page| (page.users, page.next_page_token)).await?;
    if context.ui.is_json() {
        return users.iter().try_for_each(|user| context.ui.object(&object(user)));
    }
    if users.is_empty() {
        context.ui.note("there are no such users");
    }
    let rows = users.into_iter().map(|user| {
        let (state, roles) = (state(&user), role_names(&user.roles).join(", "));
        vec![
            user.name,
            state,
            roles,
            user.session_count.to_string(),
            user.stream_count.to_string(),
            time::day_and_time(user.last_used_at.as_ref()),
            user.display_name,
        ]
    });
    context.ui.table(
        &["USER", "STATE", "ROLES", "SESSIONS", "STREAMS", "LAST USED", "NAME"],
        rows.collect(),
    )
}

async fn show(user: &str, context: &Context) -> Result<(), CommandError> {
    let user = preview::find_user(context.operator().await?, user).await?;
    if context.ui.is_json() {
        return context.ui.object(&object(&user));
    }
    let mut rows = vec![
        ["user", &user.name].map(str::to_owned).to_vec(),
        ["id", &user.id].map(str::to_owned).to_vec(),
        ["name", &user.display_name].map(str::to_owned).to_vec(),
        vec!["state".to_owned(), state(&user)],
        vec!["roles".to_owned(), role_names(&user.roles).join(", ")],
        vec!["made".to_owned(), time::day_and_time(user.created_at.as_ref())],
        vec!["sessions".to_owned(), user.session_count.to_string()],
        vec!["live streams".to_owned(), user.stream_count.to_string()],
        vec!["last used".to_owned(), time::day_and_time(user.last_used_at.as_ref())],
    ];
    if user.ban_index != 0 {
        rows.push(vec!["ban".to_owned(), format!("number {}", user.ban_index)]);
    }
    context.ui.table(&["WHAT", "NOW"], rows)
}

async fn create(args: CreateArgs, context: &Context) -> Result<(), CommandError> {
    let request = CreateUserRequest {
        reason: context.reason(&args.reason)?,
        user_name: target::user(&args.name),
        display_name: args.display_name,
        roles: args.role.iter().filter_map(|role| role.on_the_wire()).collect(),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let user = answer.user.unwrap_or_default();
    let mut facts = object(&user);
    facts["code"] = json!(answer.code);
    facts["code_expires_at"] = time::json(answer.code_expires_at.as_ref());
    let name = user.name;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("made the account {}", visible(&name)),
        facts,
    )?;
    let until = time::day_and_time(answer.code_expires_at.as_ref());
    tell_code(&answer.code, &name, &until, context)
}

async fn set_roles(user: String, roles: &[Role], reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let wire: Vec<i32> = roles.iter().filter_map(|role| role.on_the_wire()).collect();
    if wire.len() < roles.len() && roles.len() > 1 {
        return Err(CommandError::Usage(
            "`none` means no role at all and stands alone".to_owned(),
        ));
    }
    let reason = context.reason(reason)?;
    let names = match role_names(&wire) {
        names if names.is_empty() => "no role".to_owned(),
        names => names.join(" and "),
    };
    let asks = context.asks()?;
    let operator = context.operator().await?;
    if asks {
        let before = preview::find_user(operator, &user).await?;
        let now = match role_names(&before.roles) {
            names if names.is_empty() => "no role".to_owned(),
            names => names.join(" and "),
        };
        let touched = format!("{} (has {now} now)", visible(&before.name));
        context.confirm(&touched, &format!("Give {user} {names}?"))?;
    }
    let request = SetUserRolesRequest {
        reason,
        user: user.clone(),
        roles: wire.clone(),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("{} has {names} now", visible(&user)),
        json!({"user": user, "roles": role_names(&wire)}),
    )
}

async fn reset_password(user: String, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(reason)?;
    let asks = context.asks()?;
    let operator = context.operator().await?;
    if asks {
        let touched = preview::user(operator, &user).await?;
        context.confirm(&touched, &format!("Make the password of {user} void?"))?;
    }
    let request = ResetUserPasswordRequest {
        reason,
        user: user.clone(),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!(
            "made the password of {} void: {}",
            visible(&user),
            cut(answer.sessions_ended, answer.streams_closed)
        ),
        json!({
            "user": user,
            "code": answer.code,
            "code_expires_at": time::json(answer.code_expires_at.as_ref()),
            "sessions_ended": answer.sessions_ended,
            "streams_closed": answer.streams_closed,
        }),
    )?;
    let until = time::day_and_time(answer.code_expires_at.as_ref());
    tell_code(&answer.code, &user, &until, context)
}

/// Prints a one-time code, the only time that it is told, and what its user does with it.
fn tell_code(code: &str, user: &str, until: &str, context: &Context) -> Result<(), CommandError> {
    if code.is_empty() {
        context.ui.warn(&format!(
            "the code was in an answer that got lost; make another one with `greffe-admin users reset-password {user}`"
        ));
        return Ok(());
    }
    if context.ui.is_json() {
        return Ok(());
    }
    context.ui.line(&format!("one-time code: {}", visible(code)))?;
    context.ui.note(&format!(
        "it is not shown again; give it to {user}, who types `greffe reset-password {user}` before {until}"
    ));
    Ok(())
}

async fn disable(user: String, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(reason)?;
    let asks = context.asks()?;
    let operator = context.operator().await?;
    if asks {
        context.confirm(&preview::user(operator, &user).await?, &format!("Disable {user}?"))?;
    }
    let request = DisableUserRequest {
        reason,
        user: user.clone(),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let (sessions_ended, streams_closed) = (answer.sessions_ended, answer.streams_closed);
    done(
        context,
        answer.receipt.as_ref(),
        &format!("disabled {}: {}", visible(&user), cut(sessions_ended, streams_closed)),
        json!({"user": user, "sessions_ended": sessions_ended, "streams_closed": streams_closed}),
    )
}

async fn enable(user: String, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = EnableUserRequest {
        reason: context.reason(reason)?,
        user: user.clone(),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("enabled {}", visible(&user)),
        json!({"user": user}),
    )
}

/// What is particular about an account, in words.
fn state(user: &AdminUser) -> String {
    let facts = [
        (user.is_operator_identity, "the operator's identity"),
        (user.disabled, "disabled"),
        (user.ban_index != 0, "banned"),
        (user.awaits_code, "awaits its code"),
        (user.online, "online"),
    ];
    let named: Vec<&str> = facts.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    named.join(", ")
}

/// A user for programs.
fn object(user: &AdminUser) -> Value {
    json!({
        "user": user.name,
        "user_id": user.id,
        "display_name": user.display_name,
        "created_at": time::json(user.created_at.as_ref()),
        "roles": role_names(&user.roles),
        "disabled": user.disabled,
        "ban_index": (user.ban_index != 0).then_some(user.ban_index),
        "online": user.online,
        "sessions": user.session_count,
        "streams": user.stream_count,
        "last_used_at": time::json(user.last_used_at.as_ref()),
        "is_operator": user.is_operator_identity,
        "awaits_code": user.awaits_code,
    })
}
