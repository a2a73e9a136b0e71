//! What a URI names: a stream, and maybe one track of it. And what the children of processes show in it: FFmpeg shows a
//! password only to who asks for one, which a server that is open does not do.

use std::sync::Arc;

use whipstitch_media::Kind;
use whipstitch_stream::StreamKey;

/// A stream, or one of its tracks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) stream: StreamKey,
    pub(crate) track: Track,
    /// The process whose child has asked, once that is known.
    pub(crate) child: Option<Arc<str>>,
}

/// Which part of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Track {
    /// All of it.
    All,
    /// The track of this kind.
    Of(Kind),
    /// One that no stream has.
    Unknown,
}

/// The last part of a track's URI, as the description says it.
pub(crate) const fn control(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "trackID=0",
        Kind::Audio => "trackID=1",
    }
}

/// Reads `rtsp://host/live/STREAM` or `rtsp://host/STREAM`, with or without a track and a slash behind. `None`: no such
/// thing can exist.
pub(crate) fn parse(uri: &str) -> Option<Target> {
    let behind = uri.split_once("://")?.1;
    let (_, path) = behind.split_once('/')?;
    let path = path.split(['?', '#']).next()?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let (path, track) = match path.rsplit_once('/') {
        Some((before, last)) if last.starts_with("trackID=") => (before, track(last)),
        _ => (path, Track::All),
    };
    let name = path.strip_prefix("live/").unwrap_or(path);
    Some(Target { stream: StreamKey::parse(name).ok()?, track, child: None })
}

/// The credential of a child: `?process=…`. Empty is one that is nobody's.
pub(crate) fn process(uri: &str) -> Option<&str> {
    let query = uri.split('#').next()?.split_once('?')?.1;
    let shown = query.split('&').find_map(|pair| pair.strip_prefix("process="))?;
    // Behind it clients may put what names a track.
    shown.split('/').next()
}

fn track(last: &str) -> Track {
    Kind::ALL.into_iter().find(|kind| control(*kind) == last).map_or(Track::Unknown, Track::Of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_shows_its_credential_in_the_query() {
        for (uri, shown) in [
            ("rtsp://h/live/cam?process=abc", Some("abc")),
            ("rtsp://h/live/cam?x=y&process=abc&z", Some("abc")),
            ("rtsp://h/live/cam?process=abc/streamid=0", Some("abc")),
            ("rtsp://h/live/cam?process=#abc", Some("")),
            ("rtsp://h/live/cam?processes=abc", None),
            ("rtsp://h/live/process=abc", None),
            ("rtsp://h/live/cam#?process=abc", None),
        ] {
            assert_eq!(process(uri), shown, "{uri}");
        }
    }

    #[test]
    fn a_uri_names_a_stream_and_maybe_a_track() {
        let all = Some(("cam", Track::All));
        for (uri, expected) in [
            ("rtsp://h/live/cam", all),
            ("rtsp://h:8554/cam", all),
            ("rtsp://[::1]:8554/live/cam/", all),
            ("rtsp://u:p@h/cam?x=/y#z", all),
            ("rtsp://h/live/cam/trackID=0", Some(("cam", Track::Of(Kind::Video)))),
            ("rtsp://h/cam/trackID=1/", Some(("cam", Track::Of(Kind::Audio)))),
            ("rtsp://h/cam/trackID=2", Some(("cam", Track::Unknown))),
            ("rtsp://h/live", Some(("live", Track::All))),
            ("rtsp://h/other/cam", None),
            ("rtsp://h/", None),
            ("rtsp://h", None),
            ("rtsp://h/live/..", None),
            ("rtsp://h/live/a%2fb", None),
            ("cam", None),
        ] {
            let target = parse(uri);
            assert_eq!(target.as_ref().map(|target| (target.stream.as_str(), target.track)), expected, "{uri}");
        }
    }
}
