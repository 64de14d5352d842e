//! Tests of the configuration: each source alone, their order, and what is refused.

use std::{ffi::OsString, io::Write as _, path::Path};

use clap::Parser as _;

use super::*;

fn args(flags: &[&str]) -> Args {
    Args::try_parse_from(std::iter::once("greffe-server").chain(flags.iter().copied())).unwrap()
}

fn load(flags: &[&str], environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let environment: Vec<(OsString, OsString)> =
        environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Config::load(&args(flags), environment)
}

fn refusal(flags: &[&str], environment: &[(&str, &str)]) -> String {
    load(flags, environment).unwrap_err().to_string()
}

/// A file with this text, and its path as a flag's value.
fn file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

fn file_refusal(text: &str) -> String {
    let (_file, path) = file(text);
    refusal(&["--config", &path], &[]).replace(&path, "FILE")
}

#[test]
fn the_defaults_are_valid() {
    let loaded = load(&[], &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn later_sources_win_and_origins_are_remembered() {
    let (_file, path) =
        file("drain_seconds = 1\nnotice = 'file'\nlog.filter = 'warn'\n[limits]\nconnections = 1\npage_max = 400");
    let loaded = load(
        &["--config", &path, "--limit", "connections=3", "--notice", "flag"],
        &[
            ("GREFFE_LIMITS_CONNECTIONS", "2"),
            ("GREFFE_NOTICE", "environment"),
            ("GREFFE_DRAIN_SECONDS", "2"),
        ],
    )
    .unwrap();
    assert_eq!(loaded.config.notice, "flag");
    assert_eq!(loaded.config.drain_seconds, 2);
    assert_eq!(loaded.config.limits.connections, 3);
    assert_eq!(loaded.config.limits.page_max, 400);
    assert_eq!(loaded.config.log.filter, "warn");
    assert_eq!(loaded.config.log.format, LogFormat::Text);
    let origin = |key: &str| loaded.origins[key].to_string();
    assert_eq!(origin("notice"), "flag --notice");
    assert_eq!(origin("drain_seconds"), "environment GREFFE_DRAIN_SECONDS");
    assert_eq!(origin("limits.connections"), "flag --limit connections");
    assert_eq!(origin("limits.page_max"), format!("file {path}"));
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let (_file, path) = file("notice = 'from the file'");
    assert_eq!(
        load(&[], &[("GREFFE_CONFIG", &path)]).unwrap().config.notice,
        "from the file"
    );
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    for key in keys::all() {
        let value = match key.kind {
            keys::Kind::Address | keys::Kind::OptionalAddress => "127.0.0.1:9",
            keys::Kind::Number => continue,
            keys::Kind::Switch => "false",
            keys::Kind::Networks => "10.0.0.0/8, ::1",
            keys::Kind::Word(words) => words[0],
            keys::Kind::Text => "info",
            keys::Kind::Path | keys::Kind::OptionalPath => "a",
        };
        // TLS files only go together, and operators need TLS.
        let pair = [
            ("GREFFE_TLS_CERT", "a"),
            ("GREFFE_TLS_KEY", "a"),
            (&key.variable(), value),
        ];
        let needs_tls = key.path == "admin.listen" || (key.path.starts_with("tls.") && key.path != "tls.self_signed");
        let loaded = load(&[], &pair[if needs_tls { 0 } else { 2 }..]);
        let loaded = loaded.unwrap_or_else(|error| panic!("{}: {error}", key.path));
        assert_eq!(loaded.origins[&key.path], Origin::Environment(key.variable()));
    }
    for (name, default) in Limits::default().iter() {
        let variable = format!("GREFFE_LIMITS_{}", name.to_uppercase());
        let loaded = load(&[], &[(&variable, &default.to_string())]).unwrap();
        assert_eq!(loaded.origins[&format!("limits.{name}")], Origin::Environment(variable));
        load(&["--limit", &format!("{name}={default}")], &[]).unwrap();
    }
}

#[test]
fn an_empty_variable_takes_an_optional_value_away() {
    let (_file, path) = file("metrics_listen = '127.0.0.1:9'");
    let loaded = load(&["--config", &path], &[("GREFFE_METRICS_LISTEN", "")]).unwrap();
    assert_eq!(loaded.config.metrics_listen, None);
}

#[test]
fn flags_may_follow_the_command() {
    let parsed = args(&["config", "--drain-seconds", "3"]);
    assert!(matches!(parsed.command, Some(Command::Config { example: false })));
    assert_eq!(parsed.options.drain_seconds, Some(3));
}

#[test]
fn the_directory_to_check_may_be_named_by_itself() {
    let named = args(&["check", "/backup", "--json"]);
    assert!(
        matches!(named.command, Some(Command::Check { directory: Some(path), json: true }) if path == Path::new("/backup"))
    );
    assert!(matches!(
        args(&["check"]).command,
        Some(Command::Check {
            directory: None,
            json: false
        })
    ));
}

#[test]
fn unknown_names_are_refused_with_near_ones() {
    assert_eq!(
        file_refusal("\nlisen = '127.0.0.1:1'"),
        "FILE:2:1: there is no key lisen (did you mean listen?); `greffe-server config --example` lists them all"
    );
    assert!(
        file_refusal("[limits]\npage_maxx = 1")
            .starts_with("FILE:2:1: there is no key limits.page_maxx (did you mean limits.page_max?)")
    );
    assert!(file_refusal("[tsl]\ncert = 'a'").starts_with("FILE:1:2: there is no key tsl"));
    assert!(
        refusal(&[], &[("GREFFE_LIMITS_FOO", "1")])
            .starts_with("environment GREFFE_LIMITS_FOO: there is no such setting")
    );
    assert!(refusal(&[], &[("GREFFE_LISTN", "1")]).contains("did you mean GREFFE_LISTEN?"));
    assert!(refusal(&["--limit", "conections=1"], &[]).contains("did you mean connections?"));
}

#[test]
fn variables_of_others_are_left_alone() {
    let others = [
        ("GREFFE_SERVER", "x"),
        ("GREFFE_CONFIG_DIR", "x"),
        ("GREFFE_TOKEN", "x"),
        ("GREFFE_TOKEN_FILE", "x"),
        ("GREFFE_SERVICE_HOST", "10.0.0.1"),
        ("GREFFE_PORT_52020_TCP", "tcp://10.0.0.1:52020"),
        ("HOME", "x"),
    ];
    assert_eq!(load(&[], &others).unwrap().config, Config::default());
}

#[test]
fn values_of_the_wrong_kind_are_refused_where_they_stand() {
    assert!(file_refusal("notice = 'a'\nlisten = 7").starts_with("FILE:2:10: "));
    assert!(file_refusal("listen = 'localhost:1'").starts_with("FILE:1:10: "));
    assert!(file_refusal("limits = 7").contains("write [limits]"));
    assert!(file_refusal("[limits]\nconnections = -1").starts_with("FILE:2:15: "));
    assert!(file_refusal("no toml").starts_with("FILE:1:"));
    assert_eq!(
        refusal(&["--listen", "localhost:1"], &[]),
        "flag --listen: this must be an IP address and a port, such as 127.0.0.1:52020 or [::1]:52020"
    );
    for bad in ["-1", "1.5", "many", "", "99999999999999999999"] {
        assert_eq!(
            refusal(&[], &[("GREFFE_LIMITS_CONNECTIONS", bad)]),
            "environment GREFFE_LIMITS_CONNECTIONS: this must be a whole number, not negative"
        );
    }
    assert!(refusal(&[], &[("GREFFE_TLS_SELF_SIGNED", "perhaps")]).contains("true or false"));
    assert!(refusal(&["--trusted-proxy", "10.0.0.0/99"], &[]).contains("IP addresses or networks"));
    assert!(refusal(&[], &[("GREFFE_REGISTRATION_POLICY", "all")]).contains("one of open, invite, closed"));
    assert!(refusal(&["--config", "/no/such/file"], &[]).starts_with("cannot read /no/such/file"));
}

#[test]
fn plain_text_is_for_loopback_only() {
    for address in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[2001:db8::1]:1"] {
        let refused = refusal(&["--listen", address], &[]);
        assert!(
            refused.starts_with("the configuration cannot be used:\n  listen (flag --listen): "),
            "{refused}"
        );
        for way_out in ["--tls-cert", "--tls-self-signed", "--insecure-plaintext"] {
            assert!(refused.contains(way_out), "{refused}");
        }
        load(&["--listen", address, "--insecure-plaintext"], &[]).unwrap();
        load(&["--listen", address, "--tls-self-signed"], &[]).unwrap();
        load(&["--listen", address, "--tls-cert", "a", "--tls-key", "b"], &[]).unwrap();
    }
    for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        load(&["--listen", address], &[]).unwrap();
    }
}

#[test]
fn operators_connect_with_tls_only() {
    let refused = refusal(&["--admin-listen", "127.0.0.1:1"], &[]);
    assert!(refused.contains("admin.listen (flag --admin-listen): "), "{refused}");
    assert!(refused.contains("--tls-self-signed"), "{refused}");
    let loaded = load(&["--admin-listen", "[::]:1", "--tls-self-signed"], &[]).unwrap();
    assert_eq!(loaded.config.admin.listen, Some("[::]:1".parse().unwrap()));
    let taken = [
        "--tls-self-signed",
        "--listen",
        "127.0.0.1:1",
        "--admin-listen",
        "127.0.0.1:1",
    ];
    assert!(refusal(&taken, &[]).contains("where members connect"));
    let taken = [
        "--tls-self-signed",
        "--metrics-listen",
        "127.0.0.1:1",
        "--admin-listen",
        "127.0.0.1:1",
    ];
    assert!(refusal(&taken, &[]).contains("where metrics are served"));
    load(
        &[
            "--tls-self-signed",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
        &[],
    )
    .unwrap();
}

#[test]
fn the_operators_socket_lies_in_the_data_directory_unless_it_is_moved() {
    let socket = |flags: &[&str]| load(flags, &[]).unwrap().config.admin_socket();
    assert_eq!(socket(&["--data-dir", "/d"]), PathBuf::from("/d/admin.sock"));
    assert_eq!(socket(&["--admin-socket", "/run/a.sock"]), PathBuf::from("/run/a.sock"));
    assert!(refusal(&["--admin-socket", "/run/.."], &[]).contains("name a file"));
}

#[test]
fn operators_sessions_have_ranges() {
    let seconds = |total: &str, idle: &str| {
        load(
            &[],
            &[
                ("GREFFE_ADMIN_SESSION_SECONDS", total),
                ("GREFFE_ADMIN_SESSION_IDLE_SECONDS", idle),
            ],
        )
        .map(|loaded| {
            (
                loaded.config.admin.session_seconds,
                loaded.config.admin.session_idle_seconds,
            )
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(seconds("60", "60"), Ok((60, 60)));
    assert_eq!(seconds("2592000", "2592000"), Ok((2_592_000, 2_592_000)));
    assert!(seconds("60", "59").unwrap_err().contains("admin.session_idle_seconds"));
    assert!(seconds("2592001", "60").unwrap_err().contains("use 60 to 2592000"));
    assert!(
        seconds("60", "61")
            .unwrap_err()
            .contains("more than admin.session_seconds (60)")
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    assert!(refusal(&["--tls-cert", "a"], &[]).contains("set tls.key too"));
    assert!(refusal(&["--tls-key", "a"], &[]).contains("set tls.cert too"));
    assert!(refusal(&["--tls-cert", "a", "--tls-key", "b", "--tls-self-signed"], &[]).contains("given already"));
    assert!(refusal(&["--tls-self-signed", "--insecure-plaintext"], &[]).contains("remove one"));
    assert!(refusal(&["--limit", "page_max=10"], &[]).contains("limits.page_default: 100 is more than page_max (10)"));
    assert!(refusal(&["--limit", "text_bytes=61441"], &[]).contains("request_bytes"));
    load(&["--limit", "text_bytes=61440"], &[]).unwrap();
    assert!(refusal(&["--log-filter", "a=b=c"], &[]).contains("log.filter"));
}

#[test]
fn limits_have_ranges_and_all_problems_are_told_at_once() {
    let refused = refusal(
        &[
            "--limit",
            "connections=0",
            "--limit",
            "page-max=10001",
            "--drain-seconds",
            "3601",
        ],
        &[],
    );
    assert_eq!(refused.lines().count(), 4, "{refused}");
    assert!(refused.contains("limits.connections (flag --limit connections): 0 is out of range: use 1 to 1000000"));
    assert!(refused.contains("limits.page_max (flag --limit page_max): 10001 is out of range: use 1 to 10000"));
    let off = load(
        &[
            "--limit",
            "messages_per_second=0",
            "--limit",
            "failed_logins_per_account=0",
        ],
        &[],
    )
    .unwrap();
    assert_eq!(off.config.limits.messages_per_second, 0);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let (_file, path) = file(&Config::example());
    let example = load(&["--config", &path], &[]).unwrap();
    assert_eq!(example.config, Config::default());

    let flags = [
        "--notice",
        "two\nlines, \"quoted\" # and more",
        "--trusted-proxy",
        "10.0.0.7",
        "--tls-self-signed",
    ];
    let loaded = load(&flags, &[("GREFFE_METRICS_LISTEN", "[::1]:9")]).unwrap();
    let printed = loaded.to_toml();
    let (_file, path) = file(&printed);
    assert_eq!(
        load(&["--config", &path], &[]).unwrap().config,
        loaded.config,
        "{printed}"
    );
    assert!(
        printed.contains("metrics_listen = \"[::1]:9\" # environment GREFFE_METRICS_LISTEN\n"),
        "{printed}"
    );
    assert!(
        printed.contains("data_dir = \"./greffe-data\" # default\n"),
        "{printed}"
    );
    assert!(printed.contains("# cert is not set # default\n"), "{printed}");
}

#[test]
fn the_keys_are_those_of_the_struct() {
    let mut full = Config {
        metrics_listen: Some(([127, 0, 0, 1], 1).into()),
        checkpoint_dir: Some("a".into()),
        ..Config::default()
    };
    full.admin.socket = Some("a".into());
    full.admin.listen = Some(([127, 0, 0, 1], 2).into());
    full.tls.cert = Some("a".into());
    full.tls.key = Some("a".into());
    full.registration.invitation_file = Some("a".into());
    let mut in_the_struct = Vec::new();
    for (name, value) in toml::Table::try_from(&full).unwrap() {
        match value {
            toml::Value::Table(section) => in_the_struct.extend(section.keys().map(|key| format!("{name}.{key}"))),
            _ => in_the_struct.push(name),
        }
    }
    let mut keys: Vec<String> = keys::all().into_iter().map(|key| key.path).collect();
    keys.sort();
    in_the_struct.sort();
    assert_eq!(keys, in_the_struct);
}

#[cfg(unix)]
#[test]
fn invitation_codes_are_read_from_a_private_file() {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    let codes = |text: &str, mode| {
        let (file, path) = file(text);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        Registration {
            policy: RegistrationPolicy::Invite,
            invitation_file: Some(path.into()),
        }
        .codes()
    };
    let read = codes("# for the class\n\nwelcome-2024\n  autumn-term  \n", 0o600).unwrap();
    assert_eq!(read.len(), 2);
    assert!(read.contains("welcome-2024") && read.contains("autumn-term"));
    assert!(!read.contains("") && !read.contains("# for the class") && !read.contains("welcome-2025"));
    assert!(!format!("{read:?}").contains("welcome"));
    assert!(matches!(codes("welcome-2024", 0o644), Err(ConfigError::Exposed(_))));
    assert!(matches!(
        codes("welcome-2024\nshort", 0o600),
        Err(ConfigError::InvitationCode { line: 2, .. })
    ));
    assert!(Registration::default().codes().unwrap().is_empty());
}
