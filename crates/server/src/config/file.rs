//! The TOML file as settings, with the line each stands on.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};
use whipstitch_ffmpeg::process::Definition;

use super::keys::{self, Name, Takes};
use super::rtp_inputs::RtpInput;
use super::tables::Wrong;
use super::{Config, File, Mistake, Setting, processes, proxy, rtp_inputs, tokens};
use crate::tokens::Listed;

/// The names that are no keys: their tables are no text that could stand in a flag.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// `[[tokens]]`.
    pub(super) tokens: Vec<Listed>,
    /// `[[rtp_input]]`.
    pub(super) rtp_inputs: Vec<RtpInput>,
    /// `[[process]]`.
    pub(super) processes: Vec<Definition>,
}

impl Tables {
    /// Reads the tables of this name; `None` if it is a key, or nothing.
    fn read(&mut self, file: File<'_>, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Vec<Wrong>> {
        let wrong;
        match name {
            "tokens" => (self.tokens, wrong) = tokens::listed(value),
            "process" => (self.processes, wrong) = processes::listed(value),
            "rtp_input" => {
                let folder = file.path.parent().unwrap_or(Path::new(""));
                (self.rtp_inputs, wrong) = rtp_inputs::listed(value, folder);
            }
            _ => return None,
        }
        Some(wrong)
    }
}

/// The table that holds the keys of `whipstitch proxy`, where a file has both.
const PROXY: &str = "proxy";

/// What the file sets for `serve`, and what is wrong with it: broken syntax, unknown keys and values of the wrong kind, all
/// in the order of the file. What could still be read is judged as well, so that one run shows everything; of a line with
/// broken syntax only that is said, because what its rest means is a guess. What tables say goes to `tables`; what stands
/// below `[proxy]` is for `whipstitch proxy`.
pub(super) fn read(file: File<'_>, tables: &mut Tables) -> Vec<Result<Setting, Mistake>> {
    let (mut lines, table) = Lines::parse(file);
    let known = keys::names_of::<Config>();
    for (name, value) in &table {
        if is_of_the_proxy(name.get_ref(), value) {
            if table.len() == 1 {
                let what = "the file is for `whipstitch proxy`: all of it stands below [proxy]";
                lines.add(name.span().start, |place| Err(Mistake::at(place, what)));
            }
        } else if let Some(wrong) = tables.read(file, name.get_ref(), value) {
            wrong.into_iter().for_each(|(at, what)| lines.add(at, |place| Err(Mistake::at(place, what))));
        } else {
            lines.add_key(&known, name, value);
        }
    }
    lines.end()
}

/// The same for `proxy`: what stands below `[proxy]`, or all of the file when there is no such table.
pub(super) fn read_proxy(file: File<'_>) -> Vec<Result<Setting, Mistake>> {
    let (mut lines, table) = Lines::parse(file);
    let known = keys::names_of::<proxy::Config>();
    let own = table.iter().find(|(name, value)| is_of_the_proxy(name.get_ref(), value));
    let keys = match own.map(|(_, value)| value.get_ref()) {
        Some(DeValue::Table(own)) => own,
        _ => &table,
    };
    for (name, value) in keys {
        lines.add_key(&known, name, value);
    }
    lines.end()
}

/// Which commands a file is for: `(serve, proxy)`. It is the proxy's that has a table `[proxy]`, or a key that only the proxy
/// has; it is `serve`'s, too, when anything else stands beside that table.
pub fn commands(text: &str) -> (bool, bool) {
    let (table, _) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    if table.iter().any(|(name, value)| is_of_the_proxy(name.get_ref(), value)) {
        return (table.len() > 1, true);
    }
    let has = |keys: &[Name], name: &str| keys.iter().any(|key| key.name == name);
    let (serve, proxy) = (keys::names_of::<Config>(), keys::names_of::<proxy::Config>());
    let is_proxy = table.keys().any(|name| has(&proxy, name.get_ref()) && !has(&serve, name.get_ref()));
    (!is_proxy, is_proxy)
}

fn is_of_the_proxy(name: &str, value: &Spanned<DeValue<'_>>) -> bool {
    name == PROXY && matches!(value.get_ref(), DeValue::Table(_))
}

/// What was found, by the line it stands on.
struct Lines<'a> {
    file: File<'a>,
    broken: BTreeMap<usize, Mistake>,
    found: Vec<(usize, Result<Setting, Mistake>)>,
}

impl<'a> Lines<'a> {
    fn parse(file: File<'a>) -> (Self, DeTable<'a>) {
        let (table, errors) = DeTable::parse_recoverable(file.text);
        let mut broken: BTreeMap<usize, Mistake> = BTreeMap::new();
        for error in errors {
            let line = line(file, error.span().map_or(0, |span| span.start));
            broken.entry(line).or_insert_with(|| Mistake::at(place(file, line), error.message()));
        }
        (Self { file, broken, found: Vec::new() }, table.into_inner())
    }

    /// Something that stands at a byte of the file, given its `path:line`.
    fn add(&mut self, at: usize, what: impl FnOnce(String) -> Result<Setting, Mistake>) {
        let line = line(self.file, at);
        self.found.push((line, what(place(self.file, line))));
    }

    fn add_key(&mut self, known: &[Name], name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) {
        let at = name.span().start;
        if !self.broken.contains_key(&line(self.file, at)) {
            let name: &str = name.get_ref();
            self.add(at, |place| setting(known, format!("{place}: {name}"), name, value));
        }
    }

    /// All of it in the order of the file.
    fn end(mut self) -> Vec<Result<Setting, Mistake>> {
        self.found.extend(self.broken.into_iter().map(|(line, mistake)| (line, Err(mistake))));
        self.found.sort_by_key(|(line, _)| *line);
        self.found.into_iter().map(|(_, found)| found).collect()
    }
}

fn setting(known: &[Name], place: String, name: &str, value: &Spanned<DeValue<'_>>) -> Result<Setting, Mistake> {
    let Some(key) = known.iter().find(|key| key.name == name) else { return Err(Mistake::at(place, "no such key")) };
    match values(key.takes, value) {
        Ok(values) => Ok(Setting { key: *key, values, place }),
        Err(wanted) => Err(Mistake::at(place, wanted)),
    }
}

fn values(takes: Takes, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, &'static str> {
    match (takes, value.get_ref()) {
        (Takes::Switch, DeValue::Boolean(on)) => Ok(vec![on.to_string()]),
        (Takes::Switch, _) => Err("wants true or false"),
        (Takes::Number(_), DeValue::Integer(number)) if number.radix() == 10 => Ok(vec![number.as_str().to_owned()]),
        (Takes::Number(_), _) => Err("wants a whole number"),
        (Takes::Text(_) | Takes::List(_), DeValue::String(text)) => Ok(vec![text.to_string()]),
        (Takes::Text(_), _) => Err("wants a text in quotes"),
        (Takes::List(_), DeValue::Array(items)) => items.iter().map(text).collect(),
        (Takes::List(_), _) => Err("wants an array of texts in quotes"),
    }
}

fn text(item: &Spanned<DeValue<'_>>) -> Result<String, &'static str> {
    match item.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err("wants an array of texts in quotes"),
    }
}

/// The line of a byte offset.
fn line(file: File<'_>, offset: usize) -> usize {
    1 + file.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// `path:line`.
fn place(file: File<'_>, line: usize) -> String {
    format!("{}:{line}", file.path.display())
}
