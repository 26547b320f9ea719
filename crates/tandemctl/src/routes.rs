//! `routes`: the routes of frontends, and how often each was taken.

use std::io::Write;

use crate::failure::Failure;
use crate::node::Node;

/// Prints the routes of a frontend, or of all of them.
pub(crate) async fn run(node: &Node, frontend: Option<&str>) -> Result<(), Failure> {
    let command = match frontend {
        Some(name) => format!("show routes {name}"),
        None => "show routes".to_owned(),
    };
    let answer = node.text("lbd", &command).await?;
    let Some(table) = table(&answer) else { return Err(Failure::Refused(format!("lbd: {}", answer.trim()))) };
    Ok(write!(std::io::stdout(), "{table}")?)
}

/// The answer in columns; none where it is something else.
fn table(answer: &str) -> Option<String> {
    let mut lines = answer.lines().filter(|line| !line.is_empty());
    let head = lines.next()?.strip_prefix("# ")?.split(' ').map(str::to_uppercase).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> =
        lines.map(|line| line.splitn(head.len(), ' ').map(str::to_owned).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    Some(text)
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
}
