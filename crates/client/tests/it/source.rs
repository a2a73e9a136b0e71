//! The built-in test source against a gateway that comes and goes.

use tokio::sync::watch;
use whipstitch_client::{source, whep};
use whipstitch_media::Kind;

use crate::gateway::{Gateway, WELL};

async fn plays_both_kinds(gateway: &Gateway) {
    let mut player = whep::Player::connect(&whep::Options::new(gateway.url("/whep/demo"))).await.expect("player");
    let (mut audio, mut picture) = (false, false);
    while !(audio && picture) {
        match player.next().await.expect("open") {
            whep::Event::Packet(packet) => audio |= packet.kind == Kind::Audio,
            whep::Event::Closed(reason) => panic!("{reason}"),
        }
        picture = player.milestones().first_picture.is_some();
    }
    player.close().await.expect("deleted");
}

#[tokio::test]
async fn source_plays_comes_back_and_stops() {
    let gateway = Gateway::start(WELL).await;
    let (stop, stopped) = watch::channel(false);
    let options = source::Options { url: gateway.url("/whip/demo"), token: None, stop: stopped };
    let running = tokio::spawn(source::run(options));
    plays_both_kinds(&gateway).await;
    gateway.kick().await;
    plays_both_kinds(&gateway).await;
    stop.send_replace(true);
    running.await.expect("no panic");
    assert_eq!(gateway.sessions(), 0);
    assert_eq!(gateway.requests().iter().filter(|seen| seen.path == "/whip/demo").count(), 2);
}

#[tokio::test]
async fn source_without_a_gateway_still_stops() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        format!("http://{}/whip/demo", listener.local_addr().expect("bound"))
    };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(source::run(source::Options { url: gone, token: None, stop: stopped }));
    drop(stop);
    running.await.expect("no panic");
}
