//! Prints configurations: the one in force with the origin of each key, and an example with every key.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::{
    Config,
    keys::{self, Key},
    load::{Loaded, Origin},
};

impl Loaded {
    /// The configuration in force as TOML, with the origin of each key as a comment.
    pub fn to_toml(&self) -> String {
        let table = table(&self.config);
        let mut text = String::new();
        sections(&mut text, |text, key, name| {
            let origin = self.origins.get(&key.path).unwrap_or(&Origin::Default);
            match value(&table, key) {
                Some(value) => _ = writeln!(text, "{name} = {value} # {origin}"),
                None => _ = writeln!(text, "# {name} is not set # {origin}"),
            }
        });
        text
    }
}

impl Config {
    /// An example file: every key with its meaning, its default and its environment variable.
    pub fn example() -> String {
        let table = table(&Self::default());
        let mut text = String::from(
            "# The configuration of greffe-server. Every key may be left out; the values here are the defaults.\n\
             # An environment variable wins over this file, and a flag over both.\n\n",
        );
        sections(&mut text, |text, key, name| {
            for line in &key.doc {
                _ = writeln!(text, "# {line}");
            }
            _ = writeln!(text, "# Environment: {}", key.variable());
            match value(&table, key) {
                Some(value) => _ = writeln!(text, "{name} = {value}\n"),
                None => _ = writeln!(text, "# {name} = \"\"\n"),
            }
        });
        text
    }
}

/// Writes all keys, each section under its heading.
fn sections(text: &mut String, mut write: impl FnMut(&mut String, &Key, &str)) {
    let mut current = String::new();
    for key in keys::all() {
        let (section, name) = key.section_and_name();
        if section != current {
            section.clone_into(&mut current);
            if !text.ends_with("\n\n") {
                text.push('\n');
            }
            _ = writeln!(text, "[{section}]");
        }
        write(text, &key, name);
    }
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("every value of a configuration has a form in TOML, and its paths came from text")
}

fn value<'t>(table: &'t Table, key: &Key) -> Option<&'t Value> {
    let (section, name) = key.section_and_name();
    if section.is_empty() {
        table.get(name)
    } else {
        table.get(section)?.get(name)
    }
}
