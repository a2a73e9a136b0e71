//! What `/openapi.json` says is what the server does: schemathesis makes requests up from it, good ones and bad ones, with
//! the offers of real clients whole and damaged, and holds every answer against it.

use std::path::Path;
use std::time::Duration;

use whipstitch_interop::{Gateway, Process, python};

/// Requests are made up for this long.
const SECONDS: &str = "40";

/// With reading the description and the report, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(180);

/// No fault of the server, and nothing that is not described: statuses, media types, header fields, bodies, methods.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance";

#[test]
fn every_answer_is_as_it_is_described() {
    let gateway = Gateway::demo(&["--token", "secret"]);
    let ready = |line: &str| line.contains("test source is publishing").then_some(());
    gateway.process().line(PATIENCE, "a stream", ready);

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // It keeps notes where it runs.
    let notes = tempfile::tempdir().expect("a folder");
    let mut run = python();
    run.current_dir(notes.path());
    run.env("SCHEMATHESIS_HOOKS", "description").env("PYTHONPATH", here.join("clients"));
    run.env("OFFERS", here.join("../crates/webrtc/tests/fixtures/offers"));
    run.args(["-m", "schemathesis.cli", "--no-color", "run", &gateway.url("/openapi.json")]);
    run.args(["--header", "Authorization: Bearer secret", "--seed", "1", "--max-time", SECONDS, "--checks", CHECKS]);
    run.args(["--phases", "coverage,fuzzing", "--continue-on-failure", "--no-shrink", "--warnings", "off"]);
    let schemathesis = Process::start("schemathesis", &run);
    let status = schemathesis.end(PATIENCE);
    let said = schemathesis.said();
    assert!(status.success() && said.contains("No issues found"), "{said}");
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
