//! Bytes that a child writes, as lines: ended by line feed, carriage return or both, at most 4 KiB of each.

/// Of a line without its end; the rest of a longer one is left out.
pub(crate) const MAX: usize = 4096;

/// How far beyond [`MAX`] a line is looked at: a secret that lies across the cut is whole before it is masked.
const MARGIN: usize = 1024;

/// What has come of the line that is not over.
#[derive(Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Gives each line that is over with these bytes to `take`, up to [`MAX`] and [`MARGIN`]; empty ones not.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.hold(&bytes[..end]);
            self.end(&mut take);
            bytes = &bytes[end + 1..];
        }
        self.hold(bytes);
    }

    /// No more will come: what there is counts as a line.
    pub(crate) fn end(&mut self, mut take: impl FnMut(&str)) {
        if !self.0.is_empty() {
            take(&String::from_utf8_lossy(&self.0));
            self.0.clear();
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (MAX + MARGIN).saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.0.len()
    }
}

/// At most [`MAX`] bytes of it.
pub(crate) fn cut(line: &str) -> &str {
    let end = (0..=MAX.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reads: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for bytes in reads {
            lines.feed(bytes, |line| out.push(line.to_owned()));
        }
        lines.end(|line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn lines_end_with_either_character_wherever_reads_are_split() {
        let text = b"one\r\ntwo\n\n\rthree\rf\xffur";
        let expected = ["one", "two", "three", "f\u{fffd}ur"];
        for at in 0..text.len() {
            assert_eq!(lines(&[&text[..at], &text[at..]]), expected, "split at {at}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_held_up_to_a_bound() {
        let mut held = Lines::default();
        for _ in 0..1000 {
            held.feed(&[b'x'; 1000], |_| panic!("no line is over"));
        }
        assert_eq!(held.held(), MAX + MARGIN);
        let mut seen = Vec::new();
        held.feed(b"yz\nnext\n", |line| seen.push(line.len()));
        assert_eq!(seen, [MAX + MARGIN, 4]);
    }

    #[test]
    fn cutting_keeps_characters_whole() {
        let line = format!("{}ü", "x".repeat(MAX - 1));
        assert_eq!(cut(&line).len(), MAX - 1);
        assert_eq!(cut("short"), "short");
    }
}
