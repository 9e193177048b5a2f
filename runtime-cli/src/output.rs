//! What commands write to standard output.

use std::io::{self, Write};

use runtime_core::{Error, Result};
use serde::Serialize;

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
    write(&format!("{}\n", text(value)?))
}

/// Writes `value` as JSON over several lines, each level set off by `indent`.
pub fn pretty_json(value: &impl Serialize, indent: &str) -> Result<()> {
    write(&format!("{}\n", indented(&text(value)?, indent)))
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| failed(&io::Error::from(error)))
}

/// Spreads JSON without blanks over lines. The serializer could do so, too, but would be in the program twice.
fn indented(json: &str, indent: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut before = ' ';
    let mut letters = json.chars();
    while let Some(letter) = letters.next() {
        let (opened, closes) = (matches!(before, '{' | '['), matches!(letter, '}' | ']'));
        depth -= usize::from(closes);
        if (opened || closes || before == ',') && !(opened && closes) {
            text.push('\n');
            text.extend(std::iter::repeat_n(indent, depth));
        }
        text.push(letter);
        match letter {
            '{' | '[' => depth += 1,
            ':' => text.push(' '),
            '"' => copy_string(&mut letters, &mut text),
            _ => {}
        }
        before = letter;
    }
    text
}

/// Copies the rest of a string, whose first quote has been read.
fn copy_string(letters: &mut std::str::Chars<'_>, text: &mut String) {
    while let Some(letter) = letters.next() {
        text.push(letter);
        match letter {
            '"' => return,
            '\\' => text.extend(letters.next()),
            _ => {}
        }
    }
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
    fn indented_json_is_as_the_serializer_has_it() {
        let value = serde_json::json!({
            "empty": [{}, [], ""],
            "string": "a \" {[,:]} \\",
            "nested": {"a": {"b": [1, -2.5, null, true]}},
            "\\": "\\\"",
            "last": [[["x"]]],
        });
        let compact = serde_json::to_string(&value).unwrap();
        assert_eq!(
            indented(&compact, "  "),
            serde_json::to_string_pretty(&value).unwrap()
        );
    }

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
