//! JSON as definitions: new ones, and those that change one there is.

use serde_json::{Map, Value};

use super::Definition;

/// What was sent is no definition.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON at all; where it stops being so.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error("{field}: {why}")]
    Shape {
        /// The field, as in `input[0].address`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Definition {
    /// A definition from its JSON.
    ///
    /// # Errors
    /// It is no JSON, or a field is of the wrong kind.
    pub fn read(json: &[u8]) -> Result<Self, Unreadable> {
        Self::from_value(serde_json::from_slice(json)?)
    }

    /// This definition with what JSON says changed: objects field by field, lists and all else as a whole, as datarhei
    /// does it. Of a field that is not named nothing changes; `null` makes it what it is without being named.
    ///
    /// # Errors
    /// As of [`Definition::read`].
    pub fn merged(&self, json: &[u8]) -> Result<Self, Unreadable> {
        let change: Value = serde_json::from_slice(json)?;
        let Value::Object(change) = change else { return Self::from_value(change) };
        // Made of texts, numbers and lists: always JSON.
        let mut whole = serde_json::to_value(self)?;
        if let Value::Object(whole) = &mut whole {
            merge(whole, change);
        }
        Self::from_value(whole)
    }

    /// A definition from JSON that has been read.
    ///
    /// # Errors
    /// A field is of the wrong kind.
    pub fn from_value(value: Value) -> Result<Self, Unreadable> {
        if !value.is_object() {
            return Err(Unreadable::Shape { field: ".".to_owned(), why: "a definition is an object".to_owned() });
        }
        serde_path_to_error::deserialize(value)
            .map_err(|error| Unreadable::Shape { field: error.path().to_string(), why: error.into_inner().to_string() })
    }
}

/// As deep as JSON can be read at all (128).
fn merge(whole: &mut Map<String, Value>, change: Map<String, Value>) {
    for (name, value) in change {
        match (whole.get_mut(&name), value) {
            (Some(Value::Object(whole)), Value::Object(change)) => merge(whole, change),
            (_, value) => {
                whole.insert(name, value);
            }
        }
    }
}
