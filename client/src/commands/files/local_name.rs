//! What a file from the server is called on this machine.

/// The longest name that common file systems take, in bytes.
pub(crate) const LONGEST: usize = 255;
/// What stands for a character that a name on this machine must not have.
const INSTEAD: char = '_';
/// What a file is called of whose name nothing is left.
const NAMELESS: &str = "file";
/// Names that are devices on Windows, whatever follows them after a dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Makes a harmless file name of a name that somebody else chose.
///
/// What comes out names a file in the directory that it is put in, and nothing else, on every common system: it has 1 to 255 bytes less
/// `reserve`, no separator or colon, nothing that commands a terminal or cannot be seen, no dot, dash, tilde or space at its beginning, no dot
/// or space at its end, and is no device. Much of a name that is harmless already stays as it is; the ending stays if it can.
pub(crate) fn local_name(name: &str, reserve: usize) -> String {
    let longest = LONGEST.saturating_sub(reserve).max(NAMELESS.len());
    let trimmed = name
        .trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '.' | '-' | '~') || !is_harmless(c))
        .trim_end_matches(|c: char| c.is_whitespace() || c == '.');
    let cleaned: String = trimmed.chars().map(|c| if is_harmless(c) { c } else { INSTEAD }).collect();
    let mut local = cut(&cleaned, longest);
    if is_device(&local) {
        local = cut(&format!("{INSTEAD}{local}"), longest);
    }
    if local.is_empty() {
        NAMELESS.clone_into(&mut local);
    }
    local
}

/// The same name with a number, before the ending: `report (2).pdf`.
pub(crate) fn numbered(local: &str, number: u32) -> String {
    let mark = format!(" ({number})");
    let (stem, ending) = split(local);
    let mut stem = cut_stem(stem, LONGEST.saturating_sub(mark.len() + ending.len()));
    stem.push_str(&mark);
    stem.push_str(ending);
    stem
}

fn is_harmless(c: char) -> bool {
    // What a terminal must not be shown, a name must not have: a listing shows it as it is.
    let shown = crate::text::visible(c.encode_utf8(&mut [0; 4]));
    shown.chars().eq([c]) && !matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let is_port = |rest: &str| {
        matches!(
            rest,
            "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
        )
    };
    DEVICES.contains(&stem.as_str()) || ["com", "lpt"].iter().any(|port| stem.strip_prefix(port).is_some_and(is_port))
}

/// Stem and ending; the ending has its dot, and is empty if there is none that one would miss.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= 16 => name.split_at(at),
        _ => (name, ""),
    }
}

/// At most `longest` bytes of a name, with its ending.
fn cut(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    if ending.len() >= longest {
        return cut_stem(name, longest);
    }
    cut_stem(stem, longest - ending.len()) + ending
}

fn cut_stem(stem: &str, longest: usize) -> String {
    let mut end = longest.min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    stem[..end].trim_end_matches(|c: char| c.is_whitespace() || c == '.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn harmless_names_stay() {
        for name in [
            "report.pdf",
            "naïve café.txt",
            "日本語.png",
            "a (2).tar.gz",
            "__init__.py",
            "console",
            "com",
            "Makefile",
            "👍.gif",
        ] {
            assert_eq!(local_name(name, 0), name);
        }
    }

    #[test]
    fn harmful_names_become_harmless() {
        for (name, local) in [
            ("../../etc/passwd", "etc_passwd"),
            ("/etc/passwd", "etc_passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("C:\\x", "C__x"),
            ("-rf", "rf"),
            ("--", "file"),
            (".bashrc", "bashrc"),
            (".", "file"),
            ("..", "file"),
            ("~", "file"),
            ("~root", "root"),
            ("", "file"),
            (" \t\n", "file"),
            ("con", "_con"),
            ("CON.txt", "_CON.txt"),
            ("nul .x", "_nul .x"),
            ("com1", "_com1"),
            ("COM¹.log", "_COM¹.log"),
            ("lpt9.tar.gz", "_lpt9.tar.gz"),
            ("a\nb", "a_b"),
            ("\u{1b}[2J", "[2J"),
            ("gpj\u{202e}exe.txt", "gpj_exe.txt"),
            ("a\u{0}b", "a_b"),
            ("dots...", "dots"),
            ("x.", "x"),
            ("zero\u{200b}width", "zero_width"),
            ("file:stream", "file_stream"),
        ] {
            assert_eq!(local_name(name, 0), local, "{name:?}");
        }
    }

    #[test]
    fn long_names_keep_their_ending() {
        let local = local_name(&format!("{}.tar", "ä".repeat(200)), 0);
        assert!(local.len() <= 255 && local.ends_with("ä.tar"), "{local}");
        let local = local_name(&"x".repeat(300), 20);
        assert_eq!(local.len(), 235);
        assert_eq!(local_name(&format!("a.{}", "y".repeat(300)), 0).len(), 255);
    }

    #[test]
    fn numbers_stand_before_the_ending() {
        assert_eq!(numbered("report.pdf", 2), "report (2).pdf");
        assert_eq!(numbered("Makefile", 12), "Makefile (12)");
        let long = numbered(&format!("{}.pdf", "x".repeat(251)), 2);
        assert!(long.len() == 255 && long.ends_with("x (2).pdf"), "{long}");
    }

    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[./\\\\: -]{0,8}(con|nul|aux|com1|CON|\\.\\.|\\.)?[./\\\\: -]{0,8}",
            "(\\PC|[\\x00-\\x1f\u{202e}\u{2066}\u{feff}äß🦀./-]){0,400}",
        ]
    }

    proptest! {
        #[test]
        fn every_name_is_one_harmless_component(name in hostile(), reserve in 0_usize..40) {
            let local = local_name(&name, reserve);
            prop_assert!(!local.is_empty() && local.len() <= 255 - reserve);
            let components: Vec<_> = Path::new(&local).components().collect();
            prop_assert!(matches!(components[..], [Component::Normal(only)] if only == local.as_str()), "{local:?}");
            prop_assert!(!local.starts_with(['.', '-', '~', ' ']) && !local.ends_with(['.', ' ']), "{local:?}");
            let hidden = crate::text::visible(&local) != local;
            prop_assert!(!hidden, "{local:?}");
            prop_assert!(!is_device(&local), "{local:?}");
            prop_assert_eq!(local_name(&local, reserve), local.clone());
            let again = numbered(&local, 4_000_000_000);
            prop_assert!(again.len() <= 255 && !again.contains('/'));
        }
    }
}
