//! One method of one route: what it takes and every status it may answer with.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Ref, RefOr, Required, Response, ResponseBuilder, Schema};

use super::super::Takes;
use super::{BEARER, QUERY};
use crate::access::Right;

/// A method on its way into the description.
#[derive(Clone)]
pub(super) struct Op {
    summary: &'static str,
    tag: &'static str,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    security: Vec<SecurityRequirement>,
    responses: BTreeMap<u16, Response>,
}

/// What an answer carries.
pub(super) enum Carries {
    Nothing,
    /// Text of this media type.
    Text(&'static str),
    /// JSON of this schema.
    Json(&'static str),
    /// A JSON array of this schema.
    List(&'static str),
    /// A JSON text.
    String,
    /// JSON of some object.
    Object,
    /// Any JSON.
    Anything,
}

impl Op {
    /// Something that may go wrong as every request may: a head that is none, a fault of the server.
    pub(super) fn new(summary: &'static str) -> Self {
        let op = Self {
            summary,
            tag: "",
            parameters: Vec::new(),
            body: None,
            security: Vec::new(),
            responses: BTreeMap::new(),
        };
        op.fails(&[400, 500])
    }

    /// The answer to OPTIONS.
    pub(super) fn options(takes: Option<&'static Takes>) -> Self {
        let mut fields = vec![("Allow", "the methods of this URL")];
        fields.extend(takes.map(|takes| (takes.field, "the media type of a body")));
        Self::new("The methods, for clients and browsers' preflights").answers(200, "asked", Carries::Nothing, &fields)
    }

    pub(super) fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// It needs this right, by a header field or, on media routes and pages, in the query.
    pub(super) fn needs(mut self, right: Right, query: bool) -> Self {
        // Without a token configured, or on this machine, none is needed.
        let open = !matches!(right, Right::Control);
        self.security.extend(open.then(SecurityRequirement::default));
        self.security.push(SecurityRequirement::new(BEARER, [""; 0]));
        self.security.extend(query.then(|| SecurityRequirement::new(QUERY, [""; 0])));
        self.fails(&[401, 403, 429])
    }

    /// It asks the media plane, which may be overloaded.
    pub(super) fn asks(self) -> Self {
        self.fails(&[503])
    }

    /// It is told this, a placeholder of the path with this pattern.
    pub(super) fn names(self, name: &'static str, pattern: &str, what: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build();
        self.parameter(ParameterIn::Path, name, schema, Required::True, what)
    }

    /// It may be told this.
    pub(super) fn may_name(self, place: ParameterIn, name: &'static str, what: &str) -> Self {
        self.parameter(place, name, text(), Required::False, what)
    }

    /// It is told this.
    pub(super) fn parameter(
        mut self,
        place: ParameterIn,
        name: &'static str,
        schema: impl Into<RefOr<Schema>>,
        required: Required,
        what: &str,
    ) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).schema(Some(schema)).required(required);
        self.parameters.push(parameter.description(Some(what)).build());
        self
    }

    /// It takes a body.
    pub(super) fn takes(self, takes: &Takes, what: &str) -> Self {
        self.takes_content(takes, Content::new(Some(text())), what)
    }

    /// It takes a body of JSON of this schema.
    pub(super) fn takes_json(self, takes: &Takes, schema: &'static str, what: &str) -> Self {
        self.takes_content(takes, Content::new(Some(Ref::from_schema_name(schema))), what)
    }

    /// It takes a body of any JSON.
    pub(super) fn takes_any_json(self, takes: &Takes, what: &str) -> Self {
        self.takes_content(takes, Content::new(None::<RefOr<Schema>>), what)
    }

    fn takes_content(mut self, takes: &Takes, content: Content, what: &str) -> Self {
        let body = RequestBodyBuilder::new().content(takes.media_type, content).required(Some(Required::True));
        self.body = Some(body.description(Some(what)).build());
        self.fails(&[408, 413, 415])
    }

    /// It may succeed like this; header fields with what they say.
    pub(super) fn answers(
        mut self,
        status: u16,
        what: &str,
        carries: Carries,
        fields: &[(&'static str, &'static str)],
    ) -> Self {
        let response = match carries {
            Carries::Nothing => ResponseBuilder::new(),
            Carries::Text(media_type) => ResponseBuilder::new().content(media_type, Content::new(Some(text()))),
            Carries::Json(schema) => {
                ResponseBuilder::new().content("application/json", Content::new(Some(Ref::from_schema_name(schema))))
            }
            Carries::List(schema) => {
                let list = ArrayBuilder::new().items(Ref::from_schema_name(schema)).build();
                ResponseBuilder::new().content("application/json", Content::new(Some(list)))
            }
            Carries::String => ResponseBuilder::new().content("application/json", Content::new(Some(text()))),
            Carries::Anything => {
                ResponseBuilder::new().content("application/json", Content::new(None::<RefOr<Schema>>))
            }
            Carries::Object => {
                ResponseBuilder::new().content("application/json", Content::new(Some(ObjectBuilder::new().build())))
            }
        };
        let response = with_fields(response.description(what), fields);
        self.responses.insert(status, response.build());
        self
    }

    /// It may fail like this, with a problem body.
    pub(super) fn fails(mut self, statuses: &[u16]) -> Self {
        for &status in statuses {
            let (what, fields): (_, &[_]) = match status {
                400 => ("the request is malformed; the body says where", &[]),
                401 => ("a token is needed, or this one is wrong", &[("WWW-Authenticate", "RFC 6750 3")]),
                403 => ("this token does not allow that", &[("WWW-Authenticate", "RFC 6750 3")]),
                404 => ("there is no such thing", &[]),
                405 => ("the session has no ICE: it is plain RTP", &[("Allow", "the methods of this URL")]),
                408 => ("the body did not come in time", &[]),
                409 => (
                    "somebody else is publishing, or nobody is yet (unless the server lets viewers wait)",
                    &[RETRY_AFTER],
                ),
                412 => ("If-Match names no current ETag of the session or process", &[]),
                413 => ("the body is too long", &[]),
                415 => ("the body is of another media type, or compressed", &[]),
                422 => ("the offer or fragment cannot be used; the body says why", &[]),
                428 => ("If-Match is needed", &[]),
                429 => ("too many requests, or wrong tokens, from one address", &[RETRY_AFTER]),
                500 => ("a fault of the server", &[]),
                507 => ("the disk is full: nothing was stored; of a command to stop, that it was", &[]),
                503 => ("the server is full, overloaded or stopping", &[RETRY_AFTER]),
                _ => ("failed", &[]),
            };
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            let response = ResponseBuilder::new().description(what).content("application/problem+json", problem);
            self.responses.insert(status, with_fields(response, fields).build());
        }
        self
    }

    /// It may be refused because the configuration declares what it is about.
    pub(super) fn fails_when_declared(mut self) -> Self {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let what = "the configuration declares it, which alone can change it";
        let response = ResponseBuilder::new().description(what).content("application/problem+json", problem);
        self.responses.insert(409, response.build());
        self
    }

    /// HEAD instead of GET.
    pub(super) fn without_bodies(mut self) -> Self {
        for response in self.responses.values_mut() {
            response.content.clear();
        }
        self
    }

    pub(super) fn build(self) -> Operation {
        let operation = self.responses.into_iter().fold(
            OperationBuilder::new().summary(Some(self.summary)).tag(self.tag).request_body(self.body),
            |operation, (status, response)| operation.response(status.to_string(), response),
        );
        let operation =
            if self.parameters.is_empty() { operation } else { operation.parameters(Some(self.parameters)) };
        if self.security.is_empty() { operation.build() } else { operation.securities(Some(self.security)).build() }
    }
}

const RETRY_AFTER: (&str, &str) = ("Retry-After", "seconds until another attempt makes sense");

fn with_fields(response: ResponseBuilder, fields: &[(&str, &str)]) -> ResponseBuilder {
    fields.iter().fold(response, |response, (name, what)| {
        response.header(*name, HeaderBuilder::new().schema(Some(text())).description(Some(*what)).build())
    })
}

fn text() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).into()
}
