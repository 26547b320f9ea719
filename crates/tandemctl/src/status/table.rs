//! Tables in plain text that fit their width.

use wire::Tone;

/// Between two columns.
const GAP: usize = 2;
/// Before remarks.
const INDENT: &str = "    ";
/// A column is not cut below this.
const NARROWEST: usize = 8;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) align: Align,
    /// Where there is not room for all, the columns with the lowest number are left out first.
    pub(crate) rank: u8,
}

/// On which side of a column its cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A field of a row.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Option<Tone>,
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: None }
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

/// What stands below the titles.
#[derive(Clone, Debug)]
enum Line {
    /// One cell for each column.
    Row(Vec<Cell>),
    /// A remark on the row above.
    Note(String, Tone),
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    lines: Vec<Line>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), lines: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.lines.push(Line::Row(cells));
    }

    /// Adds a remark on the row above; each of its lines on a line of its own.
    pub(crate) fn note(&mut self, text: &str, tone: Tone) {
        self.lines.extend(text.lines().map(|line| Line::Note(line.to_owned(), tone)));
    }

    /// The table in at most `width` columns, if its columns can be made to fit.
    pub(crate) fn render(&self, width: usize, colour: bool) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        let titles = self.columns.iter().map(|column| Cell::plain(column.title)).collect::<Vec<_>>();
        let header = self.line(&titles, &widths, false);
        text.push_str(&paint(&header, "2", colour));
        text.push('\n');
        for line in &self.lines {
            match line {
                Line::Row(cells) => text.push_str(&self.line(cells, &widths, colour)),
                Line::Note(note, tone) => {
                    let lines = wrap(&printable(note), width.saturating_sub(INDENT.len()));
                    let painted =
                        lines.iter().map(|line| format!("{INDENT}{}", paint(line, code(*tone), colour)));
                    text.push_str(&painted.collect::<Vec<_>>().join("\n"));
                }
            }
            text.push('\n');
        }
        text
    }

    /// The width of each column; none for those left out.
    fn widths(&self, width: usize) -> Vec<Option<usize>> {
        let mut widths: Vec<Option<usize>> =
            (0..self.columns.len()).map(|index| Some(self.natural(index))).collect();
        let total = |widths: &[Option<usize>]| {
            let shown = widths.iter().flatten().count();
            widths.iter().flatten().sum::<usize>() + GAP * shown.saturating_sub(1)
        };
        while total(&widths) > width {
            let shown = || widths.iter().enumerate().filter(|(_, width)| width.is_some());
            let least = shown().map(|(index, _)| index).min_by_key(|index| self.columns[*index].rank);
            let widest = shown().max_by_key(|(_, width)| **width).map(|(index, _)| index);
            match (least, widest) {
                (Some(least), _) if self.columns[least].rank < u8::MAX => widths[least] = None,
                (_, Some(widest)) if widths[widest] > Some(NARROWEST) => {
                    widths[widest] = widths[widest].map(|width| width - 1);
                }
                _ => break,
            }
        }
        widths
    }

    /// How wide a column would like to be.
    fn natural(&self, index: usize) -> usize {
        let cells = self.lines.iter().filter_map(|line| match line {
            Line::Row(cells) => cells.get(index).map(|cell| cell.text.chars().count()),
            Line::Note(..) => None,
        });
        cells.chain([self.columns[index].title.chars().count()]).max().unwrap_or(0)
    }

    fn line(&self, cells: &[Cell], widths: &[Option<usize>], colour: bool) -> String {
        let mut line = String::new();
        let shown = self
            .columns
            .iter()
            .zip(cells)
            .zip(widths)
            .filter_map(|((column, cell), width)| Some((column, cell, (*width)?)));
        for (index, (column, cell, width)) in shown.enumerate() {
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let text = cut(&printable(&cell.text), width);
            let blank = " ".repeat(width.saturating_sub(text.chars().count()));
            let text = cell.tone.map_or(text.clone(), |tone| paint(&text, code(tone), colour));
            match column.align {
                Align::Left => line.extend([text, blank]),
                Align::Right => line.extend([blank, text]),
            }
        }
        line.trim_end().to_owned()
    }
}

/// `text` in the colour of a tone.
pub(crate) fn toned(text: &str, tone: Tone, colour: bool) -> String {
    paint(text, code(tone), colour)
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

const fn code(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "32",
        Tone::Paused => "34",
        Tone::Warning => "33",
        Tone::Bad => "1;31",
    }
}

/// What a daemon says cannot command the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Lines of at most `width` columns, broken between words; a word that is longer has a longer line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "NAME", align: Align::Left, rank: u8::MAX },
        Column { title: "ADDRESS", align: Align::Left, rank: 1 },
        Column { title: "COUNT", align: Align::Right, rank: 2 },
    ];

    fn table() -> Table {
        let mut table = Table::new(&COLUMNS);
        table.row(vec![
            Cell::plain("a-rather-long-name"),
            Cell::plain("10.0.0.1:80"),
            Cell::toned("7", Tone::Bad),
        ]);
        table.note("why\nand why else", Tone::Warning);
        table
    }

    #[test]
    fn columns_are_left_out_and_cut_until_the_rest_fits() {
        let wide = "NAME                ADDRESS      COUNT\na-rather-long-name  10.0.0.1:80      7\n    why\n    and why else\n";
        assert_eq!(table().render(80, false), wide);
        assert_eq!(table().render(38, false), wide);
        assert_eq!(
            table().render(30, false),
            "NAME                COUNT\na-rather-long-name      7\n    why\n    and why else\n"
        );
        assert_eq!(table().render(12, false), "NAME\na-rather-lo…\n    why\n    and why\n    else\n");
        assert!(table().render(0, false).starts_with("NAME"));
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let coloured = table().render(38, true);
        assert!(coloured.contains("      \x1b[1;31m7\x1b[0m\n"), "{coloured:?}");
        assert_eq!(
            coloured.replace("\x1b[1;31m", "").replace("\x1b[0m", "").matches("10.0.0.1:80      7").count(),
            1
        );
    }

    #[test]
    fn nothing_commands_the_terminal() {
        let mut table = Table::new(&COLUMNS[..1]);
        table.row(vec![Cell::plain("\x1b[2Jx")]);
        assert!(!table.render(80, false).contains('\x1b'));
    }
}
