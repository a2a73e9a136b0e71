//! Lists, statistics, probes, metrics, and the description itself.

use utoipa::openapi::Required;
use utoipa::openapi::path::{HttpMethod, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::super::offer::OFFER;
use super::item;
use super::media::STREAM;
use super::operation::{Carries, Op};
use crate::access::Right;

/// What is a session's id in the API.
const SESSION: &str = "^[0-9a-f]{16}$";

/// Their routes.
pub(super) fn routes() -> Vec<(&'static str, PathItem)> {
    let get = |tag, op: Op| item(tag, vec![(HttpMethod::Get, op)], Op::options(None));
    let list = |summary, schema| {
        let op = Op::new(summary).needs(Right::Observe, false).asks();
        op.answers(200, "as it is now", Carries::Json(schema), &[])
    };
    vec![
        ("/api/v3/webrtc/stats", get("api", list("How much there is", "Numbers"))),
        ("/api/v1/streams", get("api", list("All streams", "Streams"))),
        ("/api/v1/streams/{stream}", stream()),
        ("/api/v1/streams/{stream}/rtp", rtp()),
        ("/api/v1/sessions", get("api", in_state(list("All sessions, or those that ended lately", "Sessions")))),
        ("/api/v1/sessions/{session}", session()),
        ("/metrics", get("operation", metrics())),
        ("/openapi.json", get("operation", description())),
        ("/healthz", get("operation", status("Whether the process answers"))),
        ("/readyz", get("operation", ready())),
    ]
}

fn stream() -> PathItem {
    let named = |op: Op| op.names("stream", STREAM, "the stream");
    let op = named(Op::new("One stream")).needs(Right::Observe, false).asks().fails(&[404]);
    let op = op.answers(200, "as it is now", Carries::Json("Stream"), &[]);
    item("api", vec![(HttpMethod::Get, op)], named(Op::options(None)))
}

fn rtp() -> PathItem {
    let named = |op: Op| op.names("stream", STREAM, "the stream");
    let of = |summary| named(Op::new(summary)).needs(Right::Publish, true).asks();
    let get = of("Where plain RTP is taken for the stream").fails(&[404]);
    let get = get.answers(200, "as it is now", Carries::Json("RtpInput"), &[]);
    let post = of("Feed the stream by plain RTP, at ports that are leased for it")
        .takes(&OFFER, "an SDP of what will be sent (RTP/AVP), at most 64 KiB; its ports mean nothing")
        .fails(&[404, 409, 422, 429])
        .answers(201, "where to send it", Carries::Json("RtpInput"), &[("Location", "this URL")]);
    let delete = of("End it; its ports are free at once").fails(&[404, 409, 429]);
    let delete = delete.answers(204, "ended", Carries::Nothing, &[]);
    let methods = vec![(HttpMethod::Get, get), (HttpMethod::Post, post), (HttpMethod::Delete, delete)];
    item("publish", methods, named(Op::options(Some(&OFFER))))
}

fn in_state(op: Op) -> Op {
    let states = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["open", "closed"])).build();
    op.parameter(
        ParameterIn::Query,
        "state",
        states,
        Required::False,
        "`closed`: those that ended in the last ten minutes, at most 1024, the latest first",
    )
}

fn session() -> PathItem {
    let named = |op: Op| op.names("session", SESSION, "the session's id in the lists");
    let one = named(Op::new("One session, also if it ended lately")).needs(Right::Observe, false).asks();
    let one = one.fails(&[404]).answers(200, "as it is now, or was last", Carries::Json("Listed"), &[]);
    let kick = named(Op::new("End a session")).needs(Right::Control, false).asks();
    let kick = kick.fails(&[404]).answers(204, "it ends", Carries::Nothing, &[]);
    item("api", vec![(HttpMethod::Get, one), (HttpMethod::Delete, kick)], named(Op::options(None)))
}

fn metrics() -> Op {
    let op = Op::new("Numbers for Prometheus").needs(Right::Observe, false).asks();
    op.answers(200, "the text format 0.0.4", Carries::Text("text/plain"), &[])
}

fn description() -> Op {
    let op = Op::new("This description").needs(Right::Observe, true);
    op.answers(200, "OpenAPI 3.1", Carries::Object, &[])
}

fn status(summary: &'static str) -> Op {
    Op::new(summary).answers(200, "it does", Carries::Object, &[])
}

fn ready() -> Op {
    status("Whether new sessions are taken").answers(503, "the server is stopping", Carries::Object, &[])
}
