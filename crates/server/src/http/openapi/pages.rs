//! Pages and their files.

use utoipa::openapi::path::{HttpMethod, ParameterIn, PathItem};

use super::item;
use super::media::STREAM;
use super::operation::{Carries, Op};
use crate::access::Right;

const HTML: &str = "text/html";

/// Their routes.
pub(super) fn routes() -> Vec<(&'static str, PathItem)> {
    vec![
        ("/", page(Op::new("What is live"))),
        ("/processes", page(Op::new("FFmpeg processes"))),
        ("/watch", nameless()),
        ("/publish", nameless()),
        ("/watch/{stream}", of_stream("Watch a stream")),
        ("/publish/{stream}", of_stream("Publish a stream")),
        ("/docs", page(Op::new("A browser for this description").needs(Right::Observe, true)).clone()),
        ("/docs/{file}", file("Its files")),
        ("/assets/{file}", file("Scripts, styles and pictures of the pages")),
    ]
}

fn page(op: Op) -> PathItem {
    let op = op.answers(200, "the page", Carries::Text(HTML), &[]);
    item("pages", vec![(HttpMethod::Get, op)], Op::options(None))
}

fn nameless() -> PathItem {
    let op = Op::new("To the page with a field for the name");
    let op = op.may_name(ParameterIn::Query, "token", "goes along");
    let op = op.answers(307, "there", Carries::Nothing, &[("Location", "the start page")]);
    item("pages", vec![(HttpMethod::Get, op)], Op::options(None))
}

/// An illegal name is 400 with the page, which tells a person what is wrong with it.
fn of_stream(summary: &'static str) -> PathItem {
    let named = |op: Op| op.names("stream", STREAM, "the stream");
    let op = named(Op::new(summary)).may_name(ParameterIn::Query, "token", "for the stream, if it needs one");
    let op = op.answers(200, "the page", Carries::Text(HTML), &[]);
    let op = op.answers(400, "the page, which says what is wrong with the name", Carries::Text(HTML), &[]);
    item("pages", vec![(HttpMethod::Get, op)], named(Op::options(None)))
}

fn file(summary: &'static str) -> PathItem {
    let named = |op: Op| op.names("file", "^[^/]+$", "its name").fails(&[404]);
    let op = named(Op::new(summary)).may_name(ParameterIn::Header, "If-None-Match", "the ETag at hand");
    let op = op.answers(200, "the file", Carries::Text("*/*"), &[("ETag", "for If-None-Match")]);
    let op = op.answers(304, "the file at hand is the current one", Carries::Nothing, &[("ETag", "the same")]);
    item("pages", vec![(HttpMethod::Get, op)], named(Op::options(None)))
}
