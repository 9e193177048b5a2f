//! What commands write to standard output.

use std::io::{self, Write};

use runtime_core::{Error, Result};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// Writes `text`.
pub fn write(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| failed(&error))
}

/// Writes `value` as JSON on one line.
pub fn json(value: &impl Serialize) -> Result<()> {
    write(&text(value, serde_json::ser::CompactFormatter)?)
}

/// Writes `value` as JSON over several lines, each level set off by `indent`.
pub fn pretty_json(value: &impl Serialize, indent: &str) -> Result<()> {
    write(&text(value, PrettyFormatter::with_indent(indent.as_bytes()))?)
}

/// `value` as JSON, with a newline at the end.
pub fn text(value: &impl Serialize, formatter: impl Formatter) -> Result<String> {
    let mut bytes = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value
        .serialize(&mut serializer)
        .map_err(|error| failed(&io::Error::from(error)))?;
    bytes.push(b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Rows under headings, as Go's tabwriter sets them for runc: columns of 12 at least, 3 blanks between.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |column: usize| rows.iter().map(move |row| row[column].chars().count());
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| cell(column).chain([heading.len()]).max().unwrap_or(0) + 3)
        .map(|width| width.max(12))
        .collect();
    let mut text = String::new();
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        for (column, value) in row.iter().enumerate() {
            text.push_str(value);
            if column + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widths[column] - value.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

fn failed(error: &io::Error) -> Error {
    Error::sys(
        "write to standard output",
        error.raw_os_error().unwrap_or(libc::EIO),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_look_like_those_of_runc() {
        let rows = [vec![
            "ref".into(),
            "10959".into(),
            "/tmp/clitest/b".into(),
            "root".into(),
        ]];
        assert_eq!(
            table(&["ID", "PID", "BUNDLE", "OWNER"], &rows),
            "ID          PID         BUNDLE           OWNER\n\
             ref         10959       /tmp/clitest/b   root\n"
        );
        assert_eq!(table(&["ID", "PID"], &[]), "ID          PID\n");
    }
}
