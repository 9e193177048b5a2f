//! Rows of results: the table, the closing line, JUnit XML.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

/// How a row ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// As it should be, with a remark if there is one.
    Passed(Option<String>),
    /// Not as it should be.
    Failed(String),
    /// Failed in a peer that is known to fail here: what, and why that is known.
    Expected(String, String),
    /// Not run, and why.
    Skipped(String),
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// The test.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// How long it took.
    pub seconds: f64,
    /// What it printed.
    pub log: String,
}

impl Row {
    /// The row as `--rows` writes it; what a test printed comes along only when it failed.
    pub fn to_json(&self) -> Value {
        let (status, message, why) = match &self.status {
            Status::Passed(note) => ("passed", note.clone().unwrap_or_default(), ""),
            Status::Failed(message) => ("failed", message.clone(), ""),
            Status::Expected(message, why) => ("expected", message.clone(), why.as_str()),
            Status::Skipped(why) => ("skipped", why.clone(), ""),
        };
        let log = if status == "failed" { self.log.as_str() } else { "" };
        json!({"name": self.name, "status": status, "message": message, "why": why, "seconds": self.seconds, "log": log})
    }
    /// The row that [`Row::to_json`] wrote.
    pub fn from_json(value: &Value) -> Option<Row> {
        let text = |key: &str| value[key].as_str().map(String::from);
        let message = text("message")?;
        let status = match value["status"].as_str()? {
            "passed" => Status::Passed((!message.is_empty()).then_some(message)),
            "failed" => Status::Failed(message),
            "expected" => Status::Expected(message, text("why")?),
            "skipped" => Status::Skipped(message),
            _ => return None,
        };
        Some(Row {
            name: text("name")?,
            status,
            seconds: value["seconds"].as_f64()?,
            log: text("log")?,
        })
    }
    /// The line of the table.
    pub fn line(&self) -> String {
        let (mark, note) = match &self.status {
            Status::Passed(note) => ("ok", note.clone().unwrap_or_default()),
            Status::Failed(message) => ("FAIL", message.clone()),
            Status::Expected(_, why) => ("known", why.clone()),
            Status::Skipped(why) => ("skip", why.clone()),
        };
        let line = format!(
            "{mark:5} {:52} {:7.2}s  {}",
            self.name,
            self.seconds,
            one_line(&note)
        );
        line.trim_end().to_string()
    }
}

fn one_line(text: &str) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &flat[..end]),
        None => flat,
    }
}

/// Everything that ran.
#[derive(Debug, Default)]
pub struct Report {
    /// All rows, in the order in which they ended.
    pub rows: Vec<Row>,
    /// Where each row goes at once, as a line of JSON.
    pub sink: Option<File>,
}

impl Report {
    /// Prints and keeps a row.
    pub fn add(&mut self, row: Row) -> std::io::Result<()> {
        println!("{}", row.line());
        let written = match &mut self.sink {
            Some(sink) => sink.write_all(format!("{}\n", row.to_json()).as_bytes()),
            None => Ok(()),
        };
        self.rows.push(row);
        written
    }
    fn count(&self, of: impl Fn(&Status) -> bool) -> usize {
        self.rows.iter().filter(|row| of(&row.status)).count()
    }
    /// Whether nothing failed that is not known to fail.
    pub fn good(&self) -> bool {
        self.count(|status| matches!(status, Status::Failed(_))) == 0
    }
    /// What comes after the table: failures with their output, known failures, skips, the closing line.
    pub fn summary(&self, runtime: &str) -> String {
        let mut text = String::new();
        for row in &self.rows {
            if let Status::Failed(message) = &row.status {
                let _ = writeln!(text, "\n--- FAIL {}\n{message}", row.name);
                if !row.log.trim().is_empty() {
                    let _ = writeln!(text, "{}", row.log.trim_end());
                }
            }
        }
        let expected = self.count(|status| matches!(status, Status::Expected(..)));
        if expected > 0 {
            let _ = writeln!(text, "\nKnown failures of {runtime}:");
            for row in &self.rows {
                if let Status::Expected(message, why) = &row.status {
                    let _ = writeln!(text, "  {}: {why}\n      seen: {}", row.name, one_line(message));
                }
            }
        }
        let skipped = self.count(|status| matches!(status, Status::Skipped(_)));
        if skipped > 0 {
            let _ = writeln!(text, "\nSkipped:");
            for row in &self.rows {
                if let Status::Skipped(why) = &row.status {
                    let _ = writeln!(text, "  {}: {}", row.name, one_line(why));
                }
            }
        }
        text.push('\n');
        if expected > 0 {
            let _ = writeln!(text, "{expected} known failures of {runtime}");
        }
        let passed = self.count(|status| matches!(status, Status::Passed(_)));
        let failed = self.count(|status| matches!(status, Status::Failed(_)));
        let _ = writeln!(text, "{passed} passed, {failed} failed, {skipped} skipped");
        text
    }
    /// Writes the rows as JUnit XML.
    pub fn write_junit(&self, path: &Path, runtime: &str) -> std::io::Result<()> {
        let failures = self.count(|status| matches!(status, Status::Failed(_)));
        let skipped = self.count(|status| matches!(status, Status::Skipped(_) | Status::Expected(..)));
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            xml,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">",
            escape(runtime),
            self.rows.len()
        );
        for row in &self.rows {
            let (subject, name) = row.name.split_once('/').unwrap_or(("", &row.name));
            let head = format!(
                "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                escape(subject),
                escape(name),
                row.seconds
            );
            let _ = match &row.status {
                Status::Passed(_) => writeln!(xml, "{head}/>"),
                Status::Failed(message) => writeln!(
                    xml,
                    "{head}><failure message=\"{}\">{}</failure></testcase>",
                    escape(message),
                    escape(&row.log)
                ),
                Status::Expected(_, why) | Status::Skipped(why) => {
                    writeln!(xml, "{head}><skipped message=\"{}\"/></testcase>", escape(why))
                }
            };
        }
        xml.push_str("</testsuite>\n");
        std::fs::write(path, xml)
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push(' '),
            c if (c as u32) < 0x20 => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, status: Status) -> Row {
        Row {
            name: name.into(),
            status,
            seconds: 0.5,
            log: "a <log>".into(),
        }
    }

    #[test]
    fn the_last_line_counts() {
        let report = Report {
            rows: vec![
                row("a/b", Status::Passed(None)),
                row("a/c", Status::Expected("seen".into(), "why".into())),
                row("a/d", Status::Skipped("no".into())),
            ],
            sink: None,
        };
        assert!(report.good());
        assert!(
            report
                .summary("x")
                .ends_with("\n1 known failures of x\n1 passed, 0 failed, 1 skipped\n")
        );
    }

    #[test]
    fn a_failure_shows_its_log() {
        let report = Report {
            rows: vec![row("a/b", Status::Failed("bad".into()))],
            sink: None,
        };
        assert!(!report.good());
        assert!(report.summary("x").contains("--- FAIL a/b\nbad\na <log>\n"));
    }

    #[test]
    fn rows_survive_json() {
        for status in [
            Status::Passed(None),
            Status::Failed("bad".into()),
            Status::Skipped("no".into()),
        ] {
            let sent = row("a/b", status);
            let received = Row::from_json(&sent.to_json()).unwrap();
            assert_eq!((&received.name, &received.status), (&sent.name, &sent.status));
        }
    }

    #[test]
    fn xml_is_escaped() {
        assert_eq!(escape("<&\"\u{1}>"), "&lt;&amp;&quot;?&gt;");
    }
}
