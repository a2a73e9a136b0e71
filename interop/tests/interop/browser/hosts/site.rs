//! A site: two proxies, three origins and Redis, each on a host of its own, and clients on two more.

use std::time::{Duration, Instant};

use serde_json::Value;
use whipstitch_interop::{Gateway, Host, Lan, Process, Proxy, Redis};

use super::super::driver::Browser;
use super::super::session::SESSIONS;
use crate::clients::client_on;
use crate::hosts::{more_pictures, pictures};

/// For what takes a few seconds on a machine that encodes and decodes at the same time.
pub(super) const SOON: Duration = Duration::from_secs(40);

/// Between two looks at what no event tells.
const LOOK: Duration = Duration::from_millis(50);

pub(super) const SECRET: &str = "shared-by-all";
pub(super) const HTTP: u16 = 11985;
pub(super) const ADMIN: u16 = 12025;
/// Where origins do.
pub(super) const ORIGIN_RTC: u16 = 8189;
/// Where proxies take datagrams.
pub(super) const RTC: u16 = 18000;

/// A host with what runs on it; `None` when that is dead.
pub(super) struct Node<T> {
    pub(super) host: Host,
    pub(super) runs: Option<T>,
}

pub(super) struct Site {
    pub(super) browser: Browser,
    /// What aiortc says.
    pub(super) aiortc: Option<Process>,
    pub(super) clients: [Host; 2],
    pub(super) proxies: [Node<Proxy>; 2],
    pub(super) origins: [Node<Gateway>; 3],
    pub(super) redis: Node<Redis>,
    lan: Lan,
}

/// How many pictures each viewer had, before something was done.
pub(super) struct Mark {
    names: &'static [&'static str],
    pictures: Vec<u64>,
    aiortc: Option<u64>,
    at: Instant,
}

/// The first and the second proxy.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

impl Site {
    pub(super) async fn build() -> Site {
        let lan = Lan::new();
        let clients = [31, 32].map(|number| lan.host(number));
        let redis = lan.host(9);
        let redis = Node { runs: Some(Redis::inside(&redis)), host: redis };
        let proxies = [11, 12].map(|number| {
            let host = lan.host(number);
            Node { runs: Some(proxy(&host, &redis.host, &[])), host }
        });
        let joins = proxies.each_ref().map(|proxy| format!("http://{}", proxy.host.at(ADMIN)));
        let origins = [21, 22, 23].map(|number| {
            let host = lan.host(number);
            Node { runs: Some(origin(&host, number, &joins)), host }
        });
        let page = format!("http://{}", proxies[B].host.at(HTTP));
        let browser = Browser::chromium_trusting(clients[0].network(), "hosts", &page).await;
        browser.open(&format!("{page}/healthz")).await;
        browser.evaluate(SESSIONS).await;
        browser.evaluate(include_str!("hosts.js")).await;
        let site = Site { browser, aiortc: None, clients, proxies, origins, redis, lan };
        for proxy in [A, B] {
            site.until("three origins are up", SOON, || site.up(proxy).len() == 3).await;
        }
        site
    }

    /// The URL of a path at a proxy.
    pub(super) fn url(&self, proxy: usize, path: &str) -> String {
        format!("http://{}{path}", self.proxies[proxy].host.at(HTTP))
    }

    /// What a proxy's admin listener says.
    pub(super) fn admin(&self, proxy: usize, method: &str, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.proxies[proxy].host.at(ADMIN));
        let secret = format!("Authorization: Bearer {SECRET}");
        let reply = self.clients[1].ask(method, &url, &[&secret], "");
        (reply.status, serde_json::from_str(&reply.body).unwrap_or_default())
    }

    /// The origins that are up, as a proxy sees it.
    pub(super) fn up(&self, proxy: usize) -> Vec<String> {
        let (_, said) = self.admin(proxy, "GET", "/api/v1/origins");
        let origins = said["origins"].as_array().into_iter().flatten();
        origins.filter(|one| one["state"] == "up").filter_map(|one| Some(one["id"].as_str()?.to_owned())).collect()
    }

    /// How an origin stands, as a proxy sees it.
    pub(super) fn standing(&self, proxy: usize, id: &str) -> String {
        let (_, said) = self.admin(proxy, "GET", "/api/v1/origins");
        let mut origins = said["origins"].as_array().into_iter().flatten();
        let state = origins.find(|one| one["id"] == id).and_then(|one| one["state"].as_str());
        state.unwrap_or_default().to_owned()
    }

    /// Starts one more proxy on a host of its own, with these flags as well.
    pub(super) fn third_proxy(&self, flags: &[&str]) -> (Host, Proxy) {
        let host = self.lan.host(13);
        let proxy = proxy(&host, &self.redis.host, flags);
        (host, proxy)
    }

    /// Which origin has a stream, as a proxy sees it: its id and which of the three it is.
    pub(super) fn holder(&self, proxy: usize, stream: &str) -> Option<(String, usize)> {
        let (_, said) = self.admin(proxy, "GET", "/api/v1/streams");
        let mut streams = said["streams"].as_array()?.iter();
        let id = streams.find(|one| one["name"] == stream)?["origin"].as_str()?.to_owned();
        let port: u16 = id.rsplit(':').next()?.parse().ok()?;
        Some((id, usize::from(port - 8021)))
    }

    /// Whether the registry answers a proxy.
    pub(super) fn registry_up(&self, proxy: usize) -> bool {
        self.admin(proxy, "GET", "/api/v1/origins").1["registry_up"] == true
    }

    /// Starts a proxy again where one was.
    pub(super) fn revive_proxy(&mut self, which: usize) {
        let proxy = proxy(&self.proxies[which].host, &self.redis.host, &[]);
        self.proxies[which].runs = Some(proxy);
    }

    /// Waits until something holds that no event tells, and says how long that took.
    pub(super) async fn until(&self, what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Duration {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < within, "{what}: not within {within:?}");
            tokio::time::sleep(LOOK).await;
        }
        start.elapsed()
    }

    /// Runs aiortc as a viewer on the second client.
    pub(super) fn start_aiortc(&mut self, url: &str) {
        self.aiortc = Some(client_on(&self.clients[1], "aiortc_watch", url, &[]));
    }

    /// Notes where viewers are: those of the page, and aiortc if it is to go on as well.
    pub(super) async fn mark(&self, names: &'static [&'static str], with_aiortc: bool) -> Mark {
        let said = self.browser.evaluate(&format!("return mark({})", serde_json::json!(names))).await;
        let counts = said.as_array().expect("a list").iter().map(|count| count.as_u64().expect("a number"));
        let aiortc = self.aiortc.as_ref().filter(|_| with_aiortc);
        Mark { names, pictures: counts.collect(), aiortc: aiortc.map(pictures), at: Instant::now() }
    }

    /// Waits until each viewer has so many more pictures, says how long each was without a new one, and that none was for
    /// longer than it may.
    pub(super) async fn goes_on(&self, what: &str, mark: &Mark, more: u64, longest: Duration) {
        let counts: Vec<u64> = mark.pictures.iter().map(|count| count + more).collect();
        let pauses = format!("return pauses({}, {})", serde_json::json!(mark.names), serde_json::json!(counts));
        let pauses = self.browser.until(&format!("pictures ({what})"), SOON, &pauses).await;
        let mut all: Vec<(&str, u64)> = mark
            .names
            .iter()
            .zip(pauses.as_array().expect("a list"))
            .map(|(name, ms)| (*name, ms.as_u64().expect("ms")))
            .collect();
        if let (Some(before), Some(aiortc)) = (mark.aiortc, &self.aiortc) {
            let pause = more_pictures(aiortc, &format!("pictures ({what})"), before, more);
            all.push(("aiortc", pause));
        }
        eprintln!("{what}: longest pauses in ms {all:?}, after {:?}", mark.at.elapsed());
        let bound = u64::try_from(longest.as_millis()).expect("a test's time");
        assert!(all.iter().all(|(_, ms)| *ms <= bound), "{what}: a pause of more than {bound} ms: {all:?}");
    }
}

fn proxy(host: &Host, redis: &Host, more: &[&str]) -> Proxy {
    let [http, rtc, admin] = [HTTP, RTC, ADMIN].map(|port| host.at(port).to_string());
    let registry = Redis::url(redis);
    let flags = ["--http", &http, "--rtc", &rtc, "--admin", &admin, "--secret", SECRET, "--registry", &registry];
    Proxy::inside(host.network(), &[&flags[..], more].concat())
}

/// Host name and port are what an origin is called by, and all these hosts have one name.
fn origin(host: &Host, number: u8, joins: &[String; 2]) -> Gateway {
    let http = host.at(8000 + u16::from(number)).to_string();
    let rtc = host.at(ORIGIN_RTC).to_string();
    let mut flags = vec!["--http", &http, "--rtc", &rtc, "--open-publish", "--secret", SECRET];
    joins.iter().for_each(|join| flags.extend(["--join", join]));
    Gateway::inside(host.network(), &flags)
}
