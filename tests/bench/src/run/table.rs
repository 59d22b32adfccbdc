//! Markdown tables that also read well on a terminal.

use std::fmt;

/// Rows of cells; the first is the heading, and the first column is text, the others figures.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self(vec![heading.map(str::to_owned).to_vec()])
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or_default().max(3);
        let widths: Vec<_> = (0..columns).map(width).collect();
        for (index, row) in self.0.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(out, "| {cell:width$} |")?;
                } else {
                    write!(out, " {cell:>width$} |")?;
                }
            }
            writeln!(out)?;
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let (start, end) = if column == 0 { ("|", "") } else { ("", ":") };
                    write!(out, "{start}{}{end}|", "-".repeat(width + 2 - end.len()))?;
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }
}
