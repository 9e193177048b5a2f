//! The log: records in the two formats that callers of runc read, and the subscriber that turns the library's
//! events into them.
//!
//! Callers take the last record of level `error` for the reason of a failure, or the whole file for it; so
//! exactly one is written, and nothing else unless there is something to warn about or `--debug` asks for it.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use runtime_core::{Code, Error, Result};
use serde::ser::{SerializeMap, Serializer};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `time="…" level=… msg=…`
    #[default]
    Text,
    /// `{"level":"…","msg":"…","time":"…"}`
    Json,
}

/// Where records go.
#[derive(Debug, Clone)]
pub struct Log {
    format: Format,
    /// Standard error when there is none.
    file: Option<Arc<File>>,
}

impl Log {
    /// Writes to standard error.
    pub fn stderr(format: Format) -> Log {
        Log { format, file: None }
    }

    /// Appends to `path`.
    pub fn open(path: &Path, format: Format) -> Result<Log> {
        // Synchronous, so that a record outlives the host's crash that may have caused it.
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(libc::O_SYNC)
            .open(path);
        match opened {
            Ok(file) => Ok(Log {
                format,
                file: Some(Arc::new(file)),
            }),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                Err(Error::new(Code::InvalidConfig, "open log file")
                    .operand(path)
                    .errno(errno))
            }
        }
    }

    /// Passes events to this log: errors that a command goes on after, with `debug` everything. Warnings are for
    /// people. Callers that read JSON take the file for one record, and those that read standard error expect
    /// silence unless something failed.
    pub fn subscribe(&self, debug: bool) {
        let read_by_people = match self.file {
            Some(_) => self.format == Format::Text,
            None => std::io::stderr().is_terminal(),
        };
        let level = match (debug, read_by_people) {
            (true, _) => Level::TRACE,
            (false, true) => Level::WARN,
            (false, false) => Level::ERROR,
        };
        // Fails only when there is a subscriber already, which a second call would mean.
        let _ = tracing::subscriber::set_global_default(Events {
            log: self.clone(),
            level,
        });
    }

    /// Writes the one record of a failure; what goes to a file is repeated on standard error.
    pub fn fatal(&self, message: &str, error: Option<&Error>) {
        let mut extra = Vec::new();
        if let Some(error) = error {
            extra.push(("code", error.code().as_str().to_owned()));
            extra.push(("step", error.step().to_owned()));
        }
        self.write("error", message, &extra);
        if self.file.is_some() {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "{message}");
        }
    }

    fn write(&self, level: &str, message: &str, extra: &[(&str, String)]) {
        let time = rfc3339(SystemTime::now());
        let record = match (self.format, &self.file) {
            (Format::Json, _) => json(level, message, &time, extra),
            (Format::Text, None) if std::io::stderr().is_terminal() => {
                format!("oci-rt: {level}: {message}\n")
            }
            // The error's own text says all that code and step do.
            (Format::Text, _) if level == "error" => text(level, message, &time, &[]),
            (Format::Text, _) => text(level, message, &time, extra),
        };
        // One write a record, so that those of two processes never mix. There is no place to report to when
        // the log itself fails.
        let _ = match &self.file {
            Some(file) => file.as_ref().write_all(record.as_bytes()),
            None => std::io::stderr().write_all(record.as_bytes()),
        };
    }
}

fn json(level: &str, message: &str, time: &str, extra: &[(&str, String)]) -> String {
    let mut line = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::new(&mut line);
    // Writing strings into memory cannot fail.
    let _ = (|| {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("level", level)?;
        map.serialize_entry("msg", message)?;
        map.serialize_entry("time", time)?;
        for (key, value) in extra {
            map.serialize_entry(key, value)?;
        }
        map.end()
    })();
    line.push(b'\n');
    String::from_utf8_lossy(&line).into_owned()
}

fn text(level: &str, message: &str, time: &str, extra: &[(&str, String)]) -> String {
    let mut line = format!("time={} level={level} msg={}", quoted(time), quoted(message));
    for (key, value) in extra {
        let _ = write!(line, " {key}={}", quoted(value));
    }
    line.push('\n');
    line
}

/// Puts quotes around everything that is not plainly one word.
fn quoted(value: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if value.chars().all(word) {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

/// A moment as `2006-01-02T15:04:05Z`.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days are counted in eras of 400 years that begin on the first of March of a year divisible by 400, so
    // that leap days come last in their year, and February last in the months.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Writes events to the log. Spans are not kept: an event of the library says itself what it is about.
struct Events {
    log: Log,
    level: Level,
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.level() <= &self.level
    }
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.log.write(level, &fields.message, &fields.others);
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.others.push((name, value.to_owned())),
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_136_214_245, "2006-01-02T15:04:05Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn json_record() {
        let line = json("error", "a \"b\"\n\u{1}", "T", &[("code", "x".into())]);
        assert_eq!(
            line,
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\\u0001\",\"time\":\"T\",\"code\":\"x\"}\n"
        );
    }

    #[test]
    fn text_record() {
        let line = text(
            "error",
            "no \"such\"\nthing",
            "2006-01-02T15:04:05Z",
            &[("id", "a-b".into())],
        );
        assert_eq!(
            line,
            "time=\"2006-01-02T15:04:05Z\" level=error msg=\"no \\\"such\\\"\\nthing\" id=a-b\n"
        );
        assert_eq!(text("info", "word", "T", &[]), "time=T level=info msg=word\n");
    }

    fn logged(format: Format, write: impl FnOnce(&Log)) -> String {
        let name = format!("oci-rt-log-{}-{format:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        write(&Log::open(&path, format).unwrap());
        let content = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        content
    }

    #[test]
    fn records_are_appended() {
        let error = Error::new(Code::NotFound, "find container");
        let content = logged(Format::Json, |log| {
            log.fatal("one", None);
            log.fatal("two", Some(&error));
        });
        let records: Vec<serde_json::Value> = content
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].as_object().unwrap().len(), 3);
        assert_eq!(records[1]["level"], "error");
        assert_eq!(records[1]["msg"], "two");
        assert_eq!(records[1]["code"], "not-found");
        assert_eq!(records[1]["step"], "find container");
    }

    #[test]
    fn events_of_the_library() {
        let content = logged(Format::Text, |log| {
            let events = Events {
                log: log.clone(),
                level: Level::WARN,
            };
            tracing::subscriber::with_default(events, || {
                tracing::debug!("silent");
                tracing::warn!(capability = "CAP_X", count = 2, "unknown capability");
            });
        });
        let (time, rest) = content.split_once(" level=").unwrap();
        assert!(time.starts_with("time=\"2"), "{time}");
        assert_eq!(
            rest,
            "warning msg=\"unknown capability\" capability=CAP_X count=2\n"
        );
    }

    #[test]
    fn a_log_that_cannot_be_opened() {
        let error = Log::open(Path::new("/nonexistent/log"), Format::Json).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
