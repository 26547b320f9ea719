//! `show stat json`: HAProxy's columns as a JSON array with one object a row, keyed by the columns' names.
//!
//! HAProxy's own form wraps each field in an object with its type and origin. This one is what people turn that into:
//! `jq '.[] | select(.svname == "nginx1") | .status'`. Unused columns are left out.

use serde_json::{Map, Value as Json};
use wire::StatRow;

use super::columns::{COLUMNS, Value, number};

/// One line of JSON, without a line's end.
pub fn render(rows: &[StatRow]) -> String {
    let objects = number(rows).into_iter().map(|row| {
        let fields = COLUMNS.iter().filter_map(|column| {
            let value = match (column.value)(&row) {
                Value::Empty => return None,
                Value::Number(n) => Json::from(n),
                Value::Never => Json::from(-1),
                Value::Text(text) => Json::from(text),
            };
            Some((column.name.to_owned(), value))
        });
        Json::Object(fields.collect::<Map<_, _>>())
    });
    Json::Array(objects.collect()).to_string()
}

#[cfg(test)]
mod tests {
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
