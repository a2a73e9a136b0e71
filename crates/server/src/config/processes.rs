//! The `[[process]]` tables of the file: processes that the API only reads. A table is what the API takes as JSON.

use serde_json::{Map, Value as Json};
use toml::de::{DeTable, DeValue};
use whipstitch_ffmpeg::process::{Definition, Settings, Unreadable, mistakes};

use super::tables::{Value, Wrong};
use super::{Config, Mistake};

/// The tables that can be read, and everything that is wrong with the shape of the others.
pub(super) fn listed(value: &Value<'_>) -> (Vec<Definition>, Vec<Wrong>) {
    let no_tables = |at: usize| (at, "process: wants [[process]] tables".to_owned());
    let DeValue::Array(tables) = value.get_ref() else { return (Vec::new(), vec![no_tables(value.span().start)]) };
    let (mut wrong, mut list): (Vec<Wrong>, Vec<Definition>) = (Vec::new(), Vec::new());
    for value in tables {
        let at = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            wrong.push(no_tables(at));
            continue;
        };
        match definition(table) {
            Ok(definition) if definition.id.is_empty() => wrong.push((at, "process: id is missing".to_owned())),
            Ok(definition) if list.iter().any(|other| other.id == definition.id) => {
                wrong.push((at, format!("process.id: {} has an earlier table", definition.id)));
            }
            Ok(definition) => list.push(definition),
            Err((field, why)) => wrong.push((place(table, &field).unwrap_or(at), format!("process.{field}: {why}"))),
        }
    }
    (list, wrong)
}

fn definition(table: &DeTable<'_>) -> Result<Definition, (String, String)> {
    Definition::from_value(object(table)?).map_err(|error| match error {
        Unreadable::Shape { field, why } => (field, why),
        Unreadable::Json(error) => (".".to_owned(), error.to_string()),
    })
}

fn object(table: &DeTable<'_>) -> Result<Json, (String, String)> {
    let mut object = Map::new();
    for (name, value) in table {
        let value = json(value.get_ref()).map_err(|(field, why)| (format!("{}{field}", name.get_ref()), why))?;
        object.insert(name.get_ref().to_string(), value);
    }
    Ok(Json::Object(object))
}

fn json(value: &DeValue<'_>) -> Result<Json, (String, String)> {
    let wrong = |why: &str| (String::new(), why.to_owned());
    Ok(match value {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Boolean(on) => Json::Bool(*on),
        DeValue::Integer(number) if number.radix() == 10 => {
            let number: i64 = number.as_str().parse().map_err(|_| wrong("is no number that can be meant"))?;
            number.into()
        }
        DeValue::Integer(_) => return Err(wrong("wants a decimal number")),
        DeValue::Float(number) => {
            let number: Option<f64> = number.as_str().parse().ok();
            number.and_then(serde_json::Number::from_f64).ok_or_else(|| wrong("is no number that can be meant"))?.into()
        }
        DeValue::Datetime(_) => return Err(wrong("wants no date")),
        DeValue::Array(items) => {
            let item = |(at, item): (usize, &Value<'_>)| {
                json(item.get_ref()).map_err(|(field, why)| (format!("[{at}]{field}"), why))
            };
            Json::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => object(table).map_err(|(field, why)| (format!(".{field}"), why))?,
    })
}

/// The byte where a field stands, as in `input[0].address`, or what holds it.
fn place(table: &DeTable<'_>, field: &str) -> Option<usize> {
    let mut at = None;
    let mut table = Some(table);
    for name in field.split('.') {
        let (name, index) = name.split_once('[').unwrap_or((name, ""));
        let (key, value) = table?.iter().find(|(key, _)| &**key.get_ref() == name)?;
        at = Some(key.span().start);
        let index: Option<usize> = index.trim_end_matches(']').parse().ok();
        let value = match (value.get_ref(), index) {
            (DeValue::Array(items), Some(index)) => {
                let item = items.get(index)?;
                at = Some(item.span().start);
                item.get_ref()
            }
            (value, _) => value,
        };
        table = if let DeValue::Table(inner) = value { Some(inner) } else { None };
        if table.is_none() {
            break;
        }
    }
    at
}

/// What the configuration says of processes.
pub(crate) fn settings(config: &Config) -> Settings {
    Settings {
        program: config.ffmpeg.clone(),
        data: config.data.clone(),
        access: config.process_access.clone(),
        declared: config.processes.clone(),
        most: config.limits.processes,
    }
}

/// What is wrong with the tables, once all keys are known.
pub(super) fn contradictions(config: &Config) -> Vec<Mistake> {
    let named = |(at, mistake): (usize, whipstitch_ffmpeg::process::Mistake)| {
        let id = config.processes.get(at).map_or("", |process| process.id.as_str());
        Mistake::at(format!("process {id:?}"), mistake)
    };
    mistakes(&settings(config)).into_iter().map(named).collect()
}
