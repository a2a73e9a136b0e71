//! A bad path over UDP: what clients send to the relay's port comes out at the gateway's late, in another order or not at
//! all, and so do the answers.
//!
//! Each client has a socket of its own towards the gateway, which sees as many addresses. All datagrams wait in two
//! [`Link`]s, one for each direction; threads take them from the sockets, and one sends them on when their time has come.
//! All of it ends on drop.

mod link;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use link::Link;
pub use link::{Fates, Weather};

/// Addresses of clients: a browser tries one for each interface. What comes from further ones is dropped.
const MAX_CLIENTS: usize = 8;

/// Longest datagram: no path that a test pretends carries more than Ethernet does.
const LONGEST: usize = 1500;

/// A relay on a port of the kernel's choice, of loopback.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    receiver: Option<JoinHandle<()>>,
    sender: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    over: AtomicBool,
    paths: Mutex<Paths>,
    /// Something has come that may leave before all else, or it is over.
    changed: Condvar,
}

/// What is on its way, with the socket it leaves by.
#[derive(Debug)]
struct Paths {
    up: Link<Datagram>,
    down: Link<Datagram>,
}

#[derive(Debug)]
struct Datagram {
    by: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Relay {
    /// Stands before `gateway` with the same weather in both directions.
    pub fn to(gateway: SocketAddr, weather: Weather, seed: u64) -> Relay {
        let front = Arc::new(bound());
        let port = port(&front);
        let paths = Paths { up: Link::new(weather, seed), down: Link::new(weather, !seed) };
        let shared =
            Arc::new(Shared { over: AtomicBool::new(false), paths: Mutex::new(paths), changed: Condvar::new() });
        let receiver = thread::spawn({
            let shared = shared.clone();
            move || shared.take_from_clients(&front, gateway)
        });
        let sender = thread::spawn({
            let shared = shared.clone();
            move || shared.send()
        });
        Relay { port, shared, receiver: Some(receiver), sender: Some(sender) }
    }

    /// Where clients are to send.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What became of what clients sent, and of what was sent to them.
    pub fn fates(&self) -> [Fates; 2] {
        let paths = self.shared.paths.lock().expect("no holder panics");
        [paths.up.fates(), paths.down.fates()]
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        {
            let _paths = self.shared.paths.lock();
            self.shared.over.store(true, Ordering::Relaxed);
        }
        self.shared.changed.notify_all();
        wake(self.port);
        for thread in [self.receiver.take(), self.sender.take()].into_iter().flatten() {
            // Its panic has been said by now; another one here would hide it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Until it is over; ends the threads of all clients then.
    fn take_from_clients(self: &Arc<Shared>, front: &Arc<UdpSocket>, gateway: SocketAddr) {
        let mut clients: Vec<(SocketAddr, Arc<UdpSocket>, JoinHandle<()>)> = Vec::new();
        while let Some((bytes, from)) = self.receive(front) {
            let known = clients.iter().find(|(client, ..)| *client == from).map(|(_, back, _)| back.clone());
            let Some(back) = known.or_else(|| {
                let room = clients.len() < MAX_CLIENTS;
                room.then(|| {
                    let back = Arc::new(bound());
                    let (shared, front, socket) = (self.clone(), front.clone(), back.clone());
                    let thread = thread::spawn(move || shared.take_from_gateway(&socket, gateway, &front, from));
                    clients.push((from, back.clone(), thread));
                    back
                })
            }) else {
                continue;
            };
            self.enqueue(|paths| &mut paths.up, Datagram { by: back, to: gateway, bytes });
        }
        for (_, back, thread) in clients {
            wake(port(&back));
            let _ = thread.join();
        }
    }

    fn take_from_gateway(&self, back: &UdpSocket, gateway: SocketAddr, front: &Arc<UdpSocket>, client: SocketAddr) {
        while let Some((bytes, from)) = self.receive(back) {
            if from.port() == gateway.port() {
                self.enqueue(|paths| &mut paths.down, Datagram { by: front.clone(), to: client, bytes });
            }
        }
    }

    /// The next datagram; None when it is over.
    fn receive(&self, socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; LONGEST];
        // A port that is closed by now answers with errors, which end nothing here.
        let received = loop {
            let received = socket.recv_from(&mut buffer);
            if self.is_over() {
                return None;
            }
            if let Ok(received) = received {
                break received;
            }
        };
        Some((buffer[..received.0].to_vec(), received.1))
    }

    fn enqueue(&self, direction: fn(&mut Paths) -> &mut Link<Datagram>, datagram: Datagram) {
        direction(&mut self.paths.lock().expect("no holder panics")).handle(Instant::now(), datagram);
        self.changed.notify_all();
    }

    /// Sends each datagram when its time has come, until it is over.
    fn send(&self) {
        let mut paths = self.paths.lock().expect("no holder panics");
        while !self.is_over() {
            let now = Instant::now();
            while let Some(datagram) = paths.up.poll(now).or_else(|| paths.down.poll(now)) {
                // What cannot be sent is lost, as on any path.
                let _ = datagram.by.send_to(&datagram.bytes, datagram.to);
            }
            let deadline = [paths.up.deadline(), paths.down.deadline()].into_iter().flatten().min();
            paths = match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(paths, left).expect("no holder panics").0
                }
                None => self.changed.wait(paths).expect("no holder panics"),
            };
        }
    }
}

fn bound() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports")
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("it is bound").port()
}

/// Ends the waiting of whoever receives there.
fn wake(port: u16) {
    let _ = bound().send_to(&[], (Ipv4Addr::LOCALHOST, port));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_clients_send_and_are_sent_takes_its_time_both_ways() {
        let gateway = bound();
        let weather = Weather { delay: Duration::from_millis(30), spread: Duration::ZERO, loss: 0, room: 10 };
        let relay = Relay::to(gateway.local_addr().expect("it is bound"), weather, 1);
        let clients = [bound(), bound()];
        for client in &clients {
            let sent = Instant::now();
            client.send_to(b"question", (Ipv4Addr::LOCALHOST, relay.port())).expect("loopback");
            let mut buffer = [0; 20];
            let (len, from) = gateway.recv_from(&mut buffer).expect("the datagram comes");
            assert_eq!(&buffer[..len], b"question");
            assert!(sent.elapsed() >= Duration::from_millis(30));
            gateway.send_to(b"answer", from).expect("loopback");
            assert_eq!(client.recv_from(&mut buffer).expect("the answer comes").1.port(), relay.port());
            assert!(sent.elapsed() >= Duration::from_millis(60));
        }
        assert_eq!(relay.fates().map(|fates| fates.passed), [2, 2]);
    }
}
