//! The program with libsrtp in it: bytes in, bytes out, over a pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// libsrtp with one session each way.
pub(crate) struct Libsrtp {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Libsrtp {
    /// Starts libsrtp. `profile` is a name of `peer.c`; each master is a key and its salt.
    pub(crate) fn start(profile: &str, protecting: &[u8], unprotecting: &[u8]) -> Libsrtp {
        let mut child = Command::new(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was just compiled");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut libsrtp = Libsrtp { child, input, output };
        let opened = libsrtp.call_all(&[format!("open {profile} {} {}", hex(protecting), hex(unprotecting))]);
        assert_eq!(opened, [Ok(vec![])], "this libsrtp2 was built without {profile}");
        libsrtp
    }

    pub(crate) fn call(&mut self, command: &str, bytes: &[u8]) -> Result<Vec<u8>, i32> {
        self.call_all(&[format!("{command} {}", hex(bytes))]).remove(0)
    }

    /// Sends all commands, then reads all answers. Together they must fit the pipe: 64 KiB.
    pub(crate) fn call_all(&mut self, commands: &[String]) -> Vec<Result<Vec<u8>, i32>> {
        let text: String = commands.iter().flat_map(|command| [command, "\n"]).collect();
        assert!(text.len() < 60_000, "more than a pipe holds");
        self.input.as_mut().expect("open").write_all(text.as_bytes()).expect("the program reads");
        commands.iter().map(|command| self.answer(command)).collect()
    }

    fn answer(&mut self, command: &str) -> Result<Vec<u8>, i32> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the program answers");
        match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
            ("ok", hex) => Ok(unhex(hex)),
            ("error", status) => Err(status.parse().expect("a status")),
            _ => panic!("{line:?} is no answer to {command:?}"),
        }
    }
}

impl Drop for Libsrtp {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Compiles the program, once for all tests.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("libsrtp-peer");
        // Under another name first: another run of the tests may be executing it.
        let fresh = program.with_extension(std::process::id().to_string());
        let source = fresh.with_extension("c");
        std::fs::write(&source, include_str!("peer.c")).expect("the tests have a directory");
        let output = Command::new("cc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
            .args([&fresh, &source])
            .arg("-lsrtp2")
            .output()
            .expect("there is no C compiler; Debian: apt-get install build-essential libsrtp2-dev");
        assert!(
            output.status.success(),
            "libsrtp is missing; Debian: apt-get install libsrtp2-dev\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::rename(&fresh, &program).expect("both are in one directory");
        let _ = std::fs::remove_file(&source);
        program
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("hexadecimal") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
