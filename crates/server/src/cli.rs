//! The command line: which command, and what its flags say. Nothing is judged here that the configuration judges.

use std::ffi::OsString;
use std::fmt::Write as _;

use lexopt::Arg;

use crate::config::keys::{self, Name, Takes};
use crate::config::{Config, Mistake, Setting, proxy};

/// What the program was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the gateway.
    Serve,
    /// Run the gateway with a built-in publisher on stream `demo`.
    Demo,
    /// Run the proxy before many gateways.
    Proxy,
    /// Judge a configuration and say what is wrong with it.
    Check,
    /// Print [`help`].
    Help,
    /// Print [`version`].
    Version,
}

/// The flags of a command, as written. Whether it has them all is said when they are resolved.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// `--config`.
    pub config: Option<String>,
    pub(crate) mistakes: Vec<Mistake>,
    settings: Vec<Setting>,
}

impl Arguments {
    /// The settings in the order they were written; of two for the same key the later one counts, and what a list
    /// was given in several flags is one setting.
    pub(crate) fn list(&self) -> Vec<Setting> {
        let mut merged: Vec<Setting> = Vec::new();
        for setting in &self.settings {
            let earlier = merged.iter_mut().find(|other| other.key == setting.key);
            match (earlier, setting.key.takes) {
                (Some(earlier), Takes::List(_)) => earlier.values.extend(setting.values.iter().cloned()),
                _ => merged.push(setting.clone()),
            }
        }
        merged
    }
}

/// Reads the arguments after the program's name. Mistakes are collected in the result and come out of
/// [`crate::config::resolve`] with all others; a missing or unknown command is the only thing that cannot wait.
///
/// # Errors
/// No command, or none of that name.
pub fn parse<I>(args: I) -> Result<(Command, Arguments), Mistake>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut parser = lexopt::Parser::from_args(args);
    let mut command = None;
    let mut arguments = Arguments::default();
    // After a flag nobody knows, a bare word is most likely its value and not a second mistake.
    let mut after_unknown = false;
    loop {
        let unknown_before = std::mem::take(&mut after_unknown);
        match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return Ok((Command::Help, arguments)),
            Ok(Some(Arg::Short('V') | Arg::Long("version"))) => return Ok((Command::Version, arguments)),
            Ok(Some(Arg::Value(word))) if command.is_none() => command = Some(named(&word.to_string_lossy())?),
            Ok(Some(Arg::Value(_))) if unknown_before => {}
            Ok(Some(Arg::Value(word))) => {
                let word = word.to_string_lossy();
                let what = match command {
                    Some(Command::Check) if arguments.config.is_none() => {
                        format!("not expected here; did you mean --config {word}?")
                    }
                    _ => "not expected here".to_owned(),
                };
                arguments.mistakes.push(Mistake::at(&word, what));
            }
            Ok(Some(Arg::Long(name))) => {
                let name = name.to_owned();
                after_unknown = !flag(&name, &mut parser, &mut arguments);
            }
            Ok(Some(Arg::Short(letter))) => {
                arguments.mistakes.push(Mistake::at(format!("-{letter}"), "no such flag"));
                after_unknown = true;
            }
            Err(error) => arguments.mistakes.push(Mistake::at("arguments", error)),
        }
    }
    match command {
        Some(command) => Ok((command, arguments)),
        None => Err(Mistake::at("whipstitch", "a command is missing: serve, demo, proxy or check (see --help)")),
    }
}

fn named(word: &str) -> Result<Command, Mistake> {
    match word {
        "serve" => Ok(Command::Serve),
        "demo" => Ok(Command::Demo),
        "proxy" => Ok(Command::Proxy),
        "check" => Ok(Command::Check),
        "help" => Ok(Command::Help),
        "version" => Ok(Command::Version),
        _ => Err(Mistake::at(word, "no such command: serve, demo, proxy or check (see --help)")),
    }
}

/// Takes one long flag with its value. `false` when there is no such flag.
fn flag(name: &str, parser: &mut lexopt::Parser, arguments: &mut Arguments) -> bool {
    let place = format!("--{name}");
    if name == "config" {
        match value(parser) {
            Ok(path) => arguments.config = Some(path),
            Err(what) => arguments.mistakes.push(Mistake::at(place, what)),
        }
        return true;
    }
    let Some(key) = keys::all_names().into_iter().find(|key| key.flag() == place) else {
        // `--unknown=value` carries its value along.
        let _ = parser.optional_value();
        arguments.mistakes.push(Mistake::at(place, "no such flag"));
        return false;
    };
    let value = match key.takes {
        Takes::Switch => match parser.optional_value() {
            None => Ok("true".to_owned()),
            Some(text) => Ok(text.to_string_lossy().into_owned()),
        },
        _ => value(parser),
    };
    match value {
        Ok(value) => arguments.settings.push(Setting { key, values: vec![value], place }),
        Err(what) => arguments.mistakes.push(Mistake::at(place, what)),
    }
    true
}

/// The value of the flag just read: `--flag value` or `--flag=value`.
fn value(parser: &mut lexopt::Parser) -> Result<String, &'static str> {
    if let Some(value) = parser.optional_value() {
        return value.into_string().map_err(|_| "is not UTF-8");
    }
    // Another flag in the place of a value is a forgotten value: `--token --open-publish` must not become a token.
    let mut rest = parser.try_raw_args().ok_or("needs a value")?;
    match rest.next_if(|word| !word.to_string_lossy().starts_with("--")) {
        Some(word) => word.into_string().map_err(|_| "is not UTF-8"),
        None => Err("needs a value"),
    }
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "\
Whipstitch: WebRTC in over WHIP, WebRTC out over WHEP.

Usage:
  whipstitch serve [FLAGS]            run the gateway
  whipstitch demo  [FLAGS]            run it with a moving test source on stream \"demo\"
  whipstitch proxy [FLAGS]            run the proxy before many gateways
  whipstitch check --config F         say what is wrong with a configuration
",
    );
    for (title, example, keys) in [
        ("Flags of serve and demo", "whipstitch.example.toml", keys::rows_of::<Config>()),
        ("Flags of proxy", "whipstitch-proxy.example.toml", keys::rows_of::<proxy::Config>()),
    ] {
        let _ = write!(text, "\n{title}:\n");
        // Writing to a String cannot fail. A flag that is longer than its column has a line to itself.
        let mut row = |flag: &str, help: &str| {
            let _ = match flag.len() {
                0..22 => writeln!(text, "  {flag:<22}{help}"),
                _ => writeln!(text, "  {flag}\n{:24}{help}", ""),
            };
        };
        row("--config F", &format!("configuration file, TOML (see {example})"));
        for (key, help) in keys {
            row(&with_value(key), help);
        }
    }
    text.push_str(
        "
Every flag is also a variable, WHIPSTITCH_<FLAG>, and a key of the file; flags beat
variables beat the file. WHIPSTITCH_LOG sets what is logged (default: info).
Exit codes: 0 stopped in order, 1 failed while running, 2 wrong usage or configuration.
",
    );
    text
}

fn with_value(key: Name) -> String {
    match key.takes {
        Takes::Switch => key.flag(),
        Takes::Number(value) | Takes::Text(value) | Takes::List(value) => format!("{} {value}", key.flag()),
    }
}

/// The text of `--version`.
pub fn version() -> &'static str {
    concat!("whipstitch ", env!("CARGO_PKG_VERSION"))
}
