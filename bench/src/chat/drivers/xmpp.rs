//! XMPP (RFC 6120 and 6121) and its rooms (XEP-0045), as far as talking needs it. What the server sends is searched, not parsed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use crate::chat::driver::{Driver, News, Protocol};
use crate::chat::peers::Place;
use crate::chat::stamp;

const OPEN: &str = "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const BIND: &str = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>\
                    <presence/>";
const PING: &str = "<iq type='get' id='ping' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";
/// What says that something went wrong.
const FAULTS: [&[u8]; 4] = [b"<failure", b"<stream:error", b"type='error'", b"type=\"error\""];

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Features,
    Success,
    FeaturesAgain,
    Bound,
    /// The room's subject, which is the last thing that is told to who joins; or the answer to a ping.
    Joined,
    Talking,
}

/// One client.
pub(in crate::chat) struct Xmpp {
    user: u32,
    place: Place,
    step: Step,
    /// A message, up to its text.
    prefix: Vec<u8>,
}

impl Xmpp {
    pub(in crate::chat) fn new(user: u32, place: Place) -> Self {
        let to = match place {
            Place::Room(room) => format!("type='groupchat' to='room{room}@conference.localhost'"),
            Place::Partner(partner) => format!("type='chat' to='user{partner}@localhost'"),
            Place::Nowhere => "to='localhost'".to_owned(),
        };
        Self {
            user,
            place,
            step: Step::Features,
            prefix: format!("<message {to}><body>").into_bytes(),
        }
    }

    /// Goes on, if what is awaited is in `input`.
    fn step(&mut self, input: &[u8], out: &mut Vec<u8>, news: &mut News) -> bool {
        let has = |text: &str| memmem::find(input, text.as_bytes()).is_some();
        let (came, next) = match self.step {
            Step::Features => (has("</stream:features>"), Step::Success),
            Step::Success => (has("<success"), Step::FeaturesAgain),
            Step::FeaturesAgain => (has("</stream:features>"), Step::Bound),
            Step::Bound => (has("</iq>"), Step::Joined),
            Step::Joined => (has("<subject") || has("id='ping'") || has("id=\"ping\""), Step::Talking),
            Step::Talking => (false, Step::Talking),
        };
        if !came {
            return false;
        }
        let user = self.user;
        match self.step {
            Step::Features => {
                let login = STANDARD.encode(format!("\0user{user}\0none"));
                let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>";
                out.extend_from_slice(format!("{auth}{login}</auth>").as_bytes());
            }
            Step::Success => out.extend_from_slice(OPEN.as_bytes()),
            Step::FeaturesAgain => out.extend_from_slice(BIND.as_bytes()),
            Step::Bound => match self.place {
                Place::Room(room) => {
                    let to = format!("room{room}@conference.localhost/user{user}");
                    let muc = "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>";
                    out.extend_from_slice(format!("<presence to='{to}'>{muc}</presence>").as_bytes());
                }
                Place::Partner(_) | Place::Nowhere => out.extend_from_slice(PING.as_bytes()),
            },
            Step::Joined | Step::Talking => news.ready = true,
        }
        self.step = next;
        true
    }
}

impl Protocol for Xmpp {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(OPEN.as_bytes());
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, news: &mut News) -> usize {
        if FAULTS.iter().any(|fault| memmem::find(input, fault).is_some()) {
            news.failure
                .get_or_insert_with(|| String::from_utf8_lossy(&input[..input.len().min(500)]).into_owned());
        }
        if self.step == Step::Talking {
            stamp::scan(input, &mut news.stamps)
        } else if self.step(input, out, news) {
            // Nothing comes behind what is awaited before it was answered.
            input.len()
        } else {
            0
        }
    }
}

impl Driver for Xmpp {
    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(text);
        out.extend_from_slice(b"</body></message>");
    }

    fn echoes(&self) -> bool {
        matches!(self.place, Place::Room(_))
    }
}
