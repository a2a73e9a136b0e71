//! The two ends of a load: an origin and its clients, all on one thread, and what the machine says of others.

use std::error::Error;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use whipstitch_net::socket::{RecvBuffer, Skimmer, Udp};
use whipstitch_net::{Batch, Path, stun};
use whipstitch_proxy::{Credentials, Generation, OriginId, Role, Session, SessionId};

/// A 30 fps frame of 2.5 Mbit/s.
const FRAME: Duration = Duration::from_nanos(33_333_333);
const PACKETS: usize = 9;
const PACKET: usize = 1200;

/// How often what has arrived is counted: long before a socket's buffer is full.
const LOOK: Duration = Duration::from_millis(8);

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To viewers, a frame for each as one GSO message.
    Runs,
    /// To viewers, a packet for each by turns: nothing comes together.
    Single,
    /// From publishers, a packet with each call.
    Up,
}

impl Way {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Way::Runs => "runs",
            Way::Single => "single",
            Way::Up => "up",
        }
    }
}

/// What a load has cost.
pub(crate) struct Cost {
    sent: u64,
    pub(crate) arrived: u64,
    cpu: Duration,
}

impl Cost {
    pub(crate) fn micros(&self) -> f64 {
        self.cpu.as_nanos() as f64 / 1000.0 / self.arrived.max(1) as f64
    }

    pub(crate) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.arrived)
    }
}

/// Both ends.
pub(crate) struct Ends {
    origin: Udp,
    clients: Vec<UdpSocket>,
    sessions: Vec<Arc<Session>>,
    /// Where the origin sees each client.
    seen: Vec<Path>,
    batch: Batch,
    buffer: RecvBuffer,
    skimmer: Skimmer,
}

impl Ends {
    pub(crate) fn new(count: usize, relay: SocketAddr) -> io::Result<Self> {
        let origin = Udp::bind((Ipv4Addr::LOCALHOST, 0).into(), false)?;
        let sessions = (0..count).map(|number| session(number, origin.local_addr())).collect();
        let clients = clients(count, relay)?;
        let (batch, buffer, skimmer) = (Batch::new(), RecvBuffer::new(), Skimmer::new());
        Ok(Self { origin, clients, sessions, seen: Vec::new(), batch, buffer, skimmer })
    }

    pub(crate) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    pub(crate) fn origin_address(&self) -> SocketAddr {
        self.origin.local_addr()
    }

    /// Each client sends its check.
    pub(crate) fn meet_by_checks(&mut self) -> Result<(), Box<dyn Error>> {
        let checks = self.sessions.iter().map(|session| check(session)).collect();
        self.meet(checks, &|bytes| {
            let username = stun::head(bytes).ok()?.username?;
            let (origin, _) = std::str::from_utf8(username).ok()?.split_once(':')?;
            origin.strip_prefix("origin")?.parse().ok()
        })
    }

    /// Each client sends its number.
    pub(crate) fn meet_by_numbers(&mut self) -> Result<(), Box<dyn Error>> {
        let numbers = (0..self.clients.len()).map(|number| number.to_be_bytes().to_vec()).collect();
        self.meet(numbers, &|bytes| Some(usize::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// The origin sends to its clients themselves.
    pub(crate) fn meet_without_relay(&mut self) -> io::Result<()> {
        for client in &self.clients {
            client.connect(self.origin.local_addr())?;
            self.seen.push(Path::to(client.local_addr()?));
        }
        Ok(())
    }

    fn meet(&mut self, first: Vec<Vec<u8>>, number_of: &dyn Fn(&[u8]) -> Option<usize>) -> Result<(), Box<dyn Error>> {
        let mut seen = vec![None; self.clients.len()];
        let begin = Instant::now();
        for (client, datagram) in self.clients.iter().zip(&first) {
            client.send(datagram)?;
        }
        while seen.iter().any(Option::is_none) {
            if begin.elapsed() > Duration::from_secs(5) {
                return Err("not all clients got through".into());
            }
            self.origin.recv(&mut self.buffer, &mut |received| {
                if let Some(place) = number_of(received.bytes).and_then(|number| seen.get_mut(number)) {
                    *place = Some(received.path);
                }
            })?;
        }
        self.seen = seen.into_iter().flatten().collect();
        Ok(())
    }

    /// Sends at the pace of a stream and counts what arrives; `thread` is whose time is taken.
    pub(crate) fn load(&mut self, way: Way, lasts: Duration, thread: &str) -> Result<Cost, Box<dyn Error>> {
        // Warm, and with buffers as large as they get.
        for _ in 0..5 {
            self.frame(way)?;
            std::thread::sleep(FRAME);
            self.look(way)?;
        }
        let (mut cost, before) = (Cost { sent: 0, arrived: 0, cpu: Duration::ZERO }, cpu(thread)?);
        let begin = Instant::now();
        let mut next = begin;
        while next < begin + lasts {
            cost.sent += self.frame(way)?;
            next += FRAME;
            while Instant::now() < next {
                std::thread::sleep(LOOK.min(next.saturating_duration_since(Instant::now())));
                cost.arrived += self.look(way)?;
            }
        }
        std::thread::sleep(LOOK);
        cost.arrived += self.look(way)?;
        cost.cpu = cpu(thread)?.saturating_sub(before);
        Ok(cost)
    }

    /// A frame for, or from, everybody; how many datagrams that were.
    fn frame(&mut self, way: Way) -> io::Result<u64> {
        let push = |batch: &mut Batch, path| {
            batch.push(path, PACKET, |room| {
                room.fill(0x80);
                Some(PACKET)
            });
        };
        match way {
            Way::Runs => {
                for path in &self.seen {
                    (0..PACKETS).for_each(|_| push(&mut self.batch, *path));
                }
            }
            Way::Single => {
                for _ in 0..PACKETS {
                    self.seen.iter().for_each(|path| push(&mut self.batch, *path));
                }
            }
            Way::Up => {
                let publishers = self.clients.len() / 10;
                for client in &self.clients[..publishers] {
                    for _ in 0..PACKETS {
                        client.send(&[0x80; PACKET])?;
                    }
                }
                return Ok((publishers * PACKETS) as u64);
            }
        }
        Ok(self.origin.send(&mut self.batch).datagrams)
    }

    /// Counts what has arrived.
    fn look(&mut self, way: Way) -> io::Result<u64> {
        let mut count = 0;
        if way == Way::Up {
            // What the kernel has put together is cut again.
            while self.origin.recv(&mut self.buffer, &mut |_| count += 1)? > 0 {}
            return Ok(count);
        }
        for client in &self.clients {
            while Skimmer::may_go_on(self.skimmer.skim(client, |_| count += 1)?) {}
        }
        Ok(count)
    }

    /// One datagram of the origin to the first client, which waits for it.
    pub(crate) fn one_to_client(&mut self) -> io::Result<()> {
        self.batch.push(self.seen[0], PACKET, |room| {
            room.fill(0x80);
            Some(PACKET)
        });
        self.origin.send(&mut self.batch);
        self.clients[0].recv(&mut [0; 2048]).map(drop)
    }
}

/// Sockets that are connected to the relay.
pub(crate) fn clients(count: usize, relay: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    let client = |_| {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        client.connect(relay)?;
        client.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(client)
    };
    (0..count).map(client).collect()
}

pub(crate) fn session(number: usize, rtc: SocketAddr) -> Arc<Session> {
    let credentials = |side: &str| {
        Credentials::new(&format!("{side}{number}"), "0123456789abcdefghijklmnop").expect("letters and digits")
    };
    Arc::new(Session {
        id: SessionId::random(),
        stream: "bench".to_owned(),
        role: Role::Viewer,
        origin: OriginId::parse("origin").expect("a name"),
        rtc,
        generations: vec![Generation { origin: credentials("origin"), client: credentials("client") }],
        resource: "http://127.0.0.1/whep/bench/0123456789abcdef0123456789abcdef".to_owned(),
        etag: None,
        created_ms: 0,
    })
}

pub(crate) fn check(session: &Session) -> Vec<u8> {
    let ice = &session.generations[0];
    stun::binding_request(ice.pair().as_str(), ice.origin.pwd(), true, 1, 2, [7; 12])
}

/// The origin answers as many checks as there are clients, and each gets its answer.
pub(crate) fn answer(origin: &Udp, clients: &[UdpSocket]) -> Result<(), Box<dyn Error>> {
    let (mut buffer, mut batch, mut answered) = (RecvBuffer::new(), Batch::new(), 0);
    let begin = Instant::now();
    while answered < clients.len() {
        if begin.elapsed() > Duration::from_secs(5) {
            return Err("checks are missing".into());
        }
        origin.recv(&mut buffer, &mut |received| {
            let answer = stun::success(received.bytes, received.path.remote, "0123456789abcdefghijklmnop");
            batch.push(received.path, answer.len(), |room| {
                room.copy_from_slice(&answer);
                Some(answer.len())
            });
            answered += 1;
        })?;
        origin.send(&mut batch);
    }
    for client in clients {
        client.recv(&mut [0; 2048])?;
    }
    Ok(())
}

/// CPU time of the threads of this process whose names begin so.
pub(crate) fn cpu(name: &str) -> Result<Duration, Box<dyn Error>> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.starts_with(name) {
            let number: i32 = task.file_name().to_string_lossy().parse()?;
            // The clock of one thread, as the kernel numbers them: CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED.
            let clock = ClockId::from_raw((!number << 3) | 6);
            sum += Duration::from(clock_gettime(clock)?);
        }
    }
    Ok(sum)
}

/// Resident memory of this process in bytes.
pub(crate) fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
