//! Patterns of stream names: `*` stands for any run of characters, also none; everything else for itself.

use std::fmt;

use whipstitch_stream::StreamKey;

/// One pattern, such as `cam-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern from its text.
    ///
    /// # Errors
    /// It could match no stream name. The text says so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte);
        if (1..=StreamKey::MAX_LEN).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no pattern: 1 to {} of A-Z a-z 0-9 . _ - and *", StreamKey::MAX_LEN))
    }

    /// Whether the whole name is what the pattern says.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut name) = (self.0.as_bytes(), name.as_bytes());
        // Where to go on when the rest does not fit: after the last `*`, one character of the name further.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern.split_first(), name.split_first()) {
                (None, None) => return true,
                (Some((b'*', rest)), _) => {
                    retry = Some((rest, name));
                    pattern = rest;
                }
                (Some((one, rest)), Some((other, further))) if one == other => (pattern, name) = (rest, further),
                _ => {
                    let Some((after, from)) = retry else { return false };
                    let Some((_, further)) = from.split_first() else { return false };
                    retry = Some((after, further));
                    (pattern, name) = (after, further);
                }
            }
        }
    }

    /// Whether it means all names.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters_and_nothing_else_is_special() {
        for (pattern, name, expected) in [
            ("cam", "cam", true),
            ("cam", "cam1", false),
            ("cam", "Cam", false),
            ("cam-*", "cam-", true),
            ("cam-*", "cam-1.b", true),
            ("cam-*", "cam", false),
            ("*", "anything", true),
            ("**", "anything", true),
            ("*-a-*", "x-a-a-y", true),
            ("*-a", "x-a-a", true),
            ("*-a", "x-a-b", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_could_match_nothing_is_no_pattern() {
        for text in ["", "a b", "a/*", "[ab]", "käse", &"x".repeat(129)] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = Pattern::parse(&"*a".repeat(64)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(127))));
    }
}
