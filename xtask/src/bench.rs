//! `cargo xtask bench`: what a viewer costs (docs/performance.md explains every figure).

mod proxy;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Outcome;
use crate::options;
use crate::steps::target;
use crate::whipstitch::{Build, Figures};

/// Viewers of the curve's rows.
const CURVE: [u64; 5] = [10, 30, 100, 300, 1000];

/// The part that shows what a join costs: many of them, and media that costs next to nothing beside them.
const JOINS: [(&str, &str); 6] = [
    ("--viewers", "400"),
    ("--full", "0"),
    ("--duration", "5"),
    ("--joins-per-second", "50"),
    ("--bitrate", "60000"),
    ("--gop", "1"),
];

/// Publishers of the part that shows what they cost.
const PUBLISHERS: &str = "10";

/// Parts of a run, by the names they are asked for.
const PARTS: [&str; 7] = ["burst", "paced", "joins", "publishers", "readers", "proxy", "curve"];

pub(crate) struct Options {
    viewers: u64,
    full: u64,
    seconds: u64,
    joins_per_second: u64,
    keyframe_seconds: u64,
    /// None is all but the curve.
    parts: Vec<String>,
}

impl Options {
    pub(crate) fn parse(args: lexopt::Parser) -> Outcome<Self> {
        let mut options =
            Options { viewers: 100, full: 5, seconds: 20, joins_per_second: 20, keyframe_seconds: 2, parts: vec![] };
        options.parts = options::numbers(
            args,
            &mut [
                ("viewers", &mut options.viewers),
                ("full", &mut options.full),
                ("seconds", &mut options.seconds),
                ("joins-per-second", &mut options.joins_per_second),
                ("keyframe-seconds", &mut options.keyframe_seconds),
            ],
        )?;
        match options.parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
            Some(unknown) => Err(format!("no part `{unknown}`; there are {}", PARTS.join(", "))),
            None => Ok(options),
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.iter().any(|wanted| wanted == part) || (self.parts.is_empty() && part != "curve")
    }

    /// Viewers and way of sending of each row of the table.
    fn rows(&self) -> Vec<(u64, bool)> {
        let ways: Vec<bool> =
            if self.wants("burst") == self.wants("paced") { vec![false, true] } else { vec![self.wants("paced")] };
        let viewers = match () {
            () if self.wants("curve") => CURVE.to_vec(),
            () if self.wants("burst") || self.wants("paced") => vec![self.viewers],
            () => vec![],
        };
        viewers.into_iter().flat_map(|viewers| ways.iter().map(move |paced| (viewers, *paced))).collect()
    }

    fn load(&self, viewers: u64, paced: bool) -> Vec<String> {
        let numbers = [
            ("--viewers", viewers),
            ("--full", self.full.min(viewers)),
            ("--duration", self.seconds),
            ("--joins-per-second", self.joins_per_second),
            ("--gop", self.keyframe_seconds),
        ];
        let paced = paced.then(|| "--paced".to_owned());
        numbers.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).chain(paced).collect()
    }
}

pub(crate) fn run(options: Options) -> Outcome {
    let build = Build::release()?;
    let mut found = Found::default();
    for (viewers, paced) in options.rows() {
        let joining = viewers / options.joins_per_second.max(1);
        let limit = Duration::from_secs(options.seconds + joining + 60);
        // Before and after, as a machine's speed drifts while it works.
        let before = build.floor()?;
        let load = measure(&build, &options.load(viewers, paced), limit)?;
        let row = Row::new(&load, [&before, &build.floor()?])?;
        if found.rows.is_empty() {
            println!("{}", HEAD.trim_end());
        }
        println!("{}", row.line(viewers, paced));
        found.faults(&format!("{viewers} viewers, {}", way(paced)), &load);
        found.rows.push(load);
    }
    if options.wants("joins") {
        let load = measure(&build, &JOINS.map(|(name, value)| [name.to_owned(), value.to_owned()]).concat(), LIMIT)?;
        let per_join = load.number("server_cpu_per_join_us")? / 1000.0;
        println!("\nCPU per join: {per_join:.2} ms ({} of {} joined)", load.text("joined"), load.text("viewers"));
        found.faults("joins", &load);
        found.rows.push(load);
    }
    if options.wants("publishers") {
        for paced in [false, true] {
            let mut wanted = vec!["--viewers", "0", "--full", "0", "--publishers", PUBLISHERS, "--duration", "10"];
            wanted.extend(paced.then_some("--paced"));
            let load = measure(&build, &wanted.into_iter().map(str::to_owned).collect::<Vec<_>>(), LIMIT)?;
            let per_packet = load.number("server_cpu_per_packet_us")?;
            println!("CPU per ingress packet: {per_packet:.1} µs ({PUBLISHERS} publishers, {})", way(paced));
            found.rows.push(load);
        }
    }
    if options.wants("readers") {
        readers(&build, &options, &mut found)?;
    }
    if options.wants("proxy") {
        found.rows.push(proxy::measure(&build, options.seconds)?);
    }
    found.finish()
}

/// What a reader of RTSP, in its connection, and one of plain RTP cost beside a viewer of WebRTC.
fn readers(build: &Build, options: &Options, found: &mut Found) -> Outcome {
    println!("\nreaders    packets/s  CPU/packet  lost  here   first picture p50      p95  memory/reader");
    for way in ["WebRTC", "RTSP", "RTP"] {
        let gateway = build.gateway(&[]);
        let mut wanted = options.load(options.viewers, false);
        match way {
            "RTSP" => wanted.extend(["--rtsp".to_owned(), gateway.rtsp("", "bench")]),
            "RTP" => wanted.extend(["--sdp".to_owned(), gateway.url("/whip/bench/sdp")]),
            _ => {}
        }
        let load = build.load(&gateway, "bench", &wanted, LIMIT)?;
        let here = load.number("dropped_here")?;
        println!(
            "{way:<9} {:>10.0}  {:>7.2} µs  {:>4.0}  {here:>4.0}  {:>15.1} ms  {:>4.1} ms  {:>9} KiB",
            load.number("packets_in_window")? / load.number("window_s")?,
            load.number("server_cpu_per_packet_us")?,
            (load.number("lost")? - here).max(0.0),
            load.number("join_p50_ms")?,
            load.number("join_p95_ms")?,
            load.text("server_memory_per_viewer_kib"),
        );
        found.faults(&format!("readers, {way}"), &load);
        found.rows.push(load);
    }
    Ok(())
}

/// Longest run of the parts of fixed length.
const LIMIT: Duration = Duration::from_secs(90);

fn way(paced: bool) -> &'static str {
    if paced { "paced" } else { "burst" }
}

/// One run of the load tool against a gateway of its own, so that no run finds what another left.
fn measure(build: &Build, wanted: &[String], limit: Duration) -> Outcome<Figures> {
    let gateway = build.gateway(&[]);
    build.load(&gateway, "bench", wanted, limit)
}

/// What the parts found.
#[derive(Default)]
struct Found {
    rows: Vec<Figures>,
    faults: Vec<String>,
}

impl Found {
    /// Keeps what should be 0 and is not, and what has no column.
    fn faults(&mut self, part: &str, load: &Figures) {
        let names = ["reordered", "duplicates", "corrupt", "misplaced", "ended_early", "server_dropped"];
        let of_one = names.iter().filter(|name| !matches!(load.text(name), "0" | "-"));
        let mut of_one: Vec<_> = of_one.map(|name| format!("{name} {}", load.text(name))).collect();
        if load.text("joined") != load.text("viewers") {
            of_one.push(format!("joined {} of {}", load.text("joined"), load.text("viewers")));
        }
        if load.text("first_error") != "-" {
            of_one.push(format!("first error: {}", load.text("first_error")));
        }
        if !of_one.is_empty() {
            self.faults.push(format!("{part}: {}", of_one.join(", ")));
        }
    }

    /// Prints the faults, and writes every figure of every run to `target/bench.json`.
    fn finish(self) -> Outcome {
        for fault in &self.faults {
            println!("! {fault}");
        }
        let runs: Vec<&BTreeMap<String, String>> = self.rows.iter().map(Figures::all).collect();
        let text = serde_json::to_string_pretty(&runs).map_err(|e| e.to_string())?;
        let path = target().join("bench.json");
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("\nall figures: {}", path.display());
        Ok(())
    }
}

const HEAD: &str = "\
viewers  publisher  packets/s  CPU/packet    floor  ratio  at pace  ratio  lost  here   transit p50      p99    join p50      p95   \
memory/viewer   late p99  load CPU
";

/// One line of the table.
struct Row<'a> {
    load: &'a Figures,
    packets: f64,
    cpu: f64,
    floor: f64,
    at_pace: f64,
    own: f64,
    lost: f64,
    here: f64,
}

impl<'a> Row<'a> {
    fn new(load: &'a Figures, floors: [&Figures; 2]) -> Outcome<Row<'a>> {
        let window = load.number("window_s")?;
        let here = load.number("dropped_here")?;
        let between = |key: &str| -> Outcome<f64> { Ok((floors[0].number(key)? + floors[1].number(key)?) / 2.0) };
        Ok(Row {
            load,
            packets: load.number("packets_in_window")? / window,
            cpu: load.number("server_cpu_per_packet_us")?,
            floor: between("batched_us")?,
            at_pace: between("at_pace_us")?,
            own: load.number("own_cpu_s")? / window,
            lost: (load.number("lost")? - here).max(0.0),
            here,
        })
    }

    fn line(&self, viewers: u64, paced: bool) -> String {
        let Row { packets, cpu, floor, at_pace, own, lost, here, .. } = self;
        let ms = |key: &str| self.load.number(key).map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let memory = format!("{} KiB", self.load.text("server_memory_per_viewer_kib"));
        format!(
            "{viewers:>7}  {:<9}  {packets:>9.0}  {cpu:>7.2} µs  {floor:>4.2} µs  {:>5.2}  {at_pace:>4.2} µs  {:>5.2}  {lost:>4.0}  {here:>4.0}  \
             {:>12} {:>8}  {:>10} {:>8}  {memory:>14}  {:>9}  {:>6.0} %",
            way(paced),
            cpu / floor,
            cpu / at_pace,
            ms("transit_p50_ms"),
            ms("transit_p99_ms"),
            ms("join_p50_ms"),
            ms("join_p95_ms"),
            ms("publisher_lateness_p99_ms"),
            own * 100.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Options, Row};

    fn options(args: &[&str]) -> Options {
        Options::parse(lexopt::Parser::from_args(args)).expect("known")
    }

    #[test]
    fn parts_decide_the_rows() {
        for (args, rows) in [
            (&[][..], vec![(100, false), (100, true)]),
            (&["--viewers", "7"], vec![(7, false), (7, true)]),
            (&["paced"], vec![(100, true)]),
            (&["joins"], vec![]),
            (&["curve", "burst"], vec![(10, false), (30, false), (100, false), (300, false), (1000, false)]),
        ] {
            assert_eq!(options(args).rows(), rows, "{args:?}");
        }
        assert_eq!(options(&["curve"]).rows().len(), 10);
        assert!(Options::parse(lexopt::Parser::from_args(["nothing"])).is_err());
    }

    #[test]
    fn what_the_load_itself_dropped_is_told_apart() {
        let load =
            "window_s=2\npackets_in_window=200\nserver_cpu_per_packet_us=3\nown_cpu_s=1\nlost=12\ndropped_here=10\n";
        let (load, floor) = (Figures::parse(load), Figures::parse("batched_us=1.5\nat_pace_us=2\n"));
        let row = Row::new(&load, [&floor, &floor]).expect("all measured");
        assert_eq!((row.lost, row.here, row.packets), (2.0, 10.0, 100.0));
        let line = row.line(100, false);
        assert!(line.contains(" 2.00 ") && line.contains(" 1.50 ") && line.contains("burst"), "{line}");
    }
}
