//! Bounds of SDP text, and the look-ups in it that `sdp-types` does more strictly than senders write.

use sdp_types::Attribute;

/// Chrome's longest offers are around 10 KiB.
const MOST_BYTES: usize = 64 * 1024;
const MOST_LINES: usize = 1000;
/// The longest real lines are H.264 parameter sets and candidates, below 500 bytes.
const LONGEST_LINE: usize = 4 * 1024;

/// Sections of one description; more are not taken.
pub const MOST_SECTIONS: usize = 16;

/// What can be said against a text before it is parsed: it is too long, or no SDP at all. `what` names it: "the offer".
///
/// # Errors
/// A sentence for whoever sent it.
pub fn check(text: &str, what: &str) -> Result<(), String> {
    if text.len() > MOST_BYTES {
        return Err(format!("{what} has {} bytes; no more than {MOST_BYTES} are taken", text.len()));
    }
    if text.lines().next() != Some("v=0") {
        return Err(format!("{what} does not begin with the line v=0 (RFC 8866 5.1); is the body SDP?"));
    }
    for (index, line) in text.lines().enumerate() {
        if index >= MOST_LINES {
            return Err(format!("{what} has more than {MOST_LINES} lines"));
        }
        if line.len() > LONGEST_LINE {
            return Err(format!("line {} of {what} is longer than {LONGEST_LINE} bytes", index + 1));
        }
    }
    Ok(())
}

/// The values of every attribute called `name`; names are case-sensitive (RFC 8866 5.13).
pub fn values<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.attribute.trim_end() == name)
        .map(|attribute| attribute.value.as_deref().unwrap_or_default().trim())
}

/// The format parameters of a payload type; empty without.
pub fn fmtp(attributes: &[Attribute], pt: u8) -> &str {
    values(attributes, "fmtp")
        .filter_map(|value| value.split_once(' '))
        .find(|(number, _)| number.parse() == Ok(pt))
        .map_or("", |(_, parameters)| parameters.trim())
}

/// A stranger's word as it may stand in an error or a log: bounded, and without control characters.
pub fn shown(word: &str) -> String {
    // No codec, profile or mid in use comes near 40 characters.
    const LONGEST: usize = 40;
    let mut text: String = word.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if word.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}
