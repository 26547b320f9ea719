//! A daemon's answer in text, put into columns.
//!
//! Its first line names the columns behind a `#`. Times in ms, whose columns end so, become times for people.

use std::io::Write;

use crate::failure::Failure;
use crate::node::Node;

/// Prints what lbd answers a command, which may be about something alone.
pub(crate) async fn show(node: &Node, command: &str, about: Option<&str>) -> Result<(), Failure> {
    let words: Vec<&str> = std::iter::once(command).chain(about).collect();
    let answer = node.text("lbd", &words.join(" ")).await?;
    let Some(table) = table(&answer) else { return Err(Failure::Refused(format!("lbd: {}", answer.trim()))) };
    Ok(write!(std::io::stdout(), "{table}")?)
}

/// The answer in columns; none where it is something else. What else is said behind a `#` stands below.
fn table(answer: &str) -> Option<String> {
    let mut lines = answer.lines().filter(|line| !line.is_empty());
    let names: Vec<&str> = lines.next()?.strip_prefix("# ")?.split(' ').collect();
    let (remarks, lines): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("# "));
    let head = names.iter().map(|name| name.strip_suffix("_ms").unwrap_or(name).to_uppercase()).collect();
    let row = |line: &&str| line.splitn(names.len(), ' ').zip(&names).map(cell).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(lines.iter().map(row)).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..names.len()).filter_map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for remark in remarks {
        text.push_str(remark.trim_start_matches("# "));
        text.push('\n');
    }
    Some(text)
}

fn cell((cell, name): (&str, &&str)) -> String {
    match cell.parse() {
        Ok(ms) if name.ends_with("_ms") => wire::human::duration(ms),
        _ => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let answer = "# frontend route taken action\nweb api 12 backend api\nweb none 1234567 deny 404\n\n";
        let expected = "FRONTEND  ROUTE  TAKEN    ACTION\nweb       api    12       backend api\nweb       none   1234567  deny 404\n";
        assert_eq!(table(answer).as_deref(), Some(expected));
        assert_eq!(table("unknown command\n"), None);
    }

    #[test]
    fn times_are_for_people_and_remarks_stand_below() {
        let answer = "# id age_ms idle_ms\n0-1 61000 -\n# and 2 more\n";
        let age = wire::human::duration(61_000);
        assert_eq!(
            table(answer),
            Some(format!("ID   AGE{:w$}  IDLE\n0-1  {age}  -\nand 2 more\n", "", w = age.len() - 3))
        );
    }
}
