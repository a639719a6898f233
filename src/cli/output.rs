//! What goes to the terminal: text, YAML, JSON and tables on standard output, remarks and the log on standard error. A reader
//! that went away (`| head`) is no error.

mod log;

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

/// Where results and remarks go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Remarks are colored.
    color: bool,
    /// Results may be colored.
    paint: bool,
}

impl Output {
    /// Colors unless told not to, by flag or by `NO_COLOR`, or when nobody sees them.
    #[must_use]
    pub fn new(no_color: bool) -> Self {
        let asked = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color = |terminal| terminal && !no_color && !asked;
        Self { color: color(io::stderr().is_terminal()), paint: color(io::stdout().is_terminal()) }
    }

    /// Whether colors on standard output are welcome.
    #[must_use]
    pub fn paints_text(&self) -> bool {
        self.paint
    }

    /// Prints `text` as it is.
    ///
    /// # Errors
    /// Standard output cannot be written; a closed pipe is fine.
    pub fn text(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Prints `value` as JSON.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(self.text(&(serde_json::to_string_pretty(value)? + "\n"))?)
    }

    /// Prints `value` as YAML.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn yaml(&self, value: &impl Serialize) -> anyhow::Result<()> {
        // Long messages stay on their line.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        Ok(self.text(&serde_saphyr::to_string_with_options(value, options)?)?)
    }

    /// Prints `rows` in columns under `heads`.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn table<const N: usize>(&self, heads: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
        self.text(&table(heads, rows))
    }

    /// Prints `lines` after an empty one; nothing if there are none.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn paragraph(&self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        let lines: String = lines.into_iter().map(|line| line + "\n").collect();
        if lines.is_empty() { Ok(()) } else { self.text(&format!("\n{lines}")) }
    }

    /// Logs to standard error from now on.
    pub fn log(&self, level: tracing::level_filters::LevelFilter) {
        let lines = log::Lines::new(self.color);
        let builder = tracing_subscriber::fmt().with_max_level(level).with_ansi(self.color);
        builder.event_format(lines).with_writer(io::stderr).init();
    }

    /// A remark on standard error.
    pub fn note(&self, text: &str) {
        self.remark("note", "36", text);
    }

    /// What needs attention, on standard error.
    pub fn warning(&self, text: &str) {
        self.remark("warning", "33", text);
    }

    /// What went wrong, on standard error.
    pub fn error(&self, text: &str) {
        self.remark("error", "31", text);
    }

    fn remark(&self, word: &str, color: &str, text: &str) {
        let line = format!("{} {text}\n", tag(word, color, self.color));
        // Without a standard error there is nobody to tell.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The word that begins a remark.
fn tag(word: &str, color: &str, colored: bool) -> String {
    if colored { format!("\x1b[{color}m{word}:\x1b[0m") } else { format!("{word}:") }
}

/// Columns two blanks apart, as wide as their widest cell.
fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut out = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{cell:width$}  ");
        }
        text.push_str(out.trim_end());
        text.push('\n');
    };
    line(heads);
    for row in rows {
        line(std::array::from_fn(|i| row[i].as_str()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "bb".to_owned()], ["wider".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], &rows), "X      Y\na      bb\nwider\n");
    }
}
