//! The description of the API and its browser. That every route is described is a test of the description itself.

use std::collections::BTreeSet;

use super::direct::Direct;
use super::*;

async fn described(site: &Site) -> serde_json::Value {
    let answer = site.ask("GET", "/openapi.json", &[], "").await;
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    answer.check();
    serde_json::from_str(&answer.body).unwrap()
}

/// A URL of a route.
fn url(path: &str) -> String {
    let path = path
        .replace("{id}", "a")
        .replace("{key}", "k")
        .replace("{stream}", "a")
        .replace("{session}", "0000000000000007");
    path.replace("{file}", if path.starts_with("/docs") { "swagger-ui.css" } else { "style.css" })
}

#[tokio::test]
async fn every_method_is_described_and_no_other() {
    let site = Site::open().await;
    for (path, item) in described(&site).await["paths"].as_object().unwrap() {
        let answer = site.ask("OPTIONS", &url(path), &[], "").await;
        assert_eq!(answer.status, 200, "{path}");
        let allowed: BTreeSet<_> = answer.field("allow").unwrap().split(", ").map(str::to_ascii_lowercase).collect();
        let described: BTreeSet<_> = item.as_object().unwrap().keys().cloned().collect();
        assert_eq!(described, allowed, "{path}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_described_with_its_header_fields() {
    let site = Site::start(with_token()).await;
    let good = "authorization: Bearer good";
    let document: serde_json::Value =
        serde_json::from_str(&site.ask("GET", "/openapi.json", &[good], "").await.body).unwrap();
    for (method, path, target, fields, status) in [
        ("POST", "/whip/{stream}", "/whip/a", &[][..], 401),
        ("POST", "/whip/{stream}", "/whip/a", &[good], 415),
        ("POST", "/whip/{stream}", "/whip/a%20b", &[good, SDP_TYPE], 400),
        ("POST", "/rtc/v1/whep", "/rtc/v1/whep", &[good, SDP_TYPE], 400),
        ("PATCH", "/whep/{stream}/{session}", "/whep/a/b", &[good], 404),
        ("GET", "/api/v1/streams/{stream}", "/api/v1/streams/a", &[good], 404),
        ("GET", "/api/v1/sessions", "/api/v1/sessions?state=x", &[good], 400),
        ("GET", "/docs", "/docs", &[], 401),
        ("GET", "/assets/{file}", "/assets/none", &[], 404),
    ] {
        let body = if ["POST", "PATCH"].contains(&method) { OFFER } else { "" };
        let answer = site.ask(method, target, fields, body).await;
        assert_eq!(answer.status, status, "{method} {target}");
        let response = &document["paths"][path][method.to_ascii_lowercase()]["responses"][status.to_string()];
        assert!(!response.is_null(), "{method} {path} {status}");
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            assert!(answer.field(&name.to_ascii_lowercase()).is_some(), "{method} {path} {status}: {name}");
        }
    }
}

/// What only some configurations and only some methods answer.
#[tokio::test]
async fn a_name_that_cannot_be_and_a_wait_are_described_everywhere() {
    let site = Site::open().await;
    let document = described(&site).await;
    let stream_names = vec![Pattern::parse("cam").unwrap()];
    let direct = Direct::new(nothing_configured(), Settings { stream_names, ..Settings::default() });
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.contains("/whi")) {
        for method in ["get", "post", "patch", "delete"].into_iter().filter(|method| !item[method].is_null()) {
            let responses = &item[method]["responses"];
            assert!(!responses["429"].is_null(), "{method} {path}");
            if path.contains("{stream}") {
                let answer = direct.ask("127.0.0.1", &method.to_ascii_uppercase(), &url(path), &[SDP_TYPE], "").await;
                assert_eq!(answer.status, 404, "{method} {path}");
                assert!(!responses["404"].is_null(), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_browser_takes_the_token_from_the_url_or_asks_for_it_and_loads_nothing_from_elsewhere() {
    let site = Site::start(with_token()).await;
    for target in ["/docs", "/docs/", "/openapi.json"] {
        assert_eq!(site.ask("GET", target, &[], "").await.status, 401, "{target}");
        assert_eq!(site.ask("GET", &format!("{target}?token=good"), &[], "").await.status, 200, "{target}");
        assert_eq!(site.ask("GET", &format!("{target}?token=bad"), &[], "").await.status, 401, "{target}");
        let both = site.ask("GET", &format!("{target}?token=good"), &["authorization: Bearer bad"], "").await;
        assert_eq!(both.status, 401, "{target}: the header wins");
    }
    let asks = site.ask("GET", "/docs", &["accept: text/html,*/*"], "").await;
    assert_eq!((asks.status, asks.field("content-type")), (401, Some("text/html; charset=utf-8")));
    assert!(asks.field("www-authenticate").is_some() && asks.body.contains("name=\"token\""), "{asks:?}");

    let page = site.ask("GET", "/docs?token=good", &[], "").await;
    assert!(page.field("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(!page.body.contains("//"), "{}", page.body);
    for attribute in ["src=\"", "href=\""] {
        for file in page.body.split(attribute).skip(1) {
            let file = file.split('"').next().unwrap();
            let answer = site.ask("HEAD", file, &[], "").await;
            assert_eq!(answer.status, 200, "{file}");
            if file.starts_with("/docs/") {
                assert_eq!(answer.field("content-encoding"), Some("gzip"), "{file}");
            }
            let etag = format!("if-none-match: {}", answer.field("etag").unwrap());
            assert_eq!(site.ask("GET", file, &[&etag], "").await.status, 304, "{file}");
        }
    }
    for name in ["index.html", "swagger-initializer.js", "none.js", "..%2fCargo.toml"] {
        assert_eq!(site.ask("GET", &format!("/docs/{name}"), &[], "").await.status, 404, "{name}");
    }
}
