//! What the `a=fmtp` parameters of the codecs mean for negotiation (protocol rules per codec: RFC 6184 8.1 and 8.2,
//! RFC 7798 7, RFC 9628 6, AV1 RTP 7, RFC 7587 6).
//!
//! Two questions are answered here: how well does a viewer's format fit a stream's, and which parameters go back into an
//! answer. Whether a format can be forwarded at all is the same for everybody: [`whipstitch_media::format`].

use whipstitch_media::Codec;
use whipstitch_media::format::{number, packetization_mode, parameter};

/// Which part of its codec a format is, as far as that decides whether a stream fits it: a few bytes, for they are kept with
/// every viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// There is only one.
    Any,
    /// The number of H.265's, VP9's or AV1's.
    Number(u32),
    /// H.264's.
    H264 {
        /// The packetization mode.
        mode: u32,
        /// `None` if it is unknown.
        profile: Option<H264Profile>,
        /// Nothing is said at all, as GStreamer's players do: they take whatever comes.
        silent: bool,
    },
}

impl Profile {
    /// The one that a format's parameters name.
    pub(crate) fn of(codec: Codec, format: &str) -> Profile {
        match codec {
            Codec::H264 => Profile::H264 {
                mode: packetization_mode(format),
                profile: H264Profile::of(format),
                silent: ["packetization-mode", "profile-level-id"].iter().all(|name| parameter(format, name).is_none()),
            },
            // RFC 7798 7.1: absent means the Main profile. Levels are declarations; the strictest receivers ignore them.
            Codec::H265 => Profile::Number(number(format, "profile-id", 1)),
            Codec::Vp9 => Profile::Number(number(format, "profile-id", 0)),
            Codec::Av1 => Profile::Number(number(format, "profile", 0)),
            // No offer has AAC: what browsers play is not AAC.
            Codec::Vp8 | Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Aac { .. } => Profile::Any,
        }
    }

    /// How well a viewer's format of this profile takes a stream of the `published` one, of the same codec: `None` is not at
    /// all, else less is more.
    pub(crate) fn fit(self, published: Profile) -> Option<u32> {
        match (published, self) {
            (Profile::H264 { mode, profile, .. }, Profile::H264 { mode: offered_mode, profile: offered, silent }) => {
                h264_fit((mode, profile), (offered_mode, offered), silent)
            }
            (published, offered) => (published == offered).then_some(0),
        }
    }

    /// Whether a viewer that offers this one, too, has no use for the `other` of the same codec.
    pub(crate) fn stands_for(self, other: Profile) -> bool {
        match (self, other) {
            // A decoder for mode 1 takes mode 0 too (RFC 6184 8.2.2). Browsers offer each profile in both.
            (
                Profile::H264 { mode: 1, profile: Some(own), .. },
                Profile::H264 { mode: 0, profile: Some(other), silent: false },
            ) => own == other,
            _ => false,
        }
    }
}

/// H.264 profiles, each able to decode what stands before it as far as real encoders go, so that "the closest profile
/// not below the publisher's" is a comparison. Strictly, Baseline has tools that Main lacks; encoders that say Baseline
/// (42001f) do not use them. Levels are not compared: encoders and browsers misstate them, and asymmetry is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    High10,
    High422,
    High444,
}

impl H264Profile {
    /// The profile of a `profile-level-id` (RFC 6184 8.1, table 5). A missing one or one that is not six hexadecimal
    /// digits is unknown rather than wrong: FFmpeg 8.0 writes seven for constrained profiles.
    fn of(format: &str) -> Option<H264Profile> {
        let digits = parameter(format, "profile-level-id")?;
        if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let [_, idc, constraints, _] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        let set = |number: u8| constraints & (0x80 >> number) != 0;
        match idc {
            66 if set(1) => Some(H264Profile::ConstrainedBaseline),
            66 => Some(H264Profile::Baseline),
            77 if set(0) => Some(H264Profile::ConstrainedBaseline),
            77 => Some(H264Profile::Main),
            88 if set(0) && set(1) => Some(H264Profile::ConstrainedBaseline),
            100 if set(4) && set(5) => Some(H264Profile::ConstrainedHigh),
            100 => Some(H264Profile::High),
            110 => Some(H264Profile::High10),
            122 => Some(H264Profile::High422),
            244 => Some(H264Profile::High444),
            _ => None,
        }
    }
}

/// First choice is the same packetization mode and the closest profile that is not below the publisher's; then, loosely
/// (Firefox offers constrained baseline only, yet plays what OBS and FFmpeg send), any mode 1 with the nearest profile.
fn h264_fit(
    (published_mode, published): (u32, Option<H264Profile>),
    (offered_mode, offered): (u32, Option<H264Profile>),
    silent: bool,
) -> Option<u32> {
    let same_mode = published_mode == offered_mode;
    // A decoder for mode 1 takes mode 0 too, not the other way round (RFC 6184 8.2.2).
    if !same_mode && offered_mode != 1 && !silent {
        return None;
    }
    let (below, distance) = match (published, offered) {
        (Some(published), Some(offered)) => (offered < published, (offered as u32).abs_diff(published as u32)),
        // Unknown on the publisher's side says nothing against any of the viewer's; the offer's order decides.
        (None, _) => (false, 0),
        // Worse than every known profile: there are eight of them.
        (Some(_), None) => (true, 8),
    };
    Some(u32::from(below) * 100 + u32::from(!same_mode) * 10 + distance)
}

/// The parameters of an offered format that go back into the answer: those a receiver and a sender must agree on. The
/// others are declarations of the offerer about itself, and would only use up the answer's 8191 bytes.
pub(super) fn answered(codec: Codec, offered: &str) -> String {
    // The longest legal value, a `maxaveragebitrate` or a `profile-level-id`, has six characters.
    const LONGEST_VALUE: usize = 16;
    let names: &[&str] = match codec {
        Codec::H264 => &["level-asymmetry-allowed", "packetization-mode", "profile-level-id"],
        Codec::H265 => &["profile-id", "tier-flag", "level-id", "tx-mode"],
        Codec::Vp9 => &["profile-id"],
        Codec::Av1 => &["profile", "level-idx", "tier"],
        Codec::Opus => {
            &["minptime", "useinbandfec", "usedtx", "stereo", "sprop-stereo", "maxaveragebitrate", "maxplaybackrate"]
        }
        Codec::Vp8 | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Aac { .. } => &[],
    };
    let printable = |value: &str| {
        (1..=LONGEST_VALUE).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let kept: Vec<String> = names
        .iter()
        .filter_map(|name| Some((name, parameter(offered, name)?)))
        .filter(|(_, value)| printable(value))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    kept.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_a_list_with_optional_blanks_in_any_order_and_case() {
        let format = "Profile-Level-ID=42e01f ; packetization-mode = 1;;x; level-asymmetry-allowed=1 ";
        assert_eq!(parameter(format, "profile-level-id"), Some("42e01f"));
        assert_eq!(parameter(format, "packetization-mode"), Some("1"));
        assert_eq!(parameter(format, "level-asymmetry-allowed"), Some("1"));
        assert_eq!(parameter(format, "x"), Some(""));
        assert_eq!(parameter(format, "y"), None);
    }

    #[test]
    fn profiles_follow_table_5_of_rfc_6184() {
        use H264Profile::*;
        for (id, profile) in [
            ("42e01f", Some(ConstrainedBaseline)),
            ("42c01f", Some(ConstrainedBaseline)),
            ("4d801f", Some(ConstrainedBaseline)),
            ("58c01f", Some(ConstrainedBaseline)),
            ("42001f", Some(Baseline)),
            ("4D001F", Some(Main)),
            ("640c1f", Some(ConstrainedHigh)),
            ("64001f", Some(High)),
            ("6e001f", Some(High10)),
            ("7a001f", Some(High422)),
            ("f4001f", Some(High444)),
            // Seven digits (FFmpeg 8.0), too few, no digits, a profile nobody has.
            ("422001f", None),
            ("42e0", None),
            ("+2e01f", None),
            ("zzzzzz", None),
            ("010000", None),
        ] {
            assert_eq!(H264Profile::of(&format!("profile-level-id={id}")), profile, "{id}");
        }
        assert_eq!(H264Profile::of(""), None);
    }

    #[test]
    fn only_parameters_both_sides_must_agree_on_are_answered() {
        for (codec, offered, expected) in [
            (
                Codec::H264,
                "sprop-parameter-sets=Z0IAH5Y1QKALdNwEBAQI,aM48gA==;packetization-mode=1;profile-level-id=42c01f",
                "packetization-mode=1;profile-level-id=42c01f",
            ),
            // FFmpeg's seven digits come back as they are.
            (Codec::H264, "profile-level-id=422001f", "profile-level-id=422001f"),
            (Codec::Opus, "minptime=10;useinbandfec=1;stereo=1", "minptime=10;useinbandfec=1;stereo=1"),
            (Codec::Opus, "x-secret=1;minptime=10\"", ""),
            (Codec::Opus, "minptime=10000000000000000000000000", ""),
            (Codec::Vp8, "max-fs=12288;max-fr=60", ""),
        ] {
            assert_eq!(answered(codec, offered), expected, "{offered}");
        }
    }
}
