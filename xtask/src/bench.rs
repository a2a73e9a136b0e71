//! `cargo xtask bench`: what a viewer costs (docs/performance.md explains every figure).

use std::time::Duration;

use crate::Outcome;
use crate::options;
use crate::whipstitch::{self, Figures};

pub(crate) struct Options {
    viewers: u64,
    full: u64,
    seconds: u64,
    joins_per_second: u64,
    keyframe_seconds: u64,
}

impl Options {
    pub(crate) fn parse(args: lexopt::Parser) -> Outcome<Self> {
        let mut options = Options { viewers: 100, full: 5, seconds: 20, joins_per_second: 20, keyframe_seconds: 2 };
        let names = options::numbers(
            args,
            &mut [
                ("viewers", &mut options.viewers),
                ("full", &mut options.full),
                ("seconds", &mut options.seconds),
                ("joins-per-second", &mut options.joins_per_second),
                ("keyframe-seconds", &mut options.keyframe_seconds),
            ],
        )?;
        match names.first() {
            Some(name) => Err(format!("unexpected argument `{name}`")),
            None => Ok(options),
        }
    }
}

pub(crate) fn run(options: Options) -> Outcome {
    whipstitch::build()?;
    // Before and after, as a machine's speed drifts while it works.
    let before = whipstitch::floor()?;
    let gateway = whipstitch::gateway();
    let wanted = [
        ("--viewers", options.viewers.to_string()),
        ("--full", options.full.min(options.viewers).to_string()),
        ("--duration", options.seconds.to_string()),
        ("--joins-per-second", options.joins_per_second.to_string()),
        ("--gop", options.keyframe_seconds.to_string()),
    ];
    let joining = options.viewers / options.joins_per_second.max(1);
    let limit = Duration::from_secs(options.seconds + joining + 60);
    let load = whipstitch::load(&gateway, "bench", &wanted, limit)?;
    let after = whipstitch::floor()?;
    print!("{}", table(&load, &before, &after)?);
    Ok(())
}

fn table(load: &Figures, before: &Figures, after: &Figures) -> Outcome<String> {
    let floor = |key| Ok::<_, String>((before.number(key)? + after.number(key)?) / 2.0);
    let (batched, single) = (floor("batched_us")?, floor("single_us")?);
    let cpu = load.number("server_cpu_per_packet_us")?;
    let packets = load.number("packets_in_window")? / load.number("window_s")?;
    let quantiles = |name: &str, share: [&str; 2]| {
        let of = |share| load.text(&format!("{name}_{share}_ms")).to_owned();
        format!("{} ms {}, {} ms {}", of(share[0]), share[0], of(share[1]), share[1])
    };
    let text = |key| load.text(key).to_owned();
    let rows = [
        ("viewers joined", format!("{} of {}", text("joined"), text("viewers"))),
        ("egress", format!("{packets:.0} packets/s for {:.1} s", load.number("window_s")?)),
        ("server CPU per egress packet", format!("{cpu:.2} µs")),
        ("floor: sealed, GSO in sendmmsg", format!("{batched:.2} µs (one sendto per packet: {single:.2} µs)")),
        ("ratio", format!("{:.2}", cpu / batched)),
        ("memory per viewer", format!("{} KiB", text("server_memory_per_viewer_kib"))),
        ("lost, reordered, duplicate", format!("{}, {}, {}", text("lost"), text("reordered"), text("duplicates"))),
        ("corrupt, misplaced", format!("{}, {}", text("corrupt"), text("misplaced"))),
        ("transit", quantiles("transit", ["p50", "p99"])),
        ("join", quantiles("join", ["p50", "p95"])),
        ("publisher late by", quantiles("publisher_lateness", ["p50", "p99"])),
        ("sessions ended early", format!("{} (first error: {})", text("ended_early"), text("first_error"))),
    ];
    Ok(rows.iter().map(|(name, value)| format!("{name:<32} {value}\n")).collect())
}
