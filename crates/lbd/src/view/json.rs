//! `show stat json`: HAProxy's columns as a JSON array with one object a row, keyed by the columns' names.
//!
//! HAProxy's own form wraps each field in an object with its type and origin. This one is what people turn that into:
//! `jq '.[] | select(.svname == "nginx1") | .status'`. Unused columns are left out.

use serde::{Serialize, Serializer};
use wire::StatRow;

use super::columns::{COLUMNS, Numbered, Value, number};

/// One line of JSON, without a line's end.
pub fn render(rows: &[StatRow]) -> String {
    let rows: Vec<Object<'_>> = number(rows).into_iter().map(Object).collect();
    // Strings and numbers under names that are strings can always be written.
    serde_json::to_string(&rows).unwrap_or_default()
}

/// A row with its columns as keys, in their order.
struct Object<'a>(Numbered<'a>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = COLUMNS.iter().map(|column| (column.name, (column.value)(&self.0)));
        serializer.collect_map(fields.filter(|(_, value)| *value != Value::Empty))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Empty => serializer.serialize_unit(),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Never => serializer.serialize_i8(-1),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::view::sample;

    #[test]
    fn rows_are_objects_keyed_by_column() {
        let json: Json = serde_json::from_str(&render(&sample::rows())).unwrap();
        let server = &json[2];
        assert_eq!(server["pxname"], "nginx");
        assert_eq!(server["svname"], "nginx2");
        assert_eq!(server["status"], "DOWN");
        assert_eq!(server["check_status"], "L4CON");
        assert_eq!(server["econ"], 3);
        assert_eq!(server.get("qlimit"), None);
    }
}
