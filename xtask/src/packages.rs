//! Debian packages that the tests need: found missing, installed, said so.

use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// Package, and what it is for.
const PACKAGES: [(&str, &str); 24] = [
    ("build-essential", "the C compiler and make for the crypto libraries"),
    ("perl", "the build of the vendored OpenSSL"),
    ("pkg-config", "finds libsrtp"),
    ("libsrtp2-dev", "the other side of the SRTP tests"),
    ("ffmpeg", "publishing and probing in tests"),
    ("chromium", "publishes and watches through the pages"),
    ("chromium-driver", "drives Chromium"),
    ("firefox-esr", "watches through the pages"),
    ("fonts-dejavu-core", "text on screenshots"),
    ("python3-venv", "aiortc, schemathesis and their kind"),
    ("python3-gst-1.0", "GStreamer from Python"),
    ("gir1.2-gst-plugins-base-1.0", "SDP for GStreamer from Python"),
    ("gir1.2-gst-plugins-bad-1.0", "WebRTC for GStreamer from Python"),
    ("gstreamer1.0-plugins-base", "GStreamer's Opus and test sources"),
    ("gstreamer1.0-plugins-good", "GStreamer's RTP and VP8"),
    ("gstreamer1.0-plugins-bad", "GStreamer's webrtcbin and H.265"),
    ("gstreamer1.0-plugins-ugly", "GStreamer's H.264"),
    ("gstreamer1.0-libav", "GStreamer's decoders"),
    ("gstreamer1.0-nice", "GStreamer's ICE"),
    ("gstreamer1.0-tools", "gst-launch-1.0, which reads RTSP"),
    ("gstreamer1.0-rtsp", "rtspclientsink, which sends it"),
    ("nftables", "blocks UDP in tests"),
    ("redis-server", "what proxies share"),
    ("curl", "asks as another user of the machine"),
];

/// Installs those of [`PACKAGES`] that are missing. Where there is no apt, or no right to use it, names them.
pub(crate) fn install() -> Outcome {
    let missing: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let reasons: Vec<_> = PACKAGES.iter().filter(|(name, _)| missing.contains(name)).collect();
    for (name, reason) in reasons {
        eprintln!("missing: {name} ({reason})");
    }
    if !Path::new("/usr/bin/apt-get").exists() || !nix::unistd::geteuid().is_root() {
        return Err(format!("install what Debian calls: {names} (as root on Debian this command does it by itself)"));
    }
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat())
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn apt(args: &[&str]) -> Outcome {
    let status = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=120", "--quiet=2"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .map_err(|e| format!("apt-get: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("apt-get {}: {status}", args.join(" "))) }
}
