//! The keys: each stands once, here or in [`proxy`](super::proxy), and gives a flag, a variable and a line of TOML.
//!
//! A new key is one row here and one line in `whipstitch.example.toml`; a test holds the two together.

use super::Config;
use super::values::{
    address, address_or_off, choice, count, directory, folders, ice_servers, joined, names, networks, number, one,
    origin_id, origins, patterns, ports, protocols, public_ips, seconds, single, switch, workers,
};
use crate::access::SessionAuth;
use crate::credentials::Token;
use crate::plain::PlainRtp;
use whipstitch_stream::directory::Conflict;

/// What may be written for a key; the text is the placeholder in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing as a flag; `true` or `false` elsewhere.
    Switch,
    /// A whole number.
    Number(&'static str),
    /// One text.
    Text(&'static str),
    /// Several texts: the flag repeated, commas in the environment, an array in TOML.
    List(&'static str),
}

/// One key of a configuration `C`.
#[derive(Debug)]
pub(crate) struct Key<C: 'static = Config> {
    /// Its name in TOML, `snake_case`; flag and variable follow from it.
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// One line for `--help`.
    pub(crate) help: &'static str,
    /// Judges what was written and stores it, or says everything that is wrong with it.
    pub(crate) set: fn(&mut C, &[String]) -> Result<(), Vec<String>>,
}

/// A configuration that is made of keys.
pub(crate) trait Keyed: Sized + 'static {
    /// Every key, in the order the help and the example file show them.
    fn keys() -> &'static [Key<Self>];
}

impl Keyed for Config {
    fn keys() -> &'static [Key<Self>] {
        KEYS
    }
}

/// What of a key can be known before it is known whose configuration it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// See [`Key::name`].
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
}

/// The names of all keys of `C`.
pub(crate) fn names_of<C: Keyed>() -> Vec<Name> {
    C::keys().iter().map(Key::named).collect()
}

/// The same, each with its line for `--help`.
pub(crate) fn rows_of<C: Keyed>() -> Vec<(Name, &'static str)> {
    C::keys().iter().map(|key| (key.named(), key.help)).collect()
}

/// The names of all keys of any command. A name that several have takes the same in all of them; a test sees to it.
pub(crate) fn all_names() -> Vec<Name> {
    let mut all = names_of::<Config>();
    all.extend(
        names_of::<super::proxy::Config>().into_iter().filter(|name| KEYS.iter().all(|key| key.name != name.name)),
    );
    all
}

impl<C> Key<C> {
    fn named(&self) -> Name {
        Name { name: self.name, takes: self.takes }
    }

    /// See [`Name::flag`].
    #[cfg(test)]
    pub(crate) fn flag(&self) -> String {
        self.named().flag()
    }

    /// See [`Name::variable`].
    #[cfg(test)]
    pub(crate) fn variable(&self) -> String {
        self.named().variable()
    }
}

impl Name {
    /// `public_ip` as a flag: `--public-ip`.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// `public_ip` in the environment: `WHIPSTITCH_PUBLIC_IP`.
    pub(crate) fn variable(&self) -> String {
        format!("WHIPSTITCH_{}", self.name.to_ascii_uppercase())
    }
}

/// Every key, in the order the help and the example file show them.
pub(crate) static KEYS: &[Key] = &[
    Key {
        name: "http",
        takes: Takes::Text("A:P"),
        help: "address and port of WHIP, WHEP, API and pages [0.0.0.0:8555]",
        set: |config, values| address(values, 8555).map(|address| config.http = address).map_err(single),
    },
    Key {
        name: "rtc",
        takes: Takes::Text("A:P"),
        help: "address and port of media, UDP and TCP; 0.0.0.0 is IPv6 too [0.0.0.0:8189]",
        set: |config, values| address(values, 8189).map(|address| config.rtc = address).map_err(single),
    },
    Key {
        name: "rtsp",
        takes: Takes::Text("A:P"),
        help: "address and port of RTSP, for FFmpeg and players; or off [127.0.0.1:8554]",
        set: |config, values| address_or_off(values, 8554).map(|address| config.rtsp = address).map_err(single),
    },
    Key {
        name: "public_ip",
        takes: Takes::List("IP"),
        help: "address clients reach this machine at (behind NAT, in Docker); repeatable",
        set: |config, values| public_ips(values).map(|ips| config.public_ip = ips).map_err(single),
    },
    Key {
        name: "host_name",
        takes: Takes::List("NAME"),
        help: "host name of this server, looked up to announce its address; repeatable",
        set: |config, values| names(values).map(|names| config.host_name = names).map_err(single),
    },
    Key {
        name: "ice_server",
        takes: Takes::List("SERVER"),
        help: "STUN or TURN server to tell clients of, with its credentials; repeatable",
        set: |config, values| ice_servers(values).map(|servers| config.ice_server = servers),
    },
    Key {
        name: "token",
        takes: Takes::Text("T"),
        help: "token that publishing, watching, lists and statistics then need",
        set: |config, values| {
            one(values).and_then(Token::parse).map(|token| config.token = Some(token)).map_err(single)
        },
    },
    Key {
        name: "rtp_ports",
        takes: Takes::Text("A-B"),
        help: "UDP ports for plain RTP, to readers and from senders; or off [10000-10999]",
        set: |config, values| ports(values).map(|ports| config.rtp_ports = ports).map_err(single),
    },
    Key {
        name: "plain_rtp",
        takes: Takes::Text("WHO"),
        help: "who may publish plain RTP: loopback (this machine), on (all), off [loopback]",
        set: |config, values| {
            let known = [("loopback", PlainRtp::Loopback), ("on", PlainRtp::On), ("off", PlainRtp::Off)];
            choice(values, known).map(|from| config.plain_rtp = from).map_err(single)
        },
    },
    Key {
        name: "ffmpeg",
        takes: Takes::Text("PATH"),
        help: "FFmpeg for processes, 4.0 or newer; ffprobe is beside it [ffmpeg]",
        set: |config, values| directory(values).map(|program| config.ffmpeg = program).map_err(single),
    },
    Key {
        name: "process_input_allow",
        takes: Takes::List("REGEX"),
        help: "addresses that processes may read; repeatable [all]",
        set: |config, values| config.process_access.input.allow(values),
    },
    Key {
        name: "process_input_block",
        takes: Takes::List("REGEX"),
        help: "addresses that they may not, even so; repeatable",
        set: |config, values| config.process_access.input.block(values),
    },
    Key {
        name: "process_output_allow",
        takes: Takes::List("REGEX"),
        help: "addresses that processes may write to; repeatable [all]",
        set: |config, values| config.process_access.output.allow(values),
    },
    Key {
        name: "process_output_block",
        takes: Takes::List("REGEX"),
        help: "addresses that they may not, even so; repeatable",
        set: |config, values| config.process_access.output.block(values),
    },
    Key {
        name: "process_protocols",
        takes: Takes::List("NAME"),
        help: "FFmpeg's protocols that processes may use, such as rtmp; repeatable [all]",
        set: |config, values| protocols(values).map(|protocols| config.process_access.protocols = protocols),
    },
    Key {
        name: "process_folders",
        takes: Takes::List("DIR"),
        help: "folders that processes may write in, besides their own; repeatable [all]",
        set: |config, values| folders(values).map(|folders| config.process_access.folders = folders),
    },
    Key {
        name: "workers",
        takes: Takes::Number("N"),
        help: "media threads; 0 is one per core [0]",
        set: |config, values| workers(values).map(|workers| config.workers = workers).map_err(single),
    },
    Key {
        name: "keyframe_cache",
        takes: Takes::Switch,
        help: "give viewers who join the last keyframe and all since at once [true]",
        set: |config, values| switch(values).map(|on| config.keyframe_cache = on).map_err(single),
    },
    Key {
        name: "data",
        takes: Takes::Text("DIR"),
        help: "directory for what survives a restart [~/.local/state/whipstitch]",
        set: |config, values| directory(values).map(|data| config.data = data).map_err(single),
    },
    Key {
        name: "open_publish",
        takes: Takes::Switch,
        help: "let anybody who reaches this server publish",
        set: |config, values| switch(values).map(|open| config.open_publish = open).map_err(single),
    },
    Key {
        name: "on_conflict",
        takes: Takes::Text("WHAT"),
        help: "a second publisher: reject, or takeover [reject]",
        set: |config, values| {
            let known = [("reject", Conflict::Reject), ("takeover", Conflict::TakeOver)];
            choice(values, known).map(|conflict| config.on_conflict = conflict).map_err(single)
        },
    },
    Key {
        name: "when_offline",
        takes: Takes::Text("WHAT"),
        help: "a viewer of a stream nobody publishes: reject, or wait [reject]",
        set: |config, values| {
            choice(values, [("reject", false), ("wait", true)]).map(|wait| config.wait = wait).map_err(single)
        },
    },
    Key {
        name: "max_wait",
        takes: Takes::Number("S"),
        help: "seconds viewers wait at most, with when_offline = \"wait\" [600]",
        set: |config, values| seconds(values, 1).map(|most| config.max_wait = most).map_err(single),
    },
    Key {
        name: "grace",
        takes: Takes::Number("S"),
        help: "seconds viewers stay when the publisher has gone [15]",
        set: |config, values| seconds(values, 0).map(|grace| config.grace = grace).map_err(single),
    },
    Key {
        name: "stream_ttl",
        takes: Takes::Number("S"),
        help: "seconds a stream without publisher and viewers is known [60]",
        set: |config, values| seconds(values, 1).map(|ttl| config.stream_ttl = ttl).map_err(single),
    },
    Key {
        name: "stream_names",
        takes: Takes::List("PATTERN"),
        help: "names streams may have, * for any characters; repeatable [all]",
        set: |config, values| patterns(values).map(|patterns| config.stream_names = patterns),
    },
    Key {
        name: "session_auth",
        takes: Takes::Text("HOW"),
        help: "PATCH, DELETE of a session need: capability (its URL), token [capability]",
        set: |config, values| {
            let known = [("capability", SessionAuth::Capability), ("token", SessionAuth::Token)];
            choice(values, known).map(|how| config.session_auth = how).map_err(single)
        },
    },
    Key {
        name: "lenient_precondition",
        takes: Takes::Switch,
        help: "let clients trickle without If-Match",
        set: |config, values| switch(values).map(|on| config.lenient_precondition = on).map_err(single),
    },
    Key {
        name: "cors_origin",
        takes: Takes::List("ORIGIN"),
        help: "web pages that may use this server, by origin; repeatable [all]",
        set: |config, values| origins(values).map(|origins| config.cors_origin = origins),
    },
    Key {
        name: "trusted_proxies",
        takes: Takes::List("NET"),
        help: "IP or network of a proxy whose X-Forwarded-For counts; repeatable",
        set: |config, values| networks(values).map(|networks| config.trusted_proxies = networks),
    },
    Key {
        name: "join",
        takes: Takes::List("URL"),
        help: "admin listener of a proxy that this server is an origin of; repeatable",
        set: |config, values| joined(values).map(|proxies| config.join = proxies),
    },
    Key {
        name: "origin_id",
        takes: Takes::Text("NAME"),
        help: "its name among their origins, without this its host name and port",
        set: |config, values| origin_id(values).map(|id| config.origin_id = Some(id)).map_err(single),
    },
    Key {
        name: "secret",
        takes: Takes::Text("S"),
        help: "the secret of those proxies",
        set: |config, values| {
            one(values).and_then(Token::parse).map(|secret| config.secret = Some(secret)).map_err(single)
        },
    },
    Key {
        name: "max_streams",
        takes: Takes::Number("N"),
        help: "streams at once [10000]",
        set: |config, values| count(values).map(|most| config.limits.streams = most).map_err(single),
    },
    Key {
        name: "max_publishers",
        takes: Takes::Number("N"),
        help: "publishers at once [1000]",
        set: |config, values| count(values).map(|most| config.limits.publishers = most).map_err(single),
    },
    Key {
        name: "max_viewers",
        takes: Takes::Number("N"),
        help: "viewers at once [20000]",
        set: |config, values| count(values).map(|most| config.limits.viewers = most).map_err(single),
    },
    Key {
        name: "max_viewers_per_stream",
        takes: Takes::Number("N"),
        help: "viewers at once of one stream [20000]",
        set: |config, values| count(values).map(|most| config.limits.viewers_per_stream = most).map_err(single),
    },
    Key {
        name: "max_rtsp_connections",
        takes: Takes::Number("N"),
        help: "RTSP connections at once [2000]",
        set: |config, values| count(values).map(|most| config.limits.rtsp.total = most).map_err(single),
    },
    Key {
        name: "max_rtsp_connections_per_address",
        takes: Takes::Number("N"),
        help: "the same of one client address [1000]",
        set: |config, values| count(values).map(|most| config.limits.rtsp.per_address = most).map_err(single),
    },
    Key {
        name: "max_processes",
        takes: Takes::Number("N"),
        help: "FFmpeg processes that may be defined [1000]",
        set: |config, values| count(values).map(|most| config.limits.processes = most).map_err(single),
    },
    Key {
        name: "max_half_open",
        takes: Takes::Number("N"),
        help: "sessions at once that are not connected yet [10000]",
        set: |config, values| count(values).map(|most| config.limits.half_open.total = most).map_err(single),
    },
    Key {
        name: "max_half_open_per_address",
        takes: Takes::Number("N"),
        help: "the same of one client address [1000]",
        set: |config, values| count(values).map(|most| config.limits.half_open.per_address = most).map_err(single),
    },
    Key {
        name: "publisher_kbps",
        takes: Takes::Number("N"),
        help: "what a publisher may send, in kbit/s [100000]",
        set: |config, values| {
            number(values, 1, 10_000_000).map(|n| config.limits.publisher.bits = 1000 * u64::from(n)).map_err(single)
        },
    },
    Key {
        name: "publisher_packets",
        takes: Takes::Number("N"),
        help: "packets a second a publisher may send [20000]",
        set: |config, values| number(values, 1, 1_000_000).map(|n| config.limits.publisher.packets = n).map_err(single),
    },
    Key {
        name: "request_rate",
        takes: Takes::Number("N"),
        help: "requests a second of one client address; 0 is no limit [100]",
        set: |config, values| {
            number(values, 0, 1_000_000).map(|n| config.limits.requests.per_second = n).map_err(single)
        },
    },
    Key {
        name: "request_burst",
        takes: Takes::Number("N"),
        help: "requests it may make at once [3000]",
        set: |config, values| number(values, 1, 1_000_000).map(|n| config.limits.requests.burst = n).map_err(single),
    },
    Key {
        name: "session_rate",
        takes: Takes::Number("N"),
        help: "PATCH requests a second to one session; 0 is no limit [5]",
        set: |config, values| {
            number(values, 0, 1_000_000).map(|n| config.limits.session.per_second = n).map_err(single)
        },
    },
    Key {
        name: "session_burst",
        takes: Takes::Number("N"),
        help: "PATCH requests to it at once [50]",
        set: |config, values| number(values, 1, 1_000_000).map(|n| config.limits.session.burst = n).map_err(single),
    },
];
