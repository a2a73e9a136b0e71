//! `/api/v3/process…`, `/api/v3/metadata…`, `/api/v3/skills…`: FFmpeg processes, with the JSON and the codes of datarhei
//! Core v16. All of it runs something or tells of it, so all of it needs [`Right::Control`].

mod shown;

use std::collections::HashSet;

use axum::Json;
use axum::extract::State as FromState;
use axum::http::Method;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use whipstitch_ffmpeg::process::{self, Command, Processes, Query};

use self::shown::{Config, State as ShownState};
pub(super) use self::shown::{Process, Report, State as ProcessState};
use super::error::Error;
use super::request::Request;
use super::{State, Takes, options};
use crate::access::Right;

/// A body of JSON, and how clients are told that.
pub(super) static JSON: Takes = Takes { field: "accept-post", media_type: "application/json" };

/// Definitions have at most as much, whatever they are merged from.
pub(super) const LARGEST: usize = 1 << 20;

pub(super) const READ: &str = "OPTIONS, GET, HEAD";
const LIST: &str = "OPTIONS, GET, HEAD, POST";
const ONE: &str = "OPTIONS, GET, HEAD, PUT, DELETE";
const COMMAND: &str = "OPTIONS, PUT";
const METADATA: &str = "OPTIONS, GET, HEAD, PUT";

/// The body of `/command`.
#[derive(Deserialize, ToSchema)]
pub(super) struct ProcessOrder {
    /// What the process is told.
    command: Command,
}

/// What a request may go on with.
enum Turn {
    /// There is nothing left to do.
    Answered(Response),
    /// The processes that it is about, and what it wants with them.
    Asks(Processes),
}

/// What holds for all of these routes, in the order of checks: method, access, whether there are processes at all, load.
fn turn(state: &State, allow: &'static str, request: &Request) -> Result<Turn, Error> {
    let method = request.method();
    let takes = allow.contains("POST") || allow.contains("PUT");
    if *method == Method::OPTIONS {
        return Ok(Turn::Answered(options(allow, takes.then_some(&JSON))));
    }
    if !allow.split(", ").any(|known| known == method.as_str()) {
        return Err(Error::Method { allow });
    }
    state.allow(Right::Control, request)?;
    let processes = state.0.settings.processes.as_ref().ok_or(Error::NoSuch("this server runs no processes"))?;
    if state.is_draining() && ![Method::GET, Method::HEAD].contains(method) {
        return Err(Error::Draining);
    }
    Ok(Turn::Asks(processes.clone()))
}

/// The route of a function that answers one, with errors as clients of datarhei Core read them.
macro_rules! route {
    ($(#[$doc:meta])* $name:ident, $allow:expr, $answer:ident) => {
        $(#[$doc])*
        pub(super) async fn $name(FromState(state): FromState<State>, request: Request) -> Response {
            let answered = match turn(&state, $allow, &request) {
                Ok(Turn::Answered(response)) => Ok(response),
                Ok(Turn::Asks(processes)) => $answer(processes, request).await,
                Err(error) => Err(error),
            };
            answered.unwrap_or_else(Error::into_core_response)
        }
    };
}

route!(
    /// All of them.
    list, LIST, of_all
);
route!(
    /// One of them.
    one, ONE, of_one
);
route!(
    /// What it is.
    config, READ, tell_config
);
route!(
    /// What it is doing.
    state, READ, tell_state
);
route!(
    /// What it has said.
    report, READ, tell_report
);
route!(
    /// What its inputs hold.
    probe, READ, tell_probe
);
route!(
    /// What it is told.
    command, COMMAND, tell
);
route!(
    /// All that is kept with it.
    all_metadata, READ, metadata_of
);
route!(
    /// What is kept with it under a key.
    metadata, METADATA, metadata_of
);
route!(
    /// All that is kept with the server.
    all_server_metadata, READ, metadata_of_server
);
route!(
    /// What is kept with the server under a key.
    server_metadata, METADATA, metadata_of_server
);
route!(
    /// What FFmpeg can do.
    skills, READ, tell_skills
);
route!(
    /// The same, asked anew.
    new_skills, READ, tell_new_skills
);

fn found(processes: &Processes, request: &Request) -> Result<std::sync::Arc<process::Process>, Error> {
    processes.get(request.name("id")).ok_or(Error::Process(process::Error::Unknown))
}

async fn body(request: &mut Request) -> Result<Vec<u8>, Error> {
    Ok(request.read(LARGEST, &JSON).await?.bytes())
}

fn json<T>(bytes: &[u8]) -> Result<T, Error>
where
    T: for<'a> Deserialize<'a>,
{
    serde_json::from_slice(bytes).map_err(|error| Error::Process(process::Unreadable::Json(error).into()))
}

async fn of_all(processes: Processes, mut request: Request) -> Result<Response, Error> {
    if *request.method() == Method::POST {
        let sent = body(&mut request).await?;
        let process = processes.add(&sent).await?;
        return Ok(defined(&process));
    }
    let (query, parts) = (query(&request)?, Parts::of(&request)?);
    let mut all = Vec::new();
    for process in processes.list(&query)? {
        all.push(parts.of_process(&processes, &process).await);
    }
    Ok(Json(all).into_response())
}

fn query(request: &Request) -> Result<Query, Error> {
    let named = |name: &'static str| {
        request.parameter(name, Error::Process(process::Error::Pattern(format!("{name} is named twice"))))
    };
    Ok(Query {
        ids: words(named("id")?).collect(),
        reference: named("reference")?,
        id_pattern: named("idpattern")?,
        reference_pattern: named("refpattern")?,
    })
}

/// What a comma divides.
fn words(text: Option<String>) -> impl Iterator<Item = String> {
    let words: Vec<String> = text.unwrap_or_default().split(',').map(str::to_owned).collect();
    words.into_iter().filter(|word| !word.is_empty())
}

/// Which parts of a process are wanted: those that `?filter=` names; all of them, if it names none.
struct Parts(HashSet<String>);

impl Parts {
    fn of(request: &Request) -> Result<Self, Error> {
        let twice = Error::Process(process::Error::Pattern("filter is named twice".to_owned()));
        Ok(Self(words(request.parameter("filter", twice)?).collect()))
    }

    fn has(&self, part: &str) -> bool {
        self.0.is_empty() || self.0.contains(part)
    }

    async fn of_process(&self, processes: &Processes, process: &process::Process) -> Process {
        let definition = process.definition();
        Process {
            id: definition.id.clone(),
            kind: definition.kind.clone(),
            reference: definition.reference.clone(),
            created_at: process.created_at(),
            updated_at: process.updated_at(),
            read_only: process.is_declared(),
            config: self.has("config").then(|| definition.clone()),
            state: self.has("state").then(|| ShownState::of(process)),
            report: self.has("report").then(|| Report::of(process.report())),
            metadata: match self.has("metadata") {
                true => processes.all_metadata(&definition.id).await.map(Value::Object),
                false => None,
            },
        }
    }
}

/// What a process is, and which version of it.
fn defined(process: &process::Process) -> Response {
    ([(header::ETAG, process.etag())], Json(Config(process.definition()))).into_response()
}

/// The versions that a request is for, if it is not for all.
fn if_match(request: &Request) -> Result<Option<&str>, Error> {
    let mut fields = request.headers().get_all(header::IF_MATCH).iter();
    match (fields.next().map(HeaderValue::to_str), fields.next()) {
        (None, _) => Ok(None),
        (Some(Ok(versions)), None) => Ok(Some(versions)),
        _ => Err(Error::Head("If-Match is there twice, or no text")),
    }
}

async fn of_one(processes: Processes, mut request: Request) -> Result<Response, Error> {
    let id = request.name("id").to_owned();
    match *request.method() {
        Method::PUT => {
            let sent = body(&mut request).await?;
            let process = processes.update(&id, &sent, if_match(&request)?).await?;
            Ok(defined(&process))
        }
        Method::DELETE => {
            processes.remove(&id, if_match(&request)?).await?;
            Ok(Json("OK").into_response())
        }
        _ => {
            let process = found(&processes, &request)?;
            let parts = Parts::of(&request)?;
            let shown = parts.of_process(&processes, &process).await;
            Ok(([(header::ETAG, process.etag())], Json(shown)).into_response())
        }
    }
}

async fn tell_config(processes: Processes, request: Request) -> Result<Response, Error> {
    Ok(defined(&*found(&processes, &request)?))
}

async fn tell_state(processes: Processes, request: Request) -> Result<Response, Error> {
    Ok(Json(ShownState::of(&*found(&processes, &request)?)).into_response())
}

async fn tell_report(processes: Processes, request: Request) -> Result<Response, Error> {
    Ok(Json(Report::of(found(&processes, &request)?.report())).into_response())
}

async fn tell_probe(processes: Processes, request: Request) -> Result<Response, Error> {
    Ok(Json(processes.probe(request.name("id")).await?).into_response())
}

async fn tell(processes: Processes, mut request: Request) -> Result<Response, Error> {
    let sent = body(&mut request).await?;
    let order: ProcessOrder = json(&sent)?;
    processes.command(request.name("id"), order.command).await?;
    Ok(Json("OK").into_response())
}

fn key(request: &Request) -> Option<&str> {
    Some(request.name("key")).filter(|key| !key.is_empty())
}

async fn metadata_of(processes: Processes, mut request: Request) -> Result<Response, Error> {
    if *request.method() != Method::PUT {
        return Ok(Json(processes.metadata(request.name("id"), key(&request)).await?).into_response());
    }
    let value: Value = json(&body(&mut request).await?)?;
    processes.set_metadata(request.name("id"), request.name("key"), value.clone()).await?;
    Ok(Json(value).into_response())
}

async fn metadata_of_server(processes: Processes, mut request: Request) -> Result<Response, Error> {
    if *request.method() != Method::PUT {
        return Ok(Json(processes.server_metadata(key(&request)).await?).into_response());
    }
    let value: Value = json(&body(&mut request).await?)?;
    processes.set_server_metadata(request.name("key"), value.clone()).await?;
    Ok(Json(value).into_response())
}

async fn tell_skills(processes: Processes, _: Request) -> Result<Response, Error> {
    Ok(Json(&*processes.skills(false).await?).into_response())
}

async fn tell_new_skills(processes: Processes, _: Request) -> Result<Response, Error> {
    Ok(Json(&*processes.skills(true).await?).into_response())
}
