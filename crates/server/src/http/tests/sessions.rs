//! `protocol.md` 3.3 and the HTTP part of 4.1.

use super::*;

#[tokio::test]
async fn every_row_of_a_session_url() {
    let site = Site::open().await;
    site.with_session(Role::Publisher, "a");
    site.with_session(Role::Subscriber, "b");
    let large = "a".repeat(16 * 1024 + 1);
    let tag = "if-match: \"tag\"";
    for (method, target, fields, body, status, has) in [
        ("OPTIONS", "/whip/a/secret", &[][..], "", 200, "accept-patch"),
        ("OPTIONS", "/whip/a/unknown", &[], "", 200, "allow"),
        ("GET", "/whip/a/secret", &[], "", 204, "date"),
        ("HEAD", "/whep/b/secret", &[], "", 204, "date"),
        ("GET", "/whip/a/unknown", &[], "", 404, "content-type"),
        ("PATCH", "/whip/a/secret", &[FRAGMENT_TYPE, tag], FRAGMENT, 204, "date"),
        ("PATCH", "/whep/b/secret", &[FRAGMENT_TYPE, tag], FRAGMENT, 204, "date"),
        ("PATCH", "/whip/a/unknown", &[FRAGMENT_TYPE, tag], FRAGMENT, 404, "content-type"),
        // Sessions of one protocol are none of the other, nor of another stream.
        ("PATCH", "/whep/a/secret", &[FRAGMENT_TYPE, tag], FRAGMENT, 404, "content-type"),
        ("DELETE", "/whep/a/secret", &[], "", 404, "content-type"),
        ("DELETE", "/whip/b/secret", &[], "", 404, "content-type"),
        ("PATCH", "/whip/a/secret", &[tag], FRAGMENT, 415, "accept-patch"),
        ("PATCH", "/whip/a/secret", &[SDP_TYPE, tag], OFFER, 415, "accept-patch"),
        ("PATCH", "/whep/b/secret", &[SDP_TYPE, tag], OFFER, 422, "content-type"),
        ("PATCH", "/whip/a/secret", &[FRAGMENT_TYPE, tag], &large, 413, "content-type"),
        ("PATCH", "/whip/a%20/secret", &[FRAGMENT_TYPE, tag], FRAGMENT, 400, "content-type"),
        ("POST", "/whip/a/secret", &[SDP_TYPE], OFFER, 405, "allow"),
        ("PUT", "/whip/a/secret", &[SDP_TYPE], OFFER, 405, "allow"),
        ("DELETE", "/whip/a/secret", &["if-match: \"other\""], "", 200, "content-length"),
        ("DELETE", "/whip/a/secret/", &[], "", 200, "content-length"),
        ("DELETE", "/whip/a/unknown", &[], "", 404, "content-type"),
    ] {
        let answer = site.ask(method, target, fields, body).await;
        assert_eq!(answer.status, status, "{method} {target} {fields:?}: {answer:?}");
        assert!(answer.field(has).is_some(), "{method} {target} {fields:?} lacks {has}: {answer:?}");
        answer.check();
        if status >= 400 {
            answer.problem();
        } else {
            assert_eq!(answer.body, "");
            assert!(answer.field("etag").is_none(), "no ETag but on 201 and on a restart");
        }
    }
    let allow = site.ask("PUT", "/whip/a/secret", &[], "").await;
    assert_eq!(allow.field("allow"), Some("OPTIONS, GET, HEAD, PATCH, DELETE"));
}

#[tokio::test]
async fn what_a_fragment_meets_has_its_status() {
    let text = || "line 2".to_owned();
    for (patched, status) in [
        (Ok(Patched::Trickled), 204),
        (Err(PatchRefusal::NotFound), 404),
        (Err(PatchRefusal::PreconditionRequired), 428),
        (Err(PatchRefusal::PreconditionFailed), 412),
        (Err(PatchRefusal::Syntax(text())), 400),
        (Err(PatchRefusal::Unprocessable(text())), 422),
        (Err(PatchRefusal::Busy { retry_after: Duration::from_secs(4) }), 503),
    ] {
        let site = Site::open().await;
        site.with_session(Role::Publisher, "a");
        *site.media.patched.lock().unwrap() = Some(patched);
        let answer = site.ask("PATCH", "/whip/a/secret", &[FRAGMENT_TYPE], FRAGMENT).await;
        assert_eq!(answer.status, status, "{answer:?}");
        answer.check();
        assert_eq!(answer.field("retry-after"), (status == 503).then_some("4"));
        if status >= 400 {
            answer.problem();
        }
    }
}

#[tokio::test]
async fn an_ice_restart_is_answered_with_the_new_credentials_and_tag() {
    let site = Site::open().await;
    site.with_session(Role::Subscriber, "a");
    let restarted = Patched::Restarted { etag: "\"new\"".to_owned(), fragment: "a=ice-ufrag:wxyz\r\n".to_owned() };
    *site.media.patched.lock().unwrap() = Some(Ok(restarted));
    let answer = site.ask("PATCH", "/whep/a/secret", &[FRAGMENT_TYPE, "if-match: *"], FRAGMENT).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("etag"), Some("\"new\""));
    assert_eq!(answer.field("content-type"), Some("application/trickle-ice-sdpfrag"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.body, "a=ice-ufrag:wxyz\r\n");
}

#[tokio::test]
async fn if_match_reaches_the_judge_of_preconditions_as_it_came() {
    let site = Site::open().await;
    site.with_session(Role::Publisher, "a");
    for (fields, seen) in [
        (&[][..], "None"),
        (&["if-match: \"tag\""], "Some(\"\\\"tag\\\"\")"),
        (&["if-match: *"], "Some(\"*\")"),
        (&["if-match: \"a\"", "if-match: \"b\""], "Some(\"\\\"a\\\", \\\"b\\\"\")"),
        (&["if-match: "], "Some(\"\")"),
    ] {
        let fields: Vec<&str> = fields.iter().copied().chain([FRAGMENT_TYPE]).collect();
        site.ask("PATCH", "/whip/a/secret", &fields, FRAGMENT).await;
        assert_eq!(site.media.asked(), [format!("patch Publisher a secret {seen} {FRAGMENT:?}")]);
    }
}

#[tokio::test]
async fn a_kick_needs_a_credential_even_here_and_names_a_session() {
    let site = Site::open().await;
    let admin = "authorization: Bearer admin";
    let known = "/api/v1/sessions/0000000000000007";
    for (method, target, fields, status) in [
        ("DELETE", known, &[][..], 401),
        ("DELETE", known, &["authorization: Bearer other"], 401),
        ("DELETE", known, &["authorization: Bearer"], 400),
        ("DELETE", known, &[admin], 204),
        ("DELETE", "/api/v1/sessions/0000000000000008", &[admin], 404),
        ("DELETE", "/api/v1/sessions/seven", &[admin], 400),
        ("GET", known, &[admin], 404),
        ("POST", known, &[admin], 405),
        ("OPTIONS", known, &[], 200),
    ] {
        let answer = site.ask(method, target, fields, "").await;
        assert_eq!(answer.status, status, "{method} {target} {fields:?}");
        answer.check();
    }
}
