//! Statistics as HAProxy's CSV.

use std::collections::BTreeMap;

/// A row of statistics: values by column name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(BTreeMap<String, String>);

impl Row {
    /// A column's value as text.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn text(&self, column: &str) -> &str {
        self.0.get(column).unwrap_or_else(|| panic!("no column {column:?} in {:?}", self.0.keys()))
    }

    /// A column's value as a number.
    ///
    /// # Panics
    /// When there is no such column, or it is empty, or no number.
    pub fn number(&self, column: &str) -> u64 {
        let text = self.text(column);
        text.parse().unwrap_or_else(|_| panic!("column {column:?} of {self:?} is {text:?}, not a number"))
    }
}

/// Reads HAProxy's CSV: a header that begins with `# `, then rows, every one with as many columns as the header.
///
/// # Panics
/// When it is something else.
pub fn read_csv(text: &str) -> Vec<Row> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let header = lines
        .next()
        .and_then(|line| line.strip_prefix("# "))
        .unwrap_or_else(|| panic!("no header: {text:?}"));
    let names: Vec<_> = header.trim_end_matches(',').split(',').collect();
    let row = |line: &str| {
        let values = split_csv(line.strip_suffix(',').unwrap_or(line));
        assert_eq!(values.len(), names.len(), "columns of {line:?} under {header:?}");
        Row(names.iter().map(|name| (*name).to_owned()).zip(values).collect())
    };
    lines.map(row).collect()
}

/// Splits at commas outside of quotes; a quote within quotes is doubled.
fn split_csv(line: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let (mut quoted, mut chars) = (false, line.chars().peekable());
    while let Some(c) = chars.next() {
        let value = values.last_mut().expect("never empty");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => value.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(String::new()),
            _ => value.push(c),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_commas_and_quotes_stay_in_their_column() {
        assert_eq!(split_csv(r#"a,"b, ""c""",,d"#), ["a", r#"b, "c""#, "", "d"]);
    }
}
