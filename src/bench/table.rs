//! A table for people: columns as wide as they need to be, figures to the right.

use std::fmt;

/// Rows under a header.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Table {
        Table { rows: vec![header.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Table {
    /// The first column is text and stands to the left, all others are figures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
            if number == 0 {
                writeln!(f, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1)))?;
            }
        }
        Ok(())
    }
}

/// A count or a rate to three digits: `412`, `35.1 k`, `2.10 M`.
pub fn count(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        large if large >= 999_500.0 => (value / 1e6, " M"),
        large if large >= 9_995.0 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    match scaled.abs() {
        small if small < 9.995 && !unit.is_empty() => format!("{scaled:.2}{unit}"),
        small if small < 99.95 && (!unit.is_empty() || scaled.fract() != 0.0) => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.0}{unit}"),
    }
}

/// A time given in microseconds, in the unit that suits it.
pub fn micros(value: f64) -> String {
    match value {
        none if none < 0.01 => "0".to_owned(),
        small if small < 1.0 => format!("{:.0} ns", value * 1e3),
        small if small < 99.95 => format!("{value:.1} us"),
        small if small < 999.5 => format!("{value:.0} us"),
        large if large < 99_950.0 => format!("{:.2} ms", value / 1e3),
        large if large < 999_500.0 => format!("{:.0} ms", value / 1e3),
        _ => format!("{:.2} s", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        let shown: Vec<String> = [0.0, 7.0, 7.25, 412.0, 9_990.0, 35_100.0, 999_400.0, 2_104_000.0].map(count).to_vec();
        assert_eq!(shown, ["0", "7", "7.2", "412", "9990", "35.1 k", "999 k", "2.10 M"]);
        let shown: Vec<String> = [0.001, 0.25, 14.2, 340.0, 2_500.0, 120_000.0, 3_210_000.0].map(micros).to_vec();
        assert_eq!(shown, ["0", "250 ns", "14.2 us", "340 us", "2.50 ms", "120 ms", "3.21 s"]);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["queries", "writes/s"]);
        table.row(["10", "1"]);
        table.row(["10 000", "2000"]);
        assert_eq!(table.to_string(), "queries  writes/s\n-----------------\n10              1\n10 000       2000\n");
    }
}
