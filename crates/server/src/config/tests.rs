use super::keys::KEYS;
use super::*;
use crate::cli::{self, Command};
use crate::rates;
use whipstitch_rtsp::Bounds;
use whipstitch_stream::stream::Rate;
use whipstitch_webrtc::HalfOpen;

mod processes;
mod proxy;
mod rtp_inputs;
mod tokens;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolved(args: &[&str], env: &[(&str, &str)], file: &str) -> Result<Config, Vec<String>> {
    let args = std::iter::once(&"serve").chain(args);
    let (command, arguments) = cli::parse(args).unwrap();
    assert_eq!(command, Command::Serve);
    let file = File { path: Path::new("w.toml"), text: file };
    let result = resolve(&arguments, &environment(env), Some(file));
    result.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// The keys that are one number each, with numbers that are nobody's default.
const LIMITS: [(&str, u32); 18] = [
    ("max_streams", 1),
    ("max_publishers", 2),
    ("max_viewers", 3),
    ("max_viewers_per_stream", 4),
    ("max_half_open", 5),
    ("max_half_open_per_address", 6),
    ("publisher_kbps", 7),
    ("publisher_packets", 8),
    ("request_rate", 9),
    ("request_burst", 10),
    ("session_rate", 11),
    ("session_burst", 12),
    ("grace", 13),
    ("max_wait", 15),
    ("stream_ttl", 14),
    ("max_rtsp_connections", 16),
    ("max_rtsp_connections_per_address", 17),
    ("max_processes", 18),
];

fn http(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let file = "http = '127.0.0.1:3'";
    let env = [("WHIPSTITCH_HTTP", "127.0.0.1:2")];
    assert_eq!(resolved(&["--http", "127.0.0.1:1"], &env, file).unwrap().http, http(1));
    assert_eq!(resolved(&[], &env, file).unwrap().http, http(2));
    assert_eq!(resolved(&[], &[], file).unwrap().http, http(3));
    assert_eq!(resolved(&[], &[("WHIPSTITCH_HTTP", "")], file).unwrap().http, http(3), "empty is unset");
    assert_eq!(resolved(&[], &[], "").unwrap(), Config::default());
}

/// What the keys below say.
fn access() -> whipstitch_ffmpeg::process::Access {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut access = whipstitch_ffmpeg::process::Access {
        protocols: texts(&["rtmp", "file"]),
        folders: vec!["/srv/media".into()],
        ..Default::default()
    };
    access.input.allow(&texts(&["^rtsp://", "^/srv/"])).unwrap();
    access.input.block(&texts(&["secret"])).unwrap();
    access.output.allow(&texts(&["^rtmp://"])).unwrap();
    access.output.block(&texts(&["^rtmp://x/"])).unwrap();
    access
}

#[test]
fn every_key_is_a_flag_a_variable_and_a_line_of_the_file() {
    let expected = Config {
        http: "127.0.0.1:1".parse().unwrap(),
        rtc: "[::1]:2".parse().unwrap(),
        ffmpeg: "/opt/ffmpeg".into(),
        process_access: access(),
        rtsp: Some("[::1]:3".parse().unwrap()),
        public_ip: vec!["203.0.113.7".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        host_name: vec!["media.example.net".to_owned(), "media".to_owned()],
        ice_server: ["stun:s:3478", "turn:t username=u credential=c"]
            .map(|text| IceServer::parse(text).unwrap())
            .to_vec(),
        token: Some(Token::parse("secret").unwrap()),
        rtp_ports: Some(20_000..=20_003),
        plain_rtp: PlainRtp::On,
        workers: 3,
        data: "/var/lib/w".into(),
        keyframe_cache: false,
        open_publish: true,
        on_conflict: Conflict::TakeOver,
        wait: true,
        max_wait: Duration::from_secs(15),
        grace: Duration::from_secs(13),
        stream_ttl: Duration::from_secs(14),
        stream_names: ["cam-*", "x"].map(|text| Pattern::parse(text).unwrap()).to_vec(),
        session_auth: SessionAuth::Token,
        lenient_precondition: true,
        cors_origin: vec!["https://example.net".to_owned(), "http://localhost:3000".to_owned()],
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()],
        join: ["http://10.0.0.1:12025", "http://proxy-b:12025"].map(|url| url.parse().unwrap()).to_vec(),
        origin_id: OriginId::parse("edge-1"),
        secret: Some(Token::parse("shared").unwrap()),
        limits: Limits {
            streams: 1,
            publishers: 2,
            viewers: 3,
            viewers_per_stream: 4,
            rtsp: Bounds { total: 16, per_address: 17, ..Bounds::default() },
            processes: 18,
            half_open: HalfOpen { total: 5, per_address: 6, ..HalfOpen::default() },
            publisher: Rate { bits: 7_000, packets: 8 },
            requests: rates::Rate { per_second: 9, burst: 10 },
            session: rates::Rate { per_second: 11, burst: 12 },
        },
        ..Config::default()
    };
    let args = [
        "--http=127.0.0.1:1",
        "--rtc",
        "[::1]:2",
        "--rtsp",
        "[::1]:3",
        "--public-ip",
        "203.0.113.7",
        "--public-ip=2001:db8::1",
        "--host-name",
        "Media.example.net",
        "--host-name",
        "media",
        "--ice-server=stun:s:3478",
        "--ice-server",
        "turn:t username=u credential=c",
        "--token",
        "secret",
        "--rtp-ports=20000-20003",
        "--plain-rtp=on",
        "--ffmpeg=/opt/ffmpeg",
        "--process-input-allow=^rtsp://",
        "--process-input-allow=^/srv/",
        "--process-input-block=secret",
        "--process-output-allow=^rtmp://",
        "--process-output-block=^rtmp://x/",
        "--process-protocols=rtmp",
        "--process-protocols=file",
        "--process-folders=/srv/media",
        "--workers",
        "3",
        "--data",
        "/var/lib/w",
        "--keyframe-cache=false",
        "--open-publish",
        "--on-conflict=takeover",
        "--when-offline=wait",
        "--stream-names=cam-*",
        "--stream-names=x",
        "--session-auth=token",
        "--lenient-precondition",
        "--cors-origin=https://Example.net:443",
        "--cors-origin=http://localhost:3000",
        "--trusted-proxies=10.0.0.0/8",
        "--trusted-proxies=127.0.0.1",
        "--join=http://10.0.0.1:12025",
        "--join=http://proxy-b:12025/",
        "--origin-id=edge-1",
        "--secret=shared",
    ];
    let numbers: Vec<String> = LIMITS.iter().map(|(name, n)| format!("--{}={n}", name.replace('_', "-"))).collect();
    let args: Vec<&str> = args.into_iter().chain(numbers.iter().map(String::as_str)).collect();
    let env = [
        ("WHIPSTITCH_HTTP", "127.0.0.1:1"),
        ("WHIPSTITCH_RTC", "[::1]:2"),
        ("WHIPSTITCH_RTSP", "[::1]:3"),
        ("WHIPSTITCH_PUBLIC_IP", "203.0.113.7, 2001:db8::1"),
        ("WHIPSTITCH_HOST_NAME", "media.example.net,media"),
        ("WHIPSTITCH_ICE_SERVER", "stun:s:3478, turn:t username=u credential=c"),
        ("WHIPSTITCH_TOKEN", "secret"),
        ("WHIPSTITCH_RTP_PORTS", "20000-20003"),
        ("WHIPSTITCH_PLAIN_RTP", "on"),
        ("WHIPSTITCH_FFMPEG", "/opt/ffmpeg"),
        ("WHIPSTITCH_PROCESS_INPUT_ALLOW", "^rtsp://,^/srv/"),
        ("WHIPSTITCH_PROCESS_INPUT_BLOCK", "secret"),
        ("WHIPSTITCH_PROCESS_OUTPUT_ALLOW", "^rtmp://"),
        ("WHIPSTITCH_PROCESS_OUTPUT_BLOCK", "^rtmp://x/"),
        ("WHIPSTITCH_PROCESS_PROTOCOLS", "rtmp, file"),
        ("WHIPSTITCH_PROCESS_FOLDERS", "/srv/media"),
        ("WHIPSTITCH_WORKERS", "3"),
        ("WHIPSTITCH_DATA", "/var/lib/w"),
        ("WHIPSTITCH_KEYFRAME_CACHE", "off"),
        ("WHIPSTITCH_OPEN_PUBLISH", "true"),
        ("WHIPSTITCH_ON_CONFLICT", "takeover"),
        ("WHIPSTITCH_WHEN_OFFLINE", "wait"),
        ("WHIPSTITCH_STREAM_NAMES", "cam-*, x"),
        ("WHIPSTITCH_SESSION_AUTH", "token"),
        ("WHIPSTITCH_LENIENT_PRECONDITION", "on"),
        ("WHIPSTITCH_CORS_ORIGIN", "https://example.net,http://localhost:3000"),
        ("WHIPSTITCH_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1"),
        ("WHIPSTITCH_JOIN", "http://10.0.0.1:12025, http://proxy-b:12025"),
        ("WHIPSTITCH_ORIGIN_ID", "edge-1"),
        ("WHIPSTITCH_SECRET", "shared"),
    ];
    let numbers: Vec<(String, String)> =
        LIMITS.iter().map(|(name, n)| (format!("WHIPSTITCH_{}", name.to_uppercase()), n.to_string())).collect();
    let numbers = numbers.iter().map(|(name, n)| (name.as_str(), n.as_str()));
    let env: Vec<(&str, &str)> = env.into_iter().chain(numbers).collect();
    let file = "
        http = '127.0.0.1:1'
        rtc = '[::1]:2'
        rtsp = '[::1]:3'
        public_ip = ['203.0.113.7', '2001:db8::1']
        host_name = ['media.example.net', 'media']
        ice_server = ['stun:s:3478', 'turn:t username=u credential=c']
        token = 'secret'
        rtp_ports = '20000-20003'
        plain_rtp = 'on'
        ffmpeg = '/opt/ffmpeg'
        process_input_allow = ['^rtsp://', '^/srv/']
        process_input_block = ['secret']
        process_output_allow = ['^rtmp://']
        process_output_block = ['^rtmp://x/']
        process_protocols = ['rtmp', 'file']
        process_folders = ['/srv/media']
        workers = 3
        keyframe_cache = false
        data = '/var/lib/w'
        open_publish = true
        on_conflict = 'takeover'
        when_offline = 'wait'
        stream_names = ['cam-*', 'x']
        session_auth = 'token'
        lenient_precondition = true
        cors_origin = ['https://example.net', 'http://localhost:3000']
        trusted_proxies = ['10.0.0.0/8', '127.0.0.1']
        join = ['http://10.0.0.1:12025', 'http://proxy-b:12025']
        origin_id = 'edge-1'
        secret = 'shared'
    ";
    let numbers: Vec<String> = LIMITS.iter().map(|(name, n)| format!("{name} = {n}\n")).collect();
    let file = &format!("{file}\n{}", numbers.concat());
    assert_eq!(resolved(&args, &[], "").unwrap(), expected);
    assert_eq!(resolved(&[], &env, "").unwrap(), expected);
    assert_eq!(resolved(&[], &[], file).unwrap(), expected);
    assert_eq!(KEYS.len(), env.len(), "a new key belongs into this test");
}

#[test]
fn a_stronger_list_replaces_a_weaker_one_and_a_later_flag_an_earlier() {
    let file = "public_ip = ['203.0.113.7', '203.0.113.8']\nopen_publish = true";
    let config = resolved(&["--public-ip", "192.0.2.1", "--open-publish=false"], &[], file).unwrap();
    assert_eq!(config.public_ip, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert!(!config.open_publish);
    assert_eq!(resolved(&["--workers", "1", "--workers", "2"], &[], "").unwrap().workers, 2);
}

#[test]
fn all_mistakes_of_all_sources_are_reported_one_line_each() {
    let args =
        ["--http", "here", "--nonsense", "value", "stray", "--workers", "many", "-x", "--token", "--data=", "--rtc"];
    let env = [("WHIPSTITCH_OPEN_PUBLISH", "perhaps"), ("WHIPSTITCH_LOG", "whipstitch=loud")];
    let file = "
        http = 8555
        htpp = 'x'
        public_ip = ['203.0.113.7', 'home']
        workers = 1.5
        token = 'two words'
        ice_server = ['stun:s', 'turn:t', 'turn:t username=two;words credential=two,words']
        [rtmp]
        a = 1
    ";
    let mistakes = resolved(&args, &env, file).unwrap_err();
    let expected = [
        "--nonsense: no such flag",
        "stray: not expected here",
        "-x: no such flag",
        "--token: needs a value",
        "--rtc: needs a value",
        "w.toml:2: http: wants a text in quotes",
        "w.toml:3: htpp: no such key",
        "w.toml:4: public_ip: \"home\" is not an IP address",
        "w.toml:5: workers: wants a whole number",
        "w.toml:6: token: a token is",
        "w.toml:7: ice_server: server 2: a turn URL needs",
        "w.toml:7: ice_server: server 3: word 2: a value must be without comma",
        "w.toml:7: ice_server: server 3: word 3: a value must be without comma",
        "w.toml:8: rtmp: no such key",
        "WHIPSTITCH_OPEN_PUBLISH: \"perhaps\" is neither true nor false",
        "WHIPSTITCH_LOG: ",
        "--http: \"here\" is not an IP address and port",
        "--workers: \"many\" is not a number of threads",
        "--data: is empty",
    ];
    for start in expected {
        assert_eq!(mistakes.iter().filter(|line| line.starts_with(start)).count(), 1, "{start}\n{mistakes:#?}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    assert!(mistakes.iter().all(|line| !line.contains('\n') && !line.contains("two")));
}

#[test]
fn broken_toml_names_its_line_and_the_rest_is_still_judged() {
    let mistakes = resolved(&["--rtc", "x"], &[], "http = '127.0.0.1:1'\nworkers = = 2\ntoken = ''\n").unwrap_err();
    assert!(mistakes.iter().any(|line| line.starts_with("w.toml:2: ")), "{mistakes:#?}");
    assert!(mistakes.iter().any(|line| line.starts_with("w.toml:3: token: ")), "{mistakes:#?}");
    assert!(mistakes.iter().any(|line| line.starts_with("--rtc: ")), "{mistakes:#?}");
}

#[test]
fn values_that_could_not_work_are_refused() {
    for args in [
        ["--public-ip", "0.0.0.0"],
        ["--public-ip", "224.0.0.1"],
        ["--public-ip", "::"],
        ["--public-ip", "203.0.113.7:8189"],
        ["--host-name", "a b"],
        ["--host-name", "http://x"],
        ["--workers", "-1"],
        ["--workers", "100000"],
        ["--http", "localhost"],
        ["--http", "127.0.0.1:65536"],
        ["--http", ":8555"],
        ["--token", ""],
        ["--token", "käse"],
        ["--open-publish=maybe", "--workers=1"],
        ["--on-conflict", "replace"],
        ["--when-offline", "hold"],
        ["--max-wait", "0"],
        ["--grace", "-1"],
        ["--grace", "86401"],
        ["--grace", "1.5"],
        ["--stream-ttl", "0"],
        ["--session-auth", "none"],
        ["--stream-names", "a b"],
        ["--cors-origin", "example.net"],
        ["--cors-origin", "https://example.net/path"],
        ["--cors-origin", "null"],
        ["--cors-origin", "https://*.example.net"],
        ["--cors-origin", "https://me@example.net"],
        ["--cors-origin", "https://example.net:"],
        ["--cors-origin", "https://example.net:65536"],
        ["--cors-origin", "https://[example.net]"],
        ["--trusted-proxies", "10.0.0.0/33"],
        ["--max-viewers", "-1"],
        ["--max-viewers", "1000001"],
        ["--publisher-kbps", "0"],
        ["--request-burst", "0"],
    ] {
        assert_eq!(resolved(&args, &[], "").unwrap_err().len(), 1, "{args:?}");
    }
    let nine = ["--ice-server=stun:s"; 9];
    assert_eq!(resolved(&nine, &[], "").unwrap_err().len(), 1);
    let nine: Vec<String> = (1..=9).map(|n| format!("--public-ip=192.0.2.{n}")).collect();
    let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
    assert_eq!(resolved(&nine, &[], "").unwrap_err().len(), 1);
}

#[test]
fn variables_of_other_programs_are_left_alone() {
    let env = [
        ("WHIPSTITCH_PORT", "tcp://10.0.0.1:8555"),
        ("WHIPSTITCH_SERVICE_HOST", "10.0.0.1"),
        ("WHIPSTITCH_PORT_8555_TCP_ADDR", "10.0.0.1"),
        ("HTTP", "x"),
    ];
    assert_eq!(resolved(&[], &env, "").unwrap(), Config::default());
}

#[test]
fn misspelt_variables_and_levels_are_mistakes() {
    for (name, value, what) in [
        ("WHIPSTITCH_TOKENS", "x", "no such variable"),
        ("WHIPSTITCH_RTC_PORTS", "x", "no such variable"),
        ("WHIPSTITCH_LOG", "loud", "\"loud\" is no level: off, error, warn, info, debug, trace"),
        ("WHIPSTITCH_LOG", "info,banana", "\"banana\" is no level: off, error, warn, info, debug, trace"),
    ] {
        assert_eq!(resolved(&[], &[(name, value)], "").unwrap_err(), [format!("{name}: {what}")]);
    }
    for filter in ["debug", "INFO,whipstitch=debug", "whipstitch_ice", "off,whipstitch::http[request]=trace", "0"] {
        assert_eq!(resolved(&[], &[("WHIPSTITCH_LOG", filter)], "").is_ok(), filter != "0", "{filter}");
    }
}

#[test]
fn mistakes_of_the_file_come_in_its_order() {
    let places = |file: &str| -> Vec<String> {
        let mistakes = resolved(&[], &[], file).unwrap_err();
        mistakes.iter().map(|line| line.split(':').take(2).collect::<Vec<_>>().join(":")).collect()
    };
    let file = "workers = 'x'\nzebra = 1\nhttp = 'x'\ndata = 3\ntoken = ''\n";
    assert_eq!(places(file), ["w.toml:1", "w.toml:2", "w.toml:3", "w.toml:4", "w.toml:5"]);
    assert_eq!(places("token = ''\nworkers = = 2\nrtc = 'x'\n"), ["w.toml:1", "w.toml:2", "w.toml:3"]);
    assert_eq!(places("workers = \n"), ["w.toml:1"]);
    assert_eq!(places("http = '127.0.0.1:1\ntoken = 'secret'\n"), ["w.toml:1"]);
}

#[test]
fn the_file_is_named_by_flag_or_variable() {
    let found = |args: &[&str], env: &[(&str, &str)]| {
        let (_, arguments) = cli::parse(std::iter::once(&"check").chain(args)).unwrap();
        path(&arguments, &environment(env))
    };
    let env = [("WHIPSTITCH_CONFIG", "env.toml")];
    assert_eq!(found(&["--config", "flag.toml"], &env), Some("flag.toml".into()));
    assert_eq!(found(&[], &env), Some("env.toml".into()));
    assert_eq!(found(&[], &[]), None);
}

#[test]
fn data_goes_to_the_users_state_directory_unless_told() {
    let data = |env: &[(&str, &str)]| resolved(&[], env, "").unwrap().data;
    assert_eq!(data(&[("HOME", "/home/u")]), Path::new("/home/u/.local/state/whipstitch"));
    assert_eq!(data(&[("HOME", "/home/u"), ("XDG_STATE_HOME", "/s")]), Path::new("/s/whipstitch"));
    assert_eq!(data(&[("HOME", ""), ("XDG_STATE_HOME", "relative")]), Path::new("whipstitch-data"));
}

/// Every key stands in the example file, commented out with its default (or, where there is none, with an example),
/// so that the file as it is changes nothing and no line of it goes stale.
#[test]
fn the_example_file_lists_every_key_with_its_default() {
    let text = include_str!("../../../../whipstitch.example.toml");
    assert_eq!(resolved(&[], &[], text).unwrap(), Config::default(), "as it is, the file changes nothing");

    let is_key = |line: &&str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    let lines: Vec<&str> = text.lines().filter(is_key).map(|line| &line[1..]).collect();
    let home = [("HOME", "/home/you")];
    let defaults = resolved(&[], &home, "").unwrap();
    let mut named = Vec::new();
    for line in &lines {
        let name = line.split_once(" = ").expect("key = value").0;
        named.push(name);
        let config = resolved(&[], &home, line).unwrap_or_else(|mistakes| panic!("{line}: {mistakes:?}"));
        let without_default = [
            "token",
            "public_ip",
            "host_name",
            "ice_server",
            "stream_names",
            "cors_origin",
            "trusted_proxies",
            "join",
            "origin_id",
            "secret",
        ]
        .contains(&name)
            || name.starts_with("process_");
        assert_eq!(config == defaults, !without_default, "{line}");
    }
    assert_eq!(named, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
}

#[test]
fn the_help_and_the_operators_guide_name_every_flag() {
    let guide = include_str!("../../../../docs/operate.md");
    for key in KEYS {
        for text in [key.flag(), key.variable(), format!("`{}`", key.name)] {
            assert!(guide.contains(&text), "docs/operate.md: {text}");
        }
        assert!(cli::help().contains(&key.flag()), "{}", key.name);
    }
    assert!(cli::help().lines().all(|line| line.len() <= 100), "{}", cli::help());
}

/// Every default that the guide, in either of its tables, and the help tell is the one that is.
#[test]
fn the_help_and_the_operators_guide_tell_the_true_defaults() {
    let guide = include_str!("../../../../docs/operate.md");
    let defaults = resolved(&[], &[], "").unwrap();
    for key in KEYS.iter().filter(|key| key.name != "data") {
        let in_row = |line: &'static str| {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
            cells.find(|cell| *cell == key.name).and_then(|_| cells.next())
        };
        let in_help = key.help.rsplit_once('[').map(|(_, default)| default.trim_end_matches(']'));
        let told: Vec<&str> = guide.lines().filter_map(in_row).chain(in_help).collect();
        assert!(!told.is_empty(), "{}", key.name);
        for value in told.into_iter().filter(|value| !["none", "all"].contains(value)) {
            assert_eq!(resolved(&[], &[(&key.variable(), value)], "").as_ref(), Ok(&defaults), "{}: {value}", key.name);
        }
    }
}

#[test]
fn commands_are_told_apart() {
    for (args, expected) in [
        (&["serve"][..], Some(Command::Serve)),
        (&["demo", "--http", "127.0.0.1:0"], Some(Command::Demo)),
        (&["--workers", "1", "check"], Some(Command::Check)),
        (&["--origin", "http://10.0.0.2:8555", "proxy"], Some(Command::Proxy)),
        (&["--help"], Some(Command::Help)),
        (&["serve", "--bad", "-h"], Some(Command::Help)),
        (&["-V"], Some(Command::Version)),
        (&[], None),
        (&["start"], None),
    ] {
        assert_eq!(cli::parse(args).ok().map(|(command, _)| command), expected, "{args:?}");
    }
}

#[test]
fn http_and_media_need_a_port_each() {
    for (http, rtc, wrong) in [
        ("0.0.0.0:9", "127.0.0.1:9", true),
        ("127.0.0.1:9", "127.0.0.1:9", true),
        ("127.0.0.1:9", "127.0.0.2:9", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
    ] {
        let mistakes = resolved(&["--http", http, "--rtc", rtc], &[], "").err().unwrap_or_default();
        let expected = wrong.then(|| "rtc: HTTP has TCP port 9 already; media needs another".to_owned());
        assert_eq!(mistakes, Vec::from_iter(expected), "{http} {rtc}");
    }
}
