//! WHIP and WHEP at all their places.

use utoipa::openapi::path::{HttpMethod, ParameterIn, PathItem};

use super::super::mounts::{MOUNTS, Manners, Mount};
use super::super::offer::{FRAGMENT, OFFER};
use super::item;
use super::operation::{Carries, Op};
use crate::access::Right;
use crate::media::Role;

/// What is a stream's name.
pub(super) const STREAM: &str = "^[A-Za-z0-9._-]{1,128}$";

/// Every route of WHIP and WHEP.
pub(super) fn routes() -> Vec<(&'static str, PathItem)> {
    let of = |mount: &'static Mount| [(mount.endpoint, endpoint(mount)), (mount.session, session(mount))];
    MOUNTS.iter().flat_map(of).chain([("/whip/{stream}/sdp", sdp())]).collect()
}

fn sdp() -> PathItem {
    let named = |op: Op| op.names("stream", STREAM, "the stream");
    let get = named(Op::new("An SDP for FFmpeg on this machine, with ports leased to it"));
    let wished = "the payload type to send with, 96 to 127";
    let get = get.may_name(ParameterIn::Query, "video_pt", wished).may_name(ParameterIn::Query, "audio_pt", wished);
    let get = get.needs(Right::Play, true).asks().fails(&[400, 404, 409]);
    let get = get.answers(200, "what will come to the ports", Carries::Text(OFFER.media_type), &[]);
    item("watch", vec![(HttpMethod::Get, get)], named(Op::options(None)))
}

fn endpoint(mount: &Mount) -> PathItem {
    let (tag, right) = match mount.role {
        Role::Publisher => ("publish", Right::Publish),
        Role::Subscriber => ("watch", Right::Play),
    };
    let named = |op: Op| {
        let op = op.needs(right, true);
        match mount.endpoint.contains("{stream}") {
            true => op.names("stream", STREAM, "the stream"),
            false => op.may_name(ParameterIn::Query, "stream", "the stream; needed").may_name(
                ParameterIn::Query,
                "app",
                "with another than `live` the stream is called `{app}.{stream}`",
            ),
        }
    };
    let accepted = [
        ("Location", "the session URL: a secret, good for PATCH and DELETE"),
        ("ETag", "for If-Match"),
        ("Accept-Patch", "what a PATCH of the session takes"),
        ("Link", "a STUN or TURN server (rel=ice-server), once for each URL"),
    ];
    let post = match mount.role {
        Role::Publisher => Op::new("Publish: an offer, sendonly"),
        Role::Subscriber => Op::new("Watch: an offer, recvonly"),
    };
    let takes = match mount.role {
        Role::Publisher => "the SDP offer, at most 64 KiB; of WebRTC, or of plain RTP (RTP/AVP) as `plain_rtp` allows",
        Role::Subscriber => "the SDP offer, at most 64 KiB",
    };
    let post = named(post).asks().takes(&OFFER, takes).fails(&[404, 409, 422]).answers(
        201,
        "the SDP answer",
        Carries::Text(OFFER.media_type),
        &accepted,
    );
    let get = named(Op::new("Whether this is an endpoint and the token is right")).fails(&[404]);
    let get = match mount.role {
        Role::Publisher => get.answers(204, "it is", Carries::Nothing, &[]),
        Role::Subscriber => get.answers(200, "it is; the body is empty", Carries::Text(OFFER.media_type), &[]),
    };
    let mut methods = vec![(HttpMethod::Post, post), (HttpMethod::Get, get)];
    if mount.role == Role::Publisher {
        let delete = named(Op::new("End whoever publishes the stream")).asks().fails(&[404]);
        let delete = match mount.manners {
            Manners::Core => delete.answers(204, "nobody publishes it any more", Carries::Nothing, &[]),
            Manners::Standard => delete.answers(200, "ended", Carries::Nothing, &[]),
        };
        methods.push((HttpMethod::Delete, delete));
    }
    let options = Op::options(Some(&OFFER));
    let options = match mount.endpoint.contains("{stream}") {
        true => options.names("stream", STREAM, "the stream"),
        false => options,
    };
    item(tag, methods, options)
}

fn session(mount: &Mount) -> PathItem {
    let named = |op: Op| {
        op.names("stream", STREAM, "the stream").names("session", "^[^/]+$", "the secret last part of the session URL")
    };
    let used = |summary| named(Op::new(summary)).needs(Right::Session(mount.role), true).asks().fails(&[404]);
    let get = used("Whether the session lives").answers(204, "it does", Carries::Nothing, &[]);
    let patch = used("Trickle candidates, or restart ICE")
        .takes(&FRAGMENT, "a fragment (RFC 8840), at most 16 KiB")
        .may_name(ParameterIn::Header, "If-Match", "the ETag of the session, or * for a restart")
        .fails(&[405, 412, 422, 428])
        .answers(204, "the candidates are known", Carries::Nothing, &[])
        .answers(200, "ICE restarts: our half", Carries::Text(FRAGMENT.media_type), &[("ETag", "the new one")]);
    let delete = used("End the session");
    let delete = match mount.manners {
        Manners::Core => delete.answers(204, "it is over", Carries::Nothing, &[]),
        Manners::Standard => delete.answers(200, "ended", Carries::Nothing, &[]),
    };
    let methods = vec![(HttpMethod::Get, get), (HttpMethod::Patch, patch), (HttpMethod::Delete, delete)];
    let tag = if mount.role == Role::Publisher { "publish" } else { "watch" };
    item(tag, methods, named(Op::options(Some(&FRAGMENT))))
}
