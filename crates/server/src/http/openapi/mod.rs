//! The description of everything HTTP does, OpenAPI 3.1. Bodies are described by the types that are written; a test holds
//! routes and methods together with the table of routes, and the interop tests ask the running server whether the rest
//! is true.

mod api;
mod media;
mod operation;
mod pages;
mod processes;

use std::sync::LazyLock;

use utoipa::ToSchema as _;
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder,
};

use super::error::Problem;
use super::{processes as processes_shown, shown};
use operation::Op;
use whipstitch_ffmpeg::process::{Definition, Probe, Skills};

/// The names of the two ways to show a token.
const BEARER: &str = "bearer";
const QUERY: &str = "query";

const ABOUT: &str = "WHIP and WHEP endpoints, lists, statistics and probes. What needs a token depends on the \
     configuration: without one, watching is open and the rest is for the machine the server runs on.";

/// The document as it is sent.
pub(super) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> =
        LazyLock::new(|| described().to_json().expect("strings and numbers become JSON"));
    &DOCUMENT
}

fn described() -> OpenApi {
    let all = media::routes().into_iter().chain(api::routes()).chain(pages::routes()).chain(processes::routes());
    let paths = all.fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let tag = |name, what| TagBuilder::new().name(name).description(Some(what)).build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Whipstitch")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
                .build(),
        )
        .tags(Some([
            tag("publish", "WHIP, RFC 9725"),
            tag("watch", "WHEP, draft-ietf-wish-whep"),
            tag("api", "Lists, statistics, and the end of sessions"),
            tag("processes", "FFmpeg processes; the JSON of datarhei Core v16"),
            tag("operation", "Probes, metrics, and this description"),
            tag("pages", "For people"),
        ]))
        .components(Some(components()))
        .paths(paths)
        .build()
}

fn components() -> Components {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A configured token.")).build();
    let query = ApiKeyValue::with_description("token", "The same, where a page or player puts it; the header wins.");
    // Those that stand within them; the builder takes them alone.
    let mut parts = Vec::new();
    shown::Streams::schemas(&mut parts);
    shown::Sessions::schemas(&mut parts);
    shown::RtpInput::schemas(&mut parts);
    Definition::schemas(&mut parts);
    processes_shown::Process::schemas(&mut parts);
    processes_shown::ProcessOrder::schemas(&mut parts);
    Skills::schemas(&mut parts);
    Probe::schemas(&mut parts);
    ComponentsBuilder::new()
        .schemas_from_iter(parts)
        .schema_from::<Problem<'static>>()
        .schema_from::<shown::Numbers>()
        .schema_from::<shown::Streams>()
        .schema_from::<shown::Sessions>()
        .schema_from::<shown::RtpInput>()
        .schema_from::<Definition>()
        .schema_from::<processes_shown::Process>()
        .schema_from::<processes_shown::ProcessState>()
        .schema_from::<processes_shown::Report>()
        .schema_from::<processes_shown::ProcessOrder>()
        .schema_from::<Skills>()
        .schema_from::<Probe>()
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .security_scheme(QUERY, SecurityScheme::ApiKey(ApiKey::Query(query)))
        .build()
}

/// A route of these methods. Every one answers OPTIONS as well, and HEAD where it answers GET.
fn item(tag: &'static str, methods: Vec<(HttpMethod, Op)>, options: Op) -> PathItem {
    let mut item = PathItem::default();
    let mut add = |method: HttpMethod, op: Op| {
        item.merge_operations(PathItem::new(method, op.tag(tag).build()));
    };
    for (method, op) in methods {
        if method == HttpMethod::Get {
            add(HttpMethod::Head, op.clone().without_bodies());
        }
        add(method, op);
    }
    add(HttpMethod::Options, options);
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_no_other() {
        let described: Vec<String> = described().paths.paths.into_keys().collect();
        let mut routes: Vec<String> = super::super::table().into_iter().map(|(path, _)| path.to_owned()).collect();
        routes.sort();
        assert_eq!(described, routes);
    }

    #[test]
    fn the_version_is_3_1_and_every_reference_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        for reference in super::document().split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
