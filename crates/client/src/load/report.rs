//! What a load run found, for tests to assert and scripts to read.

use std::fmt;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::process::Usage;
use super::publisher::Published;
use super::viewer::Seen;

/// The median and a high quantile; `None` when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of the values do not exceed it.
    pub p50: Option<Duration>,
    /// 95 % of the values do not exceed it.
    pub p95: Option<Duration>,
    /// 99 % of the values do not exceed it.
    pub p99: Option<Duration>,
}

impl Quantiles {
    pub(crate) fn of(histogram: &Histogram) -> Quantiles {
        Quantiles { p50: histogram.quantile(0.5), p95: histogram.quantile(0.95), p99: histogram.quantile(0.99) }
    }
}

/// What the watched process used while the measuring window was open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerUse {
    /// User and system time.
    pub cpu: Duration,
    /// CPU time for each packet that reached a viewer; with no viewers, for each that publishers sent.
    pub cpu_per_packet: Duration,
    /// CPU time from the first POST to the last join for each viewer, less what the packets of that time cost when nobody
    /// joins.
    pub cpu_per_join: Duration,
    /// Resident bytes gained from before the first viewer to the end of the window, for each viewer.
    pub memory_per_viewer: u64,
    /// Datagrams that the kernel threw away because a receive buffer of its sockets was full.
    pub dropped: u64,
}

/// The outcome of [`super::run`].
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Viewers asked for.
    pub viewers: usize,
    /// Those that saw a first picture within 15 s.
    pub joined: usize,
    /// Those whose session ended, or failed, before it was time.
    pub ended_early: usize,
    /// The first error of a viewer, or of the publisher, as text.
    pub first_error: Option<String>,
    /// How long the measuring window was open: from the last join on.
    pub window: Duration,
    /// Packets that reached viewers while it was open.
    pub packets_in_window: u64,
    /// Packets that reached viewers in the whole run, each counted once.
    pub packets: u64,
    /// Packets missing in the end, after every repair; by running number where payloads were opened, else by sequence
    /// number.
    pub lost: u64,
    /// Datagrams that the kernel threw away because a receive buffer of the load's own sockets was full: as much of what
    /// is lost is the load tool's fault, the rest is the gateway's. Of a full viewer they may have been repaired.
    pub dropped_here: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Payloads that are not what the publisher wrote (full viewers).
    pub corrupt: u64,
    /// Payloads whose sequence number or RTP time is not the publisher's plus a constant (full viewers).
    pub misplaced: u64,
    /// Packets all publishers sent.
    pub published: u64,
    /// Those of the measuring window.
    pub published_in_window: u64,
    /// How late the publisher handed packets to its socket: above a few milliseconds this machine is too slow for the
    /// load, and the other figures say little.
    pub publisher_lateness: Quantiles,
    /// From the sending of a picture's last packet to its arrival (full viewers).
    pub transit: Quantiles,
    /// From the first POST of all to the last first picture.
    pub joining: Duration,
    /// From POST to the first complete picture.
    pub join: Quantiles,
    /// The first part of that: from POST to its answer.
    pub join_answer: Quantiles,
    /// The second: from the answer until ICE and DTLS were up.
    pub join_connect: Quantiles,
    /// CPU time the load itself used in the measuring window.
    pub own_cpu: Duration,
    /// What the watched process used, if one was given.
    pub server: Option<ServerUse>,
}

/// What a run measured beside its viewers, at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    /// Packets that have reached viewers.
    pub(crate) packets: u64,
    /// Packets that publishers have sent.
    pub(crate) published: u64,
    /// This process, and what its sockets dropped.
    pub(crate) own: (Usage, u64),
    /// The watched process, and what its sockets dropped.
    pub(crate) server: Option<(Usage, u64)>,
}

/// The readings of a run, in order.
pub(crate) struct Readings {
    /// Before the first POST of a viewer.
    pub(crate) before: Reading,
    /// The measuring window.
    pub(crate) opened: Reading,
    pub(crate) closed: Reading,
}

impl Readings {
    fn server(&self, viewers: usize) -> Option<ServerUse> {
        let [(before, dropped), (opened, _), (closed, dropped_then)] =
            [self.before.server?, self.opened.server?, self.closed.server?];
        let watched = self.closed.packets - self.opened.packets;
        let packets = if viewers == 0 { self.closed.published - self.opened.published } else { watched };
        let cpu = closed.cpu.saturating_sub(opened.cpu);
        let cpu_per_packet = cpu.as_secs_f64() / packets.max(1) as f64;
        let joining = opened.cpu.saturating_sub(before.cpu).as_secs_f64();
        let of_packets = cpu_per_packet * (self.opened.packets - self.before.packets) as f64;
        let of_joins = (joining - of_packets).max(0.0);
        Some(ServerUse {
            cpu,
            cpu_per_packet: Duration::from_secs_f64(cpu_per_packet),
            cpu_per_join: Duration::from_secs_f64(of_joins / viewers.max(1) as f64),
            memory_per_viewer: closed.memory.saturating_sub(before.memory) / viewers.max(1) as u64,
            dropped: dropped_then.saturating_sub(dropped),
        })
    }
}

impl LoadReport {
    pub(crate) fn new(viewers: &[Seen], published: &[Published], readings: &Readings) -> LoadReport {
        let (opened, closed) = (&readings.opened, &readings.closed);
        let mut report = LoadReport {
            viewers: viewers.len(),
            window: closed.at - opened.at,
            packets_in_window: closed.packets - opened.packets,
            published_in_window: closed.published - opened.published,
            dropped_here: closed.own.1.saturating_sub(readings.before.own.1),
            own_cpu: closed.own.0.cpu.saturating_sub(opened.own.0.cpu),
            server: readings.server(viewers.len()),
            ..LoadReport::default()
        };
        let [mut transit, mut join, mut answer, mut connect] = [(); 4].map(|()| Histogram::default());
        for seen in viewers {
            report.add(seen);
            transit.merge(&seen.transit);
            let Some(milestones) = seen.milestones else { continue };
            answer.record(milestones.answered - milestones.posted);
            connect.record(milestones.connected - milestones.answered);
            if let Some(picture) = milestones.first_picture {
                report.joined += 1;
                join.record(picture - milestones.posted);
            }
        }
        let milestones = || viewers.iter().filter_map(|seen| seen.milestones);
        let first = milestones().map(|one| one.posted).min();
        let last = milestones().filter_map(|one| one.first_picture).max();
        report.joining = first.zip(last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first));
        report.transit = Quantiles::of(&transit);
        report.join = Quantiles::of(&join);
        report.join_answer = Quantiles::of(&answer);
        report.join_connect = Quantiles::of(&connect);
        report.published = published.iter().map(|one| one.audio_packets + one.video_packets).sum();
        if let Some(first) = published.first() {
            report.publisher_lateness = first.lateness;
        }
        report
    }

    fn add(&mut self, seen: &Seen) {
        self.ended_early += usize::from(seen.closed.is_some() || seen.error.is_some());
        if self.first_error.is_none() {
            let closed = seen.closed.map(|reason| format!("session ended: {reason}"));
            self.first_error = seen.error.as_ref().map(ToString::to_string).or(closed);
        }
        for track in [&seen.audio, &seen.video] {
            self.packets += track.sequence.received;
            self.lost += track.sequence.lost().max(track.numbers.lost());
            self.reordered += track.sequence.reordered.max(track.numbers.reordered);
            self.duplicates += track.sequence.duplicates.max(track.numbers.duplicates);
            self.corrupt += track.corrupt;
            self.misplaced += track.misplaced;
        }
    }
}

/// One `key=value` a line, values without units in them: the key names the unit. Nothing measured is left out.
impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: &dyn fmt::Display| writeln!(f, "{key}={value}");
        line("viewers", &self.viewers)?;
        line("joined", &self.joined)?;
        line("ended_early", &self.ended_early)?;
        line("window_s", &self.window.as_secs_f64())?;
        line("packets_in_window", &self.packets_in_window)?;
        line("packets", &self.packets)?;
        line("published", &self.published)?;
        line("published_in_window", &self.published_in_window)?;
        line("own_cpu_s", &self.own_cpu.as_secs_f64())?;
        line("joining_s", &self.joining.as_secs_f64())?;
        line("lost", &self.lost)?;
        line("dropped_here", &self.dropped_here)?;
        line("reordered", &self.reordered)?;
        line("duplicates", &self.duplicates)?;
        line("corrupt", &self.corrupt)?;
        line("misplaced", &self.misplaced)?;
        for (name, quantiles) in [
            ("publisher_lateness", self.publisher_lateness),
            ("transit", self.transit),
            ("join", self.join),
            ("join_answer", self.join_answer),
            ("join_connect", self.join_connect),
        ] {
            for (share, value) in [("p50", quantiles.p50), ("p95", quantiles.p95), ("p99", quantiles.p99)] {
                if let Some(value) = value {
                    line(&format!("{name}_{share}_ms"), &(value.as_micros() as f64 / 1000.0))?;
                }
            }
        }
        if let Some(server) = self.server {
            line("server_cpu_s", &server.cpu.as_secs_f64())?;
            line("server_cpu_per_packet_us", &(server.cpu_per_packet.as_nanos() as f64 / 1000.0))?;
            line("server_cpu_per_join_us", &(server.cpu_per_join.as_nanos() as f64 / 1000.0))?;
            line("server_memory_per_viewer_kib", &(server.memory_per_viewer / 1024))?;
            line("server_dropped", &server.dropped)?;
        }
        if let Some(error) = &self.first_error {
            line("first_error", &error.replace('\n', " "))?;
        }
        Ok(())
    }
}
