//! Which addresses processes may have: lists of expressions as datarhei has them, protocols, and folders for what is written.
//!
//! Whoever may define a process may run FFmpeg; the lists keep it to what the operator means it for. They are asked when a
//! process is defined and before each start. Files are judged by where they really are: paths are made absolute and
//! normalised, and symbolic links are followed. Addresses within others (`tee`, `concat:`, `async:`) are looked into, and
//! so are [`options`] that name files. Of [`filters`] those that open files are refused.
//! FFmpeg itself opens what a playlist names: its `protocol_whitelist` may only name protocols that are allowed.

mod filters;
mod options;
mod paths;

use std::path::{Path, PathBuf};

use regex::Regex;

use super::Mistake;
use super::command::{Expanded, ExpandedEnd};
use super::templates::{self, WHEP, WHIP};

/// Addresses within addresses: no deeper.
const DEEPEST: usize = 8;

/// What is allowed, and what is not although it were.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    allow: Vec<Regex>,
    block: Vec<Regex>,
}

impl Lists {
    /// Regular expressions of what is allowed; each is looked for anywhere in an address. Without any, all is allowed.
    ///
    /// # Errors
    /// Each expression that is none, with why.
    pub fn allow(&mut self, expressions: &[String]) -> Result<(), Vec<String>> {
        expressions_of(expressions).map(|all| self.allow = all)
    }

    /// The same of what is not allowed, although it were.
    ///
    /// # Errors
    /// As of [`Lists::allow`].
    pub fn block(&mut self, expressions: &[String]) -> Result<(), Vec<String>> {
        expressions_of(expressions).map(|all| self.block = all)
    }

    fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.block.is_empty()
    }

    /// Judges an address that can be written in several ways: none may be blocked, each place it is at must be allowed.
    fn judge(&self, written: &str, places: &[Vec<String>]) -> Result<(), String> {
        let every = places.iter().flatten().map(String::as_str).chain([written]);
        if every.clone().any(|text| self.block.iter().any(|expression| expression.is_match(text))) {
            return Err("is blocked by the configuration".to_owned());
        }
        let allowed = |text: &str| self.allow.iter().any(|expression| expression.is_match(text));
        let at = |place: &Vec<String>| place.iter().any(|text| allowed(text));
        let is_allowed = if places.is_empty() { allowed(written) } else { places.iter().all(at) };
        if self.allow.is_empty() || is_allowed {
            return Ok(());
        }
        Err("matches nothing that the configuration allows".to_owned())
    }
}

impl PartialEq for Lists {
    fn eq(&self, other: &Self) -> bool {
        let texts = |list: &[Regex]| list.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>();
        texts(&self.allow) == texts(&other.allow) && texts(&self.block) == texts(&other.block)
    }
}

fn expressions_of(texts: &[String]) -> Result<Vec<Regex>, Vec<String>> {
    let (mut all, mut mistakes) = (Vec::new(), Vec::new());
    for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        match Regex::new(text) {
            Ok(expression) => all.push(expression),
            Err(error) => mistakes.push(format!("{text:?} is no regular expression: {error}")),
        }
    }
    if mistakes.is_empty() { Ok(all) } else { Err(mistakes) }
}

/// What processes may read and write. The default is everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Addresses of inputs.
    pub input: Lists,
    /// Addresses of outputs.
    pub output: Lists,
    /// Protocols as FFmpeg calls them (`rtmp`, `https`, `file`). Empty: all.
    pub protocols: Vec<String>,
    /// Folders that may be written in, and below. Empty: all. The process' own folder always may.
    pub folders: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

impl Access {
    fn is_open(&self) -> bool {
        self.input.is_empty() && self.output.is_empty() && self.protocols.is_empty() && self.folders.is_empty()
    }

    /// Everything of a process that is not allowed. `own` is its folder, where its relative paths begin.
    pub(super) fn check(&self, process: &Expanded, own: &Path) -> Result<(), Vec<Mistake>> {
        if self.is_open() {
            return Ok(());
        }
        let at = At { access: self, own };
        let mut wrong = Vec::new();
        at.options("options", &process.options, &mut wrong);
        for (side, ends) in [(Side::Input, &process.inputs), (Side::Output, &process.outputs)] {
            for end in ends {
                at.options(&format!("{}.options", end.field), &end.options, &mut wrong);
                if let Err(why) = at.end(side, end) {
                    wrong.push(Mistake::new(format!("{}.address", end.field), why));
                }
            }
        }
        at.options("whep_egress.options", &process.egress_options, &mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// The rules, in the folder of one process.
#[derive(Clone, Copy)]
struct At<'a> {
    access: &'a Access,
    own: &'a Path,
}

impl At<'_> {
    fn end(self, side: Side, end: &ExpandedEnd) -> Result<(), String> {
        let address = end.address.as_str();
        // FFmpeg knows them in any case.
        let is = |format: &&str, name: &str| format.eq_ignore_ascii_case(name);
        let formats = options::formats(&end.options);
        match (side, formats.last()) {
            (Side::Input, Some(format)) if is(format, "lavfi") => {
                filters::graph(address)?;
                self.protocol("lavfi")?;
                self.access.input.judge(address, &[])
            }
            (Side::Output, Some(format)) if is(format, "tee") => self.slaves(side, address, 0),
            (Side::Output, _) if address.contains('|') || address.starts_with('[') => {
                self.slaves(side, address, 0)?;
                self.address(side, address, 0)
            }
            // Behind a `fifo`, too.
            (Side::Output, _) if options::formats_within(&end.options).any(|format| is(&format, "tee")) => {
                self.slaves(side, address, 0)
            }
            _ => self.address(side, address, 0),
        }
    }

    /// Each output of a `tee`: `[option=value:…]address|…`. What FFmpeg would unquote is refused: it would be another address.
    fn slaves(self, side: Side, address: &str, depth: usize) -> Result<(), String> {
        for slave in unquoted(address)? {
            if slave.starts_with('[') && !slave.contains(']') {
                return Err("has options of a tee without an end".to_owned());
            }
            let (given, address) = slave_options(slave);
            for (name, value) in given {
                let value = value.trim_matches(SPACES);
                if matches!(name.as_str(), "f" | "fifo_format") && value.eq_ignore_ascii_case("tee") {
                    return Err("has a tee within a tee, which lists of addresses cannot see".to_owned());
                }
                options::value(self, &name, value)?;
            }
            self.address(side, address, depth)?;
        }
        Ok(())
    }

    fn address(self, side: Side, address: &str, depth: usize) -> Result<(), String> {
        if templates::whole(address, WHIP).is_some() || templates::whole(address, WHEP).is_some() {
            // A stream of ours: who may define the process may have it.
            return Ok(());
        }
        if depth > DEEPEST {
            return Err("has addresses within addresses without end".to_owned());
        }
        // The standard streams of the child: our pipes, or what it writes for nobody.
        if matches!(address, "-" | "pipe:" | "pipe:0" | "pipe:1" | "pipe:2" | "fd:") {
            return Ok(());
        }
        let lists = if side == Side::Input { &self.access.input } else { &self.access.output };
        let Some(protocol) = protocol(address) else { return self.file(side, address, address) };
        let (outer, nested) = protocol.split_once('+').unwrap_or((protocol, ""));
        self.protocol(outer)?;
        let rest = &address[outer.len() + 1..];
        let inner: Vec<&str> = match outer {
            _ if !nested.is_empty() => vec![rest],
            "file" => return self.file(side, rest, address),
            // A socket, or a folder with what a disc holds.
            "unix" | "bluray" => return self.path(side, outer, rest, address),
            "fd" | "pipe" => return Err("is a stream of this server that no process has".to_owned()),
            // What it holds may be a list of files, which FFmpeg would open.
            "data" | "concatf" => {
                return Err(format!("is of the kind {outer}:, which lists of addresses cannot see into"));
            }
            "tee" => return self.slaves(side, rest, depth + 1),
            "concat" => unquoted(rest)?,
            "async" | "cache" | "md5" => vec![rest],
            "crypto" | "hls" => vec![rest.trim_start_matches("//")],
            "subfile" => vec![within_subfile(address).ok_or("is a subfile of no address that lists could see")?],
            _ => return lists.judge(address, &[]),
        };
        if lists.block.iter().any(|expression| expression.is_match(address)) {
            return Err("is blocked by the configuration".to_owned());
        }
        inner.into_iter().try_for_each(|inner| self.address(side, inner, depth + 1))
    }

    fn protocol(self, protocol: &str) -> Result<(), String> {
        let allowed = &self.access.protocols;
        if allowed.is_empty() || allowed.iter().any(|one| one == protocol) {
            return Ok(());
        }
        Err(format!("has the protocol {protocol:?}, which the configuration does not allow"))
    }

    fn file(self, side: Side, path: &str, written: &str) -> Result<(), String> {
        self.protocol("file")?;
        self.path(side, "file", path, written)
    }

    fn path(self, side: Side, protocol: &str, path: &str, written: &str) -> Result<(), String> {
        let lexical = paths::normal(self.own, Path::new(path));
        let real = paths::real(&lexical).map_err(|error| format!("cannot be followed: {error}"))?;
        let lists = if side == Side::Input { &self.access.input } else { &self.access.output };
        let ways = |path: &Path| vec![path.display().to_string(), format!("{protocol}:{}", path.display())];
        lists.judge(written, &[ways(&lexical), ways(&real)])?;
        let folders = &self.access.folders;
        if side == Side::Input || folders.is_empty() {
            return Ok(());
        }
        let within = |folder: &Path| {
            let folder = paths::normal(Path::new("/"), folder);
            lexical.starts_with(&folder) && paths::real(&folder).is_ok_and(|folder| real.starts_with(folder))
        };
        if within(self.own) || folders.iter().any(|folder| within(folder)) {
            return Ok(());
        }
        Err("is in no folder that the configuration lets processes write in".to_owned())
    }
}

/// What FFmpeg takes for the protocol of an address; None: it is a file. (`url_find_protocol` of its `avio.c`.)
fn protocol(address: &str) -> Option<&str> {
    if address.starts_with("subfile,") && address.contains(':') {
        return Some("subfile");
    }
    let end = address.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))?;
    address[end..].starts_with(':').then(|| &address[..end])
}

/// What FFmpeg drops around an address of a list.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// The addresses of a list, with `|` between them, none of which is quoted or escaped.
fn unquoted(list: &str) -> Result<Vec<&str>, String> {
    if list.contains(['\'', '\\']) {
        return Err("has ' or \\ in a list of addresses, which lists of what is allowed cannot see through".to_owned());
    }
    Ok(list.split('|').map(|one| one.trim_matches(SPACES)).collect())
}

/// What a `subfile` opens: the separator stands after its comma, behind each option and each value, and once more before `:`.
/// (`url_alloc_for_protocol` of FFmpeg's `avio.c`.)
fn within_subfile(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("subfile")?;
    if let Some(inner) = rest.strip_prefix(':') {
        return Some(inner);
    }
    let rest = rest.strip_prefix(',')?;
    let separator = rest.chars().next().filter(char::is_ascii)?;
    let mut rest = &rest[1..];
    loop {
        let (name, after) = rest.split_once(separator)?;
        if name.is_empty() {
            return after.strip_prefix(':');
        }
        (_, rest) = after.split_once(separator)?;
    }
}

/// The outputs of a `tee`: `|` is between them, unless it is escaped or quoted.
pub(super) fn slaves(address: &str) -> Vec<String> {
    let (mut all, mut one) = (Vec::new(), String::new());
    let (mut escaped, mut quoted) = (false, false);
    for c in address.chars() {
        match c {
            '|' if !escaped && !quoted => {
                all.push(std::mem::take(&mut one));
                continue;
            }
            '\'' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped && !quoted;
        one.push(c);
    }
    all.push(one);
    all
}

/// The options of one output of a `tee`, and its address.
pub(super) fn slave_options(slave: &str) -> (Vec<(String, String)>, &str) {
    let Some((options, address)) = slave.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return (Vec::new(), slave);
    };
    let pairs = options.split(':').filter_map(|pair| pair.split_once('='));
    (pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect(), address)
}

#[cfg(test)]
mod tests;
