//! The commands as a person or a service manager meets them: what they say, how they end.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use whipstitch_interop::{Gateway, Process, program};

const SOON: Duration = Duration::from_secs(20);

/// Exit code and output of a command that ends by itself.
fn outcome(args: &[&str]) -> (Option<i32>, String) {
    let process = Process::start("whipstitch", program().args(args));
    (process.end(SOON).code(), process.said())
}

#[test]
fn every_mistake_is_a_line_and_the_exit_code_is_2() {
    let (code, said) = outcome(&["serve", "--http", "nonsense", "--workers", "many", "--no-such-flag"]);
    assert_eq!((code, said.lines().count()), (Some(2), 3), "{said}");
    for word in ["nonsense", "many", "no-such-flag"] {
        assert_eq!(said.lines().filter(|line| line.contains(word)).count(), 1, "{word}: {said}");
    }
    let (code, said) = outcome(&["fly"]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn check_judges_a_file_without_starting_anything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("whipstitch.toml");
    let path = file.to_str().expect("temporary folders have plain names");
    std::fs::write(&file, "http = \"127.0.0.1:0\"\n").expect("our folder");
    let (code, said) = outcome(&["check", "--config", path]);
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(&file, "http = 5\nworkers = -1\nno_such_key = true\n").expect("our folder");
    let (code, said) = outcome(&["check", "--config", path]);
    assert_eq!((code, said.lines().count()), (Some(2), 3), "{said}");
}

#[test]
fn help_and_version_succeed() {
    for (flag, word) in [("--help", "demo"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let (code, said) = outcome(&[flag]);
        assert!(code == Some(0) && said.contains(word), "{flag}: {said}");
    }
}

#[test]
fn a_port_in_use_is_named_and_the_exit_code_is_1() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().to_str().expect("temporary folders have plain names");
    let http = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let rtc = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let http = http.local_addr().expect("bound").to_string();
    let rtc = rtc.local_addr().expect("bound").to_string();
    let free = "127.0.0.1:0";
    for (http, rtc, taken) in [(http.as_str(), free, &http), (free, rtc.as_str(), &rtc)] {
        let (code, said) = outcome(&["serve", "--http", http, "--rtc", rtc, "--data", data]);
        assert!(code == Some(1) && said.contains(taken), "{said}");
    }
}

#[test]
fn demo_says_where_to_watch_and_stops_in_order() {
    let gateway = Gateway::demo(&[]);
    let page = gateway.process().line(SOON, "page", |line| line.strip_prefix("watch ").map(str::to_owned));
    assert_eq!(page, gateway.url("/watch/demo"));
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
