//! What every command needs: options, the way to the server, the reason, and the question before something is destroyed.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use greffe::terminal::config::{Config, read_token_file};
use greffe::terminal::error::CommandError;
use greffe::terminal::show_rpc;
use greffe::terminal::text::visible;
use greffe::terminal::ui::Ui;
use greffe::terminal::witness::{SELDOM, Watch, is_due};
use greffe::{CallObserver, KnownServers, Operator, Options, ServerAddress, Trust, WaitObserver};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Behavior, Editor};
use tokio::sync::OnceCell;

use crate::cli::{GlobalArgs, ReasonArgs};

/// For how long a call is repeated, with the same `request_id`, while its answer does not come.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// How long one try of a call may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What is said if the answer is no.
const NOTHING_DONE: &str = "nothing was done";

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Behind its socket on this machine.
    Socket(PathBuf),
    /// At its operators' port.
    Network(ServerAddress),
}

/// What every command needs.
pub(crate) struct Context {
    /// The options that hold for every command.
    pub(crate) global: GlobalArgs,
    /// All output.
    pub(crate) ui: Ui,
    /// What is kept on this machine.
    pub(crate) config: Config,
    /// The reason of acts that name none, where there is a usual one.
    usual_reason: Option<&'static str>,
    /// The connection, made when it is first needed.
    connection: Arc<OnceCell<Operator>>,
    /// Looks at the server's record meanwhile.
    pub(crate) watch: Arc<Watch>,
}

impl Context {
    /// Gathers it. Nothing is read or written yet.
    pub(crate) fn new(global: GlobalArgs, ui: Ui) -> Result<Self, CommandError> {
        Ok(Self {
            global,
            ui,
            config: Config::locate_for_operators()?,
            usual_reason: None,
            connection: Arc::default(),
            watch: Arc::default(),
        })
    }

    /// The same connection for another command, with options of its own.
    pub(crate) fn derived(&self, global: GlobalArgs, ui: Ui, usual_reason: Option<&'static str>) -> Self {
        Self {
            global,
            ui,
            config: self.config.clone(),
            usual_reason,
            connection: Arc::clone(&self.connection),
            watch: Arc::clone(&self.watch),
        }
    }

    /// Where the server is.
    pub(crate) fn place(&self) -> Result<Place, CommandError> {
        let Some(url) = &self.global.server else {
            let socket = match &self.global.socket {
                Some(socket) => socket.clone(),
                None => self.global.data_dir.join("admin.sock"),
            };
            return Ok(Place::Socket(socket));
        };
        let address: ServerAddress = if url.contains("://") {
            url.parse()?
        } else {
            format!("https://{url}").parse()?
        };
        if !address.is_tls() {
            return Err(CommandError::usage(
                format!("{address} is not encrypted, and the operators' port always is"),
                "write https://HOST:PORT",
            ));
        }
        Ok(Place::Network(address))
    }

    /// Connects without a login, for calls of which one try may take `call_timeout`.
    pub(crate) async fn connect(&self, call_timeout: Duration) -> Result<Operator, CommandError> {
        let place = self.place()?;
        let trust = match &self.global.ca {
            Some(file) => Trust::Authority(file.clone()),
            None => Trust::FirstUse(KnownServers::new(self.config.known_servers())),
        };
        let ui = self.ui;
        let waiting: WaitObserver = Arc::new(move |why, for_at_most| ui.waits(why, for_at_most));
        let options = Options {
            trust,
            witness: Some(self.config.witness()),
            client_name: "greffe-admin".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            call_timeout,
            retry_for: RETRY_FOR,
            observer: self.observer(&place),
            waiting: Some(waiting),
            ..Options::default()
        };
        match place {
            Place::Socket(path) => Ok(Operator::over_socket(path, options).await?),
            Place::Network(address) => {
                let operator = Operator::connect(&address.to_string(), options).await?;
                if let Some(fingerprint) = operator.take_first_contact() {
                    self.ui.note(&format!(
                        "first contact with {}: its certificate is {fingerprint}\nfrom now on only this certificate is accepted; \
                         compare it with what the server's log says",
                        address.authority()
                    ));
                }
                Ok(operator)
            }
        }
    }

    /// The connection, with the login that the options ask for; over the socket none is needed.
    pub(crate) async fn operator(&self) -> Result<&Operator, CommandError> {
        let connect = || async {
            let (operator, place) = (self.log_in(CALL_TIMEOUT).await?, self.place_name()?);
            // Who wants to see the calls of a command wants to see no others.
            if !self.global.show_rpc && is_due(operator.last_witnessed(&place), SELDOM) {
                let operator = operator.clone();
                self.watch.begin(self.ui, async move { operator.witness(&place).await });
            }
            Ok(operator)
        };
        self.connection.get_or_try_init(connect).await
    }

    /// The connection, without looking at the server's record meanwhile.
    pub(crate) async fn unwatched_operator(&self) -> Result<&Operator, CommandError> {
        self.connection.get_or_try_init(|| self.log_in(CALL_TIMEOUT)).await
    }

    /// Where the server is, as what is kept of it is named.
    pub(crate) fn place_name(&self) -> Result<String, CommandError> {
        Ok(match self.place()? {
            Place::Network(address) => address.to_string(),
            Place::Socket(path) => format!("unix:{}", path.canonicalize().unwrap_or(path).display()),
        })
    }

    /// A connection of its own, for calls of which one try may take `call_timeout`.
    pub(crate) async fn log_in(&self, call_timeout: Duration) -> Result<Operator, CommandError> {
        let Place::Network(address) = self.place()? else {
            return self.connect(call_timeout).await;
        };
        // Without a login there is nothing to connect for.
        let token = self.token(&address)?.ok_or_else(|| CommandError::NotLoggedIn {
            server: address.to_string(),
            user: None,
        })?;
        Ok(self.connect(call_timeout).await?.with_token(&token)?)
    }

    /// The token to use at a server, if there is one.
    pub(crate) fn token(&self, address: &ServerAddress) -> Result<Option<String>, CommandError> {
        if let Some(file) = &self.global.token_file {
            return read_token_file(file).map(Some);
        }
        if let Ok(token) = std::env::var("GREFFE_ADMIN_TOKEN")
            && !token.trim().is_empty()
        {
            return Ok(Some(token.trim().to_owned()));
        }
        match self.config.last_user(address)? {
            Some(user) => self.config.token(address, &user),
            None => Ok(None),
        }
    }

    fn observer(&self, place: &Place) -> Option<CallObserver> {
        let (ui, place) = (self.ui, place.clone());
        self.global.show_rpc.then(|| {
            Arc::new(move |path: &str, request: &[u8]| {
                ui.note(&match &place {
                    Place::Socket(socket) => show_rpc::line_over_socket(socket, path, request),
                    Place::Network(address) => show_rpc::line(address, path, request),
                });
            }) as CallObserver
        })
    }

    /// The reason of an act: the one that is given, the usual one, or the answer to a question.
    pub(crate) fn reason(&self, args: &ReasonArgs) -> Result<String, CommandError> {
        if let Some(reason) = &args.reason {
            return stated(reason);
        }
        if let Some(reason) = self.usual_reason {
            return Ok(reason.to_owned());
        }
        if !is_interactive() {
            return Err(CommandError::usage(
                "there is no reason",
                "say why with --reason TEXT: it stands in the journal",
            ));
        }
        stated(&ask("Reason: ")?)
    }

    /// Whether [`Context::confirm`] is going to ask.
    ///
    /// # Errors
    /// If it would have to, and cannot: there is no terminal, and no `--yes`.
    pub(crate) fn asks(&self) -> Result<bool, CommandError> {
        if self.global.yes {
            Ok(false)
        } else if is_interactive() {
            Ok(true)
        } else {
            Err(CommandError::usage(
                "this asks before it is done, and there is no terminal to answer; nothing was done",
                "give --yes if it is meant",
            ))
        }
    }

    /// Shows what is about to be touched, and asks whether it is meant.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn confirm(&self, touched: &str, question: &str) -> Result<(), CommandError> {
        self.ui.note(touched);
        let answer = ask(&format!("{question} [y/N] "))?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            Ok(())
        } else {
            Err(CommandError::Failed(NOTHING_DONE.to_owned()))
        }
    }
}

/// Whether there is somebody who can be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn stated(reason: &str) -> Result<String, CommandError> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(CommandError::usage(
            "the reason is empty; nothing was done",
            "say why: it stands in the journal",
        ));
    }
    Ok(reason.to_owned())
}

/// Asks on the terminal, whatever standard output is. Ctrl-C and Ctrl-D are no answer.
fn ask(question: &str) -> Result<String, CommandError> {
    let unreadable = |error: ReadlineError| match error {
        ReadlineError::Interrupted | ReadlineError::Eof => CommandError::Failed(NOTHING_DONE.to_owned()),
        error => CommandError::Unreadable {
            what: "the answer".to_owned(),
            why: error.to_string(),
        },
    };
    let config = rustyline::Config::builder().behavior(Behavior::PreferTerm).build();
    let mut editor: Editor<(), MemHistory> = Editor::with_history(config, MemHistory::new()).map_err(unreadable)?;
    // Somebody thinks: other work of the runtime goes on meanwhile.
    tokio::task::block_in_place(|| editor.readline(&visible(question))).map_err(unreadable)
}
