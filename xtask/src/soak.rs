//! `cargo xtask soak`: publishers and viewers come, go, break off and lose packets (`whipstitch-churn`) against one gateway.
//! After a warm-up its memory, descriptors and threads must not grow any more; in the end nothing of anybody is left.
//!
//! What is compared are two spans of a quarter of the time after the warm-up each, the first and the last: the median of
//! readings a second apart, so that who happens to be there at one instant does not count.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use whipstitch_interop::Gateway;

use crate::Outcome;
use crate::options;
use crate::whipstitch::{Build, Figures, figures};

/// Who vanishes is noticed after 30 s, and the streams and session URLs of the gateway here are forgotten after so many
/// seconds more or less: by then as many are forgotten as come.
const WARM_UP: Duration = Duration::from_secs(60);
const READING: Duration = Duration::from_secs(1);
/// From the end of all to the end of the last session: 30 s of silence, and room for a busy machine.
const SILENCE: Duration = Duration::from_secs(45);

/// Growth that is no leak yet: the allocator's own ups and downs, which each new thread adds to; seen to stay below half of
/// it.
const SLACK_KIB: u64 = 6 * 1024;
/// HTTP connections that are about to be closed come and go.
const SLACK_DESCRIPTORS: u64 = 10;
/// Threads that read offers come and go with how many there are at once, 16 at most.
const SLACK_THREADS: u64 = 16;

/// Gauges that are 0 when everybody has gone.
const GONE: [&str; 5] = [
    "whipstitch_publishers",
    "whipstitch_subscribers",
    "whipstitch_half_open_sessions",
    "whipstitch_sessions",
    "whipstitch_worker_tcp_connections",
];

pub(crate) struct Options {
    minutes: u64,
    viewers: u64,
    seed: u64,
}

impl Options {
    pub(crate) fn parse(args: lexopt::Parser) -> Outcome<Self> {
        let mut options = Options { minutes: 20, viewers: 30, seed: 1 };
        let names = options::numbers(
            args,
            &mut [("minutes", &mut options.minutes), ("viewers", &mut options.viewers), ("seed", &mut options.seed)],
        )?;
        match names.first() {
            Some(name) => Err(format!("unexpected argument `{name}`")),
            None => Ok(options),
        }
    }
}

/// What the gateway holds at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    memory_kib: u64,
    descriptors: u64,
    threads: u64,
}

pub(crate) fn run(options: Options) -> Outcome {
    soak(&Build::release()?, &options)
}

/// Two minutes of it, with the programs that the tests use.
pub(crate) fn short(_: ()) -> Outcome {
    soak(&Build::debug(), &Options { minutes: 2, viewers: 30, seed: 1 })
}

fn soak(build: &Build, options: &Options) -> Outcome {
    // The newer publisher gets the stream: that is one of the ways in which they change.
    let gateway = build.gateway(&["--on-conflict", "takeover"]);
    let span = Duration::from_secs(options.minutes.max(2) * 60);
    let wanted = [("--seconds", span.as_secs()), ("--viewers", options.viewers), ("--seed", options.seed)];
    let wanted: Vec<String> = wanted.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect();
    let churn = build.churn(&gateway, "soak", &wanted);
    let readings = watch(&gateway, span)?;
    let found = figures("whipstitch-churn", &churn, Duration::from_secs(30))?;
    let [settled, last] = compared(&readings);
    println!("settled {settled:?}\nlast    {last:?}");
    judge(&found)?;
    flat(settled, last)?;
    let end = Instant::now() + SILENCE;
    while let Err(left) = gone(&metrics(&gateway)?) {
        if Instant::now() >= end {
            return Err(format!("{} s after everybody has gone: {left}", SILENCE.as_secs()));
        }
        thread::sleep(READING);
    }
    match gateway.stop().code() {
        Some(0) => Ok(()),
        code => Err(format!("the gateway ended with {code:?}: {}", gateway.process().said())),
    }
}

/// Readings from the end of the warm-up to the end of the span, the way there printed once a minute.
fn watch(gateway: &Gateway, span: Duration) -> Outcome<Vec<Held>> {
    let start = Instant::now();
    let mut readings = Vec::new();
    for second in 0.. {
        let held = held(gateway.process().id())?;
        let at = start.elapsed();
        if at >= WARM_UP {
            readings.push(held);
        }
        if second % 60 == 0 {
            println!("{second:>5} s  {held:?}");
        }
        if at >= span {
            break;
        }
        thread::sleep((start + READING * (second + 1)).saturating_duration_since(Instant::now()));
    }
    Ok(readings)
}

fn judge(found: &Figures) -> Outcome {
    let counts: Vec<_> = found.all().iter().map(|(name, count)| format!("{name} {count}")).collect();
    let counts = counts.join(", ");
    println!("{counts}");
    let bad = ["failed", "starved", "corrupt", "lost", "duplicates"].into_iter().find(|name| found.text(name) != "0");
    let idle = ["killed", "replaced", "left", "joined", "vanished", "packets"];
    let bad = bad.or(idle.into_iter().find(|name| matches!(found.text(name), "0" | "-")));
    bad.map_or(Ok(()), |name| Err(format!("{name} is {}: {counts}", found.text(name))))
}

/// The medians of the first and the last quarter.
fn compared(readings: &[Held]) -> [Held; 2] {
    let quarter = (readings.len() / 4).max(1);
    [&readings[..quarter], &readings[readings.len() - quarter..]].map(|part| Held {
        memory_kib: median(part, |held| held.memory_kib),
        descriptors: median(part, |held| held.descriptors),
        threads: median(part, |held| held.threads),
    })
}

fn median(part: &[Held], of: impl Fn(&Held) -> u64) -> u64 {
    let mut values: Vec<u64> = part.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn flat(settled: Held, last: Held) -> Outcome {
    for (what, settled, last, slack) in [
        ("memory (KiB)", settled.memory_kib, last.memory_kib, SLACK_KIB),
        ("descriptors", settled.descriptors, last.descriptors, SLACK_DESCRIPTORS),
        ("threads", settled.threads, last.threads, SLACK_THREADS),
    ] {
        if last > settled + slack {
            return Err(format!("{what}: grew from {settled} to {last}"));
        }
    }
    Ok(())
}

fn held(pid: i32) -> Outcome<Held> {
    let gone = |e: std::io::Error| format!("the gateway is gone: {e}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone)?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
        number.ok_or_else(|| format!("no {name} in its status"))
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_err(gone)?.count() as u64;
    Ok(Held { memory_kib: field("VmRSS:")?, descriptors, threads: field("Threads:")? })
}

/// The gateway's metrics, as text.
fn metrics(gateway: &Gateway) -> Outcome<String> {
    let ask = || {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port()))?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        connection.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().map_err(|e: std::io::Error| format!("/metrics: {e}"))
}

/// Whether nothing is left of anybody, and no worker broke.
fn gone(metrics: &str) -> Outcome {
    let sum = |name: &str| {
        let samples = metrics.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        let values: Vec<f64> = samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        if values.is_empty() { Err(format!("no {name} in the metrics")) } else { Ok(values.iter().sum::<f64>()) }
    };
    for name in GONE.into_iter().chain(["whipstitch_worker_panics_total"]) {
        let sum = sum(name)?;
        if sum != 0.0 {
            return Err(format!("{name} is {sum}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLED: Held = Held { memory_kib: 20_000, descriptors: 30, threads: 7 };

    #[test]
    fn slack_is_allowed_and_growth_is_not() {
        for (memory_kib, descriptors, threads, is_flat) in [
            (19_000, 30, 7, true),
            (20_000 + SLACK_KIB, 40, 23, true),
            (20_001 + SLACK_KIB, 30, 7, false),
            (20_000, 41, 7, false),
            (20_000, 30, 24, false),
        ] {
            assert_eq!(flat(SETTLED, Held { memory_kib, descriptors, threads }).is_ok(), is_flat);
        }
    }

    #[test]
    fn medians_of_the_first_and_the_last_quarter_are_compared() {
        let readings: Vec<Held> = (0..12).map(|n| Held { memory_kib: n, ..SETTLED }).collect();
        assert_eq!(compared(&readings).map(|held| held.memory_kib), [1, 10]);
        assert_eq!(compared(&readings[..1]).map(|held| held.memory_kib), [0, 0]);
    }

    #[test]
    fn who_is_left_is_found_in_the_metrics() {
        let all = GONE.map(|name| format!("# HELP {name} text 5\n{name}{{role=\"x\"}} 0\n")).concat();
        let nobody = format!("{all}whipstitch_worker_panics_total{{worker=\"0\"}} 0\n");
        assert_eq!(gone(&nobody), Ok(()));
        assert!(gone(&all).is_err());
        let somebody = nobody.replace("whipstitch_subscribers{role=\"x\"} 0", "whipstitch_subscribers{role=\"x\"} 2");
        assert_eq!(gone(&somebody), Err("whipstitch_subscribers is 2".into()));
    }

    #[test]
    fn a_fault_and_a_figure_that_stayed_at_zero_both_fail() {
        let good = "killed=1\nreplaced=1\nleft=1\njoined=1\nvanished=1\npackets=9\nfailed=0\nstarved=0\ncorrupt=0\n\
            lost=0\nduplicates=0\n";
        assert_eq!(judge(&Figures::parse(good)), Ok(()));
        assert!(judge(&Figures::parse(&good.replace("lost=0", "lost=1"))).is_err());
        assert!(judge(&Figures::parse(&good.replace("killed=1", "killed=0"))).is_err());
    }
}
