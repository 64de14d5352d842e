//! The terminal: one thread reads lines with rustyline, another shows what comes in above the prompt.
//!
//! A line that was sent is taken off the screen when Enter is pressed, because it comes back as a message with its time and number. For
//! that the line above the cursor must be the typed one: from Enter until the next prompt, what comes in is held back ([`Gate`]).

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, ColorMode, CompletionType, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler,
    ExternalPrinter, KeyCode, KeyEvent, Modifiers, RepeatCount,
};
use tokio::sync::{mpsc, oneshot};
use unicode_width::UnicodeWidthStr as _;

use super::completion::{Assistant, Known};
use super::gate::Gate;
use super::words::{self, Typed};
use crate::commands::password;
use crate::error::CommandError;

/// Lines that may wait to be shown.
const OUTPUT_QUEUE: usize = 1024;
/// How long the terminal waits for the chat before it shows the prompt again. Only a chat that is stuck takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the last lines may take to be shown.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Typed lines that are kept.
const HISTORY: usize = 1000;

/// What came from the keyboard.
#[derive(Debug)]
pub(crate) enum Keyed {
    /// A line.
    Line(String),
    /// Ctrl-C, Ctrl-D, or the end of the input.
    End,
    /// The input broke.
    Failed(CommandError),
}

/// What the reading thread is to do next.
enum Next {
    /// Read a line after this prompt.
    Line(String),
    /// Read a password without showing it.
    Secret(String, oneshot::Sender<Result<String, CommandError>>),
}

/// A terminal with a prompt.
pub(crate) struct Terminal {
    keyed: mpsc::Receiver<Keyed>,
    next: std_mpsc::Sender<Next>,
    output: Option<mpsc::Sender<String>>,
    gate: Arc<Gate>,
    printer_done: oneshot::Receiver<()>,
    mode: Mode,
    known: Arc<Mutex<Known>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Terminal {
    /// Takes the terminal over. The first prompt appears with the first [`Terminal::prompt`].
    pub(crate) fn open(history: PathBuf, color: bool) -> Result<Self, CommandError> {
        let failed = |error: ReadlineError| CommandError::Failed(format!("the terminal cannot be used: {error}"));
        let mode = Mode::save();
        let config = Config::builder()
            .max_history_size(HISTORY)
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .color_mode(if color { ColorMode::Enabled } else { ColorMode::Disabled })
            .build();
        let known = Arc::<Mutex<Known>>::default();
        let gate = Arc::<Gate>::default();
        let mut editor: Editor<Assistant, FileHistory> = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Assistant::new(Arc::clone(&known), Arc::clone(&gate))));
        editor.bind_sequence(
            KeyEvent(KeyCode::Enter, Modifiers::NONE),
            EventHandler::Conditional(Box::new(OnEnter {
                gate: Arc::clone(&gate),
            })),
        );
        let printer = editor.create_external_printer().map_err(failed)?;
        // A history that is not there yet, or that cannot be read, is no reason not to chat.
        drop(editor.load_history(&history));

        let (keyed_in, keyed) = mpsc::channel(1);
        let (next, next_out) = std_mpsc::channel();
        let (output, output_out) = mpsc::channel(OUTPUT_QUEUE);
        let (all_shown, printer_done) = oneshot::channel();
        let printer_gate = Arc::clone(&gate);
        thread::spawn(move || {
            show(output_out, printer, &printer_gate);
            // The chat may have stopped waiting.
            let _ = all_shown.send(());
        });
        let reader = Reader {
            editor,
            history,
            gate: Arc::clone(&gate),
            output: output.downgrade(),
            color,
        };
        thread::spawn(move || reader.run(&next_out, &keyed_in));
        Ok(Self {
            keyed,
            next,
            output: Some(output),
            gate,
            printer_done,
            mode,
            known,
        })
    }

    /// Names to complete, and whether the user is typing.
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// Waits for a line. Cancel safe.
    pub(crate) async fn keyed(&mut self) -> Keyed {
        self.keyed.recv().await.unwrap_or(Keyed::End)
    }

    /// Shows the prompt again, after a line.
    pub(crate) fn prompt(&self, room: &str) {
        // The reading thread ends before the chat only when the input does.
        drop(self.next.send(Next::Line(room.to_owned())));
    }

    /// Asks for something that is not shown, between a line and the next prompt.
    pub(crate) fn ask_secret(
        &self,
        question: &str,
    ) -> impl Future<Output = Result<String, CommandError>> + Send + use<> {
        let (answer_in, answer) = oneshot::channel();
        drop(self.next.send(Next::Secret(question.to_owned(), answer_in)));
        async {
            answer
                .await
                .unwrap_or_else(|_| Err(CommandError::Failed("the terminal is closed".to_owned())))
        }
    }

    /// Shows a line above the prompt.
    pub(crate) async fn show(&self, mut line: String) {
        if let Some(output) = &self.output {
            line.push('\n');
            drop(output.send(line).await);
        }
    }

    /// Shows what is left and gives the terminal back as it was.
    pub(crate) async fn close(mut self) {
        self.output = None;
        // Lines that cannot be shown any more are not worth waiting for.
        drop(tokio::time::timeout(LAST_LINES, &mut self.printer_done).await);
        self.mode.restore();
        drop(to_stdout(&self.gate.take_rest()));
    }
}

fn to_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Shows lines until there are no more.
fn show(mut lines: mpsc::Receiver<String>, mut printer: impl ExternalPrinter, gate: &Gate) {
    while let Some(mut text) = lines.blocking_recv() {
        // Everything that waits goes at once: the prompt is drawn again once.
        while let Ok(more) = lines.try_recv() {
            text.push_str(&more);
        }
        if let Some(text) = gate.pass(&text) {
            // If the terminal is gone, the reader notices and ends the chat.
            drop(printer.print(text));
            gate.shown();
        }
    }
}

/// Closes the gate when Enter is pressed.
struct OnEnter {
    gate: Arc<Gate>,
}

impl ConditionalEventHandler for OnEnter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.gate.close();
        None
    }
}

/// Reads lines in a thread of its own.
struct Reader {
    editor: Editor<Assistant, FileHistory>,
    history: PathBuf,
    gate: Arc<Gate>,
    /// Wakes the thread that shows lines, with an empty one.
    output: mpsc::WeakSender<String>,
    color: bool,
}

impl Reader {
    fn run(mut self, next: &std_mpsc::Receiver<Next>, keyed: &mpsc::Sender<Keyed>) {
        let Ok(Next::Line(mut prompt)) = next.recv() else {
            return;
        };
        loop {
            let line = match self.line(&prompt) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => {
                    drop(keyed.blocking_send(Keyed::End));
                    return;
                }
                Err(error) => {
                    let error = CommandError::Unreadable {
                        what: "the terminal".to_owned(),
                        why: error.to_string(),
                    };
                    drop(keyed.blocking_send(Keyed::Failed(error)));
                    return;
                }
            };
            // Answers to lines before this one came too late.
            while next.try_recv().is_ok() {}
            if keyed.blocking_send(Keyed::Line(line)).is_err() {
                return;
            }
            loop {
                match next.recv_timeout(PATIENCE) {
                    Ok(Next::Line(new)) => prompt = new,
                    Ok(Next::Secret(question, answer)) => {
                        drop(answer.send(password::ask(&question)));
                        continue;
                    }
                    Err(std_mpsc::RecvTimeoutError::Timeout) => {}
                    Err(std_mpsc::RecvTimeoutError::Disconnected) => return,
                }
                break;
            }
        }
    }

    fn line(&mut self, room: &str) -> Result<String, ReadlineError> {
        self.gate.begin_opening();
        if let Some(output) = self.output.upgrade() {
            // If lines wait already, they wake it too.
            let _ = output.try_send(String::new());
        }
        let plain = format!("{room}> ");
        let styled = if self.color {
            format!("\x1b[1m{plain}\x1b[0m")
        } else {
            plain.clone()
        };
        let line = self.editor.readline(&(plain.as_str(), styled.as_str()))?;
        if self.is_alone(&plain, &line) && matches!(words::parse(&line), Typed::Message(_) | Typed::Nothing) {
            let mut out = io::stdout().lock();
            out.write_all(b"\x1b[1A\r\x1b[2K")?;
            out.flush()?;
        }
        if !line.trim().is_empty() && self.editor.add_history_entry(line.as_str())? {
            // A history that cannot be written is no reason to stop chatting.
            drop(self.editor.append_history(&self.history));
        }
        Ok(line)
    }

    /// Whether the row above the cursor surely holds the typed line, all of it and nothing else.
    fn is_alone(&mut self, prompt: &str, line: &str) -> bool {
        let Some((columns, _)) = self.editor.dimensions() else {
            return false;
        };
        // Where a width may be in doubt there must be room for it.
        let width = prompt.width() + 2 * line.width();
        self.gate.is_clean() && !line.chars().any(char::is_control) && width < usize::from(columns)
    }
}

/// The terminal's mode before the chat. A thread that still waits for a key cannot put it back.
struct Mode {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Mode {
    #[cfg(unix)]
    fn save() -> Self {
        Self {
            before: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }

    #[cfg(not(unix))]
    fn save() -> Self {
        Self {}
    }

    #[cfg(unix)]
    fn restore(&self) {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let Some(before) = &self.before else { return };
        // Reading a line, rustyline has switched the terminal's own line editing off, and bracketed paste on; while a password is typed,
        // nothing is shown.
        let usual = LocalModes::ICANON | LocalModes::ECHO;
        let reading = tcgetattr(io::stdin()).is_ok_and(|now| !now.local_modes.contains(usual));
        if reading && before.local_modes.contains(usual) {
            // A terminal that is gone needs no mode.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
            let mut out = io::stdout().lock();
            drop(out.write_all(b"\x1b[?2004l\r\n").and_then(|()| out.flush()));
        }
    }

    #[cfg(not(unix))]
    fn restore(&self) {}
}
