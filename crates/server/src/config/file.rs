//! The TOML file as settings, with the line each stands on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Takes};
use super::{File, Mistake, Setting};

/// What the file sets. Broken syntax, unknown keys and values of the wrong kind go to `mistakes`; what could still be
/// read is judged as well, so that one run shows everything.
pub(super) fn settings(file: File<'_>, mistakes: &mut Vec<Mistake>) -> Vec<Setting> {
    let (table, errors) = DeTable::parse_recoverable(file.text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        mistakes.push(Mistake::at(place(file, at), error.message()));
    }
    let mut settings = Vec::new();
    for (name, value) in table.get_ref() {
        let at = format!("{}: {}", place(file, name.span().start), name.get_ref());
        let Some(key) = keys::named(name.get_ref()) else {
            mistakes.push(Mistake::at(at, "no such key"));
            continue;
        };
        match values(key.takes, value) {
            Ok(values) => settings.push(Setting { key, values, place: at }),
            Err(wanted) => mistakes.push(Mistake::at(at, wanted)),
        }
    }
    settings
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

/// `path:line` of a byte offset.
fn place(file: File<'_>, offset: usize) -> String {
    let line = 1 + file.text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    format!("{}:{line}", file.path.display())
}
