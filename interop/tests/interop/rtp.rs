//! FFmpeg sends plain RTP, and what it sends is watched over WHEP.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use whipstitch_client::whep::{Event, Options, Packet, Player};
use whipstitch_interop::{Gateway, Process};
use whipstitch_media::Kind;

/// For what takes a few seconds, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// H.264 and Opus as FFmpeg sends them, without ports.
pub(crate) const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n";

/// FFmpeg that sends a test picture and a tone to these ports until it is killed.
pub(crate) fn sends([video, audio]: [u16; 2]) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30"]);
    ffmpeg.args(["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    ffmpeg.args(["-map", "0:v", "-c:v", "libx264", "-profile:v", "baseline", "-pix_fmt", "yuv420p"]);
    ffmpeg.args(["-preset", "ultrafast", "-tune", "zerolatency", "-g", "30", "-b:v", "800k"]);
    ffmpeg.args(["-payload_type", "96", "-f", "rtp", &format!("rtp://127.0.0.1:{video}?pkt_size=1200")]);
    ffmpeg.args(["-map", "1:a", "-c:a", "libopus", "-ac", "2", "-b:a", "64k"]);
    ffmpeg.args(["-payload_type", "97", "-f", "rtp", &format!("rtp://127.0.0.1:{audio}")]);
    Process::start("ffmpeg", &ffmpeg)
}

async fn json(request: reqwest::RequestBuilder, status: u16) -> Value {
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), status);
    serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
}

/// The ports of RTP that the API tells of an input.
fn ports(input: &Value) -> [u16; 2] {
    ["video", "audio"].map(|kind| u16::try_from(input[kind]["rtp"].as_u64().expect("a port")).expect("a port"))
}

/// Watches a stream as soon as it is live.
async fn watch(gateway: &Gateway, stream: &str) -> Player {
    let options = Options::new(gateway.url(&format!("/whep/{stream}")));
    let connect = async {
        loop {
            match Player::connect(&options).await {
                Ok(player) => return player,
                Err(whipstitch_client::Error::Refused { status: 409, .. }) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, connect).await.unwrap_or_else(|_| panic!("{stream} does not get live"))
}

/// What comes until there were so many pictures, and as many sounds.
async fn sees(player: &mut Player, pictures: usize) -> Vec<Packet> {
    let mut seen = Vec::new();
    let enough = |seen: &[Packet]| {
        let of = |kind| seen.iter().filter(move |packet| packet.kind == kind);
        of(Kind::Video).filter(|packet| packet.marker).count() >= pictures && of(Kind::Audio).count() >= pictures
    };
    let all = async {
        while !enough(&seen) {
            match player.next().await.expect("a session") {
                Event::Packet(packet) => seen.push(packet),
                Event::Closed(reason) => panic!("it ended: {reason:?}"),
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, all).await;
    assert!(done.is_ok(), "only {} packets", seen.len());
    seen
}

/// Numbers of video that did not come.
fn gaps(packets: &[Packet]) -> u64 {
    let numbers: Vec<u64> =
        packets.iter().filter(|packet| packet.kind == Kind::Video).map(|packet| packet.seq).collect();
    let (first, last) = (numbers.iter().min().expect("video"), numbers.iter().max().expect("video"));
    last - first + 1 - numbers.len() as u64
}

#[tokio::test]
async fn ffmpeg_feeds_an_input_of_the_configuration_and_a_restart_of_it_goes_on_for_the_same_viewer() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("cam.sdp"), SDP).expect("our folder");
    let config = folder.path().join("whipstitch.toml");
    std::fs::write(&config, "[[rtp_input]]\nstream = \"cam\"\nsdp_file = \"cam.sdp\"\n").expect("our folder");
    let gateway = Gateway::serve(&["--config", config.to_str().expect("ASCII")]);
    let input = json(reqwest::Client::new().get(gateway.url("/api/v1/streams/cam/rtp")), 200).await;
    let said = format!("listening on rtp udp for video of cam 127.0.0.1:{}", ports(&input)[0]);
    assert!(gateway.process().said().contains(&said), "{}", gateway.process().said());

    let first = sends(ports(&input));
    let mut player = watch(&gateway, "cam").await;
    let seen = sees(&mut player, 60).await;
    assert!(seen.iter().find(|packet| packet.kind == Kind::Video).is_some_and(|packet| packet.start));
    assert_eq!(gaps(&seen), 0);
    drop(first);
    // Another SSRC from another port of this machine.
    let _second = sends(ports(&input));
    let mut after = sees(&mut player, 90).await;
    assert!(after.iter().any(|packet| packet.kind == Kind::Video && packet.start), "a keyframe of the second");
    after.splice(0..0, seen);
    assert_eq!(gaps(&after), 0, "numbers go on");
    assert!(after.iter().filter(|packet| packet.kind == Kind::Video).is_sorted_by_key(|packet| packet.seq));
    player.close().await.expect("a session");
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}

#[tokio::test]
async fn ffmpeg_feeds_an_input_by_api_whose_ports_are_free_when_it_is_deleted() {
    let gateway = Gateway::serve(&[]);
    let http = reqwest::Client::new();
    let url = gateway.url("/api/v1/streams/cam/rtp");
    let numbers = || http.get(gateway.url("/api/v3/webrtc/stats"));
    let before = json(numbers(), 200).await;
    let opened = json(http.post(&url).header("content-type", "application/sdp").body(SDP), 201).await;
    let ports = ports(&opened);
    let _ffmpeg = sends(ports);
    let mut player = watch(&gateway, "cam").await;
    let seen = sees(&mut player, 60).await;
    assert_eq!(gaps(&seen), 0);
    let stream = json(http.get(gateway.url("/api/v1/streams/cam")), 200).await;
    let publisher = &stream["publisher"];
    assert_eq!((&publisher["codecs"], &publisher["video"]["width"]), (&Value::from(vec!["H264", "opus"]), &320.into()));
    assert_eq!((publisher["lost"].as_u64(), publisher["state"].as_str()), (Some(0), Some("connected")));

    assert_eq!(http.delete(&url).send().await.expect("an answer").status(), 204);
    let freed = async {
        while json(numbers(), 200).await["udp_ports_in_use"] != before["udp_ports_in_use"] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("its ports are free");
    for port in ports.iter().flat_map(|port| [*port, port + 1]) {
        UdpSocket::bind(("127.0.0.1", port)).unwrap_or_else(|error| panic!("{port}: {error}"));
    }
}
