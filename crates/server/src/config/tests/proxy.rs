use super::super::file::commands;
use super::super::keys::{Key, Keyed as _};
use super::super::proxy::{Config, Registry, resolve};
use super::super::{File, Path};
use super::environment;
use crate::cli::{self, Command};
use crate::credentials::Token;
use crate::rates::Rate;
use whipstitch_proxy::signal::Signalling;

fn resolved(args: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Result<Config, Vec<String>> {
    let (command, arguments) = cli::parse(std::iter::once(&"proxy").chain(args)).unwrap();
    assert_eq!(command, Command::Proxy);
    let file = file.map(|text| File { path: Path::new("p.toml"), text });
    let result = resolve(&arguments, &environment(env), file);
    result.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// Every key with a value that is nobody's default.
const VALUES: [(&str, &str); 18] = [
    ("http", "'127.0.0.1:1'"),
    ("rtc", "'[::1]:2'"),
    ("admin", "'127.0.0.1:3'"),
    ("registry", "'redis://:hidden@10.0.0.3:6379/1'"),
    ("public_ip", "['203.0.113.7', '2001:db8::1']"),
    ("host_name", "['media.example.net']"),
    ("origin", "['http://10.0.0.2:8555', 'https://[2001:db8::2]:1985']"),
    ("origin_ca", "'/etc/ca.pem'"),
    ("secret", "'shared'"),
    ("workers", "3"),
    ("signalling", "'redirect'"),
    ("max_sessions", "4"),
    ("cors_origin", "['https://example.net']"),
    ("trusted_proxies", "['10.0.0.0/8']"),
    ("tls_certificate", "'/etc/cert.pem'"),
    ("tls_key", "'/etc/key.pem'"),
    ("request_rate", "5"),
    ("request_burst", "6"),
];

fn expected() -> Config {
    Config {
        http: "127.0.0.1:1".parse().unwrap(),
        rtc: "[::1]:2".parse().unwrap(),
        admin: "127.0.0.1:3".parse().unwrap(),
        registry: Registry::Redis("redis://:hidden@10.0.0.3:6379/1".to_owned()),
        public_ip: vec!["203.0.113.7".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        host_name: vec!["media.example.net".to_owned()],
        origins: ["http://10.0.0.2:8555", "https://[2001:db8::2]:1985"].map(|url| url.parse().unwrap()).to_vec(),
        origin_ca: Some("/etc/ca.pem".into()),
        secret: Some(Token::parse("shared").unwrap()),
        workers: 3,
        signalling: Signalling::Redirect,
        max_sessions: 4,
        cors_origin: vec!["https://example.net".to_owned()],
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        tls_certificate: Some("/etc/cert.pem".into()),
        tls_key: Some("/etc/key.pem".into()),
        requests: Rate { per_second: 5, burst: 6 },
        ..Config::default()
    }
}

/// What a value of the file is in a flag or a variable: each item.
fn items(value: &str) -> Vec<String> {
    let list = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    list.split(", ").map(|item| item.trim_matches('\'').to_owned()).collect()
}

#[test]
fn every_key_is_a_flag_a_variable_and_a_line_of_the_file() {
    let names: Vec<&str> = Config::keys().iter().map(|key| key.name).collect();
    assert_eq!(names, VALUES.map(|(name, _)| name), "a new key belongs into this test");
    let lines: String = VALUES.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let mut flags = Vec::new();
    let mut variables = Vec::new();
    for (name, value) in VALUES {
        let items = items(value);
        flags.extend(items.iter().map(|item| format!("--{}={item}", name.replace('_', "-"))));
        variables.push((format!("WHIPSTITCH_{}", name.to_uppercase()), items.join(",")));
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(resolved(&[], &[], Some(&lines)).unwrap(), expected());
    assert_eq!(resolved(&[], &[], Some(&format!("[proxy]\n{lines}"))).unwrap(), expected());
    assert_eq!(resolved(&flags, &[], None).unwrap(), expected());
    assert_eq!(resolved(&[], &variables, None).unwrap(), expected());
    assert_eq!(resolved(&[], &[], None).unwrap(), Config::default());
    let shown = format!("{:?}", expected());
    assert!(!shown.contains("hidden") && !shown.contains("shared"), "{shown}");
}

#[test]
fn a_key_that_both_commands_have_takes_the_same_in_both() {
    for key in Config::keys() {
        let other = super::KEYS.iter().find(|other| other.name == key.name);
        assert!(other.is_none_or(|other| other.takes == key.takes), "{}", key.name);
    }
}

#[test]
fn every_mistake_is_said_with_its_place() {
    for (args, env, file, expected) in [
        (&["--rtsp", "off"][..], &[][..], "", vec!["--rtsp: is a flag of another command (see --help)"]),
        (&["--origin=ftp://h/"], &[], "", vec!["--origin: \"ftp://h/\" is no URL such as http://10.0.0.2:8555"]),
        (&["--origin=http://u:p@h/"], &[], "", vec!["--origin: the URL of an origin has no user and no password"]),
        (
            &[],
            &[("WHIPSTITCH_REGISTRY", "etcd://x")],
            "",
            vec![
                "WHIPSTITCH_REGISTRY: is not memory, and is no URL such as redis://10.0.0.1:6379 or redis://:password@10.0.0.1:6379/0",
            ],
        ),
        (&[], &[("WHIPSTITCH_RTSP", "off")], "", vec![]),
        (&[], &[("WHIPSTITCH_ORIGINS", "x")], "", vec!["WHIPSTITCH_ORIGINS: no such variable"]),
        (&["--max-sessions=0"], &[], "", vec!["--max-sessions: \"0\" is not a whole number from 1 to 1000000"]),
        (&["--tls-key=k.pem"], &[], "", vec!["tls_certificate, tls_key: HTTPS needs both"]),
        (
            &["--http=127.0.0.1:9", "--admin=127.0.0.1:9"],
            &[],
            "",
            vec!["admin: HTTP has TCP port 9 already; this needs another"],
        ),
        (
            &[],
            &[],
            "rtsp = 'off'\nsecret = 5",
            vec!["p.toml:1: rtsp: no such key", "p.toml:2: secret: wants a text in quotes"],
        ),
        (
            &[],
            &[],
            "rtsp = 'off'\n[proxy]\nhttp = 1\nno = 2",
            vec!["p.toml:3: http: wants a text in quotes", "p.toml:4: no: no such key"],
        ),
    ] {
        let mistakes = resolved(args, env, Some(file)).err().unwrap_or_default();
        assert_eq!(mistakes, expected, "{args:?} {env:?} {file}");
    }
}

#[test]
fn a_file_tells_which_commands_it_is_for() {
    for (text, serve, proxy) in [
        ("", true, false),
        ("http = '127.0.0.1:1'", true, false),
        ("rtsp = 'off'\norigin = []", false, true),
        ("origin = ['http://h:1']", false, true),
        ("[proxy]", false, true),
        ("http = '127.0.0.1:1'\n[proxy]\nhttp = '127.0.0.1:2'", true, true),
        ("[[tokens]]\nname = 'x'", true, false),
    ] {
        assert_eq!(commands(text), (serve, proxy), "{text}");
    }
    let both = "http = '127.0.0.1:1'\n[proxy]\nhttp = '127.0.0.1:2'";
    assert_eq!(super::resolved(&[], &[], both).unwrap().http, super::http(1));
    assert_eq!(resolved(&[], &[], Some(both)).unwrap().http, super::http(2));
    let mistakes = super::resolved(&[], &[], "[proxy]\nhttp = '127.0.0.1:2'").err().unwrap();
    assert_eq!(mistakes, ["w.toml:1: the file is for `whipstitch proxy`: all of it stands below [proxy]"]);
    assert!(super::resolved(&["--origin", "http://h"], &[], "").is_err(), "a flag of the proxy");
}

#[test]
fn the_example_file_lists_every_key_with_its_default() {
    let text = include_str!("../../../../../whipstitch-proxy.example.toml");
    assert_eq!(resolved(&[], &[], Some(text)).unwrap(), Config::default(), "as it is, the file changes nothing");
    assert_eq!(commands(text), (false, true));
    let is_key = |line: &&str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    let lines: Vec<&str> = text.lines().filter(is_key).map(|line| &line[1..]).collect();
    let mut named = Vec::new();
    for line in &lines {
        let name = line.split_once(" = ").expect("key = value").0;
        named.push(name);
        let with_partner = match name {
            "tls_certificate" => format!("{line}\ntls_key = 'k'"),
            "tls_key" => format!("{line}\ntls_certificate = 'c'"),
            _ => (*line).to_owned(),
        };
        let config = resolved(&[], &[], Some(&with_partner)).unwrap_or_else(|mistakes| panic!("{line}: {mistakes:?}"));
        let without_default = [
            "public_ip",
            "host_name",
            "origin",
            "origin_ca",
            "secret",
            "cors_origin",
            "trusted_proxies",
            "tls_certificate",
            "tls_key",
        ]
        .contains(&name);
        assert_eq!(config == Config::default(), !without_default, "{line}");
    }
    assert_eq!(named, Config::keys().iter().map(|key| key.name).collect::<Vec<_>>());
}

#[test]
fn the_help_and_the_guide_name_every_flag_and_its_default() {
    let guide = include_str!("../../../../../docs/scale.md");
    let in_row = |key: &Key<Config>, line: &'static str| {
        let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
        cells.find(|cell| *cell == key.name).and_then(|_| cells.next())
    };
    for key in Config::keys() {
        assert!(cli::help().contains(&key.flag()), "{}", key.name);
        let in_help = key.help.rsplit_once('[').map(|(_, default)| default.trim_end_matches(']'));
        let in_guide: Vec<&str> = guide.lines().filter_map(|line| in_row(key, line)).collect();
        assert_eq!(in_guide.len(), 1, "docs/scale.md: {}", key.name);
        for value in in_guide.into_iter().chain(in_help).filter(|value| !["none", "all"].contains(value)) {
            let config = resolved(&[], &[(&key.variable(), value)], None);
            assert_eq!(config.as_ref(), Ok(&Config::default()), "{}: {value}", key.name);
        }
    }
}
