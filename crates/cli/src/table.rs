//! Rows and columns for people, and the same as CSV. Knows nothing of what stands in them.

use std::io::{self, Write};

use crate::paint::{Paint, harmless};

/// What stands between two columns.
const GAP: &str = "   ";

/// A table: a heading for each column, and rows of as many cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes aligned columns.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn print(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(self.headings.get(column).map(|heading| heading.len())).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        writeln!(out, "{}", paint.bold(&line(&headings, &widths)))?;
        rows.iter().try_for_each(|row| writeln!(out, "{}", line(row, &widths)))
    }

    /// Writes comma-separated values (RFC 4180), headings first.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn print_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let headings: Vec<String> = self.headings.iter().map(|heading| heading.to_lowercase()).collect();
        std::iter::once(&headings).chain(&self.rows).try_for_each(|row| {
            let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
            writeln!(out, "{}", cells.join(","))
        })
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let last = cells.len().saturating_sub(1);
    let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        // What follows the last cell is nothing, and blanks at the end of a line help nobody.
        if column == last { cell.clone() } else { format!("{cell:<width$}") }
    });
    let line: Vec<String> = padded.collect();
    line.join(GAP).trim_end().to_owned()
}

fn one_line(cell: &str) -> String {
    harmless(cell).replace(['\n', '\t'], " ")
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ARN", "WHO"]);
        table.row(vec!["ä".into(), "x".into()]);
        table.row(vec!["long\u{1b}[2J".into(), "a,\"b\"\nc".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_a_cell_stays_on_its_line() {
        let mut out = Vec::new();
        table().print(&mut out, Paint::plain()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "ARN             WHO\nä               x\nlong\\u{1b}[2J   a,\"b\" c\n");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let mut out = Vec::new();
        table().print_csv(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "arn,who\nä,x\nlong\u{1b}[2J,\"a,\"\"b\"\"\nc\"\n");
    }
}
