//! The program from outside: what it prints, how it ends, and what a signal does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The program with nothing of this machine's environment that could configure it.
fn whipstitch(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whipstitch"));
    command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    whipstitch(args).output().unwrap()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

/// What the server writes to standard error. It is read all the time: a full pipe would stop the server.
struct Log(Arc<(Mutex<LogState>, Condvar)>);

#[derive(Default)]
struct LogState {
    text: String,
    ended: bool,
}

impl Log {
    fn of(stderr: ChildStderr) -> Self {
        let shared = Arc::new((Mutex::new(LogState::default()), Condvar::new()));
        let (theirs, mut stderr) = (Arc::clone(&shared), BufReader::new(stderr));
        std::thread::spawn(move || {
            let mut line = String::new();
            loop {
                line.clear();
                let ended = stderr.read_line(&mut line).is_ok_and(|read| read == 0);
                let mut state = theirs.0.lock().unwrap();
                state.text += &line;
                state.ended = ended;
                theirs.1.notify_all();
                if ended {
                    return;
                }
            }
        });
        Self(shared)
    }

    /// Waits for `text`, and returns all there is then.
    fn wait_for(&self, text: &str) -> String {
        let state = self.0.0.lock().unwrap();
        let state = self.0.1.wait_while(state, |state| !state.text.contains(text) && !state.ended).unwrap();
        assert!(state.text.contains(text), "the log ended before {text:?}: {}", state.text);
        state.text.clone()
    }
}

/// A running server on free ports, and a place for its data.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: Log,
    _data: tempfile::TempDir,
    /// Everything it said at start.
    said: Vec<String>,
    http: SocketAddr,
}

impl Running {
    fn start(command: &str, flags: &[&str]) -> Self {
        Self::start_in(command, flags, &[])
    }

    fn start_in(command: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let fixed = [
            command,
            "--http",
            "127.0.0.1:0",
            "--rtc",
            "127.0.0.1:0",
            "--rtsp",
            "127.0.0.1:0",
            "--data",
            data.path().to_str().unwrap(),
        ];
        let mut child = whipstitch(&[&fixed, flags].concat()).envs(environment.iter().copied()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let log = Log::of(child.stderr.take().unwrap());
        let mut said: Vec<String> = Vec::new();
        // The access lines come last, and there are at least two kinds of them.
        let last = if flags.contains(&"--token") { "access: " } else { "access: ending sessions" };
        while !said.last().is_some_and(|line| line.starts_with(last)) {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended after {said:?}");
            said.push(line.trim_end().to_owned());
        }
        let http = said[0].strip_prefix("listening on http ").expect("the address comes first").parse().unwrap();
        Self { child, stdout, log, _data: data, said, http }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The status line and head fields of the answer, lower case, and the body.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.write_all(request.replace("HOST", &self.http.to_string()).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"))
    }

    fn end(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "nothing but the announcement goes to standard output");
        code
    }
}

#[test]
fn help_and_version_are_answers_and_not_errors() {
    for flag in ["--help", "-h", "--version", "-V"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{flag}");
    }
    assert_eq!(lines(&run(&["--version"]).stdout), [concat!("whipstitch ", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn wrong_usage_is_one_line_per_mistake_and_code_2() {
    for (args, mistakes) in [
        (&[][..], 1),
        (&["start"], 1),
        (&["serve", "--http", "x", "--rtc", "y", "--nonsense"], 3),
        (&["demo", "--workers", "many"], 1),
        (&["check", "--config", "/nonexistent/file", "--token", "a b"], 2),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(lines(&output.stderr).len(), mistakes, "{args:?}: {:?}", lines(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn check_judges_a_file_without_starting_anything() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.toml");
    std::fs::write(&file, "http = '127.0.0.1:1'\nworkers = 2\n").unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(run(&["check", "--config", path]).status.code(), Some(0));
    let by_variable = whipstitch(&["check"]).env("WHIPSTITCH_CONFIG", path).output().unwrap();
    assert_eq!(by_variable.status.code(), Some(0));

    std::fs::write(&file, "http = 'here'\nworkers = -2\nrtmp = 'off'\n").unwrap();
    let output = run(&["check", "--config", path]);
    assert_eq!(output.status.code(), Some(2));
    let mistakes = lines(&output.stderr);
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    for (line, key) in [(1, "http"), (2, "workers"), (3, "rtmp")] {
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(&format!("{path}:{line}: {key}: "))), "{mistakes:?}");
    }
}

#[test]
fn a_file_without_its_flag_is_understood() {
    let output = run(&["check", "w.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(lines(&output.stderr), ["w.toml: not expected here; did you mean --config w.toml?"]);
}

#[test]
fn an_address_in_use_is_named_with_its_flag_and_code_1() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let data = tempfile::tempdir().unwrap();
    let (tcp, udp) = (tcp.local_addr().unwrap().to_string(), udp.local_addr().unwrap().to_string());
    for (http, rtc, named) in [(tcp.as_str(), "127.0.0.1:0", "--http"), ("127.0.0.1:0", udp.as_str(), "--rtc")] {
        let output =
            run(&["serve", "--http", http, "--rtc", rtc, "--rtsp", "off", "--data", data.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{named}");
        let said = lines(&output.stderr);
        let line = said.last().unwrap();
        let address = if named == "--http" { &tcp } else { &udp };
        assert!(line.contains(&format!("{named} {address}")), "{said:?}");
        assert!(line.ends_with("is another Whipstitch running? End it, or give another port here"), "{said:?}");
        assert!(output.stdout.is_empty(), "it announced an address it does not have");
    }
}

#[test]
fn an_address_of_another_machine_is_told_apart_from_one_in_use() {
    let data = tempfile::tempdir().unwrap();
    // RFC 5737: nobody has it.
    let http = ["serve", "--http", "203.0.113.7:0", "--rtc", "127.0.0.1:0", "--rtsp", "off"];
    let output = run(&[&http[..], &["--data", data.path().to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = lines(&output.stderr);
    assert!(said.last().unwrap().ends_with("no interface of this machine has that address: 0.0.0.0 is all it has"));
}

#[test]
fn it_announces_serves_refuses_while_stopping_and_ends_with_0() {
    let server = Running::start("serve", &[]);
    for start in [
        "listening on http 127.0.0.1:",
        "listening on rtc udp 127.0.0.1:",
        "listening on rtc tcp 127.0.0.1:",
        "watch http://localhost:",
    ] {
        assert!(server.said.iter().any(|line| line.starts_with(start)), "{start}: {:?}", server.said);
    }
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200 "));
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200 "));
    assert!(server.get("/api/v3/webrtc/stats").contains("\"udp_ports_in_use\":1"));

    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    server.log.wait_for("stopping");
    let offer = "POST /whep/a HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/sdp\r\nConnection: close\r\n\
                 Content-Length: 5\r\n\r\nv=0\r\n";
    let answer = server.ask(offer);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nretry-after: "), "{answer}");
    assert_eq!(server.end(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_stalled_client_does_not_hold_up_the_end() {
    let server = Running::start("serve", &["--token", "t"]);
    let mut stalled = TcpStream::connect(server.http).unwrap();
    stalled.write_all(b"POST /whip/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n").unwrap();
    let _idle = TcpStream::connect(server.http).unwrap();
    let begun = Instant::now();
    server.signal(Signal::SIGINT);
    server.log.wait_for("stopped");
    assert_eq!(server.end(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_demo_publishes_over_its_own_front_door_with_and_without_a_token() {
    for flags in [&[][..], &["--token", "secret"]] {
        let server = Running::start("demo", flags);
        let player = format!("watch http://localhost:{}/watch/demo", server.http.port());
        assert!(server.said.contains(&player), "{:?}", server.said);
        server.log.wait_for("test source is publishing");
        let request = "GET /api/v1/streams/demo HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer secret\r\n\
                       Connection: close\r\n\r\n";
        let answer = server.ask(request);
        assert!(answer.contains("\"name\":\"demo\"") && answer.contains("\"codecs\":[\"H264\",\"opus\"]"), "{answer}");
        server.signal(Signal::SIGTERM);
        assert_eq!(server.end(), Some(0));
    }
}

#[test]
fn tokens_and_session_urls_are_never_logged_and_strangers_cannot_fill_the_log() {
    let begun = Instant::now();
    let flags = ["--token", "tokentokentoken"];
    let ice_servers = "turn:a username=u credential=credentialcredential, turn:b secret=sharedshared";
    let variables = [("WHIPSTITCH_LOG", "trace"), ("WHIPSTITCH_ICE_SERVER", ice_servers)];
    let server = Running::start_in("demo", &flags, &variables);
    server.log.wait_for("test source is publishing");
    for token in ["tokentokentoken", "wrongwrongwrong"] {
        for (method, target) in [
            ("POST", "/whip/a?token=TOKEN"),
            ("POST", "/whep/demo?token=TOKEN"),
            ("GET", "/watch/demo?token=TOKEN"),
            ("GET", "/nowhere/TOKEN"),
            ("DELETE", "/whip/demo/sessionsecret"),
            ("DELETE", "/whip/a"),
            ("OPTIONS", "/whep/demo?token=TOKEN"),
        ] {
            let target = target.replace("TOKEN", token);
            server.ask(&format!("{method} {target} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"));
            server.ask(&format!(
                "{method} /whip/a HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
            ));
        }
    }
    server.signal(Signal::SIGTERM);
    let log = server.log.wait_for("stopped");
    let seconds = begun.elapsed().as_secs() as usize;
    assert!(log.contains("/whip/{stream}"), "requests are logged by their route: {log}");
    let secrets =
        ["tokentokentoken", "wrongwrongwrong", "sessionsecret", "/whip/demo/", "credentialcredential", "sharedshared"];
    for secret in secrets {
        let told = log.lines().find(|line| line.contains(secret));
        assert!(told.is_none(), "{secret}: {told:?}");
    }
    let denied = log.lines().find(|line| line.contains("access denied")).unwrap();
    assert!(
        denied.contains("reason=\"the token is wrong\"") || denied.contains("reason=\"a token is needed\""),
        "{denied}"
    );
    assert!(log.lines().any(|line| line.contains("session connected") && line.contains("role=\"publisher\"")), "{log}");
    let denials = log.matches("access denied").count();
    assert!((1..=seconds + 1).contains(&denials), "{denials} lines in {seconds} s");
    assert_eq!(server.end(), Some(0));
}

/// Name, type and labels of every metric of a page of the text format.
fn exposed(page: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut metrics = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
    }
    for line in page.lines().filter(|line| line.starts_with("whipstitch_")) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        let (kind, known) = metrics.get_mut(family).unwrap_or_else(|| panic!("{name} has no type"));
        assert_eq!(kind == "histogram", family != name, "{name}");
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0));
        known.extend(labels.filter(|label| *label != "le").map(str::to_owned));
    }
    metrics
}

/// The same of the tables in the documentation.
fn documented(page: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = page.lines().filter(|line| line.starts_with("| `whipstitch_") && line.matches('|').count() == 5);
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
        (cells[1].clone(), (cells[2].clone(), labels.collect()))
    };
    rows.map(row).collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_there() {
    let server = Running::start("demo", &["--workers", "2", "--token", "secret"]);
    server.log.wait_for("test source is publishing");
    let ask =
        |token: &str| server.ask(&format!("GET /metrics HTTP/1.1\r\nHost: HOST\r\n{token}Connection: close\r\n\r\n"));
    assert!(ask("").starts_with("HTTP/1.1 401 "));
    let answer = ask("Authorization: Bearer secret\r\n");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // A proxy's metrics are in a part of their own.
    let (serve, _) = include_str!("../../../docs/metrics.md").split_once("\n# The metrics of a proxy\n").unwrap();
    assert_eq!(exposed(page), documented(serve));
    for line in ["whipstitch_worker_up{worker=\"1\"} 1", "whipstitch_sessions{role=\"publisher\"} 1"] {
        assert!(page.lines().any(|other| other == line), "{line}: {page}");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn the_proxy_says_where_it_is_and_stops_in_order() {
    let flags =
        ["proxy", "--http=127.0.0.1:0", "--rtc=127.0.0.1:0", "--admin=127.0.0.1:0", "--origin=http://127.0.0.1:9"];
    let mut child = whipstitch(&flags).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let log = Log::of(child.stderr.take().unwrap());
    let mut said: Vec<String> = Vec::new();
    while !said.last().is_some_and(|line| line.starts_with("note: what is known")) {
        let mut line = String::new();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended after {said:?}");
        said.push(line.trim_end().to_owned());
    }
    let address = |what: &str| -> SocketAddr {
        let line = said.iter().find_map(|line| line.strip_prefix(what));
        line.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{what} in {said:?}"))
    };
    let (http, admin) = (address("listening on http "), address("listening on admin http "));
    assert_ne!(address("listening on rtc udp ").port(), 0);
    for (address, target) in [(http, "/healthz"), (admin, "/healthz")] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    log.wait_for("stopped");
}

#[test]
fn check_judges_a_file_for_the_commands_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    for (text, code, mistakes) in [
        ("[proxy]\norigin = ['http://10.0.0.2:8555']", 0, &[][..]),
        ("origin = ['http://10.0.0.2:8555']", 0, &[]),
        ("http = '127.0.0.1:1'\n[proxy]\nhttp = '127.0.0.1:2'", 0, &[]),
        ("http = 'a'\n[proxy]\nhttp = 'b'", 2, &["f.toml:1: http: ", "f.toml:3: http: "]),
        (
            "[proxy]\ntls_certificate = '/nowhere/c'\ntls_key = '/nowhere/k'",
            2,
            &["tls_certificate, tls_key: /nowhere/c: "],
        ),
    ] {
        let path = folder.path().join("f.toml");
        std::fs::write(&path, text).unwrap();
        let output = run(&["check", "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{text}");
        let said = lines(&output.stderr);
        assert_eq!(said.len(), mistakes.len(), "{said:?}");
        assert!(said.iter().zip(mistakes).all(|(line, expected)| line.contains(expected)), "{said:?}");
    }
}
