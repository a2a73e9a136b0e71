//! `cargo xtask soak`: rounds of viewers that come, check every packet, and leave, against one gateway. After the first
//! minutes its memory and its descriptors must not grow any more.

use std::fs;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::options;
use crate::whipstitch;

/// Streams are forgotten 60 s after their end, session URLs as well: what grows for longer is a leak.
const WARM_UP: Duration = Duration::from_secs(130);

/// Growth after the warm-up that is no leak yet: the allocator's own ups and downs, seen to stay below.
const SLACK_KIB: u64 = 8 * 1024;

pub(crate) struct Options {
    minutes: u64,
    viewers: u64,
}

impl Options {
    pub(crate) fn parse(args: lexopt::Parser) -> Outcome<Self> {
        let mut options = Options { minutes: 10, viewers: 50 };
        let names =
            options::numbers(args, &mut [("minutes", &mut options.minutes), ("viewers", &mut options.viewers)])?;
        match names.first() {
            Some(name) => Err(format!("unexpected argument `{name}`")),
            None => Ok(options),
        }
    }
}

/// What the gateway holds between two rounds.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory_kib: u64,
    descriptors: u64,
}

pub(crate) fn run(options: Options) -> Outcome {
    whipstitch::build()?;
    let gateway = whipstitch::gateway();
    let wanted = [
        ("--viewers", options.viewers.to_string()),
        ("--full", options.viewers.to_string()),
        ("--duration", "10".to_owned()),
        ("--joins-per-second", "20".to_owned()),
    ];
    let start = Instant::now();
    let end = WARM_UP.max(Duration::from_secs(options.minutes * 60));
    let mut settled: Option<Held> = None;
    for round in 1.. {
        // A handful of names, so that streams are made, reused and forgotten.
        let load = whipstitch::load(&gateway, &format!("soak{}", round % 3), &wanted, Duration::from_secs(120))?;
        for (figure, good) in [("joined", options.viewers), ("lost", 0), ("corrupt", 0), ("ended_early", 0)] {
            if load.number(figure)? != good as f64 {
                return Err(format!("round {round}: {figure} is {}: {}", load.text(figure), load.text("first_error")));
            }
        }
        let held = held(gateway.process().id())?;
        println!(
            "{:>5} s  round {round}: {} KiB, {} descriptors",
            start.elapsed().as_secs(),
            held.memory_kib,
            held.descriptors
        );
        match settled {
            None if start.elapsed() >= WARM_UP => settled = Some(held),
            None => {}
            Some(settled) => grown(settled, held)?,
        }
        if settled.is_some() && start.elapsed() >= end {
            break;
        }
    }
    Ok(())
}

fn grown(settled: Held, held: Held) -> Outcome {
    if held.memory_kib > settled.memory_kib + SLACK_KIB {
        return Err(format!("memory grew from {} to {} KiB", settled.memory_kib, held.memory_kib));
    }
    // HTTP connections that are about to be closed come and go; a leak is one for each of many viewers.
    if held.descriptors > settled.descriptors + 10 {
        return Err(format!("descriptors grew from {} to {}", settled.descriptors, held.descriptors));
    }
    Ok(())
}

fn held(pid: i32) -> Outcome<Held> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| format!("the gateway is gone: {e}"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory_kib = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).ok_or("no VmRSS")?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|e| format!("the gateway is gone: {e}"))?;
    Ok(Held { memory_kib, descriptors: descriptors.count() as u64 })
}

#[cfg(test)]
mod tests {
    use super::{Held, SLACK_KIB, grown};

    #[test]
    fn slack_is_allowed_and_growth_is_not() {
        let settled = Held { memory_kib: 20_000, descriptors: 30 };
        for (memory_kib, descriptors, flat) in
            [(19_000, 30, true), (20_000 + SLACK_KIB, 40, true), (20_001 + SLACK_KIB, 30, false), (20_000, 41, false)]
        {
            assert_eq!(grown(settled, Held { memory_kib, descriptors }).is_ok(), flat);
        }
    }
}
