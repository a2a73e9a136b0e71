//! FFmpeg processes.

use utoipa::openapi::path::{HttpMethod, ParameterIn, PathItem};

use super::super::processes::JSON;
use super::item;
use super::operation::{Carries, Op};
use crate::access::Right;

/// Their routes.
pub(super) fn routes() -> Vec<(&'static str, PathItem)> {
    let get = |op: Op| vec![(HttpMethod::Get, op)];
    let read = |path: fn(Op) -> Op, op: Op| item("processes", get(path(op)), path(Op::options(None)));
    vec![
        ("/api/v3/process", all()),
        ("/api/v3/process/{id}", one()),
        ("/api/v3/process/{id}/config", read(of_process, config())),
        ("/api/v3/process/{id}/state", read(of_process, shows("What a process is doing", "ProcessState"))),
        ("/api/v3/process/{id}/report", read(of_process, shows("What a process has said", "ProcessReport"))),
        ("/api/v3/process/{id}/probe", read(of_process, shows("What its inputs hold; takes up to 20 s", "Probe"))),
        ("/api/v3/process/{id}/command", command()),
        ("/api/v3/process/{id}/metadata", read(of_process, kept("All that is kept with a process"))),
        ("/api/v3/process/{id}/metadata/{key}", metadata(|op| of_process(of_key(op)))),
        ("/api/v3/metadata", read(|op| op, kept("All that is kept with the server"))),
        ("/api/v3/metadata/{key}", metadata(of_key)),
        ("/api/v3/skills", read(|op| op, shows("What the installed FFmpeg can do", "Skills"))),
        ("/api/v3/skills/reload", read(|op| op, shows("The same, asked anew", "Skills"))),
    ]
}

fn op(summary: &'static str) -> Op {
    Op::new(summary).needs(Right::Control, false).fails(&[404, 503])
}

fn shows(summary: &'static str, schema: &'static str) -> Op {
    op(summary).answers(200, "as it is now", Carries::Json(schema), &[])
}

fn config() -> Op {
    op("What a process is").answers(200, "as it is now", Carries::Json("ProcessConfig"), ETAG)
}

/// It may be asked for one version only.
fn only_if(op: Op) -> Op {
    op.may_name(ParameterIn::Header, "If-Match", "do it only if the process is still the version of this `ETag`")
        .fails(&[412])
}

const ETAG: &[(&str, &str)] = &[("ETag", "the version of the process, for If-Match")];

fn kept(summary: &'static str) -> Op {
    op(summary).answers(200, "JSON by its keys, whatever was put there", Carries::Object, &[])
}

fn takes(op: Op, schema: &'static str, what: &str) -> Op {
    op.takes_json(&JSON, schema, what).fails(&[507])
}

fn of_process(op: Op) -> Op {
    op.names("id", "^[^/]{1,128}$", "the process")
}

fn of_key(op: Op) -> Op {
    op.names("key", "^.{1,256}$", "what it is kept under")
}

fn with_filter(op: Op) -> Op {
    op.may_name(
        ParameterIn::Query,
        "filter",
        "which of config, state, report and metadata to tell, with commas between",
    )
}

fn all() -> PathItem {
    let list = with_filter(op("The processes, by id"))
        .may_name(ParameterIn::Query, "reference", "only those that have this reference")
        .may_name(ParameterIn::Query, "id", "only these, with commas between; nothing if there is a reference")
        .may_name(ParameterIn::Query, "idpattern", "only those whose id looks like this, as in `cam-*`")
        .may_name(ParameterIn::Query, "refpattern", "only those whose reference looks like this")
        .answers(200, "as they are now", Carries::List("Process"), &[]);
    let add = takes(op("Define a process"), "ProcessConfig", "what it is, at most 1 MiB; unknown fields are kept")
        .answers(200, "what it is, with all fields", Carries::Json("ProcessConfig"), ETAG);
    item("processes", vec![(HttpMethod::Get, list), (HttpMethod::Post, add)], Op::options(Some(&JSON)))
}

fn one() -> PathItem {
    let get = of_process(with_filter(op("One process")));
    let get = get.answers(200, "as it is now", Carries::Json("Process"), ETAG);
    let put =
        takes(of_process(only_if(op("Change a process"))), "ProcessConfig", "what is to be another; the rest stays")
            .fails_when_declared()
            .answers(200, "what it is now", Carries::Json("ProcessConfig"), ETAG);
    let delete = of_process(only_if(op("End a process and forget it"))).fails_when_declared().fails(&[507]);
    let delete = delete.answers(200, "`OK`", Carries::String, &[]);
    let methods = vec![(HttpMethod::Get, get), (HttpMethod::Put, put), (HttpMethod::Delete, delete)];
    item("processes", methods, of_process(Op::options(Some(&JSON))))
}

fn command() -> PathItem {
    let put =
        takes(of_process(op("Tell a process to start, stop, restart or reload")), "ProcessOrder", "what it is told");
    let put = put.answers(200, "`OK`; after a stop it has ended", Carries::String, &[]);
    item("processes", vec![(HttpMethod::Put, put)], of_process(Op::options(Some(&JSON))))
}

fn metadata(path: fn(Op) -> Op) -> PathItem {
    let get = path(op("What is kept under a key").answers(200, "JSON, whatever was put there", Carries::Anything, &[]));
    let put = path(op("Keep JSON under a key")).takes_any_json(&JSON, "anything; null forgets the key").fails(&[507]);
    let put = put.answers(200, "the same", Carries::Anything, &[]);
    item("processes", vec![(HttpMethod::Get, get), (HttpMethod::Put, put)], path(Op::options(Some(&JSON))))
}
