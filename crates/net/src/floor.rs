//! The floor under the cost of egress: what it costs the sender, on this machine and now, to hand the kernel the burst
//! of a frame for many subscribers. Benchmarks report their figures as ratios to it, measured in the same run.
//!
//! Two ways are measured by turns, so that whatever else the machine does meets both alike: [`Batch`] and
//! [`Udp::send`], which is the floor, and one `sendto` per datagram, which is what a simple server does. Receivers are
//! sockets on loopback, emptied between the rounds and not counted.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

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

/// Measures both ways. `seal` is called for each datagram, with room for `load.size` bytes, and counted; it stands for
/// writing and protecting a packet.
///
/// # Errors
/// If the sockets cannot be opened or do not send.
pub fn measure(load: &Load, seal: &mut dyn FnMut(&mut [u8])) -> io::Result<Floor> {
    let mut bench = Bench::new(load)?;
    let mut floor = Floor::default();
    // The first round warms caches and buffers up.
    bench.batched(seal)?;
    bench.single(seal)?;
    while floor.batched.cpu + floor.single.cpu < load.budget {
        floor.batched.add(bench.batched(seal)?);
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

    fn batched(&mut self, seal: &mut dyn FnMut(&mut [u8])) -> io::Result<Cost> {
        let (begin, mut datagrams) = (cpu_time()?, 0);
        for path in &self.paths {
            for _ in 0..self.burst {
                self.batch.push(*path, self.datagram.len(), |bytes| {
                    seal(bytes);
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

    fn single(&mut self, seal: &mut dyn FnMut(&mut [u8])) -> io::Result<Cost> {
        let (begin, mut datagrams) = (cpu_time()?, 0);
        for path in &self.paths {
            for _ in 0..self.burst {
                seal(&mut self.datagram);
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
        let floor = measure(&load, &mut |bytes| {
            assert_eq!(bytes.len(), 1000);
            sealed += 1;
        })
        .unwrap();
        let warming = 2 * 3 * 4;
        assert_eq!(floor.batched.datagrams + floor.single.datagrams + warming, sealed);
        assert_eq!(floor.batched.datagrams, floor.single.datagrams);
        assert!(floor.batched.cpu > Duration::ZERO && floor.single.cpu > Duration::ZERO);
    }
}
