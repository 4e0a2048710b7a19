//! A table: with a frame on a terminal, a line a row with tabs in a pipe.

use comfy_table::{ContentArrangement, Table as Framed, presets::UTF8_BORDERS_ONLY};

#[derive(Debug, PartialEq)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(ToString::to_string).collect(), rows: vec![] }
    }

    /// The table as text that ends with a line break; empty where it has no rows.
    pub(super) fn render(&self, terminal: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        if terminal {
            let mut table = Framed::new();
            table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(self.head.clone());
            table.add_rows(self.rows.iter().map(|row| row.iter().map(|cell| cell.replace(", ", "\n"))));
            return format!("{table}\n");
        }
        let mut out = String::new();
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(|cell| if cell.is_empty() { "-" } else { cell }).collect();
            out.push_str(&cells.join("\t"));
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_a_line_a_row_and_a_terminal_a_frame() {
        let mut table = Table::new(&["name", "addresses"]);
        assert_eq!(table.render(true), "");
        table.rows.push(vec!["lo".into(), "127.0.0.1/8, ::1/128".into()]);
        table.rows.push(vec!["eth0".into(), String::new()]);
        assert_eq!(table.render(false), "lo\t127.0.0.1/8, ::1/128\neth0\t-\n");
        let framed = table.render(true);
        assert!(framed.contains("name") && framed.lines().count() >= 6, "{framed}");
        assert!(
            framed.lines().any(|line| line.contains("::1/128") && !line.contains("127.0.0.1")),
            "{framed}"
        );
    }
}
