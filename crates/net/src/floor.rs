//! The floor under the cost of egress: what it costs the sender, on this machine and now, to hand the kernel the burst
//! of a frame for many subscribers. Benchmarks report their figures as ratios to it, measured in the same run.
//!
//! Two ways are measured by turns, so that whatever else the machine does meets both alike: [`Batch`] and
//! [`Udp::send`], which is the floor, and one `sendto` per datagram, which is what a simple server does. Receivers are
//! sockets on loopback, emptied between the rounds and not counted.
//!
//! That thread is never idle. [`at_pace`] sends the cheapest way too, but what a stream is made of and when it comes, and
//! sleeps in between as a gateway does: caches, clock and branch predictors are then as cold as a gateway finds them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::socket::Udp;
use crate::{Batch, Path};

/// What is sent in each round.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Receiving sockets.
    pub destinations: usize,
    /// Datagrams to each destination, one after the other.
    pub burst: usize,
    /// Bytes of each datagram.
    pub size: usize,
    /// CPU time of sending after which measuring ends; the whole takes about twice as long.
    pub budget: Duration,
}

impl Default for Load {
    /// A keyframe-less 30 fps frame of 2.5 Mbit/s for a hundred subscribers.
    fn default() -> Load {
        Load { destinations: 100, burst: 9, size: 1200, budget: Duration::from_secs(2) }
    }
}

/// What sending has cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Datagrams sent.
    pub datagrams: u64,
    /// User and system time of the sending thread.
    pub cpu: Duration,
}

impl Cost {
    /// Nanoseconds of CPU time per datagram.
    pub fn per_datagram(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.datagrams.max(1) as f64
    }
}

/// Both ways' costs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Floor {
    /// GSO runs in `sendmmsg`, many destinations per call.
    pub batched: Cost,
    /// One `sendto` per datagram.
    pub single: Cost,
}

/// A stream: bursts of `load.burst` datagrams of `load.size` bytes to each destination, and sound beside them.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time from one burst to the next.
    pub burst: Duration,
    /// Time from one datagram of sound to the next.
    pub sound: Duration,
    /// Bytes of a datagram of sound.
    pub sound_size: usize,
    /// How long it is sent.
    pub lasts: Duration,
}

impl Default for Pace {
    /// 30 fps, and Opus of 20 ms at 64 kbit/s.
    fn default() -> Pace {
        Pace {
            burst: Duration::from_nanos(33_333_333),
            sound: Duration::from_millis(20),
            sound_size: 190,
            lasts: Duration::from_secs(3),
        }
    }
}

/// Measures the cheaper way at a stream's pace. `seal` gets the number of the destination too.
///
/// # Errors
/// If the sockets cannot be opened or do not send.
#[expect(clippy::disallowed_methods, reason = "it measures the machine, and decides nothing")]
pub fn at_pace(load: &Load, pace: &Pace, seal: &mut dyn FnMut(usize, &mut [u8])) -> io::Result<Cost> {
    let mut bench = Bench::new(load)?;
    bench.batched(load.burst, load.size, seal)?;
    let mut cost = Cost::default();
    let begin = Instant::now();
    let end = begin + pace.lasts;
    let (mut picture, mut sound) = (begin + pace.burst, begin + pace.sound);
    while picture.min(sound) < end {
        std::thread::sleep(picture.min(sound).saturating_duration_since(Instant::now()));
        if picture <= sound {
            picture += pace.burst;
            cost.add(bench.batched(load.burst, load.size, seal)?);
        } else {
            sound += pace.sound;
            cost.add(bench.batched(1, pace.sound_size, seal)?);
        }
    }
    Ok(cost)
}

/// Measures both ways. `seal` is called for each datagram, with its destination's number and room for `load.size` bytes,
/// and counted; it stands for writing and protecting a packet.
///
/// # Errors
/// If the sockets cannot be opened or do not send.
pub fn measure(load: &Load, seal: &mut dyn FnMut(usize, &mut [u8])) -> io::Result<Floor> {
    let mut bench = Bench::new(load)?;
    let mut floor = Floor::default();
    // The first round warms caches and buffers up.
    bench.batched(load.burst, load.size, seal)?;
    bench.single(seal)?;
    while floor.batched.cpu + floor.single.cpu < load.budget {
        floor.batched.add(bench.batched(load.burst, load.size, seal)?);
        floor.single.add(bench.single(seal)?);
    }
    Ok(floor)
}

impl Cost {
    fn add(&mut self, other: Cost) {
        self.datagrams += other.datagrams;
        self.cpu += other.cpu;
    }
}

struct Bench {
    receivers: Vec<UdpSocket>,
    paths: Vec<Path>,
    batching: Udp,
    plain: UdpSocket,
    batch: Batch,
    datagram: Vec<u8>,
    burst: usize,
}

impl Bench {
    fn new(load: &Load) -> io::Result<Bench> {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let receivers = (0..load.destinations).map(|_| UdpSocket::bind(any)).collect::<io::Result<Vec<_>>>()?;
        for receiver in &receivers {
            receiver.set_nonblocking(true)?;
        }
        Ok(Bench {
            paths: receivers.iter().map(|r| r.local_addr().map(Path::to)).collect::<io::Result<_>>()?,
            receivers,
            batching: Udp::bind(any, false)?,
            plain: UdpSocket::bind(any)?,
            batch: Batch::new(),
            datagram: vec![0; load.size],
            burst: load.burst,
        })
    }

    fn batched(&mut self, burst: usize, size: usize, seal: &mut dyn FnMut(usize, &mut [u8])) -> io::Result<Cost> {
        let (begin, mut datagrams) = (cpu_time()?, 0);
        for (number, path) in self.paths.iter().enumerate() {
            for _ in 0..burst {
                self.batch.push(*path, size, |bytes| {
                    seal(number, bytes);
                    Some(bytes.len())
                });
            }
            if self.batch.is_full() {
                datagrams += self.batching.send(&mut self.batch).datagrams;
            }
        }
        datagrams += self.batching.send(&mut self.batch).datagrams;
        let cost = Cost { datagrams, cpu: cpu_time()?.saturating_sub(begin) };
        self.drain()?;
        Ok(cost)
    }

    fn single(&mut self, seal: &mut dyn FnMut(usize, &mut [u8])) -> io::Result<Cost> {
        let (begin, mut datagrams) = (cpu_time()?, 0);
        for (number, path) in self.paths.iter().enumerate() {
            for _ in 0..self.burst {
                seal(number, &mut self.datagram);
                self.plain.send_to(&self.datagram, path.remote)?;
                datagrams += 1;
            }
        }
        let cost = Cost { datagrams, cpu: cpu_time()?.saturating_sub(begin) };
        self.drain()?;
        Ok(cost)
    }

    fn drain(&mut self) -> io::Result<()> {
        for receiver in &self.receivers {
            loop {
                match receiver.recv(&mut self.datagram) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// User and system time of this thread, to the nanosecond where `getrusage` counts in ticks.
fn cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datagram_of_a_load_is_sealed_and_sent() {
        let load = Load { destinations: 3, burst: 4, size: 1000, budget: Duration::from_millis(1) };
        let mut sealed = 0;
        let floor = measure(&load, &mut |number, bytes| {
            assert!(number < 3 && bytes.len() == 1000);
            sealed += 1;
        })
        .unwrap();
        let warming = 2 * 3 * 4;
        assert_eq!(floor.batched.datagrams + floor.single.datagrams + warming, sealed);
        assert_eq!(floor.batched.datagrams, floor.single.datagrams);
        assert!(floor.batched.cpu > Duration::ZERO && floor.single.cpu > Duration::ZERO);
    }

    #[test]
    fn at_its_pace_each_destination_gets_pictures_and_sound() {
        let load = Load { destinations: 3, burst: 4, size: 1000, budget: Duration::ZERO };
        let (burst, sound) = (Duration::from_millis(3), Duration::from_millis(2));
        let pace = Pace { burst, sound, sound_size: 100, lasts: Duration::from_millis(12) };
        let mut sealed = [0; 3];
        let mut small = 0;
        let cost = at_pace(&load, &pace, &mut |number, bytes| {
            sealed[number] += 1;
            small += usize::from(bytes.len() == 100);
        })
        .unwrap();
        // Three pictures in 12 ms and the one before that, five packets of sound.
        assert_eq!((sealed, small), ([4 * 4 + 5; 3], 5 * 3));
        assert_eq!(cost.datagrams, 3 * (3 * 4 + 5));
    }
}
