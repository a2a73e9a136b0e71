//! What the HTTP entry counts, for `GET /metrics` of the admin listener. `docs/metrics.md` names each; a test compares the two.
//!
//! No label comes from a request but for words out of a list.

use std::time::Duration;

use axum::http::{Method, StatusCode, Uri};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use whipstitch_proxy::Role;
use whipstitch_proxy::signal::Outcome;
use whipstitch_proxy::urls::{Target, target};

/// Upper bounds in seconds: origins answer within some milliseconds, and are given up after 5 s.
const DURATIONS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What a request can be for.
const KINDS: [&str; 4] = ["publish", "watch", "session", "other"];

/// The counters.
pub(super) struct Counted {
    requests: IntCounterVec,
    origins: HistogramVec,
}

impl Counted {
    pub(super) fn new() -> Self {
        let requests = Opts::new(
            "whipstitch_proxy_http_requests_total",
            "HTTP requests, by what they were for, method and class of the status.",
        );
        let origins = HistogramOpts::new(
            "whipstitch_proxy_origin_request_duration_seconds",
            "From a request to an origin to its whole answer or the end of trying, by what came of it.",
        );
        let counted = Self {
            requests: IntCounterVec::new(requests, &["kind", "method", "class"]).expect("the names are well-formed"),
            origins: HistogramVec::new(origins.buckets(DURATIONS.to_vec()), &["outcome"])
                .expect("the names are well-formed and the bounds rise"),
        };
        // Series that begin with their first event hide that event from `rate()`.
        for kind in KINDS {
            for class in ["2xx", "4xx", "5xx"] {
                counted.requests.with_label_values(&[kind, "POST", class]);
            }
        }
        for outcome in Outcome::ALL {
            counted.origins.with_label_values(&[outcome.as_str()]);
        }
        counted
    }

    /// A request was answered.
    pub(super) fn request(&self, uri: &Uri, method: &Method, status: StatusCode) {
        let kind = match target(uri.path().trim_end_matches('/'), uri.query()) {
            Ok(Target::Endpoint(place, _)) if place.role == Role::Publisher => "publish",
            Ok(Target::Endpoint(..)) => "watch",
            Ok(Target::Session(..)) => "session",
            Err(_) => "other",
        };
        self.requests.with_label_values(&[kind, word(method), class(status)]).inc();
    }

    /// So it went with a request to an origin.
    pub(super) fn origin(&self, took: Duration, outcome: Outcome) {
        self.origins.with_label_values(&[outcome.as_str()]).observe(took.as_secs_f64());
    }

    /// The families.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        [self.requests.collect(), self.origins.collect()].concat()
    }
}

fn word(method: &Method) -> &'static str {
    match *method {
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let page = TextEncoder::new().encode_to_string(&Counted::new().families()).unwrap();
        let exposed: BTreeSet<String> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
        let guide = include_str!("../../../../docs/metrics.md");
        let section = guide.split_once("\n## Requests\n").unwrap().1.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `whipstitch_")).map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            format!("{} {}", cells[1], cells[2])
        });
        assert_eq!(exposed, rows.collect());
    }

    #[test]
    fn no_request_makes_a_series_of_its_own() {
        let counted = Counted::new();
        let ask = |method: &str, uri: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            counted.request(&uri.parse().unwrap(), &method, StatusCode::NOT_FOUND);
        };
        let series = || counted.families()[0].get_metric().len();
        let before = series();
        (0..1000).for_each(|n| ask(&format!("X{n}"), &format!("/whip/{n}?token={n}")));
        (0..1000).for_each(|n| ask("POST", &format!("/{n}")));
        assert_eq!(series(), before + 1);
    }
}
