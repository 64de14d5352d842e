//! The whole terminal as a screen, and the keys that are pressed; given back as it was, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use greffe::terminal::error::CommandError;
use tokio::sync::mpsc;

/// Takes the other screen, hides the cursor, does not wrap long lines.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
/// Takes that back.
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// q, Ctrl-C, Ctrl-D, or the terminal is gone.
    Quit,
    /// Any other key.
    Other,
}

/// The bytes that show these lines and nothing else.
pub(super) fn frame(lines: &[String]) -> String {
    let mut frame = "\x1b[H".to_owned();
    frame.push_str(&lines.join("\x1b[K\r\n"));
    frame.push_str("\x1b[K\x1b[J");
    frame
}

/// The terminal, taken over until this is dropped.
pub(super) struct Screen {
    before: rustix::termios::Termios,
    keys: mpsc::Receiver<Key>,
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    ended: tokio::signal::unix::Signal,
    hung_up: tokio::signal::unix::Signal,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> Result<Self, CommandError> {
        use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
        use tokio::signal::unix::{SignalKind, signal};

        let failed = |error: std::io::Error| CommandError::Failed(format!("the terminal cannot be used: {error}"));
        let ended = signal(SignalKind::terminate()).map_err(failed)?;
        let hung_up = signal(SignalKind::hangup()).map_err(failed)?;
        let before = tcgetattr(std::io::stdin()).map_err(|error| failed(error.into()))?;
        let mut mode = before.clone();
        mode.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        // Reading waits a tenth of a second at most, so that the thread that reads notices the end.
        mode.special_codes[SpecialCodeIndex::VMIN] = 0;
        mode.special_codes[SpecialCodeIndex::VTIME] = 1;
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &mode).map_err(|error| failed(error.into()))?;
        let (keys_in, keys) = mpsc::channel(16);
        let closed = Arc::new(AtomicBool::new(false));
        let reader_closed = Arc::clone(&closed);
        let reader = std::thread::spawn(move || read_keys(&keys_in, &reader_closed));
        let screen = Self {
            before,
            keys,
            closed,
            reader: Some(reader),
            ended,
            hung_up,
        };
        show(BEGIN);
        Ok(screen)
    }

    /// How many rows it has.
    #[expect(clippy::unused_self, reason = "only a terminal that is taken over has rows to fill")]
    pub(super) fn rows(&self) -> usize {
        match rustix::termios::tcgetwinsize(std::io::stdout()) {
            Ok(size) if size.ws_row > 0 => usize::from(size.ws_row),
            _ => 24,
        }
    }

    /// Waits for a key. Cancel safe.
    pub(super) async fn key(&mut self) -> Key {
        tokio::select! {
            key = self.keys.recv() => key.unwrap_or(Key::Quit),
            _ = self.ended.recv() => Key::Quit,
            _ = self.hung_up.recv() => Key::Quit,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // It ends within a tenth of a second, and has nothing to say.
            drop(reader.join());
        }
        show(END);
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Reads keys until the screen is closed or the terminal is gone.
fn read_keys(keys: &mpsc::Sender<Key>, closed: &AtomicBool) {
    let mut bytes = [0; 64];
    while !closed.load(Ordering::Relaxed) {
        let key = match rustix::io::read(std::io::stdin(), &mut bytes) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(count) if bytes[..count].iter().any(|byte| matches!(byte, b'q' | b'Q' | 3 | 4)) => Key::Quit,
            Ok(_) => Key::Other,
            Err(_) => Key::Quit,
        };
        // Keys that nobody waits for are not worth keeping, but for the last one.
        if keys.try_send(key).is_err() && key == Key::Quit {
            // The channel is full of keys that redraw, or closed: both end soon.
            let _ = keys.blocking_send(key);
        }
        if key == Key::Quit {
            return;
        }
    }
}

/// Sends commands to the terminal.
fn show(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    // A terminal that is gone obeys nothing.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
