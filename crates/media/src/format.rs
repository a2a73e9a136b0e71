//! Format parameters: the text behind the payload type in `a=fmtp` (RFC 8866 6.15).
//!
//! A list with `;` between its items, blanks optional, names compared without case. It is kept as the text it came in;
//! what is asked of it, and changed in it, is here. Total over any text.

use crate::Codec;

/// The value of one parameter; a parameter without `=` has the empty value.
pub fn parameter<'a>(format: &'a str, name: &str) -> Option<&'a str> {
    parameters(format).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Every parameter with its value.
pub fn parameters(format: &str) -> impl Iterator<Item = (&str, &str)> {
    format.split(';').map(str::trim).filter(|item| !item.is_empty()).map(|item| match item.split_once('=') {
        Some((key, value)) => (key.trim_end(), value.trim_start()),
        None => (item, ""),
    })
}

/// The value as a number; `default` where the parameter is missing or is no number.
pub fn number(format: &str, name: &str, default: u32) -> u32 {
    parameter(format, name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// H.264's packetization mode (RFC 6184 8.1): absent means 0, single NAL unit mode.
pub fn packetization_mode(format: &str) -> u32 {
    number(format, "packetization-mode", 0)
}

/// Whether packets of this format are understood here. What is not is treated like an unknown codec.
pub fn is_carried(codec: Codec, format: &str) -> bool {
    match codec {
        // RFC 6184 6.4: mode 2 is interleaved and needs decoding-order numbers; nobody in the browser world sends it.
        Codec::H264 => packetization_mode(format) <= 1,
        // DONL fields and multi-stream transmission do not exist in WebRTC (RFC 7798 7.1).
        Codec::H265 => {
            number(format, "sprop-max-don-diff", 0) == 0
                && parameter(format, "tx-mode").is_none_or(|mode| mode.eq_ignore_ascii_case("SRST"))
        }
        // Profiles 1 and 3 are 4:2:2 and 4:4:4: no browser plays what they would send.
        Codec::Vp9 => matches!(number(format, "profile-id", 0), 0 | 2),
        // RFC 3640 3.3.6, and 4.1: a decoder cannot be set up without the configuration.
        Codec::Aac { .. } => {
            parameter(format, "mode").is_some_and(|mode| mode.eq_ignore_ascii_case("AAC-hbr"))
                && parameter(format, "config").is_some_and(is_configuration)
        }
        Codec::Vp8 | Codec::Av1 | Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 => true,
    }
}

/// An AudioSpecificConfig in hexadecimal (ISO/IEC 14496-3 1.6.2.1): 2 bytes of AAC-LC up to some 20 with extensions.
fn is_configuration(value: &str) -> bool {
    (4..=128).contains(&value.len())
        && value.len().is_multiple_of(2)
        && value.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// A list of parameters that is changed.
pub(crate) struct Parameters<'a>(Vec<(&'a str, String)>);

impl<'a> Parameters<'a> {
    pub(crate) fn of(format: &'a str) -> Self {
        Self(parameters(format).map(|(name, value)| (name, value.to_owned())).collect())
    }

    /// Gives a parameter this value in its place, or at the end; with an empty value it goes.
    pub(crate) fn set(&mut self, name: &'a str, value: impl Into<String>) {
        let value = value.into();
        let place = self.0.iter().position(|(key, _)| key.eq_ignore_ascii_case(name));
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.0.insert(place.unwrap_or(self.0.len()).min(self.0.len()), (name, value));
        }
    }

    pub(crate) fn into_text(self) -> String {
        let items = self
            .0
            .into_iter()
            .map(|(name, value)| if value.is_empty() { name.into() } else { format!("{name}={value}") });
        items.collect::<Vec<_>>().join(";")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_blanks_mean_nothing() {
        let format = " Config=1210 ;mode = AAC-hbr; useinbandfec;;x=a=b";
        for (name, value) in [
            ("config", Some("1210")),
            ("mode", Some("AAC-hbr")),
            ("USEINBANDFEC", Some("")),
            ("x", Some("a=b")),
            ("y", None),
        ] {
            assert_eq!(parameter(format, name), value, "{name}");
        }
    }

    #[test]
    fn a_parameter_is_changed_in_its_place() {
        let mut format = Parameters::of("a=1; B=2 ;flag;b=3");
        format.set("b", "9");
        format.set("c", "4");
        format.set("a", "");
        assert_eq!(format.into_text(), "b=9;flag;c=4");
    }

    #[test]
    fn formats_that_cannot_be_forwarded_are_not_carried() {
        for (codec, format, carried) in [
            (Codec::H264, "", true),
            (Codec::H264, "packetization-mode=1", true),
            (Codec::H264, "packetization-mode=2", false),
            (Codec::H265, "", true),
            (Codec::H265, "tx-mode=srst;sprop-max-don-diff=0", true),
            (Codec::H265, "tx-mode=MRST", false),
            (Codec::H265, "sprop-max-don-diff=1", false),
            (Codec::Vp9, "", true),
            (Codec::Vp9, "profile-id=2", true),
            (Codec::Vp9, "profile-id=1", false),
            (Codec::Opus, "stereo=1", true),
        ] {
            assert_eq!(is_carried(codec, format), carried, "{codec} {format}");
        }
    }

    #[test]
    fn aac_needs_the_configuration_of_its_decoder() {
        let aac = Codec::Aac { clock_rate: 48_000, channels: 2 };
        for (format, carried) in [
            ("profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190", true),
            ("mode=aac-HBR;config=119056e500", true),
            ("mode=AAC-hbr", false),
            ("mode=AAC-hbr;config=", false),
            ("mode=AAC-hbr;config=119", false),
            ("mode=AAC-hbr;config=11zz", false),
            ("mode=generic;config=1190", false),
            ("", false),
        ] {
            assert_eq!(is_carried(aac, format), carried, "{format}");
        }
    }
}
