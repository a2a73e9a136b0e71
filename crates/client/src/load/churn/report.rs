//! What comes of comings and goings, for scripts to read.

use std::fmt;

/// What came of it; the second half is faults, each 0 with a gateway that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChurnReport {
    /// Publishers that were on air.
    pub publishers: u64,
    /// Those that ended without a goodbye.
    pub killed: u64,
    /// Those that another one replaced while they sent.
    pub replaced: u64,
    /// Those that said goodbye.
    pub left: u64,
    /// Viewers that were connected.
    pub joined: u64,
    /// Viewers that were told that nobody publishes.
    pub offline: u64,
    /// Viewers that ended without a goodbye.
    pub vanished: u64,
    /// Packets that viewers received.
    pub packets: u64,
    /// Packets missing in the end, after every repair, on the streams with loss.
    pub unrepaired: u64,
    /// Sessions that could not be made, or were ended by the gateway.
    pub failed: u64,
    /// Times that a viewer of a published stream got nothing for 6 s.
    pub starved: u64,
    /// Payloads that are not what a publisher wrote.
    pub corrupt: u64,
    /// Packets missing on the stream without loss.
    pub lost: u64,
    /// Packets that came twice on that stream.
    pub duplicates: u64,
    /// Why the first session failed.
    pub first_error: Option<String>,
}

impl ChurnReport {
    pub(super) fn fail(&mut self, why: &dyn fmt::Display) {
        self.failed += 1;
        self.first_error.get_or_insert_with(|| why.to_string());
    }

    pub(super) fn add(&mut self, mut other: ChurnReport) {
        for ((_, mine), (_, theirs)) in self.figures().into_iter().zip(other.figures()) {
            *mine += *theirs;
        }
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// All counts by name.
    fn figures(&mut self) -> [(&'static str, &mut u64); 14] {
        [
            ("publishers", &mut self.publishers),
            ("killed", &mut self.killed),
            ("replaced", &mut self.replaced),
            ("left", &mut self.left),
            ("joined", &mut self.joined),
            ("offline", &mut self.offline),
            ("vanished", &mut self.vanished),
            ("packets", &mut self.packets),
            ("unrepaired", &mut self.unrepaired),
            ("failed", &mut self.failed),
            ("starved", &mut self.starved),
            ("corrupt", &mut self.corrupt),
            ("lost", &mut self.lost),
            ("duplicates", &mut self.duplicates),
        ]
    }
}

/// One `key=value` a line.
impl fmt::Display for ChurnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, figure) in self.clone().figures() {
            writeln!(f, "{name}={figure}")?;
        }
        match &self.first_error {
            Some(error) => writeln!(f, "first_error={}", error.replace('\n', " ")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_figure_by_figure() {
        let mut one = ChurnReport { joined: 2, lost: 1, ..ChurnReport::default() };
        let mut other = ChurnReport { joined: 3, duplicates: 4, ..ChurnReport::default() };
        other.fail(&"first");
        other.fail(&"second");
        one.add(other);
        let first_error = Some("first".to_owned());
        assert_eq!(
            one,
            ChurnReport { joined: 5, lost: 1, duplicates: 4, failed: 2, first_error, ..Default::default() }
        );
    }
}
