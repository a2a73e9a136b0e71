//! Outputs of processes, with real sockets of ours and of another user.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use whipstitch_media::Codec;
use whipstitch_media::sdp::Section;
use whipstitch_plane::PlaneConfig;
use whipstitch_stream::{Directory, StreamKey, directory, stream};

use super::*;
use crate::ports::Ports;

const PATIENCE: Duration = Duration::from_secs(20);

/// Another user's program, until it is dropped.
struct Another(Child);

impl Drop for Another {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has another user send this datagram there, and keep its socket.
fn another_sends(datagram: &[u8], port: u16) -> Another {
    let bytes: String = datagram.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let script = format!("exec 3<>/dev/udp/127.0.0.1/{port}; printf '{bytes}' >&3; echo sent; exec sleep 1000");
    let mut program = Command::new("bash");
    program.args(["-c", &script]).uid(65_534).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Another(program.spawn().expect("this needs root, and bash"));
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "sent\n");
    child
}

#[tokio::test]
async fn what_a_process_puts_out_is_taken_from_us_and_not_from_another_user_who_sends_first() {
    let (rtc, config) = ("127.0.0.1:0".parse().unwrap(), stream::Config::default());
    let plane = Plane::start(&PlaneConfig { rtc, workers: 1, stream: config }).unwrap();
    let directory = Directory::new(directory::Config::default(), Instant::now());
    let first = 36_000 + 16 * (std::process::id() % 500) as u16;
    let inputs = Inputs::new(plane.clone(), directory, Ports::new(first..=first + 100).unwrap());
    let key = StreamKey::parse("cam-out").unwrap();
    let wanted = Wanted { stream: key, sections: vec![Section::of(Codec::Vp8, "")], local: [127, 0, 0, 1].into() };
    let configured = inputs.configure_for(wanted, Some("cam")).unwrap();
    let inlet = configured.input().tracks.video.unwrap();
    // VP8: the payload descriptor, then a key frame of 576 by 496.
    let mut rtp = vec![0x80, 0x80 | inlet.pt, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7];
    rtp.extend([0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x02, 0xf0, 0x01]);
    let _another = another_sends(&rtp, inlet.port);
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    ours.send_to(&rtp, ("127.0.0.1", inlet.port)).unwrap();
    let fed = async {
        loop {
            let report = plane.report();
            if let Some(session) = report.sessions.iter().find(|session| session.stats.remote.is_some()) {
                return session.stats.remote;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, fed).await.expect("it is fed"), ours.local_addr().ok());
}
