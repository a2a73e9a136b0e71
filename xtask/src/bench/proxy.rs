//! The part `proxy`: what its relay of datagrams costs beside a plain one, adds in time, and holds for each session.

use crate::Outcome;
use crate::whipstitch::{Build, Figures};

/// Longest time of one load; there are six of them.
const MOST_SECONDS: u64 = 6;

/// What is sent, by the names of the figures.
const WAYS: [(&str, &str); 3] =
    [("runs", "to 100 viewers, in runs"), ("single", "to 100 viewers, one by one"), ("up", "from 10 publishers")];

pub(super) fn measure(build: &Build, seconds: u64) -> Outcome<Figures> {
    let figures = build.relay(seconds.min(MOST_SECONDS))?;
    println!("\nproxy                       datagrams/s  CPU/datagram  plain relay  ratio  lost  plain lost");
    for (way, what) in WAYS {
        println!("{}", line(&figures, way, what)?);
    }
    let number = |key: &str| figures.number(key);
    let times = |share: &str| -> Outcome<String> {
        let of = |way: &str| figures.number(&format!("{way}_{share}_us"));
        Ok(format!("{:.0} µs through the relay, {:.0} plain, {:.0} without", of("relay")?, of("plain")?, of("direct")?))
    };
    println!("one datagram, p50: {}; p99: {}", times("p50")?, times("p99")?);
    println!(
        "{:.0} sessions a second, {:.1} µs CPU and {:.1} KiB each",
        number("sessions_per_second")?,
        number("cpu_per_session_us")?,
        number("memory_per_session_bytes")? / 1024.0,
    );
    Ok(figures)
}

fn line(figures: &Figures, way: &str, what: &str) -> Outcome<String> {
    let number = |key: &str| figures.number(&format!("{way}_{key}"));
    Ok(format!(
        "{what:<26}  {:>11.0}  {:>9.2} µs  {:>8.2} µs  {:>5.2}  {:>4.0}  {:>10.0}",
        number("per_second")?,
        number("relay_us")?,
        number("plain_us")?,
        number("ratio")?,
        number("relay_lost")?,
        number("plain_lost")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::{Figures, line};

    #[test]
    fn a_line_has_every_figure_of_its_way() {
        let text =
            "up_per_second=2700\nup_relay_us=1.5\nup_plain_us=3\nup_ratio=0.5\nup_relay_lost=7\nup_plain_lost=8\n";
        let line = line(&Figures::parse(text), "up", "from 10 publishers").expect("all measured");
        for figure in ["from 10 publishers", " 2700 ", " 1.50 µs", " 3.00 µs", " 0.50 ", " 7 "] {
            assert!(line.contains(figure), "{line}");
        }
        assert!(super::line(&Figures::parse(text), "down", "").is_err());
    }
}
