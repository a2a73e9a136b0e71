//! What the relay costs beside the plainest one there is, as `key=value` lines; `cargo xtask bench proxy` runs it.
//!
//! Both pass the same load between the same two ends on loopback, one after the other: an origin that sends a stream to
//! each viewer, and publishers. The plain one (`plain.rs`) knows clients by address, verifies nothing, and makes one system
//! call for each datagram in and one for each out. Of both the CPU time of their thread is taken, by datagram that arrived.

mod ends;
mod plain;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ends::{Ends, Way, session};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use whipstitch_net::socket::Udp;
use whipstitch_proxy::relay::{EndReason, Events, Relay, RelayConfig};
use whipstitch_proxy::{Pair, SessionId};

/// Viewers of the measured load; a tenth of them publish in its other part.
const SESSIONS: usize = 100;

/// Sessions that come at once to see how fast they can, and what they hold.
const CROWD: usize = 4000;

/// Datagrams of the way there and back whose time is taken.
const PROBES: u64 = 4000;

struct Nobody;

impl Events for Nobody {
    fn wanted(&self, _: Pair) -> bool {
        false
    }

    fn used(&self, _: Vec<SessionId>) {}

    fn ended(&self, _: SessionId, _: EndReason) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(4), |seconds| seconds.parse())?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let lasts = Duration::from_secs(seconds);
    for way in [Way::Runs, Way::Single, Way::Up] {
        let relayed = {
            let relay = start()?;
            let mut ends = Ends::new(SESSIONS, relay.local_addresses()[0])?;
            ends.sessions().iter().try_for_each(|session| relay.install(session.clone()))?;
            ends.meet_by_checks()?;
            ends.load(way, lasts, "relay-")?
        };
        let plain = {
            let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let mut ends = Ends::new(SESSIONS, listener.local_addr()?)?;
            let _plain = plain::Plain::start(listener, ends.origin_address())?;
            ends.meet_by_numbers()?;
            ends.load(way, lasts, "plain")?
        };
        let name = way.as_str();
        println!("{name}_relay_us={:.3}\n{name}_plain_us={:.3}", relayed.micros(), plain.micros());
        println!("{name}_ratio={:.3}", relayed.micros() / plain.micros());
        println!("{name}_per_second={:.0}", relayed.arrived as f64 / lasts.as_secs_f64());
        println!("{name}_relay_lost={}\n{name}_plain_lost={}", relayed.lost(), plain.lost());
    }
    latency()?;
    crowd()
}

fn start() -> Result<Relay, Box<dyn Error>> {
    let config = RelayConfig { addresses: vec![(Ipv4Addr::LOCALHOST, 0).into()], ..RelayConfig::default() };
    Ok(Relay::start(&config, Arc::new(Nobody))?)
}

/// One datagram after the other to a client that waits for it: without a relay, through ours, and through the plain one, by
/// turns.
fn latency() -> Result<(), Box<dyn Error>> {
    let relay = start()?;
    let mut through = Ends::new(1, relay.local_addresses()[0])?;
    through.sessions().iter().try_for_each(|session| relay.install(session.clone()))?;
    through.meet_by_checks()?;
    let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut plain = Ends::new(1, listener.local_addr()?)?;
    let _plain = plain::Plain::start(listener, plain.origin_address())?;
    plain.meet_by_numbers()?;
    let mut direct = Ends::new(1, plain.origin_address())?;
    direct.meet_without_relay()?;
    let mut times = [(); 3].map(|()| Vec::new());
    let mut next = Instant::now();
    for _ in 0..PROBES {
        for (ends, times) in [&mut direct, &mut through, &mut plain].into_iter().zip(&mut times) {
            next += Duration::from_micros(300);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let begin = Instant::now();
            ends.one_to_client()?;
            times.push(begin.elapsed());
        }
    }
    for (name, times) in ["direct", "relay", "plain"].into_iter().zip(&mut times) {
        times.sort_unstable();
        for (share, quantile) in [("p50", times.len() / 2), ("p99", times.len() * 99 / 100)] {
            println!("{name}_{share}_us={:.1}", times[quantile].as_nanos() as f64 / 1000.0);
        }
    }
    Ok(())
}

/// Many sessions at once: each is installed, its check goes to the origin, the answer back.
fn crowd() -> Result<(), Box<dyn Error>> {
    let relay = start()?;
    let at = relay.local_addresses()[0];
    let origin = Udp::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)?;
    let clients = ends::clients(CROWD, at)?;
    let memory = ends::resident()?;
    let cpu = ends::cpu("relay-")?;
    let begin = Instant::now();
    for (some, clients) in clients.chunks(64).enumerate() {
        for (number, client) in clients.iter().enumerate() {
            let session = session(some * 64 + number, origin.local_addr());
            relay.install(session.clone())?;
            client.send(&ends::check(&session))?;
        }
        ends::answer(&origin, clients)?;
    }
    let took = begin.elapsed();
    let cpu = ends::cpu("relay-")?.saturating_sub(cpu);
    println!("sessions_per_second={:.0}", CROWD as f64 / took.as_secs_f64());
    println!("cpu_per_session_us={:.1}", cpu.as_nanos() as f64 / 1000.0 / CROWD as f64);
    println!("memory_per_session_bytes={:.0}", ends::resident()?.saturating_sub(memory) as f64 / CROWD as f64);
    Ok(())
}
