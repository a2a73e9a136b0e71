//! The program with libsrtp in it, and the keys both sides have.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use whipstitch_webrtc::egress::srtp::{Opener, Sealers};
use whipstitch_webrtc::egress::{Keys, Profile};

/// `srtp_err_status_auth_fail`.
pub(crate) const NOT_AUTHENTIC: i32 = 7;
/// `srtp_err_status_replay_fail`.
pub(crate) const REPLAYED: i32 = 9;
/// `srtp_err_status_replay_old`.
pub(crate) const TOO_OLD: i32 = 10;

/// libsrtp with one session each way. Its protecting and its unprotecting side have the same master key.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts libsrtp, and gives what opens what it protects and seals what it unprotects.
    pub(crate) fn start(profile: Profile) -> (Peer, Sealers, Opener) {
        let bytes = profile.key_len() + profile.salt_len();
        let master: Vec<u8> = (0..bytes).map(|byte| (11 * byte + 5) as u8).collect();
        // Both directions under one key: what the peer seals we open, what we seal it opens.
        let (key, salt) = master.split_at(profile.key_len());
        let material = [key, key, salt, salt].concat();
        let keys = Keys::split(profile, &material, true).expect("as long as the profile needs");
        let (sealers, opener) = keys.into_contexts();

        let mut child = Command::new(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was just compiled");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = Peer { child, input, output };
        let name = match profile {
            Profile::Aes128Gcm => "gcm128",
            Profile::Aes256Gcm => "gcm256",
            Profile::Aes128CmSha1_80 => "sha1_80",
        };
        let opened = peer.call_all(&[format!("open {name} {}", hex(&master))]);
        assert_eq!(opened, [Ok(vec![])], "this libsrtp2 was built without {profile:?}");
        (peer, sealers, opener)
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

impl Drop for Peer {
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
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libsrtp/peer.c");
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("libsrtp-peer");
        // Under another name first: another run of the tests may be executing it.
        let fresh = program.with_extension(std::process::id().to_string());
        let output = Command::new("cc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", source, "-lsrtp2", "-o"])
            .arg(&fresh)
            .output()
            .expect("there is no C compiler; Debian: apt-get install build-essential libsrtp2-dev");
        assert!(
            output.status.success(),
            "libsrtp is missing; Debian: apt-get install libsrtp2-dev\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::rename(&fresh, &program).expect("both are in one directory");
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
