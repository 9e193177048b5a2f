//! Reading `config.json`, with refusals that say where in the file they come from.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{At, Code, Error, Result};

#[cfg(test)]
mod tests;

/// Largest configuration that is read; real ones have some ten kilobytes.
pub(crate) const MAX_CONFIG: usize = 16 << 20;

/// Reads a regular file of [`MAX_CONFIG`] bytes at most.
pub(crate) fn read_config(path: &Path) -> Result<Vec<u8>> {
    let step = "read configuration";
    let refuse = |reason: String| Error::new(Code::InvalidConfig, step).operand(path).reason(reason);
    // Not to hang on a FIFO.
    let file = match File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            return Err(error)
                .at_path(step, path)
                .map_err(|error| error.with_code(Code::NoConfig));
        }
        Err(error) => return Err(error).at_path(step, path),
    };
    let about = file.metadata().at_path(step, path)?;
    if !about.is_file() {
        return Err(refuse("not a regular file".to_owned()));
    }
    let too_large = || refuse(format!("larger than {} MiB", MAX_CONFIG >> 20));
    if about.len() > MAX_CONFIG as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(about.len() as usize + 1);
    file.take(MAX_CONFIG as u64 + 1)
        .read_to_end(&mut bytes)
        .at_path(step, path)?;
    if bytes.len() > MAX_CONFIG {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

/// Reads `bytes`, the content of `path`, as JSON, as configurations are read: an error names line, column and field.
///
/// ```
/// use runtime_core::{bundle, spec};
/// let process: spec::Process = bundle::parse("process.json", br#"{"args": ["true"], "cwd": "/"}"#)?;
/// assert_eq!(process.args, ["true"]);
/// let error = bundle::parse::<spec::Process>("process.json", b"{\n \"args\": 5}").unwrap_err();
/// assert!(error.to_string().contains("line 2"));
/// # Ok::<(), runtime_core::Error>(())
/// ```
pub fn parse<T: DeserializeOwned>(path: impl AsRef<Path>, bytes: &[u8]) -> Result<T> {
    let path = path.as_ref();
    let text = text(path, bytes)?;
    serde_json::from_str(text).map_err(|error| wrong(path, text, &error))
}

fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
        refusal(path, line, column, "not UTF-8")
    })
}

/// Apart from `parse`, which there is once for every type that is read.
fn wrong(path: &Path, text: &str, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let position = format!(" at line {line} column {column}");
    let message = error.to_string();
    let message = message.strip_suffix(&position).unwrap_or(&message);
    match field_at(text, line, column) {
        Some(field) if error.is_data() => refusal(path, line, column, &format!("{field}: {message}")),
        _ => refusal(path, line, column, message),
    }
}

fn refusal(path: &Path, line: usize, column: usize, reason: &str) -> Error {
    Error::new(Code::InvalidConfig, "read configuration")
        .operand(path)
        .reason(format!("line {line}, column {column}: {reason}"))
}

/// One level of nesting on the way to a place in JSON text.
enum Level {
    Object { key: String },
    Array { index: usize },
}

/// The path, like `mounts[3].options`, of what is read at a place in text that is correct up to there.
fn field_at(text: &str, line: usize, column: usize) -> Option<String> {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.checked_sub(1)?)
        .map(str::len)
        .sum();
    let bytes = text.as_bytes().get(..(line_start + column).min(text.len()))?;
    let mut levels: Vec<Level> = Vec::new();
    let mut last_string = "";
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = string_end(bytes, at + 1);
                last_string = text.get(at + 1..end).unwrap_or_default();
                at = end;
            }
            b':' => {
                if let Some(Level::Object { key }) = levels.last_mut() {
                    last_string.clone_into(key);
                }
            }
            b',' => {
                if let Some(Level::Array { index }) = levels.last_mut() {
                    *index += 1;
                }
            }
            b'{' => levels.push(Level::Object { key: String::new() }),
            b'[' => levels.push(Level::Array { index: 0 }),
            // The place of an error about a whole object or array is its last character.
            b'}' | b']' if at + 1 < bytes.len() => drop(levels.pop()),
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in &levels {
        match level {
            Level::Object { key } if path.is_empty() => path.push_str(key),
            Level::Object { key } if key.is_empty() => {}
            Level::Object { key } => path.extend([".", key]),
            Level::Array { index } => path.push_str(&format!("[{index}]")),
        }
    }
    (!path.is_empty()).then_some(path)
}

/// Where the string ends that starts at `at`: the place of its closing quote, or the end of the text.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}
