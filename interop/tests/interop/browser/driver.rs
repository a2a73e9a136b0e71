//! Headless Chromium and Firefox, with a fresh profile each, looking at one page.
//!
//! Waiting happens inside the page: a condition in JavaScript is asked every 100 ms until it holds or its time is up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};
use tokio::sync::Mutex;
use whipstitch_interop::{Network, Process, target};

use super::marionette::Marionette;

/// Long enough for a cold start on a busy machine with two cores.
const START: Duration = Duration::from_secs(60);

const CHROMIUM: &[&str] = &[
    "--headless=new",
    // CI runs as root.
    "--no-sandbox",
    "--disable-gpu",
    // Shared memory may be a few megabytes in a container.
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--window-size=1280,900",
    // Control through a pipe: Chromium ends when chromedriver does, however that ends.
    "--remote-debugging-pipe",
];

/// Firefox takes any free port, keeps to itself, plays without a click, and invents camera and microphone.
const FIREFOX: &str = r#"
user_pref("marionette.port", 0);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.update.enabled", false);
user_pref("media.autoplay.default", 0);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("media.navigator.permission.disabled", true);
user_pref("media.navigator.streams.fake", true);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
"#;

/// Says that there is an OpenH264 plugin: only then does Firefox offer H.264 on WebRTC. Mozilla's own is downloaded at
/// run time, which tests do not do; decoding is left to the system's libavcodec by the second preference, and nobody
/// ever loads the plugin.
const OPENH264: &str = "\
Name: gmpopenh264
Description: stands for OpenH264
Version: 2.6.0
APIs: encode-video[h264], decode-video[h264]
";
const LIBAVCODEC: &str = r#"user_pref("media.navigator.mediadatadecoder_h264_enabled", true);"#;

/// One browser with one page. Ends on drop.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Driver,
    name: String,
    // In this order: the profile can only be removed when nobody writes to it.
    _process: Process,
    _profile: TempDir,
}

#[derive(Debug)]
enum Driver {
    Chromium(WebDriver),
    Firefox(Mutex<Marionette>),
}

impl Browser {
    /// Starts Chromium; `name` says what it is there for, in messages and file names.
    pub(crate) async fn chromium(name: &str) -> Browser {
        Browser::chromium_with(name, |_| {}).await
    }

    /// Starts Chromium that takes itself for a telephone held upright.
    pub(crate) async fn chromium_phone(name: &str) -> Browser {
        let metrics = json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2.0, "touch": true } });
        Browser::chromium_with(name, |wanted| {
            wanted.add_experimental_option("mobileEmulation", metrics).expect("an option");
        })
        .await
    }

    /// Starts Chromium in a network of its own; chromedriver stays outside and holds it by a pipe.
    pub(crate) async fn chromium_inside(network: &Network, name: &str) -> Browser {
        let (_folder, binary) = inside(network);
        Browser::chromium_with(name, |wanted| wanted.set_binary(&binary).expect("an option")).await
    }

    /// Starts Chromium whose camera films this over and over (Y4M), in a network of its own if one is given.
    pub(crate) async fn chromium_filming(network: Option<&Network>, name: &str, film: &Path) -> Browser {
        let inside = network.map(inside);
        let film = format!("--use-file-for-fake-video-capture={}", film.display());
        Browser::chromium_with(name, |wanted| {
            wanted.add_arg(&film).expect("a list of arguments");
            if let Some((_, binary)) = &inside {
                wanted.set_binary(binary).expect("an option");
            }
        })
        .await
    }

    /// Starts Chromium in a network of its own; pages from `origin` may have the camera, as if they came over HTTPS.
    pub(crate) async fn chromium_trusting(network: &Network, name: &str, origin: &str) -> Browser {
        let (_folder, binary) = inside(network);
        let trusting = format!("--unsafely-treat-insecure-origin-as-secure={origin}");
        Browser::chromium_with(name, |wanted| {
            wanted.add_arg(&trusting).expect("a list of arguments");
            wanted.set_binary(&binary).expect("an option");
        })
        .await
    }

    async fn chromium_with(name: &str, adapt: impl FnOnce(&mut ChromeCapabilities)) -> Browser {
        let profile = profile();
        let process =
            Process::start("chromedriver", keeping_to(&profile, Command::new("chromedriver").arg("--port=0")));
        let port: u16 = process.line(START, "port", |line| {
            line.strip_prefix("ChromeDriver was started successfully on port ")?.trim_end_matches('.').parse().ok()
        });
        let mut wanted = DesiredCapabilities::chrome();
        let folder = format!("--user-data-dir={}", profile.path().display());
        for argument in CHROMIUM.iter().copied().chain([folder.as_str()]) {
            wanted.add_arg(argument).expect("a list of arguments");
        }
        adapt(&mut wanted);
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await;
        let driver = driver.unwrap_or_else(|e| panic!("Chromium for the {name} does not start: {e}"));
        // Killing the process group ends the session; without this, drop would politely wait for it.
        driver.clone().leak().expect("a new session");
        Browser { driver: Driver::Chromium(driver), name: name.to_owned(), _process: process, _profile: profile }
    }

    /// Starts Firefox.
    pub(crate) async fn firefox(name: &str) -> Browser {
        let profile = profile();
        let plugin = profile.path().join("gmp-gmpopenh264").join("2.6.0");
        fs::create_dir_all(&plugin).expect("the profile's folder is ours");
        for (path, text) in [
            (profile.path().join("user.js"), format!("{FIREFOX}{LIBAVCODEC}\n")),
            (plugin.join("gmpopenh264.info"), OPENH264.to_owned()),
            (plugin.join("libgmpopenh264.so"), String::new()),
        ] {
            fs::write(path, text).expect("the profile's folder is ours");
        }
        Browser::firefox_with(name, profile, |command| {
            command.env("MOZ_GMP_PATH", &plugin);
        })
        .await
    }

    /// Starts Firefox as it is before its OpenH264 plugin was downloaded: it has no H.264 on WebRTC.
    pub(crate) async fn firefox_without_h264(name: &str) -> Browser {
        let profile = profile();
        fs::write(profile.path().join("user.js"), FIREFOX).expect("the profile's folder is ours");
        Browser::firefox_with(name, profile, |_| {}).await
    }

    async fn firefox_with(name: &str, profile: TempDir, adapt: impl FnOnce(&mut Command)) -> Browser {
        let mut command = Command::new("firefox-esr");
        command.args(["--headless", "--marionette", "--no-remote", "--width=1280", "--height=900", "--profile"]);
        command.arg(profile.path());
        adapt(&mut command);
        let process = Process::start("firefox", keeping_to(&profile, &mut command));
        let port = process.line(START, "port", |line| line.split_once("Listening on port ")?.1.trim().parse().ok());
        let driver = Driver::Firefox(Mutex::new(Marionette::connect(port).await));
        Browser { driver, name: name.to_owned(), _process: process, _profile: profile }
    }

    /// What it is there for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Loads a page.
    pub(crate) async fn open(&self, url: &str) {
        match &self.driver {
            Driver::Chromium(driver) => driver.goto(url).await.map_err(|e| e.to_string()),
            Driver::Firefox(marionette) => {
                let mut marionette = marionette.lock().await;
                let arguments = json!({ "url": url });
                marionette.command("WebDriver:Navigate", arguments).await.map(drop).map_err(|e| e.to_string())
            }
        }
        .unwrap_or_else(|e| panic!("{}: {url}: {e}", self.name));
    }

    /// The value of an asynchronous function's body in the page; `null` where JavaScript has `undefined`.
    pub(crate) async fn evaluate(&self, body: &str) -> Value {
        self.until(
            "a value",
            Duration::ZERO,
            &format!("const value = await (async () => {{ {body} }})();\n return [value];"),
        )
        .await[0]
            .take()
    }

    /// Asks the function's body again and again until it returns something true, and returns that. Exceptions count as
    /// not yet. Panics after `within`, with the last answer, the page's text and a screenshot.
    pub(crate) async fn until(&self, what: &str, within: Duration, body: &str) -> Value {
        let script = format!(
            "const [within, done] = arguments;
             const end = performance.now() + within;
             const ask = async () => {{ {body} }};
             const again = async () => {{
                 let last;
                 try {{
                     const value = await ask();
                     if (value) return done({{ value }});
                     last = value;
                 }} catch (error) {{
                     last = String(error);
                 }}
                 if (performance.now() >= end) return done({{ last, text: document.body?.innerText }});
                 setTimeout(again, 100);
             }};
             again();"
        );
        let mut answer = self.script(&script, within).await;
        if answer.get("value").is_some() {
            return answer["value"].take();
        }
        let picture = self.screenshot(&format!("failed-{}", self.name)).await;
        panic!(
            "{}: no {what} within {within:?}; last answer: {}; screenshot: {}; the page says:\n{}",
            self.name,
            answer["last"],
            picture.display(),
            answer["text"].as_str().unwrap_or_default()
        );
    }

    async fn script(&self, script: &str, within: Duration) -> Value {
        let allowed = within + Duration::from_secs(20);
        let milliseconds = json!(u64::try_from(within.as_millis()).expect("a test's time"));
        match &self.driver {
            Driver::Chromium(driver) => {
                driver.set_script_timeout(allowed).await.expect("a timeout");
                let answer = driver.execute_async(script, vec![milliseconds]).await;
                answer.map(|answer| answer.json().clone()).map_err(|e| e.to_string())
            }
            Driver::Firefox(marionette) => {
                let mut marionette = marionette.lock().await;
                let timeouts = json!({ "script": u64::try_from(allowed.as_millis()).expect("a test's time") });
                marionette.command("WebDriver:SetTimeouts", timeouts).await.expect("a timeout");
                let arguments = json!({ "script": script, "args": [milliseconds] });
                let answer = marionette.command("WebDriver:ExecuteAsyncScript", arguments).await;
                answer.map(|mut answer| answer["value"].take()).map_err(|e| e.to_string())
            }
        }
        .unwrap_or_else(|e| panic!("{}: script failed: {e}", self.name))
    }

    /// Saves what the page looks like as `target/screenshots/<name>.png`.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        let png = match &self.driver {
            Driver::Chromium(driver) => driver.screenshot_as_png_base64().await.expect("a screenshot"),
            Driver::Firefox(marionette) => {
                let arguments = json!({ "full": false });
                let answer = marionette.lock().await.command("WebDriver:TakeScreenshot", arguments).await;
                answer.expect("a screenshot")["value"].as_str().expect("base64").to_owned()
            }
        };
        let folder = target().join("screenshots");
        fs::create_dir_all(&folder).expect("the target folder is ours");
        let path = folder.join(format!("{name}.png"));
        fs::write(&path, thirtyfour::support::base64_decode(&png).expect("base64")).expect("the target folder is ours");
        path
    }
}

/// A program that starts Chromium in the network, and the folder it lies in, which is needed until it has started.
fn inside(network: &Network) -> (TempDir, String) {
    let command = network.inside(&Command::new("chromium"));
    let mut words = vec!["exec", command.get_program().to_str().expect("a name")];
    words.extend(command.get_args().map(|word| word.to_str().expect("a word")));
    let folder = profile();
    let script = folder.path().join("chromium");
    fs::write(&script, format!("#!/bin/sh\n{} \"$@\"\n", words.join(" "))).expect("the folder is ours");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("the file is ours");
    let binary = script.to_str().expect("a path in UTF-8").to_owned();
    (folder, binary)
}

/// The program with its temporary files in the profile: killed, it would leave them behind.
fn keeping_to<'a>(profile: &TempDir, command: &'a mut Command) -> &'a Command {
    let folder = profile.path().join("tmp");
    fs::create_dir_all(&folder).expect("the profile's folder is ours");
    command.env("TMPDIR", folder)
}

fn profile() -> TempDir {
    tempfile::Builder::new().prefix("whipstitch-browser-").tempdir().expect("a temporary folder")
}
