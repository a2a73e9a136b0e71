//! One numbering made from another by offsets that change only at recorded points.
//!
//! Between two points output = input + constant, so gaps of the input stay gaps of the output. A packet that comes late is
//! placed by the point it belongs to; one whose place was compacted away, or whose point is no longer recorded, has no
//! place and must be dropped. Bounded: the newest `N` points, the oldest is forgotten.

/// From this input number on, outputs count from this output number.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    input: u64,
    output: u64,
}

/// The newest `N` points, oldest first; inputs and outputs both rise from point to point.
#[derive(Clone, Debug)]
pub(crate) struct Points<const N: usize> {
    points: [Point; N],
    len: usize,
}

impl<const N: usize> Points<N> {
    pub(crate) const fn new() -> Self {
        const { assert!(N > 0) };
        Self { points: [Point { input: 0, output: 0 }; N], len: 0 }
    }

    /// From now on, `input` gives `output`. Both must be above every input and output used so far; if they are not, the
    /// mapping stays one-to-one all the same and what would collide has no place.
    pub(crate) fn begin(&mut self, input: u64, output: u64) {
        let point = Point { input, output };
        // A point that no output was used of is replaced: a run of compacted packets costs one point.
        while self.recorded().last().is_some_and(|last| last.output >= output || last.input >= input) {
            self.len -= 1;
        }
        if self.len == N {
            self.points.rotate_left(1);
            self.len -= 1;
        }
        if let Some(slot) = self.points.get_mut(self.len) {
            *slot = point;
            self.len += 1;
        }
    }

    /// The output of an input; `None` if it has no place.
    pub(crate) fn map(&self, input: u64) -> Option<u64> {
        let mut limit = u64::MAX;
        for point in self.recorded().iter().rev() {
            if input >= point.input {
                let output = point.output.checked_add(input - point.input)?;
                return (output < limit).then_some(output);
            }
            limit = point.output;
        }
        None
    }

    /// The input that gives an output; `None` if none does.
    pub(crate) fn invert(&self, output: u64) -> Option<u64> {
        let mut limit = u64::MAX;
        for point in self.recorded().iter().rev() {
            if output >= point.output {
                let input = point.input.checked_add(output - point.output)?;
                return (input < limit).then_some(input);
            }
            limit = point.input;
        }
        None
    }

    fn recorded(&self) -> &[Point] {
        self.points.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_and_compacted_numbers_have_no_place() {
        let mut points = Points::<4>::new();
        assert_eq!(points.map(10), None);
        points.begin(10, 100);
        points.begin(13, 102); // 12 was compacted
        points.begin(20, 110); // one was inserted before 20
        for (input, output) in [
            (9, None),
            (10, Some(100)),
            (11, Some(101)),
            (12, None),
            (13, Some(102)),
            (19, Some(108)),
            (20, Some(110)),
            (25, Some(115)),
        ] {
            assert_eq!(points.map(input), output, "{input}");
            if let Some(output) = output {
                assert_eq!(points.invert(output), Some(input));
            }
        }
        assert_eq!(points.invert(109), None, "the inserted one comes from no input");
        assert_eq!(points.invert(99), None);
    }

    #[test]
    fn a_run_of_compacted_numbers_is_one_point() {
        let mut points = Points::<2>::new();
        points.begin(0, 0);
        for input in 11..1000 {
            points.begin(input, 10);
        }
        assert_eq!(points.map(9), Some(9));
        assert_eq!(points.map(10), None);
        assert_eq!(points.map(998), None);
        assert_eq!(points.map(999), Some(10));
    }

    #[test]
    fn the_oldest_point_is_forgotten() {
        let mut points = Points::<2>::new();
        points.begin(0, 0);
        points.begin(10, 5);
        points.begin(20, 10);
        assert_eq!(points.map(4), None);
        assert_eq!(points.map(10), Some(5));
        assert_eq!(points.map(20), Some(10));
        assert_eq!(points.invert(4), None);
    }
}
