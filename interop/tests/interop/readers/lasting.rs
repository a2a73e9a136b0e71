//! Players played by a script: VLC, whose quirks are its own, and one that stops taking what it asked for.

use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout;
use whipstitch_client::load::{LoadOptions, Publisher};
use whipstitch_client::reader::rtsp::{Connection, Item};
use whipstitch_client::reader::{Reader, Way};
use whipstitch_interop::Gateway;

use super::kit::demo;

/// Live media never pauses for so long.
const SOON: Duration = Duration::from_secs(5);

/// VLC 3 (live555): its first request has number 2, it goes by Content-Base, and knows no other way than to be told.
async fn vlc(url: &str) -> (Connection, Vec<whipstitch_media::sdp::Section>) {
    let mut vlc = Connection::open(url).await.expect("a connection");
    vlc.count_from(1);
    let sections = vlc.describe().await.expect("a description");
    assert!(vlc.base().is_some_and(|base| base.ends_with('/')), "a Content-Base: {:?}", vlc.base());
    assert_eq!(sections.len(), 2);
    (vlc, sections)
}

/// Two ports in a row.
async fn pair() -> (UdpSocket, UdpSocket) {
    for _ in 0..64 {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let port = rtp.local_addr().expect("bound").port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1)).await
        {
            return (rtp, rtcp);
        }
    }
    panic!("no pair of free ports");
}

/// Sets both tracks up over UDP and plays; the sockets, to which packets go.
async fn over_udp(vlc: &mut Connection, sections: &[whipstitch_media::sdp::Section]) -> Vec<(UdpSocket, UdpSocket)> {
    let mut sockets = Vec::new();
    for section in sections {
        let (rtp, rtcp) = pair().await;
        let port = rtp.local_addr().expect("bound").port();
        let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
        let chosen = vlc.set_up(section, &transport).await.expect("a transport");
        assert!(chosen.contains("server_port="), "{chosen}");
        sockets.push((rtp, rtcp));
    }
    vlc.play().await.expect("it plays");
    sockets
}

/// VLC over UDP that shows once within 100 s that it is alive, and not by reports.
pub(super) async fn stays_with_one_sign_of_life(url: String) {
    let (mut vlc, sections) = vlc(&url).await;
    let sockets = over_udp(&mut vlc, &sections).await;
    let begun = Instant::now();
    let (mut bytes, mut pinged) = ([0; 2048], false);
    while begun.elapsed() < Duration::from_secs(100) {
        timeout(SOON, sockets[0].0.recv(&mut bytes)).await.expect("pictures go on").expect("a packet");
        if !pinged && begun.elapsed() >= Duration::from_secs(65) {
            vlc.keep_alive().await.expect("the session is there");
            pinged = true;
        }
    }
    vlc.tear_down().await.expect("the session is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vlc_that_sees_nothing_over_udp_comes_back_over_tcp() {
    let gateway = demo(&[]);
    let url = gateway.rtsp("", "demo");
    let (mut udp, sections) = vlc(&url).await;
    let sockets = over_udp(&mut udp, &sections).await;
    // A firewall that VLC does not see lets nothing through: it gives up after 10 s, and says nothing.
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop((udp, sockets));
    let (mut tcp, sections) = vlc(&url).await;
    for (section, first) in sections.iter().zip([0, 2]) {
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={first}-{}", first + 1);
        let chosen = tcp.set_up(section, &transport).await.expect("a transport");
        assert!(chosen.contains(&format!("interleaved={first}-{}", first + 1)), "{chosen}");
    }
    tcp.play().await.expect("it plays");
    let mut channels = [0; 4];
    while channels[0] < 60 || channels[2] < 60 {
        match timeout(SOON, tcp.next()).await.expect("frames go on").expect("a frame") {
            Item::Frame(channel, _) => channels[usize::from(channel)] += 1,
            Item::Response(response) => panic!("{response:?}"),
        }
    }
    assert!(channels[1] > 0 && channels[3] > 0, "reports come as well: {channels:?}");
    tcp.tear_down().await.expect("the session is there");
}

/// 8 Mbit/s fill what a connection holds within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_that_takes_nothing_is_closed_after_ten_seconds_and_others_lose_nothing() {
    let gateway = Gateway::serve(&[]);
    let load = LoadOptions { bitrate: 8_000_000, ..LoadOptions::new(Some(gateway.url("/whip/fast")), "") };
    let whip = gateway.url("/whip/fast");
    let publisher = Publisher::start(&whip, &load, Instant::now(), Default::default()).await.expect("a publisher");
    let live = |line: &str| (line.contains("session connected") && line.contains("publisher")).then_some(());
    gateway.process().line(Duration::from_secs(20), "a publisher", live);

    let url = gateway.rtsp("", "fast");
    let stuck = Reader::connect(Way::Tcp, &url).await.expect("a reader");
    let mut other = Reader::connect(Way::Tcp, &url).await.expect("a reader");
    let closed = |line: &str| (line.contains("session closed") && line.contains("idle")).then_some(());
    let begun = Instant::now();
    let (done, ended) = tokio::sync::oneshot::channel();
    let watched = tokio::spawn(async move {
        let (mut last, mut ended) = ([None; 2], ended);
        while ended.try_recv().is_err() {
            let packet = timeout(SOON, other.next()).await.expect("packets go on").expect("a packet");
            let last = &mut last[usize::from(packet.kind == whipstitch_media::Kind::Video)];
            let expected = last.replace(packet.seq).map_or(packet.seq, |last| last + 1);
            assert_eq!(packet.seq, expected, "nothing is lost");
        }
    });
    let gateway = tokio::task::spawn_blocking(move || {
        gateway.process().line(Duration::from_secs(40), "the end of who takes nothing", closed);
        gateway
    });
    let gateway = gateway.await.expect("it is closed");
    assert!(begun.elapsed() >= Duration::from_secs(10), "it has 10 s: {:?}", begun.elapsed());
    done.send(()).expect("the other reads");
    watched.await.expect("the other lost nothing");
    drop(stuck);
    publisher.close().await;
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
