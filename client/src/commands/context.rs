//! What every command needs: options, configuration, and the way to a client that is logged in.

use std::sync::Arc;
use std::time::Duration;

use greffe::{Client, DEFAULT_SERVER, KnownServers, Options, ServerAddress, Trust, WaitObserver};

use greffe::terminal::witness::{SELDOM, Watch, is_due};

use super::show_rpc;
use crate::cli::GlobalArgs;
use crate::config::{Config, read_token_file};
use crate::error::CommandError;
use crate::ui::Ui;

/// What every command needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// The options that hold for every command.
    pub(crate) global: GlobalArgs,
    /// All output.
    pub(crate) ui: Ui,
    /// What is kept on this machine.
    pub(crate) config: Config,
    /// Looks at the server's record meanwhile.
    pub(crate) watch: Watch,
}

impl Context {
    /// Gathers it. Nothing is read or written yet.
    pub(crate) fn new(global: GlobalArgs, ui: Ui) -> Result<Self, CommandError> {
        Ok(Self {
            global,
            ui,
            config: Config::locate()?,
            watch: Watch::default(),
        })
    }

    /// The server to talk to.
    pub(crate) fn address(&self) -> Result<ServerAddress, CommandError> {
        let url = match &self.global.server {
            Some(url) => url.clone(),
            None => self.config.last_server()?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        Ok(url.parse()?)
    }

    /// Connects without a login.
    pub(crate) async fn connect(&self) -> Result<Client, CommandError> {
        let ui = self.ui;
        let waiting: WaitObserver = Arc::new(move |why, for_at_most| ui.waits(why, for_at_most));
        self.connect_with(Options::default().retry_for, Some(waiting)).await
    }

    /// Connects without a login, for calls that are repeated for `retry_for` while the server is unreachable or busy.
    ///
    /// Of a call that waits nothing is said: the caller has a screen of its own.
    pub(crate) async fn connect_patiently(&self, retry_for: Duration) -> Result<Client, CommandError> {
        self.connect_with(retry_for, None).await
    }

    async fn connect_with(&self, retry_for: Duration, waiting: Option<WaitObserver>) -> Result<Client, CommandError> {
        let address = self.address()?;
        if !address.is_tls() && !address.is_loopback() {
            self.ui.warn(&format!(
                "the link to {address} is not encrypted: everyone on the way can read it and your password"
            ));
        }
        let trust = match &self.global.ca {
            Some(file) => Trust::Authority(file.clone()),
            None => Trust::FirstUse(KnownServers::new(self.config.known_servers())),
        };
        let observer = self.global.show_rpc.then(|| {
            let (ui, address) = (self.ui, address.clone());
            Arc::new(move |path: &str, request: &[u8]| ui.note(&show_rpc::line(&address, path, request)))
                as greffe::CallObserver
        });
        let options = Options {
            trust,
            witness: Some(self.config.witness()),
            client_name: "greffe-cli".to_owned(),
            retry_for,
            observer,
            waiting,
            ..Options::default()
        };
        let client = Client::connect(&address.to_string(), options).await?;
        if let Some(fingerprint) = client.take_first_contact() {
            self.ui.note(&format!(
                "first contact with {}: its certificate is {fingerprint}\nfrom now on only this certificate is accepted; compare it \
                 with what the operator says",
                address.authority()
            ));
        }
        Ok(client)
    }

    /// Connects with the login that the options ask for.
    pub(crate) async fn client(&self) -> Result<Client, CommandError> {
        let client = self.unwatched_client().await?;
        self.look_at_record(&client, SELDOM);
        Ok(client)
    }

    /// The same, without looking at the server's record meanwhile.
    pub(crate) async fn unwatched_client(&self) -> Result<Client, CommandError> {
        // Without a login there is nothing to connect for.
        let token = self.token()?.ok_or_else(|| self.not_logged_in())?;
        Ok(self.connect().await?.with_token(&token)?)
    }

    /// Looks at the checkpoint of the server's record meanwhile, unless that was done a short time ago.
    pub(crate) fn look_at_record(&self, client: &Client, every: Duration) {
        // Who wants to see the calls of a command wants to see no others.
        if !self.global.show_rpc && is_due(client.last_witnessed(), every) {
            let client = client.clone();
            self.watch.begin(self.ui, async move { client.witness().await });
        }
    }

    /// The token to use, if there is one.
    pub(crate) fn token(&self) -> Result<Option<String>, CommandError> {
        if let Some(user) = self.user() {
            return self.config.token(&self.address()?, &user);
        }
        if let Some(file) = &self.global.token_file {
            return read_token_file(file).map(Some);
        }
        if let Ok(token) = std::env::var("GREFFE_TOKEN")
            && !token.trim().is_empty()
        {
            return Ok(Some(token.trim().to_owned()));
        }
        let address = self.address()?;
        match self.config.last_user(&address)? {
            Some(user) => self.config.token(&address, &user),
            None => Ok(None),
        }
    }

    /// The user of `--as`.
    pub(crate) fn user(&self) -> Option<String> {
        self.global.acting_as.as_deref().map(user_name)
    }

    /// The error of having no login.
    pub(crate) fn not_logged_in(&self) -> CommandError {
        let server = self
            .address()
            .map_or_else(|_| "the server".to_owned(), |address| address.to_string());
        CommandError::NotLoggedIn {
            server,
            user: self.user(),
        }
    }
}

/// A user name as it was typed: an `@` before it and capitals are a convenience.
pub(crate) fn user_name(typed: &str) -> String {
    typed.strip_prefix('@').unwrap_or(typed).to_lowercase()
}
