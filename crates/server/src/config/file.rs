//! The TOML file as settings, with the line each stands on.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use whipstitch_ffmpeg::process::Definition;

use super::keys::{self, Takes};
use super::rtp_inputs::RtpInput;
use super::tables::Wrong;
use super::{File, Mistake, Setting, processes, rtp_inputs, tokens};
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

/// What the file sets, and what is wrong with it: broken syntax, unknown keys and values of the wrong kind, all in the
/// order of the file. What could still be read is judged as well, so that one run shows everything; of a line with
/// broken syntax only that is said, because what its rest means is a guess. What tables say goes to `tables`.
pub(super) fn read(file: File<'_>, tables: &mut Tables) -> Vec<Result<Setting, Mistake>> {
    let (table, errors) = DeTable::parse_recoverable(file.text);
    let mut broken: BTreeMap<usize, Mistake> = BTreeMap::new();
    for error in errors {
        let line = line(file, error.span().map_or(0, |span| span.start));
        broken.entry(line).or_insert_with(|| Mistake::at(place(file, line), error.message()));
    }
    let mut found: Vec<(usize, Result<Setting, Mistake>)> = Vec::new();
    for (name, value) in table.get_ref() {
        if let Some(wrong) = tables.read(file, name.get_ref(), value) {
            found.extend(wrong.into_iter().map(|(at, what)| {
                let line = line(file, at);
                (line, Err(Mistake::at(place(file, line), what)))
            }));
            continue;
        }
        let line = line(file, name.span().start);
        if !broken.contains_key(&line) {
            found.push((line, setting(format!("{}: {}", place(file, line), name.get_ref()), name.get_ref(), value)));
        }
    }
    found.extend(broken.into_iter().map(|(line, mistake)| (line, Err(mistake))));
    found.sort_by_key(|(line, _)| *line);
    found.into_iter().map(|(_, found)| found).collect()
}

fn setting(place: String, name: &str, value: &Spanned<DeValue<'_>>) -> Result<Setting, Mistake> {
    let Some(key) = keys::named(name) else { return Err(Mistake::at(place, "no such key")) };
    match values(key.takes, value) {
        Ok(values) => Ok(Setting { key, values, place }),
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
