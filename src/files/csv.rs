//! Tables as CSV: comma-separated, quoted where needed, one line per row.

use std::fmt::{Display, Write as _};

/// A table that grows line by line.
pub(crate) struct Csv {
    out: String,
}

impl Csv {
    /// A table with these heads of columns.
    pub fn new<T: Display>(heads: impl IntoIterator<Item = T>) -> Self {
        let mut csv = Self { out: String::new() };
        csv.line(heads);
        csv
    }

    /// Adds a line. Numbers are written in the fewest digits that read back as the same number.
    pub fn line<T: Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        for (i, cell) in cells.into_iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            let start = self.out.len();
            let _ = write!(self.out, "{cell}");
            let text = self.out.get(start..).unwrap_or_default();
            if text.contains([',', '"', '\n', '\r']) {
                let quoted = format!("\"{}\"", text.replace('"', "\"\""));
                self.out.truncate(start);
                self.out.push_str(&quoted);
            }
        }
        self.out.push('\n');
    }

    /// The file.
    pub fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_needed() {
        let mut csv = Csv::new(["a", "b, c"]);
        csv.line(["say \"x\"", "猫"]);
        csv.line([0.1f32, 1e-30]);
        let text = csv.finish();
        let expected = "a,\"b, c\"\n\"say \"\"x\"\"\",猫\n0.1,0.000000000000000000000000000001\n";
        assert_eq!(text, expected);
    }
}
