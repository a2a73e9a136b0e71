//! `whipstitch demo`: the built-in test source on stream `demo`. It is a WHIP client like any other and comes in over
//! HTTP, ICE, DTLS and SRTP on loopback.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::debug;
use whipstitch_client::source;
use whipstitch_stream::StreamKey;

use crate::announce;
use crate::config::Config;

/// The stream it publishes.
pub const STREAM: &str = "demo";

/// The running source; ends when dropped, in order with [`Demo::stop`].
pub struct Demo {
    stop: watch::Sender<bool>,
    source: JoinHandle<()>,
}

impl Demo {
    /// Begins to publish to the server of this configuration, which listens at `http`.
    #[must_use]
    pub fn start(http: SocketAddr, config: &Config) -> Self {
        let stream = StreamKey::parse(STREAM).ok();
        let token = stream.and_then(|stream| config.token_to_publish(&stream, SystemTime::now()));
        let (stop, stopped) = watch::channel(false);
        let options = source::Options {
            url: format!("http://{}/whip/{STREAM}", reachable(http)),
            token: token.map(|token| token.reveal().to_owned()),
            stop: stopped,
        };
        Self { stop, source: tokio::spawn(source::run(options)) }
    }

    /// Ends the session and the source.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.source.await;
    }
}

/// The listener's address as a client on this machine reaches it.
fn reachable(http: SocketAddr) -> SocketAddr {
    match http.ip() {
        ip if !ip.is_unspecified() => http,
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), http.port()),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), http.port()),
    }
}

/// On a desktop, opens the player in the browser. Somebody who reads the output elsewhere finds the URL there.
pub fn show(http: SocketAddr) {
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !desktop || !std::io::stdout().is_terminal() {
        return;
    }
    let mut open = Command::new("xdg-open");
    open.arg(announce::demo_page(http, STREAM)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match open.spawn() {
        // It hands the URL over and ends; waiting on a thread of its own leaves no zombie.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(error) => debug!(%error, "the browser could not be opened"),
    }
}
